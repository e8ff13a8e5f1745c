//! A `RowSource` that panics spoils no answer but the one it was asked for.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use headcount::member_list::client::Client;
use headcount::member_list::{Bundle, Fields, RowSource, Tick, WindowError};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::windows_json;
use crate::windows_world::{People, World};

/// Gives so many bodies, then panics.
struct Fused<'a> {
    people: &'a People,
    left: Cell<usize>,
}

impl RowSource<u64> for Fused<'_> {
    fn write_body(&self, id: &u64, fields: Fields, out: &mut Vec<u8>) {
        let left = self.left.get().checked_sub(1).expect("the fuse has blown");
        self.left.set(left);
        self.people.write_body(id, fields, out);
    }
}

/// Returns what was made of it, or `None` when the fuse of `left` bodies blew.
fn fused<R>(people: &People, left: usize, make: impl FnOnce(Bodies<'_, u64>) -> R) -> Option<R> {
    let left = Cell::new(left);
    let fused = Fused { people, left };
    catch_unwind(AssertUnwindSafe(|| make(Bodies::from(&fused)))).ok()
}

/// Does it with a fuse of a few bodies, often; else, or when that has blown, without.
fn insist<R>(
    world: &mut World,
    blown: &mut usize,
    mut make: impl FnMut(&mut MemberList<u64>, Bodies<'_, u64>) -> R,
) -> R {
    if world.dice.one_in(2) {
        let left = world.dice.roll(12);
        let list = &mut world.list;
        if let Some(made) = fused(&world.people, left, |bodies| make(list, bodies)) {
            return made;
        }
        *blown += 1;
    }
    make(&mut world.list, Bodies::from(&world.people))
}

struct Seat {
    viewer: Viewer<u64>,
    client: Client<u64>,
}

type Asked = Result<Bundle<u64>, WindowError>;

impl Seat {
    fn receive(&mut self, bundle: &Bundle<u64>) {
        let applied = self.client.apply(bundle);
        assert_eq!(applied.resync, [], "nothing was lost");
        assert!(!applied.resync_counts);
    }

    fn act(&mut self, world: &mut World, blown: &mut usize) {
        let spec = world.random_spec();
        let held: Vec<_> = self.viewer.windows().cloned().collect();
        if held.contains(&spec) || self.client.window(&spec.to_string()).is_some() {
            return;
        }
        let mine = (!held.is_empty()).then(|| held[world.dice.roll(held.len())].clone());
        let viewer = &mut self.viewer;
        let answer: Asked = match (world.dice.roll(6), mine) {
            (0, Some(mine)) => {
                let moved = insist(world, blown, |list, bodies| {
                    viewer.retarget(list, &mine, spec.clone(), bodies)
                });
                if moved.is_ok() {
                    self.client.close(&mine.to_string());
                    self.client.open(&spec.to_string());
                }
                moved
            }
            (1, Some(_)) => insist(world, blown, |list, bodies| {
                viewer.resync(list, &held, bodies)
            }),
            (2, Some(_)) => Ok(insist(world, blown, |list, bodies| {
                viewer.catch_up(list, bodies)
            })),
            (3.., _) if held.len() < 4 => {
                let opened = insist(world, blown, |list, bodies| {
                    viewer.open(list, spec.clone(), bodies)
                });
                if opened.is_ok() {
                    self.client.open(&spec.to_string());
                }
                opened
            }
            _ => return,
        };
        if let Ok(bundle) = answer {
            self.receive(&bundle);
        }
    }
}

fn publish(world: &mut World, blown: &mut usize) -> Tick<u64> {
    world.now += Duration::from_millis([250, 1_000][world.dice.roll(2)]);
    let now = world.now;
    insist(world, blown, |list, bodies| list.tick(now, bodies))
}

/// Sources panic in the midst of ticks, opens, moves, resyncs and catch-ups; changes come between
/// them and the next attempt. Every client shows what the list shows all the same.
fn run(seed: u64, members: usize) -> usize {
    let mut world = World::new(seed, members);
    let new = || Seat {
        viewer: Viewer::new(),
        client: Client::new(windows_json::merge),
    };
    let mut seats = [new(), new(), new()];
    let mut blown = 0;
    for _ in 0..50 {
        for _ in 0..world.dice.roll(8) {
            world.change();
            let actor = world.dice.roll(20);
            if let Some(seat) = seats.get_mut(actor) {
                seat.act(&mut world, &mut blown);
            }
            if world.dice.one_in(6) {
                let left = world.dice.roll(6);
                let now = world.now;
                let list = &mut world.list;
                let made = fused(&world.people, left, |bodies| list.tick(now, bodies));
                blown += usize::from(made.is_none());
                if let Some(tick) = made {
                    take(&mut world, &mut seats, &tick);
                }
            }
        }
        let tick = publish(&mut world, &mut blown);
        take(&mut world, &mut seats, &tick);
    }
    blown
}

fn take(world: &mut World, seats: &mut [Seat], tick: &Tick<u64>) {
    for seat in seats {
        if let Some(bundle) = seat.viewer.bundle(tick) {
            seat.receive(&bundle);
        }
        if seat.viewer.is_stale() {
            let caught = seat
                .viewer
                .catch_up(&mut world.list, Bodies::from(&world.people));
            seat.receive(&caught);
        }
        world.check(&seat.viewer, &seat.client, tick.counts().is_some());
    }
}

proptest! {
    #[test]
    fn list_windows_survive_sources_that_panic(seed: u64, members in 0usize..200) {
        run(seed, members);
    }
}

#[test]
fn list_sources_do_panic_in_the_model() {
    let blown: usize = (0..10).map(|seed| run(seed, 100)).sum();
    assert!(blown > 100, "{blown} panics");
}

/// The list keeps name, epoch and windows, and the next tick tells what the failed one would have.
#[test]
fn list_whose_source_panics_in_a_tick_tells_the_same_with_the_next() {
    let mut twins = [0, 1].map(|_| {
        let mut list = MemberList::<u64>::new(ListOptions::default());
        let group = list.add_group("online").expect("a good name");
        list.begin_epoch("room:7", 1_700_000_000);
        let mut people = People::default();
        for id in 1..=30 {
            list.upsert(id, group, &SortKey::from_u64(id), 0)
                .expect("room");
            people.enter(id);
        }
        let mut viewers = [Viewer::new(), Viewer::new()];
        for (viewer, name) in viewers.iter_mut().zip(["c:0", "a:9:2:2"]) {
            let spec = WindowSpec::parse(name).expect("a good name");
            let bundle = viewer
                .open(&mut list, spec, Bodies::from(&people))
                .expect("open");
            assert_eq!((&*bundle.list, bundle.epoch), ("room:7", 1_700_000_000));
        }
        for id in [3, 8, 12] {
            list.touch(&id).expect("known");
        }
        list.remove(&1);
        list.set_key(&9, &SortKey::from_u64(29)).expect("known");
        (list, people, viewers)
    });
    let now = Duration::from_secs(1);
    for left in 0..4 {
        let (list, people, _) = &mut twins[0];
        let failed = fused(people, left, |bodies| list.tick(now, bodies));
        assert!(failed.is_none(), "{left} bodies are too few");
    }
    let told = twins.map(|(mut list, people, mut viewers)| {
        let tick = list.tick(now, Bodies::from(&people));
        let bundles = viewers
            .each_mut()
            .map(|viewer| viewer.bundle(&tick).expect("changed"));
        assert!(viewers.iter().all(|viewer| !viewer.is_stale()));
        bundles.map(|bundle| {
            assert_eq!((&*bundle.list, bundle.epoch), ("room:7", 1_700_000_000));
            let frames = bundle.frames.iter();
            let steps = frames.map(|frame| {
                let renamed = frame.renamed.as_deref().map(str::to_owned);
                (
                    frame.window.to_string(),
                    renamed,
                    frame.checksum32,
                    frame.change.clone(),
                )
            });
            (steps.collect::<Vec<_>>(), bundle.windows)
        })
    });
    assert_eq!(told[0], told[1]);
}

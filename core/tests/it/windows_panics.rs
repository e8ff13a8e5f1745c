//! A `RowSource` that panics spoils only the answer that it was asked for.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{Bundle, Fields, RowSource, Tick, WindowError};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::windows_world::{People, World};

/// Writes this many bodies, then panics.
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

/// Returns the result of `make`, or `None` if the source panicked after `left` bodies.
fn fused<R>(people: &People, left: usize, make: impl FnOnce(Bodies<'_, u64>) -> R) -> Option<R> {
    let left = Cell::new(left);
    let fused = Fused { people, left };
    catch_unwind(AssertUnwindSafe(|| make(Bodies::from(&fused)))).ok()
}

/// Often calls `make` with a source that panics after a few bodies; otherwise, or after the panic,
/// with a sound one.
fn retry<R>(
    world: &mut World,
    blown: &mut usize,
    mut make: impl FnMut(&mut MemberList<u64>, Bodies<'_, u64>) -> R,
) -> R {
    if world.rng.one_in(2) {
        let left = world.rng.index(12);
        let list = &mut world.list;
        if let Some(made) = fused(&world.people, left, |bodies| make(list, bodies)) {
            return made;
        }
        *blown += 1;
    }
    make(&mut world.list, Bodies::from(&world.people))
}

struct Connection {
    viewer: Viewer<u64>,
    client: Client<u64>,
}

type Asked = Result<Bundle<u64>, WindowError>;

impl Connection {
    fn receive(&mut self, bundle: &Bundle<u64>) {
        let applied = self.client.apply(bundle);
        assert_eq!(applied.resync, [], "nothing was lost");
        assert!(!applied.resync_counts);
    }

    fn act(&mut self, world: &mut World, blown: &mut usize) {
        let spec = world.random_spec();
        let open: Vec<_> = self.viewer.windows().cloned().collect();
        if open.contains(&spec) || self.client.window(&spec.to_string()).is_some() {
            return;
        }
        let own = (!open.is_empty()).then(|| open[world.rng.index(open.len())].clone());
        let viewer = &mut self.viewer;
        let answer: Asked = match (world.rng.index(6), own) {
            (0, Some(own)) => {
                let moved = retry(world, blown, |list, bodies| {
                    viewer.retarget(list, &own, spec.clone(), bodies)
                });
                if moved.is_ok() {
                    self.client.close(&own.to_string());
                    let _ = self.client.open(&spec.to_string());
                }
                moved
            }
            (1, Some(_)) => retry(world, blown, |list, bodies| {
                viewer.resync(list, &open, bodies)
            }),
            (2, Some(_)) => Ok(retry(world, blown, |list, bodies| {
                viewer.catch_up(list, bodies)
            })),
            (3.., _) if open.len() < 4 => {
                let opened = retry(world, blown, |list, bodies| {
                    viewer.open(list, spec.clone(), bodies)
                });
                if opened.is_ok() {
                    let _ = self.client.open(&spec.to_string());
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
    world.now += Duration::from_millis([250, 1_000][world.rng.index(2)]);
    let now = world.now;
    retry(world, blown, |list, bodies| list.tick(now, bodies))
}

/// Sources panic during ticks, opens, moves, resyncs and catch-ups; the list changes before the
/// next attempt. Every client still shows the rows of the list.
fn run(seed: u64, members: usize) -> usize {
    let mut world = World::new(seed, members);
    let new = || Connection {
        viewer: Viewer::new(),
        client: Client::new(merge_json),
    };
    let mut connections = [new(), new(), new()];
    let mut blown = 0;
    for _ in 0..50 {
        for _ in 0..world.rng.index(8) {
            world.change();
            let actor = world.rng.index(20);
            if let Some(connection) = connections.get_mut(actor) {
                connection.act(&mut world, &mut blown);
            }
            if world.rng.one_in(6) {
                let left = world.rng.index(6);
                let now = world.now;
                let list = &mut world.list;
                let made = fused(&world.people, left, |bodies| list.tick(now, bodies));
                blown += usize::from(made.is_none());
                if let Some(tick) = made {
                    take(&mut world, &mut connections, &tick);
                }
            }
        }
        let tick = publish(&mut world, &mut blown);
        take(&mut world, &mut connections, &tick);
    }
    blown
}

fn take(world: &mut World, connections: &mut [Connection], tick: &Tick<u64>) {
    for connection in connections {
        if let Some(bundle) = connection.viewer.bundle(tick) {
            connection.receive(&bundle);
        }
        if connection.viewer.is_stale() {
            let caught = connection
                .viewer
                .catch_up(&mut world.list, Bodies::from(&world.people));
            connection.receive(&caught);
        }
        world.check(
            &connection.viewer,
            &connection.client,
            tick.counts().is_some(),
        );
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

/// The list keeps name, epoch and windows, and the next tick publishes the changes of the failed
/// one.
#[test]
fn list_whose_source_panics_in_a_tick_publishes_the_same_with_the_next() {
    let mut twins = [0, 1].map(|_| {
        let mut list = MemberList::<u64>::new(ListOptions::default());
        let group = list.add_group("online").expect("a good name");
        list.begin_epoch("room:7", 1_700_000_000)
            .expect("a higher epoch");
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
            assert_eq!(
                (&*bundle.list, bundle.epoch.number),
                ("room:7", 1_700_000_000)
            );
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
    let published = twins.map(|(mut list, people, mut viewers)| {
        let tick = list.tick(now, Bodies::from(&people));
        let bundles = viewers
            .each_mut()
            .map(|viewer| viewer.bundle(&tick).expect("changed"));
        assert!(viewers.iter().all(|viewer| !viewer.is_stale()));
        bundles.map(|bundle| {
            assert_eq!(
                (&*bundle.list, bundle.epoch.number),
                ("room:7", 1_700_000_000)
            );
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
            // Versions count the ticks that failed.
            let names = bundle.windows.into_iter().map(|held| held.window);
            (steps.collect::<Vec<_>>(), names.collect::<Vec<_>>())
        })
    });
    assert_eq!(published[0], published[1]);
}

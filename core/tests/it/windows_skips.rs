//! Any tick may be left out for any viewer: the next bundle contains what it missed.

use std::time::Duration;

use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{Bundle, CountsTable, FrameChange, RowKey, Tick, WindowError};
use headcount::{Bodies, ListOptions, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::windows::{List, list, tick};
use crate::support::windows_world::{Spec, World};

/// A viewer and its client, connected without faults.
struct Connection {
    viewer: Viewer<u64>,
    client: Client<u64>,
    /// Windows that the client resynced.
    asked: usize,
}

impl Connection {
    fn new() -> Self {
        Self {
            viewer: Viewer::new(),
            client: Client::new(merge_json),
            asked: 0,
        }
    }

    /// Makes a connection with these windows.
    fn at(list: &mut List, names: &[&str]) -> Self {
        let mut connection = Self::new();
        for name in names {
            let spec = Spec::parse(name).expect("a canonical name");
            let _ = connection.client.open(name);
            let bundle = connection
                .viewer
                .open(list, spec, Bodies::None)
                .expect("open");
            connection.receive(list, Bodies::None, &bundle);
        }
        connection
    }

    /// Returns the number of members that the client knows of.
    fn members(&self) -> u64 {
        self.client.counts().expect("counts were sent").members
    }

    fn take(&mut self, list: &mut List, tick: &Tick<u64>) -> bool {
        let bundle = self.viewer.bundle(tick);
        bundle
            .inspect(|bundle| self.receive(list, Bodies::None, bundle))
            .is_some()
    }

    fn receive(&mut self, list: &mut List, bodies: Bodies<'_, u64>, bundle: &Bundle<u64>) {
        let applied = self.client.apply(bundle);
        assert!(!applied.resync_counts);
        self.asked += applied.resync.len();
        for name in &applied.resync {
            let spec = Spec::parse(name).expect("a canonical name");
            match self.viewer.resync(list, &[spec], bodies) {
                Ok(answer) => self.receive(list, bodies, &answer),
                Err(_) => self.client.close(name),
            }
        }
    }

    /// Opens, moves or closes a window at random.
    fn act(&mut self, world: &mut World) {
        let spec = world.random_spec();
        let open: Vec<_> = self.viewer.windows().cloned().collect();
        if open.contains(&spec) || self.client.window(&spec.to_string()).is_some() {
            return;
        }
        let own = (!open.is_empty()).then(|| open[world.rng.index(open.len())].clone());
        let bodies = Bodies::from(&world.people);
        let name = spec.to_string();
        match (world.rng.index(4), own) {
            (0, Some(own)) => {
                self.viewer.close(&own).expect("held");
                self.client.close(&own.to_string());
            }
            (1, Some(own)) => {
                let moved = self.viewer.retarget(&mut world.list, &own, spec, bodies);
                if let Ok(bundle) = moved {
                    self.client.close(&own.to_string());
                    let _ = self.client.open(&name);
                    self.receive(&mut world.list, bodies, &bundle);
                }
            }
            _ if open.len() < 4 => {
                if let Ok(bundle) = self.viewer.open(&mut world.list, spec, bodies) {
                    let _ = self.client.open(&name);
                    self.receive(&mut world.list, bodies, &bundle);
                }
            }
            _ => {}
        }
    }
}

/// Runs viewers of one list that are left out of half of all ticks, each of different ones, and of
/// all empty ticks. Some catch up when they are stale, the others wait for the next tick.
pub(crate) fn run(seed: u64, members: usize, epochs: bool) -> usize {
    let mut world = World::new(seed, members);
    let mut connections: Vec<Connection> = (0..4).map(|_| Connection::new()).collect();
    let mut newest_version = 0;
    let mut skipped = 0;
    for step in 0..60 {
        // Some ticks are empty.
        for _ in 0..world.rng.index(10).saturating_sub(3) {
            world.change();
        }
        if epochs && world.rng.one_in(12) {
            world
                .list
                .begin_epoch("room:1", step + 2)
                .expect("a higher epoch");
        }
        let actor = world.rng.index(8);
        if let Some(connection) = connections.get_mut(actor) {
            connection.act(&mut world);
        }
        let tick = world.tick();
        newest_version = tick
            .counts()
            .map_or(newest_version, |counts| counts.version);
        if tick.is_empty() {
            continue;
        }
        for (at, connection) in connections.iter_mut().enumerate() {
            if world.rng.one_in(2) {
                skipped += 1;
                continue;
            }
            let bodies = Bodies::from(&world.people);
            if let Some(bundle) = connection.viewer.bundle(&tick) {
                connection.receive(&mut world.list, bodies, &bundle);
            }
            if at % 2 == 0 && connection.viewer.is_stale() {
                let bundle = connection.viewer.catch_up(&mut world.list, bodies);
                connection.receive(&mut world.list, bodies, &bundle);
            }
            // Rows are those of now, and no publication of counts was missed.
            if !connection.viewer.is_stale() {
                world.check(&connection.viewer, &connection.client, false);
                let version = connection
                    .client
                    .counts()
                    .map_or(u64::MAX, |counts| counts.version);
                let newest = connection.viewer.windows().len() > 0 && !epochs;
                assert!(
                    version >= newest_version || !newest,
                    "counts {version} of {newest_version}"
                );
            }
        }
    }
    settle(&mut world, &mut connections);
    if !epochs {
        assert!(
            connections.iter().all(|connection| connection.asked == 0),
            "nothing was lost"
        );
    }
    skipped
}

/// Checks that two ticks after the last change all viewers are up to date, and that the next is
/// empty.
fn settle(world: &mut World, connections: &mut [Connection]) {
    for _ in 0..2 {
        world.now += Duration::from_secs(1);
        let tick = world.tick();
        for connection in connections.iter_mut() {
            if let Some(bundle) = connection.viewer.bundle(&tick) {
                connection.receive(&mut world.list, Bodies::from(&world.people), &bundle);
            }
        }
    }
    for connection in connections {
        assert!(!connection.viewer.is_stale());
        world.check(
            &connection.viewer,
            &connection.client,
            connection.viewer.windows().len() > 0,
        );
    }
    world.now += Duration::from_secs(20);
    // The first one reminds viewers that all is as it was.
    let _ = world.tick();
    assert!(world.tick().is_empty());
}

proptest! {
    #[test]
    fn list_viewers_may_skip_any_tick(seed: u64, members in 0usize..260) {
        run(seed, members, false);
    }

    #[test]
    fn list_viewers_may_skip_any_tick_of_any_epoch(seed: u64, members in 0usize..260) {
        run(seed, members, true);
    }
}

#[test]
fn list_viewers_do_skip_ticks_in_the_model() {
    let skipped: usize = (0..20).map(|seed| run(seed, 150, false)).sum();
    assert!(skipped > 1_000, "{skipped} ticks skipped");
}

#[test]
fn list_empty_ticks_can_be_skipped() {
    let (mut list, _) = list(50);
    let mut connection = Connection::at(&mut list, &["c:0", "a:30:5:5"]);
    let first = tick(&mut list, 0);
    connection.take(&mut list, &first);
    for step in 1..20 {
        let ms = 700 * step;
        assert!(tick(&mut list, ms).is_empty());
        list.touch(&30).expect("known");
        let changed = tick(&mut list, ms + 250);
        let bundle = connection
            .viewer
            .bundle(&changed)
            .expect("both have changed");
        let is_delta = |change: &FrameChange<u64>| matches!(change, FrameChange::Delta { .. });
        assert_eq!(bundle.frames.len(), 2);
        assert!(bundle.frames.iter().all(|frame| is_delta(&frame.change)));
        assert!(!connection.viewer.is_stale());
    }
}

#[test]
fn list_counts_of_a_skipped_tick_come_with_the_next_bundle() {
    for groups in [3, 70] {
        let mut list = List::new(ListOptions::default());
        let names: Vec<String> = (0..groups).map(|at| format!("g{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let groups = list.set_groups(&names).expect("good names");
        for id in 0..150 {
            list.upsert(id, groups[0], &SortKey::from_u64(id), 0)
                .expect("room");
        }
        let mut connection = Connection::at(&mut list, &["c:0"]);
        for step in 1..4u64 {
            let at = 3_700 * step;
            // Below the chunk: only counts show it.
            list.upsert(1_000 + step, groups[2], &SortKey::from_u64(1), 0)
                .expect("room");
            assert!(tick(&mut list, at).counts().is_some());
            // The next one is empty, or not: either brings all.
            if step % 2 == 0 {
                list.upsert(2_000 + step, groups[1], &SortKey::from_u64(1), 0)
                    .expect("room");
            }
            let next = tick(&mut list, at + 2_000);
            assert!(!next.is_empty());
            assert!(connection.take(&mut list, &next));
            assert_eq!(connection.members(), list.member_count() as u64);
            assert!(tick(&mut list, at + 3_500).is_empty());
        }
    }
}

#[test]
fn list_tick_is_not_empty_while_a_viewer_is_behind() {
    let (mut list, [mods, ..]) = list(50);
    let mut connection = Connection::at(&mut list, &["c:0"]);
    let mut other = Connection::at(&mut list, &["c:0"]);
    list.upsert(99, mods, &SortKey::from_u64(9), 0)
        .expect("room");
    let changed = tick(&mut list, 2_000);
    other.take(&mut list, &changed);
    for step in 2..7 {
        let quiet = tick(&mut list, 2_000 * step);
        assert!(!quiet.is_empty() && quiet.frames().count() == 0);
        assert!(!other.take(&mut list, &quiet), "it has all");
    }
    // Asked again, the viewer needs the window, and the next tick brings it.
    let quiet = tick(&mut list, 14_000);
    connection.take(&mut list, &quiet);
    assert!(connection.viewer.is_stale());
    let brings = tick(&mut list, 14_500);
    assert_eq!(brings.frames().count(), 1);
    assert!(connection.take(&mut list, &brings) && !connection.viewer.is_stale());
    other.take(&mut list, &brings);
    assert_eq!(
        connection.client.window("c:0").expect("open").rows().len(),
        list.len()
    );
    assert!(tick(&mut list, 14_750).is_empty());
    // A viewer that was dropped is behind no more. One that closed its windows may lack counts.
    list.touch(&1).expect("known");
    tick(&mut list, 14_800);
    drop(connection);
    other.viewer.close(&WindowSpec::Chunk(0)).expect("held");
    let quiet = tick(&mut list, 14_900);
    assert!(!quiet.is_empty() && other.viewer.bundle(&quiet).is_none());
    assert!(tick(&mut list, 14_950).is_empty());
}

#[test]
fn list_viewer_asked_at_every_second_tick_is_brought_up_to_date() {
    let (mut list, _) = list(50);
    let mut connection = Connection::at(&mut list, &["c:0"]);
    for step in 1..10 {
        list.touch(&step).expect("known");
        tick(&mut list, 500 * step);
        list.touch(&step).expect("known");
        let second = tick(&mut list, 500 * step + 250);
        let was_sent = connection.take(&mut list, &second);
        // First it finds the gap, then it gets a sync, then there is another gap.
        assert_eq!(was_sent, step % 2 == 0);
        assert_eq!(connection.viewer.is_stale(), !was_sent);
    }
}

#[test]
fn list_epoch_reaches_viewers_by_itself() {
    let (mut list, _) = list(50);
    let mut connections = [
        Connection::at(&mut list, &["c:0", "a:30:5:5", "g:online:1:1"]),
        Connection::at(&mut list, &["a:30:5:5"]),
    ];
    let late = tick(&mut list, 500);
    list.remove(&30);
    list.begin_epoch("room:8", 5).expect("a higher epoch");
    let first = tick(&mut list, 1_000);
    assert!(!first.is_empty());
    for connection in &mut connections {
        let bundle = connection.viewer.bundle(&first).expect("everything again");
        assert_eq!((&*bundle.list, bundle.epoch.number), ("room:8", 5));
        connection.receive(&mut list, Bodies::None, &bundle);
        assert_eq!(connection.asked, 0);
        // A late bundle of the old epoch is ignored.
        assert!(!connection.take(&mut list, &late) && !connection.viewer.is_stale());
        let window = connection.client.window("a:31:5:5").expect("renamed");
        assert_eq!(window.rows().len(), 11);
        assert_eq!(connection.members(), 49);
    }
    assert!(tick(&mut list, 3_000).is_empty());
}

#[test]
fn list_tick_from_before_a_window_was_opened_leaves_it_as_it_is() {
    let (mut list, [mods, ..]) = list(250);
    let mut connection = Connection::at(&mut list, &["c:0"]);
    let mut other = Connection::at(&mut list, &["c:1"]);
    list.touch(&120).expect("known");
    list.upsert(999, mods, &SortKey::from_u64(1), 0)
        .expect("room");
    // Queued for the viewer while it opens another window.
    let queued = tick(&mut list, 1_000);
    other.take(&mut list, &queued);
    list.touch(&121).expect("known");
    let _ = list
        .upsert(998, mods, &SortKey::from_u64(1), 0)
        .expect("room");
    let _ = connection.client.open("c:1");
    let opened = connection
        .viewer
        .open(&mut list, WindowSpec::Chunk(1), Bodies::None);
    connection.receive(&mut list, Bodies::None, &opened.expect("open"));
    connection.take(&mut list, &queued);
    assert!(!connection.viewer.is_stale());
    assert_eq!(connection.members(), 252);
    let next = tick(&mut list, 2_000);
    connection.take(&mut list, &next);
    assert!(!connection.viewer.is_stale() && connection.asked == 0);
    assert_eq!(connection.members(), 252);
}

#[test]
fn list_hidden_viewers_get_counts_without_open_windows() {
    let (mut list, [mods, ..]) = list(5);
    let mut connection = Connection::at(&mut list, &["c:0"]);
    connection.viewer.set_hidden(true);
    for step in 1..5 {
        list.upsert(100 + step, mods, &SortKey::from_u64(step), 0)
            .expect("room");
        let published = tick(&mut list, 2_000 * step);
        assert_eq!(published.frames().count(), 0);
        assert!(connection.take(&mut list, &published));
        let counts = connection.client.counts().expect("counts were sent");
        assert_eq!(counts.members, list.member_count() as u64);
        assert!(matches!(&counts.table, CountsTable::Full(groups) if groups.len() == 3));
    }
}

/// The target of a move has become the same window as its source.
#[test]
fn list_window_can_be_moved_to_one_it_has_become() {
    for from_first in [true, false] {
        let (mut list, [mods, ..]) = list(9);
        let names = if from_first {
            ["a:5:1:1", "a:4:1:1"]
        } else {
            ["a:4:1:1", "a:5:1:1"]
        };
        let mut connection = Connection::at(&mut list, &names);
        list.set_group(&4, mods).expect("known");
        tick(&mut list, 250);
        let [from, to] = ["a:5:1:1", "a:4:1:1"].map(|name| Spec::parse(name).expect("good"));
        let moved = connection
            .viewer
            .retarget(&mut list, &from, to, Bodies::None);
        let moved = moved.expect("both are open");
        assert_eq!(moved.windows.len(), 1);
        connection.client.close("a:5:1:1");
        connection.receive(&mut list, Bodies::None, &moved);
        assert!(connection.viewer.windows().eq([&from]));
        let windows: Vec<_> = connection
            .client
            .windows()
            .map(|(name, _)| &**name)
            .collect();
        assert_eq!(windows, ["a:5:1:1"]);
    }
}

/// Moves the anchor of a window to the end of the list, so that a neighbour replaces it.
fn rename(list: &mut List, fast: &mut Viewer<u64>, step: u64) -> usize {
    let anchored = fast.windows().next();
    let Some(WindowSpec::Anchored {
        anchor: RowKey::Member(id),
        ..
    }) = anchored
    else {
        panic!("a window around a member, not {anchored:?}")
    };
    list.set_key(&id.clone(), &SortKey::from_u64(1_000 + step))
        .expect("known");
    let published = tick(list, 250 * step);
    let bundle = fast.bundle(&published).expect("renamed");
    bundle
        .frames
        .iter()
        .filter(|frame| frame.renamed.is_some())
        .count()
}

/// A viewer's window is renamed thousands of times before its next bundle; then it is dropped on a
/// small stack.
#[test]
fn list_renames_leave_no_chain_behind_a_viewer_that_is_not_asked() {
    let (mut list, _) = list(20);
    let slow = Connection::at(&mut list, &["a:10:2:2"]);
    let mut fast = Connection::at(&mut list, &["a:10:2:2"]).viewer;
    let renames: usize = (0..5_000)
        .map(|step| rename(&mut list, &mut fast, step))
        .sum();
    assert!(renames > 4_000, "{renames} renames");
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let dropped = small.spawn(move || drop(slow)).expect("a thread");
    dropped.join().expect("dropped");
}

#[test]
fn list_viewer_that_missed_many_renames_gets_the_last() {
    let (mut list, _) = list(20);
    let mut slow = Connection::at(&mut list, &["a:10:2:2"]);
    let mut fast = Connection::at(&mut list, &["a:10:2:2"]).viewer;
    for round in 1..20 {
        for step in 0..30 {
            rename(&mut list, &mut fast, 100 * round + step);
        }
        for step in [98, 99] {
            let published = tick(&mut list, 250 * (100 * round + step));
            slow.take(&mut list, &published);
        }
        assert!(slow.viewer.windows().eq(fast.windows()) && slow.asked == 0);
        let name = fast.windows().next().expect("one").to_string();
        assert!(slow.client.window(&name).is_some(), "{name}");
    }
}

#[test]
fn list_that_a_protocol_can_no_longer_show_closes_its_windows() {
    let (mut list, _) = list(9);
    let mut viewer = Viewer::discord();
    viewer
        .open(&mut list, WindowSpec::Chunk(0), Bodies::None)
        .expect("open");
    let mut rebuilt = List::new(ListOptions::default().headers(false));
    rebuilt.begin_epoch("", 2).expect("a higher epoch");
    let chunk = WindowSpec::Chunk(0);
    let resync = viewer.resync(&mut rebuilt, std::slice::from_ref(&chunk), Bodies::None);
    assert_eq!(resync, Err(WindowError::Unsupported));
    assert_eq!(viewer.windows().len(), 1);
    let bundle = viewer.catch_up(&mut rebuilt, Bodies::None);
    assert!(bundle.frames.is_empty() && bundle.windows.is_empty());
    assert_eq!((viewer.windows().len(), viewer.is_stale()), (0, false));
}

/// Here one window left its name, and another one got it, in ticks that a viewer had skipped.
#[test]
pub(crate) fn a_name_that_goes_from_window_to_window_makes_them_no_single_one() {
    run(1_287_550_316_551_438_232, 31, false);
}

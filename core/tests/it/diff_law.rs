//! The law of Diffs: a mirror by reference that began with any `list`, at any moment, and applied
//! every Diff since, equals `list`. It holds on every node of a cluster, under all faults.

use std::time::Duration;

use headcount::replica::{Config, Event};
use headcount::{NewEntry, Presence, PresenceConfig};
use proptest::prelude::*;

use crate::support::mesh::{Mesh, configured, events, seconds};
use crate::support::mirror::{Mirror, take_all};
use crate::support::trackers::tracker;

const NODES: usize = 3;
const TOPICS: [&str; 2] = ["room", "hall"];
const STEP: Duration = Duration::from_millis(5);
/// Readers of a node at the same time.
const READERS_MAX: usize = 12;

#[derive(Debug, Clone)]
enum Op {
    NewEntry(usize, u8, u8, u8),
    Leave(usize, u8, u8),
    LeaveOwner(usize, u8),
    Lost(usize, u8),
    Lease(usize, u8),
    /// An explicit flush, as programs without replication do.
    Flush(usize),
    Read(usize),
    Run(u16),
    Cut(usize),
    Heal,
    Restart(usize),
    Goodbye(usize),
    /// A second process with the identity of a node, so that one of them takes a new one.
    Twin(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let key = 0..3u8;
    let owner = 0..2u8;
    prop_oneof![
        16 => (node.clone(), key.clone(), owner.clone(), any::<u8>())
            .prop_map(|(n, k, o, m)| Op::NewEntry(n, k, o, m)),
        8 => (node.clone(), key, owner.clone()).prop_map(|(n, k, o)| Op::Leave(n, k, o)),
        2 => (node.clone(), owner.clone()).prop_map(|(n, o)| Op::LeaveOwner(n, o)),
        1 => (node.clone(), owner.clone()).prop_map(|(n, o)| Op::Lost(n, o)),
        1 => (node.clone(), owner).prop_map(|(n, o)| Op::Lease(n, o)),
        2 => node.clone().prop_map(Op::Flush),
        12 => node.clone().prop_map(Op::Read),
        8 => (1..40u16).prop_map(Op::Run),
        2 => (40..1_500u16).prop_map(Op::Run),
        1 => node.clone().prop_map(Op::Cut),
        1 => Just(Op::Heal),
        1 => node.clone().prop_map(Op::Restart),
        1 => node.clone().prop_map(Op::Goodbye),
        1 => node.prop_map(Op::Twin),
    ]
}

struct World {
    mesh: Mesh,
    /// For each node a mirror that has seen every Diff, then those that began later.
    mirrors: Vec<Vec<Mirror>>,
    lives: u64,
    slice_entries_max: usize,
    grace: Duration,
}

impl World {
    fn new(slice_entries_max: usize, grace: Duration) -> Self {
        let mut world = Self {
            mesh: Mesh::new(&[]),
            mirrors: Vec::new(),
            lives: 0,
            slice_entries_max,
            grace,
        };
        for n in 0..NODES {
            let node = world.node(n);
            world.mesh.nodes.push(node);
            world.mirrors.push(vec![Mirror::default()]);
        }
        world
    }

    fn node(&mut self, n: usize) -> Presence {
        self.lives += 1;
        let set = |config: PresenceConfig| {
            config
                .grace(self.grace)
                .slice_entries_max(self.slice_entries_max)
                .flush(Duration::from_millis(20))
                .replication(Config::default().down_after(seconds(2)))
        };
        configured(&format!("n{n}"), self.lives, self.lives, set)
    }

    fn restart(&mut self, n: usize) {
        self.mesh.nodes[n] = self.node(n);
        self.mirrors[n] = vec![Mirror::default()];
    }

    fn read(&mut self, n: usize) {
        let readers = &mut self.mirrors[n];
        if readers.len() == READERS_MAX {
            readers.remove(READERS_MAX / 2);
        }
        readers.push(Mirror::of(&self.mesh.nodes[n], &TOPICS));
    }

    fn run(&mut self, time: Duration) {
        let end = self.mesh.now + time;
        while self.mesh.now < end {
            self.mesh.run(STEP);
            for (n, readers) in self.mirrors.iter_mut().enumerate() {
                take_all(&self.mesh.nodes[n], readers);
            }
        }
    }

    fn take(&mut self, op: &Op) {
        let names = |key: u8, owner: u8| (format!("k{key}"), format!("o{owner}"));
        let topic = |key: u8| TOPICS[usize::from(key) % TOPICS.len()];
        let now = self.mesh.now;
        match *op {
            Op::NewEntry(n, key, owner, meta) => {
                let (name, owner) = names(key, owner);
                let meta = vec![meta; usize::from(meta % 3)];
                let entry = NewEntry::new(topic(key), &name, &owner).meta(&meta);
                self.mesh.nodes[n].upsert(&entry).unwrap();
            }
            Op::Leave(n, key, owner) => {
                let (name, owner) = names(key, owner);
                self.mesh.nodes[n].untrack(topic(key), name.as_str(), owner);
            }
            Op::LeaveOwner(n, owner) => drop(self.mesh.nodes[n].untrack_owner(names(0, owner).1)),
            Op::Lost(n, owner) => self.mesh.nodes[n].owner_lost(now, names(0, owner).1),
            Op::Lease(n, owner) => {
                self.mesh.nodes[n].lease_owner(now, names(0, owner).1, 20 * STEP);
            }
            Op::Flush(n) => self.flush(n),
            Op::Read(n) => self.read(n),
            Op::Run(ms) => self.run(Duration::from_millis(ms.into())),
            Op::Cut(n) => self.mesh.cut(n),
            Op::Heal => self.mesh.cut.clear(),
            Op::Restart(n) => self.restart(n),
            Op::Goodbye(n) => {
                self.mesh.nodes[n].leave_gracefully(now);
                self.run(STEP);
                self.restart(n);
            }
            Op::Twin(n) => self.twin(n),
        }
    }

    fn flush(&mut self, n: usize) {
        let readers = &mut self.mirrors[n];
        take_all(&self.mesh.nodes[n], &mut *readers);
        let diff = self.mesh.nodes[n].take_diff();
        readers.iter_mut().for_each(|reader| reader.take(&diff));
    }

    /// Lets a process that looks like a later life of the node send frames for a moment.
    fn twin(&mut self, n: usize) {
        let id = self.mesh.nodes[n].id();
        let set = |config: PresenceConfig| config.seed(99);
        let twin = configured(id.name(), id.incarnation(), 99, set);
        for key in 0..50 {
            twin.track(&NewEntry::new("room", &format!("t{key}"), "t"))
                .unwrap();
        }
        self.mesh.nodes.push(twin);
        self.mesh.run(STEP);
        self.mesh.nodes.truncate(NODES);
    }

    /// Runs until nothing waits on any node; then checks all readers.
    fn check(&mut self) {
        self.run(10 * STEP);
        for n in 0..NODES {
            let node = &self.mesh.nodes[n];
            while node.poll_timeout() == Some(self.mesh.now) {
                node.handle_timeout(self.mesh.now);
            }
            self.flush(n);
            let node = &self.mesh.nodes[n];
            for reader in &self.mirrors[n] {
                TOPICS.iter().for_each(|topic| reader.check(node, topic));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_reader_of_a_list_and_the_diffs_since_is_right(
        rounds in prop::collection::vec(prop::collection::vec(op(), 1..12), 1..12),
        slice_entries_max in prop_oneof![Just(2usize), Just(1_024)],
        grace in prop_oneof![Just(Duration::ZERO), Just(seconds(1))],
    ) {
        follow_the_law(World::new(slice_entries_max, grace), &rounds);
    }
}

fn follow_the_law(mut world: World, rounds: &[Vec<Op>]) {
    world.run(seconds(1));
    for ops in rounds {
        ops.iter().for_each(|op| world.take(op));
        world.check();
    }
    world.mesh.cut.clear();
    world.run(seconds(5));
    world.check();
}

/// A reader begins in the middle of a visit shorter than a flush.
#[test]
fn a_short_visit_leaves_no_ghost_with_its_readers() {
    let node = configured("a", 1, 1, |config| config);
    node.handle_timeout(Duration::ZERO);
    node.track(&NewEntry::new("room", "ann", "c")).unwrap();
    let mut saw_her = Mirror::of(&node, &TOPICS);
    node.update(&NewEntry::new("room", "ann", "c").meta(b"2"))
        .unwrap();
    let mut saw_her_later = Mirror::of(&node, &TOPICS);
    node.untrack("room", "ann", "c");
    let mut first = Mirror::default();
    let mut last = Mirror::of(&node, &TOPICS);
    node.handle_timeout(STEP);
    node.handle_timeout(2 * STEP);
    let readers = [&mut first, &mut saw_her, &mut saw_her_later, &mut last];
    assert_eq!(take_all(&node, readers), (1, 0, 2));
    for reader in [&first, &saw_her, &saw_her_later, &last] {
        reader.check(&node, "room");
    }
}

/// Versions under the old identity that no Diff had reported yet were never ended.
#[test]
fn a_new_identity_ends_what_was_shown_under_the_old_one() {
    let mut tracker = tracker("a");
    tracker.track(&NewEntry::new("room", "ann", "c")).unwrap();
    let _ = tracker.take_diff();
    tracker.track(&NewEntry::new("room", "bob", "c")).unwrap();
    let update = NewEntry::new("room", "ann", "c").meta(b"2");
    tracker.update(&update).unwrap();
    let mut reader = Mirror::of_tracker(&tracker, &TOPICS);
    let diff = tracker.reincarnate(headcount::ReplicaId::new("a", 2, 0).unwrap());
    reader.take(&diff);
    reader.check_tracker(&tracker, &TOPICS, true);
}

/// Writes more versions of one entry than a node keeps until the next Diff.
fn flood(node: &Presence) {
    let meta = vec![b'm'; 16 << 10];
    for _ in 0..600 {
        node.upsert(&NewEntry::new("room", "ann", "c").meta(&meta))
            .unwrap();
    }
}

/// A loss of Diffs is reported, so that readers read the lists again.
#[test]
fn a_node_reports_that_it_lost_joins_and_leaves() {
    let node = configured("a", 1, 1, |config| config);
    node.handle_timeout(Duration::ZERO);
    flood(&node);
    node.handle_timeout(STEP);
    node.handle_timeout(2 * STEP);
    assert_eq!(events(&node), [Event::DiffsDropped]);
    let diff = node.poll_diff().unwrap();
    assert!(diff.is_lossy());
    assert_eq!(diff.topic("room").unwrap().len(), 1);
}

#[test]
fn a_loss_is_reported_when_the_diff_is_taken_without_waiting() {
    let node = configured("a", 1, 1, |config| config);
    node.handle_timeout(Duration::ZERO);
    flood(&node);
    assert!(node.try_take_diff().unwrap().is_lossy());
    assert_eq!(events(&node), [Event::DiffsDropped]);
    flood(&node);
    assert!(node.take_diff().is_lossy());
    node.upsert(&NewEntry::new("room", "ann", "c")).unwrap();
    assert!(!node.try_take_diff().unwrap().is_lossy());
    assert_eq!(events(&node), []);
}

//! Replicas that restart while others grant their entries a grace.

use std::time::Duration;

use headcount::tracker::Limits;
use headcount::{NewEntry, Presence, PresenceConfig};
use proptest::prelude::*;

use crate::support::mesh::{Mesh, configured, seconds};
use crate::support::mirror::Mirror;

const ROOM: &str = "room";
const GRACE: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(5);

fn with_grace(name: &str, incarnation: u64, slice_entries_max: usize) -> Presence {
    configured(
        name,
        incarnation,
        77 + incarnation,
        |config: PresenceConfig| config.grace(GRACE).slice_entries_max(slice_entries_max),
    )
}

/// Nodes a and b with grace, and a mirror of b.
struct Scene {
    mesh: Mesh,
    mirror: Mirror,
    incarnation: u64,
    slice_entries_max: usize,
}

impl Scene {
    fn new(slice_entries_max: usize) -> Self {
        let mut mesh = Mesh::new(&[]);
        mesh.nodes = ["a", "b"]
            .map(|name| with_grace(name, 1, slice_entries_max))
            .into();
        let mirror = Mirror::default();
        let incarnation = 1;
        Self {
            mesh,
            mirror,
            incarnation,
            slice_entries_max,
        }
    }

    fn a(&self) -> &Presence {
        &self.mesh.nodes[0]
    }

    fn b(&self) -> &Presence {
        &self.mesh.nodes[1]
    }

    fn join(&self, key: &str, owner: &str, meta: &[u8]) {
        self.a()
            .upsert(&NewEntry::new(ROOM, key, owner).meta(meta))
            .unwrap();
    }

    /// Runs, and checks after every step that what b lists and counts agrees with its Diffs.
    fn run(&mut self, time: Duration) -> (usize, usize, usize) {
        let mut sum = (0, 0, 0);
        let end = self.mesh.now + time;
        while self.mesh.now < end {
            self.mesh.run(STEP);
            // Large work is done in slices: Diffs report the entries that it made visible before it
            // ends.
            while self.b().poll_timeout() == Some(self.mesh.now) {
                self.b().handle_timeout(self.mesh.now);
            }
            let changes = self.mirror.take_all(&self.mesh.nodes[1]);
            sum = (sum.0 + changes.0, sum.1 + changes.1, sum.2 + changes.2);
            self.mirror.check(self.b(), ROOM);
        }
        sum
    }

    /// Kills the process of a, and restarts it without entries.
    fn restart(&mut self) {
        self.incarnation += 1;
        self.mesh.nodes[0] = with_grace("a", self.incarnation, self.slice_entries_max);
    }

    fn lives_of_a(&self) -> Vec<u64> {
        let clocks = self.b().clocks().into_iter();
        let of_a = clocks.filter(|(origin, _)| origin.replica.name() == "a");
        of_a.map(|(origin, _)| origin.replica.incarnation())
            .collect()
    }
}

#[test]
fn entries_of_a_replaced_replica_return_as_updates_or_leave_once() {
    let mut scene = Scene::new(1_024);
    for key in ["ann", "bob", "cleo", "dan"] {
        scene.join(key, "c1", b"1");
    }
    assert_eq!(scene.run(seconds(3)), (4, 0, 0));
    scene.restart();
    assert_eq!(scene.run(seconds(1)), (0, 0, 0), "nobody flaps");
    assert_eq!(
        (scene.b().count(ROOM).unwrap(), scene.lives_of_a()),
        (4, vec![])
    );
    scene.join("ann", "c1", b"1");
    scene.join("bob", "c9", b"2");
    scene.join("eve", "c9", b"3");
    assert_eq!(scene.run(seconds(1)), (1, 2, 0));
    assert_eq!(scene.b().count(ROOM).unwrap(), 5);
    assert_eq!(scene.b().get_by_key(ROOM, "bob").unwrap()[0].owner(), b"c9");
    assert_eq!(
        scene.run(seconds(4)),
        (0, 0, 2),
        "cleo and dan did not come back"
    );
    assert_eq!((scene.b().count(ROOM).unwrap(), scene.b().len()), (3, 3));
    assert_eq!(scene.run(seconds(9)), (0, 0, 0));
}

/// The versions of two lives of a replica are the same numbers: bob's new entry and ann's old one
/// became one update.
#[test]
fn users_that_return_in_another_order_are_not_confused() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c1", b"ann's");
    scene.join("bob", "c2", b"bob's");
    assert_eq!(scene.run(seconds(3)), (2, 0, 0));
    scene.restart();
    scene.join("bob", "c3", b"bob's");
    scene.join("ann", "c4", b"ann's");
    scene.mesh.run(seconds(1));
    let mut owners = Vec::new();
    while let Some(diff) = scene.b().poll_diff() {
        scene.mirror.take(&diff);
        for update in &diff.topic(ROOM).unwrap().updates {
            assert_eq!(update.old.key(), update.new.key());
            assert_eq!(update.old.meta(), update.new.meta());
            owners.push((update.old.owner().to_vec(), update.new.owner().to_vec()));
        }
    }
    owners.sort();
    let pairs = [(b"c1", b"c4"), (b"c2", b"c3")].map(|(old, new)| (old.to_vec(), new.to_vec()));
    assert_eq!(owners, pairs);
    assert_eq!(scene.run(seconds(5)), (0, 0, 0));
}

/// As above: ann was reported as an update of zed, who was new and never joined.
#[test]
fn a_newcomer_is_not_confused_with_a_user_of_the_life_before() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c1", b"");
    assert_eq!(scene.run(seconds(3)), (1, 0, 0));
    scene.restart();
    scene.join("zed", "c2", b"");
    scene.join("ann", "c3", b"");
    assert_eq!(scene.run(seconds(1)), (1, 1, 0));
    scene.a().untrack_owner("c2");
    scene.a().untrack_owner("c3");
    assert_eq!(scene.run(seconds(5)), (0, 0, 2));
}

#[test]
fn the_session_of_the_same_owner_returns_first() {
    let mut scene = Scene::new(1_024);
    for owner in ["c1", "c2", "c3"] {
        scene.join("ann", owner, owner.as_bytes());
    }
    scene.run(seconds(3));
    scene.restart();
    scene.run(seconds(1));
    scene.join("ann", "c2", b"again");
    assert_eq!(scene.run(seconds(1)), (0, 1, 0));
    let sessions = scene.b().get_by_key(ROOM, "ann").unwrap();
    let mut metas: Vec<_> = sessions.iter().map(|entry| entry.meta()).collect();
    metas.sort_unstable();
    assert_eq!(metas, [&b"again"[..], b"c1", b"c3"]);
    assert_eq!(scene.run(seconds(5)), (0, 0, 2));
}

#[test]
fn each_life_has_its_own_grace() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c", b"");
    scene.join("bob", "c", b"");
    scene.run(seconds(3));
    scene.restart();
    scene.run(seconds(2));
    scene.join("ann", "c", b"");
    scene.join("cleo", "c", b"");
    assert_eq!(scene.run(seconds(1)), (1, 1, 0));
    scene.restart();
    assert_eq!(scene.run(seconds(2)), (0, 0, 1), "bob's grace began first");
    scene.join("cleo", "c", b"");
    assert_eq!(scene.run(seconds(1)), (0, 1, 0));
    assert_eq!(
        scene.run(seconds(3)),
        (0, 0, 1),
        "ann stayed for a grace of her own"
    );
    assert_eq!(scene.b().len(), 1);
}

#[test]
fn a_lingering_entry_is_nowhere_in_the_state() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c", b"");
    scene.run(seconds(3));
    scene.restart();
    scene.mesh.nodes.push(with_grace("c", 1, 1_024));
    scene.run(seconds(3));
    assert_eq!(scene.b().count(ROOM).unwrap(), 1);
    assert_eq!(scene.mesh.nodes[2].len(), 0, "nobody serves it");
    assert!(scene.lives_of_a().is_empty());
}

#[test]
fn a_goodbye_ends_the_grace() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c", b"");
    scene.join("bob", "c", b"");
    scene.run(seconds(3));
    scene.restart();
    scene.run(seconds(1));
    scene.join("ann", "c", b"");
    scene.run(seconds(1));
    scene.a().leave_gracefully(scene.mesh.now);
    assert_eq!(scene.run(seconds(1)), (0, 0, 2));
    assert!(scene.b().is_empty());
}

#[test]
fn what_was_hidden_has_no_grace() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c", b"");
    scene.run(seconds(3));
    scene.mesh.cut(0);
    assert_eq!(scene.run(seconds(7)), (0, 0, 1));
    scene.mesh.cut.clear();
    scene.restart();
    scene.join("ann", "c", b"");
    assert_eq!(scene.run(seconds(2)), (1, 0, 0));
    assert_eq!(scene.run(seconds(5)), (0, 0, 0));
}

#[test]
fn a_later_life_that_goes_down_is_hidden_alone() {
    let mut scene = Scene::new(1_024);
    scene.join("ann", "c", b"");
    scene.join("bob", "c", b"");
    scene.run(seconds(3));
    scene.restart();
    scene.join("ann", "c", b"");
    assert_eq!(scene.run(seconds(1)), (0, 1, 0));
    scene.b().disconnected(scene.mesh.now, "0");
    assert_eq!(scene.mirror.take_all(&scene.mesh.nodes[1]), (0, 0, 1));
    scene.mirror.check(scene.b(), ROOM);
    assert_eq!(scene.b().get_by_key(ROOM, "bob").unwrap().len(), 1);
    assert_eq!(
        scene.run(seconds(6)),
        (1, 0, 1),
        "ann is heard again, bob's grace ends"
    );
}

#[test]
fn loads_in_slices_return_too() {
    let mut scene = Scene::new(16);
    for i in 0..300 {
        scene.join(&format!("user {i}"), "c", b"1");
    }
    assert_eq!(scene.run(seconds(3)), (300, 0, 0));
    scene.restart();
    for i in 100..400 {
        scene.join(&format!("user {i}"), "c", b"2");
    }
    assert_eq!(scene.run(seconds(2)), (100, 200, 0));
    assert_eq!(scene.run(seconds(5)), (0, 0, 100));
    assert_eq!(scene.b().len(), 300);
}

#[test]
fn full_tables_and_many_lives_keep_no_more_than_their_bounds() {
    let mut scene = Scene::new(1_024);
    scene.mesh.nodes[1] = configured("b", 1, 5, |config| {
        config
            .grace(Duration::from_secs(600))
            .limits(Limits::default().entries_max(30))
    });
    for life in 0..100 {
        scene.join(&format!("user {life}"), "c", b"");
        scene.run(seconds(1));
        assert!(scene.b().len() <= 30 && scene.b().count(ROOM).unwrap() > 0);
        scene.restart();
    }
}

#[derive(Debug, Clone)]
enum Op {
    Join(u8, u8),
    Leave(u8, u8),
    Restart,
    Goodbye,
    Cut(bool),
    Lost,
    Run(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..6u8, 0..2u8).prop_map(|(key, owner)| Op::Join(key, owner)),
        3 => (0..6u8, 0..2u8).prop_map(|(key, owner)| Op::Leave(key, owner)),
        3 => Just(Op::Restart),
        1 => Just(Op::Goodbye),
        1 => any::<bool>().prop_map(Op::Cut),
        1 => Just(Op::Lost),
        6 => (1..1_500u16).prop_map(Op::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn diffs_and_lists_agree_whatever_happens(
        ops in prop::collection::vec(op(), 1..40),
        slice_entries_max in prop_oneof![Just(2usize), Just(1_024)],
    ) {
        agree_whatever_happens(ops, slice_entries_max);
    }
}

/// At every step the Diffs of b add up to what b lists and counts, under all faults of a; in the
/// end b holds exactly what a has.
fn agree_whatever_happens(ops: Vec<Op>, slice_entries_max: usize) {
    let mut scene = Scene::new(slice_entries_max);
    scene.run(seconds(1));
    for op in ops {
        match op {
            Op::Join(key, owner) => scene.join(&key.to_string(), &owner.to_string(), &[key]),
            Op::Leave(key, owner) => {
                scene.a().untrack(ROOM, &key.to_string(), owner.to_string());
            }
            Op::Restart => scene.restart(),
            Op::Goodbye => {
                scene.a().leave_gracefully(scene.mesh.now);
                scene.run(STEP);
                scene.restart();
            }
            Op::Cut(true) => scene.mesh.cut(0),
            Op::Cut(false) => scene.mesh.cut.clear(),
            Op::Lost => scene.a().owner_lost(scene.mesh.now, "0"),
            Op::Run(ms) => {
                scene.run(Duration::from_millis(ms.into()));
            }
        }
    }
    scene.mesh.cut.clear();
    scene.run(GRACE + seconds(4));
    let listed = |node: &Presence| {
        let list = node.list(ROOM).unwrap().into_iter();
        let mut list: Vec<_> = list.map(|entry| (entry.dot(), entry)).collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    };
    assert_eq!(listed(scene.a()), listed(scene.b()));
    assert_eq!(scene.b().len(), scene.b().count(ROOM).unwrap());
}

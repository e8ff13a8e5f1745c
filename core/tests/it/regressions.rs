//! Errors that the simulator found, each as a test without random numbers.

use std::time::Duration;

use bytes::Bytes;
use headcount::codec::Kind;
use headcount::replica::{Config, Event, Replica};
use headcount::testing::Wire1;
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

use crate::support::mesh::{Mesh, configured, events, node, seconds};

fn frames(node: &Presence) -> Vec<Bytes> {
    std::iter::from_fn(|| node.poll_transmit().map(|transmit| transmit.frame)).collect()
}

fn with_grace(grace: Duration) -> Presence {
    configured("a", 1, 1, |config| config.grace(grace))
}

/// A later entry of the same topic, key and owner inherited the lease of the one before.
#[test]
fn a_lease_ends_with_its_entry() {
    let presence = with_grace(Duration::ZERO);
    let entry = NewEntry::new("room", "ann", "conn");
    presence.track(&entry).unwrap();
    assert!(presence.lease(seconds(0), "room", "ann", "conn", seconds(10)));
    assert_eq!(presence.untrack_owner("conn"), 1);
    presence.track(&entry).unwrap();
    presence.handle_timeout(seconds(11));
    assert_eq!(presence.count("room"), 1, "tracked again, without a lease");
}

/// An entry that its lost owner had written again was taken over by the next owner of that key.
#[test]
fn an_entry_that_came_back_is_not_taken_over() {
    let presence = with_grace(seconds(10));
    presence.track(&NewEntry::new("room", "ann", "a")).unwrap();
    presence.owner_lost(seconds(0), "a");
    let written = NewEntry::new("room", "ann", "a").meta(b"back");
    presence.update(&written).unwrap();
    presence.track(&NewEntry::new("room", "ann", "b")).unwrap();
    assert_eq!(presence.count("room"), 2, "two sessions of one user");
    presence.handle_timeout(seconds(11));
    assert_eq!(presence.count("room"), 2);
}

/// A late answer to a Digest of the life before made its healthy successor at the same address take
/// a new identity and send everything again.
#[test]
fn a_successor_is_not_superseded_by_itself() {
    let now = seconds(1);
    let a = node::<Wire1>("a", 1, 1, |config| config);
    let first = node::<Wire1>("b", 1, 2, |config| config);
    first.handle_timeout(now);
    let stale = frames(&first);
    let second = node::<Wire1>("b", 2, 3, |config| config);
    second.handle_timeout(now);
    a.handle_timeout(now);
    for frame in frames(&second).iter().chain(&stale) {
        a.handle_message(now, "b", frame).unwrap();
    }
    let answers = frames(&a);
    let superseded = |frame: &Bytes| frame[4] == Kind::SUPERSEDED.0;
    assert!(answers.iter().any(superseded), "the life before is fenced");
    for frame in &answers {
        second.handle_message(now, "a", frame).unwrap();
    }
    assert_eq!(second.id().incarnation(), 2);
    // A process of the life before that still ran would obey it.
    for frame in &answers {
        first.handle_message(now, "a", frame).unwrap();
    }
    first.handle_timeout(now + seconds(10));
    assert!(first.id().incarnation() > 2);
}

/// A process that started from an old snapshot advertised replicas that were long dead; nodes
/// without a marker showed them until they had been silent for `down_after` again.
#[test]
fn a_snapshot_brings_no_dead_replica_back() {
    let relay =
        |name, incarnation, seed| node(name, incarnation, seed, |config| config.relay(true));
    let exchange = |from: &Presence, name: &str, to: &Presence, now: Duration| {
        from.handle_timeout(now);
        for frame in frames(from) {
            to.handle_message(now, name, &frame).unwrap();
        }
    };
    let gone = relay("gone", 1, 1);
    let old = relay("old", 1, 2);
    gone.track(&NewEntry::new("room", "ghost", "c")).unwrap();
    for ms in (0..3_000).step_by(10) {
        let now = Duration::from_millis(ms);
        exchange(&gone, "gone", &old, now);
        exchange(&old, "old", &gone, now);
    }
    assert_eq!(old.count("room"), 1);
    let snapshot = old.snapshot();
    let id = ReplicaId::new("old", 2, 0).unwrap();
    let config = PresenceConfig::default().replication(Config::default().relay(true));
    let restored = Presence::restore(id, config, Duration::ZERO, &snapshot).unwrap();
    let newcomer = relay("new", 1, 4);
    for ms in (0..9_000).step_by(10) {
        let now = Duration::from_millis(ms);
        exchange(&restored, "old", &newcomer, now);
        exchange(&newcomer, "new", &restored, now);
        assert_eq!(newcomer.len(), 0, "offered nowhere");
    }
    let known: Vec<_> = newcomer.replicas().into_iter().map(|(id, _)| id).collect();
    assert_eq!(known, [restored.id()]);
}

/// Two nodes, each with a user.
fn pair() -> Mesh {
    let mesh = Mesh::<Wire1>::new(&[("a", 1), ("b", 1)]);
    for (node, key) in mesh.nodes.iter().zip(["ann", "bob"]) {
        node.track(&NewEntry::new("room", key, "conn")).unwrap();
    }
    mesh
}

fn downs(node: &Presence) -> usize {
    let is_down = |event: &Event| matches!(event, Event::ReplicaDown(_));
    events(node).iter().filter(|event| is_down(event)).count()
}

/// A replica that fell silent a second time stayed listed for `forget_after`.
#[test]
fn every_silence_hides_a_replica_not_only_the_first() {
    let mut mesh = pair();
    mesh.run(seconds(10));
    for _ in 0..3 {
        mesh.cut(1);
        mesh.run(seconds(7));
        assert_eq!(mesh.nodes[0].count("room"), 1, "bob is not heard");
        assert_eq!(downs(&mesh.nodes[0]), 1);
        mesh.cut.clear();
        mesh.run(seconds(10));
        assert_eq!(mesh.nodes[0].count("room"), 2, "bob is heard again");
    }
}

/// The same for a replica from a snapshot: it begins hidden.
#[test]
fn a_silence_after_a_snapshot_hides() {
    let mut mesh = pair();
    mesh.run(seconds(10));
    let snapshot = mesh.nodes[0].snapshot();
    let id = ReplicaId::new("a", 2, 0).unwrap();
    let config = PresenceConfig::default();
    mesh.nodes[0] = Presence::restore(id, config, mesh.now, &snapshot).unwrap();
    mesh.run(seconds(10));
    assert_eq!(mesh.nodes[0].count("room"), 1, "bob is heard");
    mesh.cut(1);
    mesh.run(seconds(7));
    assert_eq!(mesh.nodes[0].count("room"), 0);
}

/// A silent sender kept its place among the direct senders until other work was due, and a new
/// sender was refused meanwhile.
#[test]
fn a_silent_sender_makes_room_in_time() {
    let config = || Config::default().forget_after(seconds(10)).peers_max(1);
    let start = |name, seed| Replica::new(ReplicaId::new(name, 1, 0).unwrap(), config(), seed);
    let mut node = start("node", 1);
    let mut hear = |name, seed, now: Duration| {
        let mut other = start(name, seed);
        other.handle_timeout(now);
        while let Some(transmit) = other.poll_transmit() {
            node.handle_message(now, name, &transmit.frame).unwrap();
        }
        let known = node.replicas().any(|(id, up)| id.name() == name && up);
        // Until the next frame arrives, it is called when it asks to be.
        while let Some(at) = node.poll_timeout().filter(|at| *at <= now + seconds(20)) {
            node.handle_timeout(at);
        }
        known
    };
    assert!(hear("first", 2, Duration::ZERO));
    assert!(hear("second", 3, seconds(20)));
}

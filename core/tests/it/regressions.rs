//! Errors that the simulator found, each as a test without random numbers.

use std::time::Duration;

use headcount::replica::Event;
use headcount::{NewEntry, Presence};

use crate::support::mesh::{Mesh, configured, events, seconds};

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
    assert_eq!(
        presence.count("room").unwrap(),
        1,
        "tracked again, without a lease"
    );
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
    assert_eq!(
        presence.count("room").unwrap(),
        2,
        "two sessions of one user"
    );
    presence.handle_timeout(seconds(11));
    assert_eq!(presence.count("room").unwrap(), 2);
}

/// Two nodes, each with a user.
fn pair() -> Mesh {
    let mesh = Mesh::new(&[("a", 1), ("b", 1)]);
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
        assert_eq!(mesh.nodes[0].count("room").unwrap(), 1, "bob is not heard");
        assert_eq!(downs(&mesh.nodes[0]), 1);
        mesh.cut.clear();
        mesh.run(seconds(10));
        assert_eq!(
            mesh.nodes[0].count("room").unwrap(),
            2,
            "bob is heard again"
        );
    }
}

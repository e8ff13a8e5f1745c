//! Rules with a test of their own that fails without them, beside the schedules of the simulator.

use headcount::testing::Fault;
use headcount::{NewEntry, Presence, PresenceConfig};

use crate::replica;
use crate::support::broken_rules;
use crate::support::mesh::{Mesh, configured, node, seconds};

#[test]
fn broken_rules_fail_their_tests() {
    let broken: [(Fault, fn()); 4] = [
        (
            Fault::IgnoreRival,
            replica::a_duplicate_name_is_reported_once_and_the_lower_one_is_silent,
        ),
        (Fault::LingerAnyName, a_former_entry_of_another_name_stays),
        (Fault::ForgetTimers, the_end_of_a_lease_is_waited_for),
        (
            Fault::DiffAllTopics,
            topics_that_are_not_wanted_are_in_no_diff_of_a_hide,
        ),
    ];
    broken_rules::check(&broken);
}

fn track(node: &Presence, topic: &str, owner: &str) {
    node.track(&NewEntry::new(topic, "ann", owner)).unwrap();
}

/// Ann of one node lingers after its restart; ann of another node is another user.
#[test]
fn a_former_entry_of_another_name_stays() {
    let new = |name: &str, incarnation| {
        let set = |config: PresenceConfig| config.grace(seconds(10));
        configured(name, incarnation, incarnation, set)
    };
    let mut mesh = Mesh::new(&[]);
    mesh.nodes = ["a", "b", "c"].map(|name| new(name, 1)).into();
    track(&mesh.nodes[0], "room", "phone");
    mesh.run(seconds(3));
    mesh.nodes[0] = new("a", 2);
    mesh.run(seconds(1));
    track(&mesh.nodes[2], "room", "phone");
    mesh.run(seconds(1));
    assert_eq!(mesh.nodes[1].count("room"), Ok(2));
}

#[test]
fn the_end_of_a_lease_is_waited_for() {
    let node = node("a", 1, 1, |config| config.heartbeat(seconds(3_600)));
    track(&node, "room", "phone");
    for second in 0..5 {
        node.handle_timeout(seconds(second));
    }
    node.lease(seconds(4), "room", "ann", "phone", seconds(5));
    assert_eq!(node.poll_timeout(), Some(seconds(9)));
}

#[test]
fn topics_that_are_not_wanted_are_in_no_diff_of_a_hide() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    for topic in ["room", "hall"] {
        track(&mesh.nodes[0], topic, "phone");
    }
    mesh.run(seconds(3));
    while mesh.nodes[1].poll_diff().is_some() {}
    mesh.nodes[1].diff_topics(["hall".to_owned()]);
    mesh.cut(0);
    mesh.run(seconds(7));
    let diffs = std::iter::from_fn(|| mesh.nodes[1].poll_diff());
    let topics: Vec<_> = diffs.flatten().map(|diff| diff.topic.to_string()).collect();
    assert_eq!(topics, ["hall"]);
}

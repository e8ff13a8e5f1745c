//! What calls cost beside much that is there: bytes allocated, since times depend on the machine.

use allocation_counter::measure;
use headcount::runtime::{Node, memory::Network};
use headcount::{NewEntry, PresenceConfig, ReplicaId};

use crate::support::mesh::{Mesh, node, seconds};

#[tokio::test(start_paused = true)]
async fn a_subscription_takes_less_than_a_kilobyte_however_large_its_topic_is() {
    for users in [1, 10_000] {
        let id = ReplicaId::new("a", 1, 0).unwrap();
        let node = Node::start(id, PresenceConfig::default(), Network::new().join("a"));
        for user in 0..users {
            let key = format!("user {user}");
            node.track(&NewEntry::new("room", &key, "conn")).unwrap();
        }
        let mut readers = Vec::with_capacity(1_000);
        let cost = measure(|| {
            for _ in 0..1_000 {
                readers.push(node.subscribe("room").unwrap());
            }
        });
        assert!(
            cost.bytes_total < 1_000 * 1_000,
            "{} bytes",
            cost.bytes_total
        );
    }
}

#[test]
fn a_diff_of_one_change_costs_the_same_beside_a_hundred_thousand_topics() {
    let mut costs = Vec::new();
    for topics in [32, 100_000] {
        let node = node("a", 1, 1, |config| config);
        for topic in 0..topics {
            let topic = format!("topic {topic}");
            node.track(&NewEntry::new(&topic, "ann", "conn")).unwrap();
        }
        assert_eq!(node.take_diff().len(), topics);
        node.track(&NewEntry::new("topic 7", "bob", "conn"))
            .unwrap();
        let cost = measure(|| assert_eq!(node.take_diff().len(), 1));
        costs.push(cost.bytes_total);
    }
    assert!(costs[1] <= costs[0] + 1_000, "{costs:?}");
}

#[test]
fn keys_are_counted_without_memory_while_a_replica_is_hidden_and_entries_change() {
    let mut mesh = Mesh::new(&[("a", 1), ("b", 1)]);
    for node in &mesh.nodes {
        for user in 0..5_000 {
            let key = format!("user {user}");
            node.track(&NewEntry::new("room", &key, "conn")).unwrap();
        }
    }
    mesh.run(seconds(3));
    mesh.cut(1);
    mesh.run(seconds(7));
    let a = &mesh.nodes[0];
    assert_eq!(a.count_keys("room").unwrap().exact(), Some(5_000));
    for user in 0..100 {
        assert!(a.untrack("room", &*format!("user {user}"), "conn"));
        let mut keys = None;
        let cost = measure(|| keys = a.count_keys("room").unwrap().exact());
        assert_eq!(keys, Some(4_999 - user));
        assert!(cost.bytes_total < 1_000, "{} bytes", cost.bytes_total);
    }
}

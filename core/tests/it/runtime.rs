//! Nodes on tokio over the in-memory network, on a paused clock.

use std::collections::HashSet;
use std::time::Duration;

use headcount::replica::Event;
use headcount::runtime::{Node, memory::Network, starting};
use headcount::{PresenceConfig, Put};
use tokio::time::sleep;

fn start(network: &Network, name: &str) -> Node {
    let config = PresenceConfig::default();
    Node::start(starting(name).unwrap(), config, network.join(name))
}

fn keys(node: &Node, topic: &str) -> Vec<String> {
    let listed = node.list(topic);
    let mut keys: Vec<_> = listed
        .iter()
        .filter_map(|e| e.key_str())
        .map(str::to_owned)
        .collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(start_paused = true)]
async fn three_nodes_converge_and_tell_their_subscribers() {
    let network = Network::new();
    let nodes = ["a", "b", "c"].map(|name| start(&network, name));
    sleep(Duration::from_secs(3)).await;
    let mut room = nodes[2].subscribe("room");
    nodes[0].track(&Put::new("room", "ann", "phone")).unwrap();
    let joined = room.next().await.unwrap().unwrap();
    assert_eq!(joined.joins[0].key_str(), Some("ann"));
    nodes[0]
        .update(&Put::new("room", "ann", "phone").meta(b"away"))
        .unwrap();
    assert_eq!(
        room.next().await.unwrap().unwrap().updates[0].new.meta(),
        b"away"
    );
    assert_eq!(nodes[0].untrack_owner("phone"), 1);
    assert_eq!(room.next().await.unwrap().unwrap().leaves.len(), 1);
    assert!(nodes.iter().all(|node| node.presence().is_synced()));
}

#[tokio::test(start_paused = true)]
async fn a_cut_node_is_hidden_everywhere_and_comes_back_whole() {
    let network = Network::new();
    let nodes = ["a", "b", "c"].map(|name| start(&network, name));
    for (node, key) in nodes.iter().zip(["ann", "bob", "cat"]) {
        node.track(&Put::new("room", key, "conn")).unwrap();
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(keys(&nodes[0], "room"), ["ann", "bob", "cat"]);
    let mut events = nodes[0].events();
    network.cut("a", "c");
    network.cut("b", "c");
    nodes[2].untrack("room", "cat", "conn");
    nodes[2].track(&Put::new("room", "dan", "conn")).unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(keys(&nodes[0], "room"), ["ann", "bob"]);
    assert_eq!(keys(&nodes[2], "room"), ["dan"]);
    assert!(matches!(events.recv().await, Ok(Event::ReplicaDown(id)) if id.name() == "c"));
    network.heal();
    sleep(Duration::from_secs(3)).await;
    for node in &nodes {
        assert_eq!(keys(node, "room"), ["ann", "bob", "dan"]);
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_is_seen_at_once_and_crashing_after_a_while() {
    let network = Network::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| start(&network, name));
    b.track(&Put::new("room", "bob", "conn")).unwrap();
    c.track(&Put::new("room", "cat", "conn")).unwrap();
    sleep(Duration::from_secs(3)).await;
    b.leave().await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(keys(&a, "room"), ["cat"]);
    drop(c);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(keys(&a, "room"), ["cat"]);
    sleep(Duration::from_secs(6)).await;
    assert!(keys(&a, "room").is_empty());
}

#[test]
fn starts_of_one_name_have_different_salts() {
    let salts: HashSet<_> = (0..8).map(|_| starting("a").unwrap().salt()).collect();
    assert!(salts.len() > 1, "{salts:?}");
}

//! Nodes on tokio over the in-memory network, on a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use headcount::codec::Kind;
use headcount::replica::{Event, Transmit};
use headcount::runtime::{Incoming, Node, Transport, memory::Network};
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
use tokio::time::{advance, sleep};

use crate::support::mesh;

fn new_id(name: &str) -> ReplicaId {
    ReplicaId::generate(name, SystemTime::UNIX_EPOCH).unwrap()
}

fn start(network: &Network, name: &str) -> Node {
    let config = PresenceConfig::default();
    Node::start(new_id(name), config, network.join(name))
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
async fn three_nodes_converge_and_notify_their_subscribers() {
    let network = Network::new();
    let nodes = ["a", "b", "c"].map(|name| start(&network, name));
    sleep(Duration::from_secs(3)).await;
    let mut room = nodes[2].subscribe("room");
    nodes[0]
        .track(&NewEntry::new("room", "ann", "phone"))
        .unwrap();
    let joined = room.next().await.unwrap().unwrap();
    assert_eq!(joined.joins[0].key_str(), Some("ann"));
    nodes[0]
        .update(&NewEntry::new("room", "ann", "phone").meta(b"away"))
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
        node.track(&NewEntry::new("room", key, "conn")).unwrap();
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(keys(&nodes[0], "room"), ["ann", "bob", "cat"]);
    let mut events = nodes[0].events();
    network.cut("a", "c");
    network.cut("b", "c");
    nodes[2].untrack("room", "cat", "conn");
    nodes[2]
        .track(&NewEntry::new("room", "dan", "conn"))
        .unwrap();
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
    b.track(&NewEntry::new("room", "bob", "conn")).unwrap();
    c.track(&NewEntry::new("room", "cat", "conn")).unwrap();
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

/// Returns the frames of a peer that the test drives, at a time.
fn said(peer: &Presence, now: Duration) -> Vec<Transmit> {
    peer.handle_timeout(now);
    std::iter::from_fn(|| peer.poll_transmit()).collect()
}

/// A process that was paused hid all replicas whose heartbeats waited.
#[tokio::test(start_paused = true)]
async fn frames_that_wait_come_before_deadlines() {
    let network = Network::new();
    let node = start(&network, "a");
    let peer = mesh::node("b", 1, 2, |config| config);
    let mut link = network.join("b");
    peer.track(&NewEntry::new("room", "bob", "conn")).unwrap();
    sleep(Duration::from_secs(1)).await;
    for ms in [0, 10, 1_000] {
        for transmit in said(&peer, Duration::from_millis(ms)) {
            link.send(transmit).await;
        }
        sleep(Duration::from_millis(100)).await;
        while let Some(Incoming::Frame { from, frame }) = received(&mut link).await {
            peer.handle_message(Duration::from_millis(ms), &from, &frame)
                .unwrap();
        }
    }
    let stale = said(&peer, Duration::from_millis(2_000));
    for transmit in stale.clone() {
        link.send(transmit).await;
    }
    sleep(Duration::from_millis(100)).await;
    assert_eq!(keys(&node, "room"), ["bob"]);
    let mut events = node.events();
    // More frames than a task of tokio handles in one poll; the last one is the heartbeat.
    for _ in 0..300 {
        link.send(stale[0].clone()).await;
    }
    for transmit in said(&peer, Duration::from_millis(9_000)) {
        link.send(transmit).await;
    }
    advance(Duration::from_secs(7)).await;
    sleep(Duration::from_millis(100)).await;
    assert!(events.try_recv().is_err(), "nobody went down, nobody came");
    assert_eq!(keys(&node, "room"), ["bob"]);
}

async fn received(link: &mut impl Transport) -> Option<Incoming> {
    tokio::select! {
        biased;
        incoming = link.receive() => incoming,
        () = std::future::ready(()) => None,
    }
}

/// A transport on which there is always one more frame.
struct Flood {
    digests: Arc<AtomicUsize>,
}

impl Transport for Flood {
    fn frame_max(&self) -> usize {
        1 << 16
    }

    async fn send(&mut self, transmit: Transmit) {
        let is_digest = transmit.frame[4] == Kind::DIGEST.0;
        self.digests
            .fetch_add(usize::from(is_digest), Ordering::Relaxed);
    }

    async fn receive(&mut self) -> Option<Incoming> {
        let from = "x".into();
        let frame = Bytes::from_static(b"no frame");
        Some(Incoming::Frame { from, frame })
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_frames_does_not_delay_heartbeats() {
    let digests = Arc::new(AtomicUsize::new(0));
    let flood = Flood {
        digests: Arc::clone(&digests),
    };
    let _node = Node::start(new_id("a"), PresenceConfig::default(), flood);
    for _ in 0..10_000 {
        advance(Duration::from_millis(10)).await;
        if digests.load(Ordering::Relaxed) >= 3 {
            return;
        }
    }
    panic!("no heartbeat");
}

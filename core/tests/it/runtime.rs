//! Nodes on tokio over the in-memory network, on a paused clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use headcount::codec::Kind;
use headcount::replica::{Config, Destination, Event, Mode, Signal, Transmit};
use headcount::runtime::{Incoming, Node, Subscription, Transport, memory::Network};
use headcount::{EntryBuf, NewEntry, Presence, PresenceConfig, ReadError, ReplicaId, TopicDiff};
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
    let listed = node.list(topic).unwrap();
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
    let mut room = nodes[2].subscribe("room").unwrap();
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
    assert_eq!(nodes[0].untrack_owner("phone"), Ok(1));
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
    nodes[2].untrack("room", "cat", "conn").unwrap();
    nodes[2]
        .track(&NewEntry::new("room", "dan", "conn"))
        .unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(keys(&nodes[0], "room"), ["ann", "bob"]);
    assert_eq!(keys(&nodes[2], "room"), ["dan"]);
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, Event::ReplicaDown(id) if id.name() == "c"));
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
    pause(Duration::ZERO).await;
}

/// The tasks of a transport need time to read what waits in their sockets.
#[tokio::test(start_paused = true)]
async fn frames_that_are_read_soon_after_a_pause_come_before_deadlines() {
    pause(Duration::from_millis(20)).await;
}

/// Pauses a node for longer than its peer may be silent; the frames of the peer are read some time
/// after that.
async fn pause(read_after: Duration) {
    let network = Network::new();
    let node = start(&network, "a");
    let peer: Presence = mesh::node("b", 1, 2, |config| config);
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
    let mut waiting = vec![stale[0].clone(); 300];
    waiting.extend(said(&peer, Duration::from_millis(9_000)));
    let paused = Duration::from_secs(7);
    if !read_after.is_zero() {
        advance(paused).await;
        sleep(read_after).await;
    }
    for transmit in waiting {
        link.send(transmit).await;
    }
    if read_after.is_zero() {
        advance(paused).await;
    }
    sleep(Duration::from_millis(100)).await;
    let context = Context::from_waker(Waker::noop());
    while let Poll::Ready(event) = events.poll_next(&context) {
        let event = event.unwrap().unwrap();
        let has_changed = matches!(event, Event::ReplicaUp(_) | Event::ReplicaDown(_));
        assert!(!has_changed, "no node went down, none came: {event:?}");
    }
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
    beats: Arc<AtomicUsize>,
}

impl Transport for Flood {
    fn frame_max(&self) -> usize {
        1 << 16
    }

    async fn send(&mut self, transmit: Transmit) {
        let is_beat = Kind::of(&transmit.frame) == Kind::BEAT;
        self.beats
            .fetch_add(usize::from(is_beat), Ordering::Relaxed);
    }

    async fn receive(&mut self) -> Option<Incoming> {
        let from = "x".into();
        let frame = Bytes::from_static(b"no frame");
        Some(Incoming::Frame { from, frame })
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_frames_does_not_delay_heartbeats() {
    let beats = Arc::new(AtomicUsize::new(0));
    let flood = Flood {
        beats: Arc::clone(&beats),
    };
    let config = PresenceConfig::default();
    let _node = Node::start(new_id("a"), config, flood);
    for _ in 0..10_000 {
        advance(Duration::from_millis(10)).await;
        if beats.load(Ordering::Relaxed) >= 3 {
            return;
        }
    }
    panic!("no heartbeat");
}

/// A copy of a topic that takes a list and changes as they come, and nothing twice.
struct Mirror(BTreeMap<String, EntryBuf>);

impl Mirror {
    fn new(listed: Vec<EntryBuf>) -> Self {
        let by_ref = |entry: EntryBuf| (entry.entry_ref().to_string(), entry);
        Self(listed.into_iter().map(by_ref).collect())
    }

    fn apply(&mut self, change: &TopicDiff) {
        let new = change.updates.iter().map(|update| &update.new);
        for entry in change.joins.iter().chain(new) {
            let doubled = self.0.insert(entry.entry_ref().to_string(), entry.clone());
            assert_eq!(doubled, None, "an entry came twice");
        }
        let old = change.updates.iter().map(|update| &update.old);
        let left = change.leaves.iter().map(|leave| &leave.entry);
        for entry in left.chain(old) {
            self.0.remove(&entry.entry_ref().to_string());
        }
    }

    async fn becomes(mut self, changes: &mut Subscription, node: &Node) {
        let context = Context::from_waker(Waker::noop());
        sleep(Duration::from_secs(5)).await;
        while let Poll::Ready(change) = changes.poll_next(&context) {
            self.apply(&change.unwrap().unwrap());
        }
        assert_eq!(self.0, Self::new(node.list("room").unwrap()).0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_with_its_changes_has_no_double_and_no_gap() {
    let network = Network::new();
    let [a, b] = ["a", "b"].map(|name| start(&network, name));
    for n in 0..5_000 {
        let key = format!("{n}");
        a.track(&NewEntry::new("room", &key, "conn")).unwrap();
    }
    let mut readers = Vec::new();
    for round in 0..400 {
        let key = format!("{}", round % 7);
        let entry = NewEntry::new("room", &key, "other");
        for node in [&a, &b] {
            match round % 3 {
                0 => drop(node.untrack("room", &key[..], "other").unwrap()),
                _ => drop(node.upsert(&entry).unwrap()),
            }
        }
        // The entries of `a` are hidden and shown in slices meanwhile.
        match round % 200 {
            60 => network.cut("a", "b"),
            160 => network.heal(),
            _ => {}
        }
        let (listed, changes) = b.list_and_subscribe("room").unwrap();
        readers.push((Mirror::new(listed), changes));
        let pause = if round % 20 == 0 { 500 } else { round % 4 };
        sleep(Duration::from_millis(pause)).await;
    }
    network.heal();
    for (copy, mut changes) in readers {
        copy.becomes(&mut changes, &b).await;
    }
}

#[test]
fn threads_that_write_are_listed_and_reported_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let node = start(&Network::new(), "a");
    let write = |thread: usize| {
        for n in 0..3_000 {
            let key = format!("{}", n % 11);
            let owner = format!("{thread}");
            drop(node.upsert(&NewEntry::new("room", &key, &owner)).unwrap());
            if n % 5 == 0 {
                node.untrack("room", &key[..], &owner).unwrap();
            }
        }
    };
    let readers = std::thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || write(thread));
        }
        (0..300)
            .map(|_| node.list_and_subscribe("room").unwrap())
            .collect::<Vec<_>>()
    });
    runtime.block_on(async {
        for (listed, mut changes) in readers {
            let mut copy = Mirror::new(listed);
            let now = Mirror::new(node.list("room").unwrap()).0;
            while copy.0 != now {
                copy.apply(&changes.next().await.unwrap().unwrap());
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn leases_and_lost_owners_leave_by_themselves() {
    let network = Network::new();
    let config = PresenceConfig::default().grace(Duration::from_secs(3));
    let a = Node::start(new_id("a"), config, network.join("a"));
    let b = start(&network, "b");
    for key in ["ann", "bob", "cat"] {
        a.track(&NewEntry::new("room", key, key)).unwrap();
    }
    sleep(Duration::from_secs(3)).await;
    let two = Duration::from_secs(2);
    assert_eq!(a.lease("room", "ann", "ann", two), Ok(true));
    assert_eq!(a.lease("room", "ann", "bob", two), Ok(false));
    a.lease_owner("bob", two).unwrap();
    sleep(Duration::from_secs(1)).await;
    a.lease_owner("bob", two).unwrap();
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(keys(&b, "room"), ["bob", "cat"]);
    a.owner_lost("cat").unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(keys(&b, "room"), ["cat"]);
    assert_eq!(a.owner_back("cat"), Ok(true));
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        (
            b.count("room").unwrap(),
            b.count_keys("room").unwrap().exact()
        ),
        (1, Some(1))
    );
    assert_eq!(b.get_by_key("room", "cat").unwrap().len(), 1);
    a.owner_lost("cat").unwrap();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(b.count("room").unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn signals_refusals_and_counts_are_told() {
    let network = Network::new();
    let [a, b] = ["a", "b"].map(|name| start(&network, name));
    let mut stranger = network.join("stranger");
    a.track(&NewEntry::new("room", "ann", "conn")).unwrap();
    b.synced().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let mut events = b.events();
    let signal = Signal {
        topic: "room".into(),
        key: b"ann".to_vec(),
        kind: 1,
        ttl_ms: 5_000,
        payload: Vec::new(),
    };
    a.signal(signal.clone()).unwrap();
    let event = events.next().await.unwrap().unwrap();
    let from = a.id();
    assert_eq!(event, Event::Signal { from, signal });

    let mut refusals = b.refusals();
    let frame = Bytes::from_static(b"no frame at all, whatever it is");
    let to = Destination::Peer("b".into());
    stranger.send(Transmit { to, frame }).await;
    let refusal = refusals.next().await.unwrap().unwrap();
    assert_eq!(&*refusal.from, "stranger");

    let _changes = b.subscribe("room").unwrap();
    let stats = b.stats();
    assert_eq!((stats.entries, stats.topics), (1, 1));
    assert_eq!(
        (stats.replicas_up, stats.replicas_down, stats.ups),
        (1, 0, 1)
    );
    assert_eq!(stats.refused.values().sum::<u64>(), 1);
    assert_eq!(stats.subscriptions, 3);
    assert!(stats.sent["beat"].frames > 0 && stats.received["signal"].bytes > 0);
}

#[tokio::test(start_paused = true)]
async fn readers_that_are_gone_leave_nothing_and_slow_ones_are_told() {
    let node = start(&Network::new(), "a");
    let mut readers: Vec<_> = (0..2_000)
        .map(|_| {
            let mut changes = node.subscribe("room").unwrap();
            tokio::spawn(async move { changes.next().await })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.stats().subscriptions, 2_000);
    for reader in readers.drain(..) {
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled());
    }
    assert_eq!(node.stats().subscriptions, 0);

    let mut slow = node.subscribe("room").unwrap();
    for n in 0..1_100 {
        let meta = format!("{n}");
        let entry = NewEntry::new("room", "ann", "conn").meta(meta.as_bytes());
        node.upsert(&entry).unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    let lagged = slow.next().await.unwrap_err();
    assert!(lagged.0 > 1_024);
    assert!(slow.next().await.unwrap().is_some(), "later changes follow");
    assert_eq!(node.stats().lagged, 1);
    node.leave().await;
    while slow.next().await.unwrap().is_some() {}
}

#[tokio::test(start_paused = true)]
async fn a_node_starts_from_a_snapshot() {
    let network = Network::new();
    let [a, b] = ["a", "b"].map(|name| start(&network, name));
    a.track(&NewEntry::new("room", "ann", "conn")).unwrap();
    b.track(&NewEntry::new("room", "bob", "phone")).unwrap();
    b.track(&NewEntry::new("room", "cid", "lost")).unwrap();
    sleep(Duration::from_secs(3)).await;
    let snapshot = b.presence().snapshot();
    drop(b);
    let config = PresenceConfig::default();
    let restored = Node::restore(new_id("b"), config, network.join("b"), &snapshot);
    let (b, entries) = restored.unwrap();
    assert!(b.presence().is_empty(), "nothing is offered");
    for entry in &entries.topic("room").unwrap().joins {
        if entry.owner() == b"phone" {
            let key = entry.key_str().unwrap();
            b.track(&NewEntry::new("room", key, "phone")).unwrap();
            let ttl = Duration::from_secs(60);
            assert_eq!(b.lease("room", key, "phone", ttl), Ok(true));
        }
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(keys(&b, "room"), ["ann", "bob"]);
    assert_eq!(keys(&a, "room"), ["ann", "bob"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_watch_ends_with_the_watch_and_keeps_none_alive() {
    let replication = Config::default().mode(Mode::Interest);
    let config = PresenceConfig::default().replication(replication);
    let a = Node::start(new_id("a"), config, Network::new().join("a"));
    let watch = a.watch("room");
    let ready = tokio::spawn(watch.ready());
    assert_eq!(a.stats().watches, 1);
    drop(watch);
    let not_watched = ReadError::NotWatched {
        topic: "room".into(),
    };
    assert_eq!(ready.await.unwrap(), Err(not_watched.clone()));
    assert_eq!(a.stats().watches, 0);
    assert_eq!(a.list("room"), Err(not_watched));
    let watch = a.watch("room");
    watch.ready().await.unwrap();
    assert_eq!(a.list("room"), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_the_last_watch_of_its_topic() {
    let replication = Config::default().mode(Mode::Interest);
    let config = PresenceConfig::default().replication(replication);
    let network = Network::new();
    let [a, b] =
        ["a", "b"].map(|name| Node::start(new_id(name), config.clone(), network.join(name)));
    a.track(&NewEntry::new("room", "ann", "phone")).unwrap();
    let first = b.watch("room");
    let second = b.watch("room");
    first.ready().await.unwrap();
    let (entries, mut changes) = b.list_and_subscribe("room").unwrap();
    assert_eq!(entries.len(), 1);
    drop(first);
    a.untrack("room", "ann", "phone").unwrap();
    let left = changes.next().await.unwrap().expect("it is watched still");
    assert_eq!(left.leaves.len(), 1);
    drop(second);
    assert!(matches!(changes.next().await, Ok(None)));
    assert!(b.subscribe("room").is_err());
}

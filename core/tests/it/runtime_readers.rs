//! Readers of nodes: they come to an end with their node, however it ends, and lose no event for
//! events of another kind.

use std::future::pending;
use std::time::{Duration, SystemTime};

use headcount::replica::{Config, Event, Mode, Signal, SignalError, Transmit};
use headcount::runtime::{Incoming, Lagged, Node, Stopped, Transport, memory::Network};
use headcount::{NewEntry, PresenceConfig, ReadError, ReplicaId, TrackError};
use tokio::time::sleep;

fn new_id(name: &str) -> ReplicaId {
    ReplicaId::generate(name, SystemTime::UNIX_EPOCH).unwrap()
}

fn start(transport: impl Transport) -> Node {
    Node::start(new_id("a"), PresenceConfig::default(), transport)
}

/// A transport that is broken: each frame makes it do this.
#[derive(Clone, Copy)]
enum Broken {
    Stalls,
    Panics,
}

impl Transport for Broken {
    fn frame_max(&self) -> usize {
        1 << 16
    }

    async fn send(&mut self, _transmit: Transmit) {
        match self {
            Self::Stalls => pending().await,
            Self::Panics => panic!("a transport with a mistake"),
        }
    }

    async fn receive(&mut self) -> Option<Incoming> {
        pending().await
    }

    async fn close(&mut self) {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_leaves_though_its_transport_stalls() {
    let node = start(Broken::Stalls);
    let mut changes = node.subscribe("room").unwrap();
    let synced = node.synced();
    sleep(Duration::from_secs(5)).await;
    node.leave().await;
    assert_eq!(synced.await, Err(Stopped));
    assert_eq!(changes.next().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_transport_ends_what_waits_for_the_node() {
    let node = start(Broken::Panics);
    let mut changes = node.subscribe("room").unwrap();
    let mut events = node.events();
    let mut refusals = node.refusals();
    assert_eq!(node.synced().await, Err(Stopped));
    assert_eq!(changes.next().await, Ok(None));
    assert_eq!(refusals.next().await, Ok(None));
    while events.next().await.unwrap().is_some() {}
    assert_eq!(node.events().next().await, Ok(None));
    node.leave().await;
}

/// Nobody would send what it takes, and nobody would bring what it shows up to date.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_stopped_refuses_all_verbs_and_changes_nothing() {
    let node = start(Broken::Panics);
    let entry = NewEntry::new("room", "ann", "conn");
    let tracked = node.track(&entry);
    assert!(tracked.is_ok() && !node.is_stopped());
    let ready = node.watch("room").ready();
    assert_eq!(node.synced().await, Err(Stopped));
    assert!(node.is_stopped());

    let second = Duration::from_secs(1);
    for write in [Node::track, Node::update, Node::upsert] {
        assert_eq!(write(&node, &entry), Err(TrackError::Stopped));
    }
    assert_eq!(node.untrack("room", "ann", "conn"), Err(Stopped));
    assert_eq!(node.untrack_owner("conn"), Err(Stopped));
    assert_eq!(node.lease("room", "ann", "conn", second), Err(Stopped));
    assert_eq!(node.lease_owner("conn", second), Err(Stopped));
    assert_eq!(node.owner_lost("conn"), Err(Stopped));
    assert_eq!(node.owner_back("conn"), Err(Stopped));
    let signal = Signal {
        topic: "room".into(),
        key: Vec::new(),
        kind: 1,
        ttl_ms: 1,
        payload: Vec::new(),
    };
    assert_eq!(node.signal(signal), Err(SignalError::Stopped));
    let own = node.get_own("room", "ann", "conn");
    assert_eq!(own.map(|entry| entry.entry_ref()), tracked.ok());

    let stopped = ReadError::Stopped;
    assert_eq!(node.list("room").unwrap_err(), stopped);
    assert_eq!(node.get_by_key("room", "ann").unwrap_err(), stopped);
    assert_eq!(node.count("room").unwrap_err(), stopped);
    assert_eq!(node.count_keys("room").unwrap_err(), stopped);
    assert_eq!(node.subscribe("room").unwrap_err(), stopped);
    assert_eq!(node.list_and_subscribe("room").unwrap_err(), stopped);
    assert_eq!(ready.await, Err(stopped.clone()));
    assert_eq!(node.watch_counts("room").ready().await, Err(stopped));
}

#[test]
fn the_end_of_a_runtime_ends_what_waits_for_its_nodes() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_time()
            .build()
    };
    let of_node = runtime().unwrap();
    let of_readers = runtime().unwrap();
    let node = {
        let _entered = of_node.enter();
        start(Network::new().join("a"))
    };
    let mut changes = node.subscribe("room").unwrap();
    let watch = node.watch("room");
    of_node.shutdown_background();
    of_readers.block_on(async {
        assert_eq!(changes.next().await, Ok(None));
        assert_eq!(node.synced().await, Err(Stopped));
        assert_eq!(watch.ready().await, Err(ReadError::Stopped));
    });
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_a_clock_runs_no_node() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let _entered = runtime.enter();
    let _node = start(Network::new().join("a"));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_node_to_be_synced_ends_with_it_though_a_watch_lives() {
    for is_dropped in [false, true] {
        // It never hears of the other, so it does not catch up.
        let node = start(Broken::Stalls);
        let synced = node.synced();
        let watch = node.watch("room");
        match is_dropped {
            true => drop(node),
            false => node.leave().await,
        }
        assert_eq!(synced.await, Err(Stopped));
        assert_eq!(watch.ready().await, Err(ReadError::Stopped));
    }
}

/// In a cluster without counts, a watch of these is one of the entries.
#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_the_last_watch_of_the_counts_of_its_topic() {
    let network = Network::new();
    let join = |name: &str| {
        let replication = Config::default().mode(Mode::Interest);
        let config = PresenceConfig::default().replication(replication);
        Node::start(new_id(name), config, network.join(name))
    };
    let a = join("a");
    let b = join("b");
    let watch = b.watch_counts("room");
    watch.ready().await.unwrap();
    let mut changes = b.subscribe("room").unwrap();
    drop(watch);
    a.track(&NewEntry::new("room", "bob", "conn")).unwrap();
    sleep(Duration::from_secs(3)).await;
    let again = b.watch("room");
    again.ready().await.unwrap();
    a.track(&NewEntry::new("room", "cy", "conn")).unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(changes.next().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn signals_push_no_other_event_out() {
    let network = Network::new();
    let join = |name: &str| {
        let config = PresenceConfig::default();
        Node::start(new_id(name), config, network.join(name))
    };
    let [a, b, c] = ["a", "b", "c"].map(join);
    sleep(Duration::from_secs(3)).await;
    let mut events = b.events();
    let left = Event::ReplicaLeft(c.id());
    c.leave().await;
    for number in 0..5_000_u32 {
        let signal = Signal {
            topic: "room".into(),
            key: number.to_le_bytes().into(),
            kind: 1,
            ttl_ms: 1_000,
            payload: Vec::new(),
        };
        a.signal(signal).unwrap();
        if number % 20 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    let lagged = events.next().await.unwrap_err();
    assert_eq!(lagged, Lagged(5_000 - 4_096));
    assert_eq!(events.next().await, Ok(Some(left)));
    for _ in 0..4_096 {
        let event = events.next().await.unwrap();
        assert!(matches!(event, Some(Event::Signal { .. })), "{event:?}");
    }
    assert_eq!(b.stats().lagged, 1);
}

#[tokio::test(start_paused = true)]
async fn each_of_many_topics_that_are_ready_at_once_is_told() {
    let replication = Config::default().mode(Mode::Interest);
    let config = PresenceConfig::default().replication(replication);
    let node = Node::start(new_id("a"), config, Network::new().join("a"));
    let mut events = node.events();
    let watch = |number| node.watch(&format!("topic {number}"));
    let watches: Vec<_> = (0..5_000).map(watch).collect();
    for watch in &watches {
        watch.ready().await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let mut told = 0;
    while told < watches.len() {
        let event = events.next().await.unwrap();
        told += usize::from(matches!(event, Some(Event::TopicReady { .. })));
    }
}

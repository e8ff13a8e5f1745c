//! Nodes over NATS whose server stalls, or does not let them do all that a node does.
#![expect(
    clippy::disallowed_methods,
    reason = "core has no I/O, but these tests speak to a real server"
)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use headcount::replica::{Config, Mode};
use headcount::runtime::Node;
use headcount::runtime::nats::{NatsError, NatsTransport, async_nats};
use headcount::{NewEntry, PresenceConfig, ReplicaId};

use crate::support::nats::{Server, free_port, nats_server, nats_server_on};

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nats/permissions.conf");

fn guarded() -> (Server, u16) {
    let port = free_port();
    (nats_server_on(port, &["-c", SETTINGS]), port)
}

async fn join(port: u16, user: &str) -> Result<NatsTransport, NatsError> {
    let server = format!("nats://{user}:secret@127.0.0.1:{port}");
    NatsTransport::connect(&server, "guarded").await
}

fn node(transport: NatsTransport, name: &str, mode: Mode) -> Node {
    let replication = Config::default()
        .mode(mode)
        .heartbeat(Duration::from_millis(100))
        .down_after(Duration::from_secs(60));
    let config = PresenceConfig::default().replication(replication);
    let id = ReplicaId::generate(name, SystemTime::now()).unwrap();
    Node::start(id, config, transport)
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_user_that_may_not_subscribe_or_publish_does_not_join() {
    let (_server, port) = guarded();
    for (user, refused) in [
        ("deaf", "Permissions Violation for Subscription to"),
        ("half", "Permissions Violation for Subscription to"),
        ("mute", "Permissions Violation for Publish to"),
    ] {
        let error = join(port, user).await.unwrap_err();
        assert!(error.to_string().contains(refused), "{user}: {error}");
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<async_nats::ServerError>());
    }
    join(port, "full").await.unwrap();
}

#[tokio::test]
async fn a_subscription_that_is_refused_later_is_counted_and_told() {
    let (_server, port) = guarded();
    let told = Arc::new(AtomicUsize::new(0));
    let on_event = {
        let told = Arc::clone(&told);
        move |event: &async_nats::Event| {
            let is_refusal = matches!(event, async_nats::Event::ServerError(_));
            told.fetch_add(usize::from(is_refusal), Ordering::Relaxed);
        }
    };
    let options = async_nats::ConnectOptions::new();
    let server = format!("nats://whole:secret@127.0.0.1:{port}");
    let joined = NatsTransport::connect_with(options, &server, "guarded", on_event).await;
    let node = node(joined.unwrap(), "a", Mode::Interest);
    let _watch = node.watch("room");
    until(|| node.stats().unsent > 0 && told.load(Ordering::Relaxed) > 0).await;
}

/// Others that read everything take the place of the answers that a node looks for.
#[tokio::test]
async fn a_reader_of_all_subjects_keeps_nobody_out() {
    let (_server, port) = nats_server();
    let reader = async_nats::connect(format!("127.0.0.1:{port}")).await;
    let reader = reader.unwrap();
    let _all = reader.subscribe(">").await.unwrap();
    reader.flush().await.unwrap();
    join(port, "full").await.unwrap();
}

/// Stops a process, or lets it go on.
fn signal(process: &Server, name: &str) {
    let id = process.0.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn a_server_that_stalls_stops_no_node() {
    let (server, port) = nats_server();
    let stalled = node(join(port, "full").await.unwrap(), "a", Mode::All);
    let (_, mut changes) = stalled.list_and_subscribe("room").unwrap();
    signal(&server, "STOP");
    let mut number = 0_u64;
    while stalled.stats().unsent == 0 {
        let meta = [number.to_le_bytes().as_slice(), &[7; 16_000]].concat();
        let entry = NewEntry::new("room", "ann", "conn").meta(&meta);
        stalled.upsert(&entry).unwrap();
        let change = changes.next().await.unwrap().unwrap();
        assert!(change.joins.len() + change.updates.len() == 1);
        number += 1;
    }
    stalled
        .track(&NewEntry::new("hall", "bob", "conn"))
        .unwrap();
    let ttl = Duration::from_millis(100);
    assert_eq!(stalled.lease("hall", "bob", "conn", ttl), Ok(true));
    until(|| stalled.count("hall") == Ok(0)).await;

    // All comes to those that join after it goes on.
    signal(&server, "CONT");
    let other = node(join(port, "full").await.unwrap(), "b", Mode::All);
    until(|| other.list("room") == stalled.list("room") && other.count("room") == Ok(1)).await;

    signal(&server, "STOP");
    stalled.leave().await;
    signal(&server, "CONT");
}

/// A watch that begins while the queue is full is subscribed to later.
#[tokio::test]
async fn a_watch_outlasts_a_server_that_stalls() {
    let (server, port) = nats_server();
    let watcher = node(join(port, "full").await.unwrap(), "a", Mode::Interest);
    signal(&server, "STOP");
    let mut number = 0_u64;
    while watcher.stats().unsent == 0 {
        let meta = [number.to_le_bytes().as_slice(), &[7; 16_000]].concat();
        let entry = NewEntry::new("own", "ann", "conn").meta(&meta);
        watcher.upsert(&entry).unwrap();
        number += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let watch = watcher.watch("room");
    watch.ready().await.unwrap();
    signal(&server, "CONT");
    let writer = node(join(port, "full").await.unwrap(), "b", Mode::Interest);
    writer.track(&NewEntry::new("room", "bob", "conn")).unwrap();
    until(|| watcher.count("room") == Ok(1)).await;
}

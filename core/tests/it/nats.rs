//! Three processes over a real `nats-server`: they converge, one is killed, one is cut off and
//! returns; nothing is lost and no ghost appears.
#![expect(
    clippy::disallowed_methods,
    reason = "core has no I/O, but this test runs real processes over a real network"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use headcount::replica::{Config, Mode};
use headcount::runtime::{Node, nats::NatsTransport};
use headcount::{NewEntry, PresenceConfig, ReplicaId};

use super::support::nats::{Gate, Server, example, nats_server, nats_server_on};

/// A node in a process of its own.
struct Process {
    child: Server,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(program: &str, port: u16, name: &str) -> Self {
        let mut child = Command::new(program)
            .args([&format!("nats://127.0.0.1:{port}"), "test", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example was just built");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self {
            child: Server(child),
            input,
            output,
        };
        assert_eq!(process.line(), "ready");
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.line()
    }

    fn track(&mut self, keys: impl Iterator<Item = String>) {
        for key in keys {
            assert!(
                self.ask(&format!("track room {key}"))
                    .starts_with("tracked")
            );
        }
    }

    fn lists(&mut self, expected: &[String]) {
        let expected = format!("listed {}", expected.join(" "));
        let start = Instant::now();
        loop {
            let listed = self.ask("list room");
            if listed == expected {
                return;
            }
            let late = start.elapsed() > Duration::from_secs(30);
            assert!(!late, "still {listed}\nexpected {expected}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}{n:03}")).collect()
}

fn sorted(parts: &[&[String]]) -> Vec<String> {
    let mut all = parts.concat();
    all.sort_unstable();
    all
}

#[test]
fn three_processes_survive_a_kill_and_a_cut() {
    let program = example("nats_node");
    let (_server, port) = nats_server();
    let gate = Gate::new(port);
    let [mut a, mut b] = ["a", "b"].map(|name| Process::start(&program, port, name));
    let mut c = Process::start(&program, gate.port, "c");
    let [of_a, of_b, of_c] = ["a", "b", "c"].map(|name| numbered(name, 100));
    a.track(of_a.iter().cloned());
    b.track(of_b.iter().cloned());
    c.track(of_c.iter().cloned());
    let all = sorted(&[&of_a, &of_b, &of_c]);
    all_list(&mut [&mut a, &mut b, &mut c], &all);

    // Killed: the others hide it, and its next life brings nothing old back.
    b.child.0.kill().unwrap();
    a.lists(&sorted(&[&of_a, &of_c]));
    c.lists(&sorted(&[&of_a, &of_c]));
    let mut b = Process::start(&program, port, "b");
    let again = numbered("again", 10);
    b.track(again.iter().cloned());
    let all = sorted(&[&of_a, &of_c, &again]);
    all_list(&mut [&mut a, &mut b, &mut c], &all);

    // Cut off while both sides change.
    gate.set_open(false);
    a.lists(&sorted(&[&of_a, &again]));
    c.lists(&of_c);
    assert_eq!(a.ask("untrack room a000"), "untracked true");
    assert_eq!(c.ask("untrack room c000"), "untracked true");
    c.track(["dark".to_owned()].into_iter());
    gate.set_open(true);
    let dark = ["dark".to_owned()];
    let all = sorted(&[&of_a[1..], &of_c[1..], &again, &dark]);
    let healed = Instant::now();
    all_list(&mut [&mut a, &mut b, &mut c], &all);
    println!("stable {:?} after the heal", healed.elapsed());

    writeln!(c.input, "leave").unwrap();
    a.lists(&sorted(&[&of_a[1..], &again]));
}

fn all_list(nodes: &mut [&mut Process], expected: &[String]) {
    nodes.iter_mut().for_each(|node| node.lists(expected));
}

/// A node that is sent only what concerns the topics that it watches.
async fn watcher(port: u16, name: &str) -> Node {
    let replication = Config::default()
        .mode(Mode::Interest)
        .partitions(4_096)
        .unwatch_after(Duration::from_millis(100))
        .heartbeat(Duration::from_millis(200))
        .down_after(Duration::from_secs(10));
    let config = PresenceConfig::default().replication(replication);
    let servers = format!("nats://127.0.0.1:{port}");
    let transport = NatsTransport::connect(&servers, "watchers").await.unwrap();
    Node::start(
        ReplicaId::generate(name, SystemTime::now()).unwrap(),
        config,
        transport,
    )
}

fn deltas(node: &Node) -> u64 {
    let received = node.stats().received;
    received.get("delta").map_or(0, |traffic| traffic.frames)
}

#[tokio::test]
async fn nodes_are_sent_what_they_watch() {
    let (_server, port) = nats_server();
    let a = watcher(port, "a").await;
    let b = watcher(port, "b").await;
    a.track(&NewEntry::new("room", "ann", "conn")).unwrap();
    let watch = b.watch("room");
    watch.ready().await.unwrap();
    assert_eq!(b.count("room"), Ok(1));
    let (_, mut changes) = b.list_and_subscribe("room").unwrap();
    a.track(&NewEntry::new("room", "bob", "conn")).unwrap();
    let diff = changes.next().await.unwrap().unwrap();
    assert_eq!(diff.joins[0].key_str(), Some("bob"));

    // What is not watched does not arrive; what is watched follows it.
    let before = deltas(&b);
    for user in 0..20 {
        a.track(&NewEntry::new("hall", &format!("user {user}"), "conn"))
            .unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    a.track(&NewEntry::new("room", "cleo", "conn")).unwrap();
    changes.next().await.unwrap().unwrap();
    assert_eq!(deltas(&b), before + 1);

    drop(watch);
    assert!(b.list("room").is_err());
    while !b.presence().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = deltas(&b);
    a.untrack("room", "cleo", "conn").unwrap();
    let again = b.watch("hall");
    again.ready().await.unwrap();
    assert_eq!((b.count("hall"), deltas(&b)), (Ok(20), before));
}

/// A server that takes less makes shorter frames, also of a node that has run for long.
#[tokio::test]
async fn a_connection_that_carries_less_is_sent_shorter_frames() {
    let (server, port) = nats_server();
    let a = holder(port, "a").await;
    for user in 0..300 {
        let key = format!("user {user}");
        let entry = NewEntry::new("room", &key, "conn");
        a.track(&entry.meta(&[7; 1_000])).unwrap();
    }
    drop(server);
    while a.stats().unsent == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let settings = format!("{}/max_payload_{port}.conf", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&settings, "max_payload: 6000").unwrap();
    let _server = nats_server_on(port, &["-c", &settings]);
    let b = holder(port, "b").await;
    while b.count("room") != Ok(300) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let longest = b.stats().received["part"];
    assert!(longest.bytes / longest.frames < 6_000, "{longest:?}");
}

/// A node that holds everything.
async fn holder(port: u16, name: &str) -> Node {
    let replication = Config::default().heartbeat(Duration::from_millis(100));
    let config = PresenceConfig::default().replication(replication);
    let servers = format!("nats://127.0.0.1:{port}");
    let transport = NatsTransport::connect(&servers, "holders").await.unwrap();
    let id = ReplicaId::generate(name, SystemTime::now()).unwrap();
    Node::start(id, config, transport)
}

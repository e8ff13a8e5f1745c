//! The Rust node of the cluster of several languages (`make test-mixed`), commanded by lines: see
//! `ffi-python/tests/mixed/cluster.py`.
#![expect(clippy::disallowed_methods, reason = "a program has a clock")]

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use headcount::replica::{Config, Event, Mode, Signal};
use headcount::runtime::{Node, Subscription, nats::NatsTransport};
use headcount::{NewEntry, PresenceConfig, ReplicaId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// A command: a write, or a question about topics.
#[derive(Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
enum Command {
    Track(Write),
    Update(Write),
    Untrack(Write),
    Gone { owner: String },
    State { topics: Vec<String> },
    Watch { topics: Vec<String> },
    Signal { topic: String, key: String },
    Heard,
}

#[derive(Deserialize)]
struct Write {
    topic: String,
    key: String,
    owner: String,
    #[serde(default)]
    meta: Value,
    #[serde(default)]
    status: u8,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [servers, name] = &args[..] else {
        return Err("usage: mixed_node SERVERS NAME".into());
    };
    let replication = Config::default()
        .heartbeat(Duration::from_millis(200))
        .down_after(Duration::from_secs(2))
        .mode(Mode::Interest)
        .counts(true)
        .partitions(4_096);
    let config = PresenceConfig::default().replication(replication);
    let transport = NatsTransport::connect(servers, "headcount").await?;
    let id = ReplicaId::generate(name, SystemTime::now())?;
    let node = Node::start(id, config, transport);
    let mut events = node.events();
    let mut watches = Vec::new();
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line)? {
            Command::Watch { topics } => {
                watches.extend(topics.iter().map(|topic| node.watch(topic)));
                for watch in &watches {
                    watch.ready().await?;
                }
                json!(true)
            }
            Command::Heard => json!(heard(&mut events)),
            command => answer(&node, command)?,
        };
        println!("{answer}");
    }
    Ok(())
}

/// Returns the keys of the signals that have arrived since the last call.
fn heard(events: &mut Subscription<Event>) -> Vec<String> {
    let mut keys = Vec::new();
    let context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(Some(event))) = events.poll_next(&context) {
        if let Event::Signal { signal, .. } = event {
            keys.push(String::from_utf8_lossy(&signal.key).into_owned());
        }
    }
    keys
}

fn answer(node: &Node, command: Command) -> Result<Value, Box<dyn std::error::Error>> {
    let is_done = match command {
        Command::Track(write) => write.with_entry(|entry| node.track(entry).is_ok()),
        Command::Update(write) => write.with_entry(|entry| node.update(entry).is_ok()),
        Command::Untrack(write) => node.untrack(&write.topic, &*write.key, &write.owner)?,
        Command::Gone { owner } => node.untrack_owner(owner)? > 0,
        Command::State { topics } => return state(node, topics),
        Command::Signal { topic, key } => {
            let signal = Signal {
                topic,
                key: key.into_bytes(),
                kind: 1,
                ttl_ms: 5_000,
                payload: Vec::new(),
            };
            node.signal(signal).is_ok()
        }
        Command::Watch { .. } | Command::Heard => return Ok(Value::Null),
    };
    Ok(json!(is_done))
}

impl Write {
    /// Passes the entry on; its meta is bytes, none for an empty object.
    fn with_entry(&self, write: impl FnOnce(&NewEntry<'_>) -> bool) -> bool {
        let meta = match &self.meta {
            Value::Object(fields) if fields.is_empty() => String::new(),
            meta => meta.to_string(),
        };
        let entry = NewEntry::new(&self.topic, &self.key, &self.owner);
        write(&entry.meta(meta.as_bytes()).status(self.status))
    }
}

/// Returns the entries and the counts of each topic.
fn state(node: &Node, topics: Vec<String>) -> Result<Value, Box<dyn std::error::Error>> {
    let mut state = BTreeMap::new();
    for topic in topics {
        let mut entries = Vec::new();
        for entry in node.list(&topic)? {
            let meta = match entry.meta() {
                [] => json!({}),
                bytes => serde_json::from_slice(bytes)?,
            };
            entries.push(json!([entry.key_str(), meta, entry.status()]));
        }
        let counts = [node.count(&topic)?, node.count_keys(&topic)?.at_most];
        state.insert(topic, json!({ "entries": entries, "counts": counts }));
    }
    Ok(json!(state))
}

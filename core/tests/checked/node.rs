//! A node over NATS that tells all it shows, and checks meanwhile that it shows no silent replica:
//! one of the processes of `tests/it/nats_troubles.rs`, which commands it by lines.
#![expect(clippy::disallowed_methods, reason = "a program has a clock")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use headcount::replica::{Config, Event, Mode};
use headcount::runtime::{Node, NodeStats, Watch, nats::NatsTransport};
use headcount::testing::{Fault, with_fault};
use headcount::{NewEntry, PresenceConfig, ReplicaId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::runtime::Builder;

/// The looks that are remembered: more than a silence takes that is too long.
const PAST_MAX: usize = 10_000;

type Failure = Box<dyn std::error::Error>;

/// The settings of the node, the first argument.
#[derive(Deserialize)]
struct Settings {
    servers: String,
    name: String,
    heartbeat_ms: u64,
    /// The beats of silence after which a replica is down.
    down_beats: u64,
    /// All topics that are read.
    topics: Vec<String>,
    is_interest: bool,
    /// True for the runtime with threads, as most programs have it.
    has_threads: bool,
    /// The rule that this node breaks, if any.
    fault: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
enum Command {
    Track(Write),
    Update(Write),
    Untrack(Write),
    State,
}

#[derive(Deserialize)]
struct Write {
    topic: String,
    key: String,
    owner: String,
    #[serde(default)]
    meta: String,
    #[serde(default)]
    status: u8,
}

/// Origin, key, owner, meta, status.
type Row = (String, String, String, String, u8);

/// The state that the node tells.
#[derive(Serialize)]
struct State {
    id: String,
    /// The beats that this node has sent.
    beats: u64,
    /// The entries of each topic that it may read now.
    lists: BTreeMap<String, Vec<Row>>,
    #[serde(flatten)]
    seen: Seen,
}

/// What happened since the last time it was told.
#[derive(Default, Serialize)]
struct Seen {
    /// The replicas shown although silent for too many beats.
    late: Vec<String>,
    /// The replicas that fell silent.
    downs: Vec<String>,
    /// The pauses of this process that are as long as half the silence of a replica that is down.
    pauses: u64,
}

fn main() -> Result<(), Failure> {
    let settings = std::env::args().nth(1).ok_or("no settings")?;
    let settings: Settings = serde_json::from_str(&settings)?;
    let mut runtime = if settings.has_threads {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let name = settings.fault.clone();
    let fault = |name| Fault::ALL.iter().find(|fault| format!("{fault:?}") == name);
    match name.map(|name| fault(name).ok_or("no such rule")) {
        None => runtime.block_on(run(settings)),
        Some(fault) => with_fault(*fault?, || runtime.block_on(run(settings))),
    }
}

async fn run(settings: Settings) -> Result<(), Failure> {
    let heartbeat = Duration::from_millis(settings.heartbeat_ms);
    let down_after = heartbeat * u32::try_from(settings.down_beats)?;
    let mode = if settings.is_interest {
        Mode::Interest
    } else {
        Mode::All
    };
    let replication = Config::default()
        .mode(mode)
        .heartbeat(heartbeat)
        .down_after(down_after);
    let config = PresenceConfig::default().replication(replication);
    let transport = NatsTransport::connect(&settings.servers, "troubles").await?;
    let id = ReplicaId::generate(&settings.name, SystemTime::now())?;
    let node = Arc::new(Node::start(id, config, transport));
    let watch = |topic: &String| node.watch(topic);
    let _watches: Vec<Watch> = settings.topics.iter().map(watch).collect();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let downs = note_downs(Arc::clone(&node), Arc::clone(&seen));
    tokio::spawn(downs);
    let check = Check::new(&settings, Arc::clone(&node), Arc::clone(&seen));
    tokio::spawn(check.run());
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line)? {
            Command::Track(write) => write.entry(|entry| node.track(entry).is_ok()).to_string(),
            Command::Update(write) => write.entry(|entry| node.update(entry).is_ok()).to_string(),
            Command::Untrack(write) => node
                .untrack(&write.topic, &*write.key, &write.owner)?
                .to_string(),
            Command::State => {
                let seen = std::mem::take(&mut *seen.lock().unwrap());
                serde_json::to_string(&state(&node, &settings.topics, seen))?
            }
        };
        println!("{answer}");
    }
    Ok(())
}

impl Write {
    fn entry(&self, write: impl FnOnce(&NewEntry<'_>) -> bool) -> bool {
        let entry = NewEntry::new(&self.topic, &self.key, &self.owner);
        write(&entry.meta(self.meta.as_bytes()).status(self.status))
    }
}

fn state(node: &Node, topics: &[String], seen: Seen) -> State {
    let mut lists = BTreeMap::new();
    for topic in topics {
        let Ok(entries) = node.list(topic) else {
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let row = |entry: &headcount::EntryBuf| -> Row {
            (
                entry.origin().replica.to_string(),
                text(entry.key().bytes),
                text(entry.owner()),
                text(entry.meta()),
                entry.status(),
            )
        };
        lists.insert(topic.clone(), entries.iter().map(row).collect());
    }
    State {
        id: node.id().to_string(),
        beats: beats(&node.stats()),
        lists,
        seen,
    }
}

fn beats(stats: &NodeStats) -> u64 {
    stats.sent.get("beat").map_or(0, |traffic| traffic.frames)
}

async fn note_downs(node: Arc<Node>, seen: Arc<Mutex<Seen>>) {
    let mut events = node.events();
    loop {
        match events.next().await {
            Ok(None) => return,
            Ok(Some(Event::ReplicaDown(id))) => seen.lock().unwrap().downs.push(id.to_string()),
            Ok(Some(_)) => {}
            Err(lagged) => panic!("the reader of events is too slow: {lagged}"),
        }
    }
}

/// Counts, in beats of this node, how long each other replica is silent.
struct Check {
    node: Arc<Node>,
    topics: Vec<String>,
    beats_max: u64,
    pause_max: Duration,
    period: Duration,
    start: Instant,
    /// The beats of this node at earlier times.
    past: VecDeque<(Duration, u64)>,
    seen: Arc<Mutex<Seen>>,
}

impl Check {
    fn new(settings: &Settings, node: Arc<Node>, seen: Arc<Mutex<Seen>>) -> Self {
        let heartbeat = Duration::from_millis(settings.heartbeat_ms);
        Self {
            node,
            topics: settings.topics.clone(),
            beats_max: settings.down_beats + 1,
            pause_max: heartbeat * settings.down_beats as u32 / 2,
            period: heartbeat / 4,
            start: Instant::now(),
            past: VecDeque::new(),
            seen,
        }
    }

    async fn run(mut self) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(self.period).await;
            let now = Instant::now();
            if now - last > self.pause_max {
                self.seen.lock().unwrap().pauses += 1;
            }
            last = now;
            self.look();
        }
    }

    /// Notes the replicas that are shown after a silence of more beats than they may. The beats are
    /// read before the lists and the time after the silence, so no beat is counted too many.
    fn look(&mut self) {
        let stats = self.node.stats();
        let now = self.start.elapsed();
        let now_beats = beats(&stats);
        self.past.push_back((now, now_beats));
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        let topics = self.topics.iter();
        let lists = topics.filter_map(|topic| self.node.list(topic).ok());
        let shown: Vec<_> = lists.flatten().collect();
        for peer in stats.peers {
            let heard = now.saturating_sub(peer.silence);
            let since = self.past.iter().find(|(time, _)| *time >= heard);
            let beats = since.map_or(0, |(_, then)| now_beats - then);
            let is_listed = shown.iter().any(|entry| entry.origin().replica == peer.id);
            if beats > self.beats_max && (peer.is_up || is_listed) {
                let late = format!("{} for {beats} beats", peer.id);
                self.seen.lock().unwrap().late.push(late);
            }
        }
    }
}

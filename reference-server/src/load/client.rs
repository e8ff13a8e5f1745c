//! One client of a run: it joins a room by a WebSocket, posts when it is told to, and times what arrives.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{interval_at, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// The time for a connection and its join: more than the server lets one wait.
const JOIN_MAX: Duration = Duration::from_secs(30);
/// The period at which clients of Phoenix say that they live.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Before the time in the content of a message.
const MARK: &str = "sent-at-us:";
/// The longest time that is told from longer ones.
const MICROS_MAX: u64 = 60_000_000;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The measures of all clients of a run.
pub(super) struct Stats {
    pub(super) start: Instant,
    /// In microseconds.
    pub(super) joins: Mutex<Histogram<u64>>,
    pub(super) deliveries: Mutex<Histogram<u64>>,
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) received: AtomicU64,
    /// The failures by text.
    pub(super) errors: Mutex<BTreeMap<String, u64>>,
}

impl Default for Stats {
    fn default() -> Self {
        let histogram = || {
            let bounds = Histogram::new_with_bounds(1, MICROS_MAX, 3);
            Mutex::new(bounds.expect("the bounds are in order"))
        };
        Self {
            start: Instant::now(),
            joins: histogram(),
            deliveries: histogram(),
            sent: AtomicU64::default(),
            answered: AtomicU64::default(),
            refused: AtomicU64::default(),
            received: AtomicU64::default(),
            errors: Mutex::default(),
        }
    }
}

impl Stats {
    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn fail(&self, error: String) {
        *self.errors.lock().entry(error).or_default() += 1;
    }
}

/// A task of a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Post,
    Leave,
}

/// A client that has not connected.
pub(super) struct Client {
    pub(super) url: String,
    pub(super) topic: String,
    pub(super) stats: Arc<Stats>,
    pub(super) stored: Arc<AtomicU64>,
}

/// A client in its room.
pub(super) struct Joined {
    socket: Socket,
    client: Client,
    pushes: u64,
}

impl Client {
    /// Connects and joins; `None` is a failure, which is counted.
    pub(super) async fn join(self) -> Option<Joined> {
        let started = Instant::now();
        let joined = timeout(JOIN_MAX, self.connect()).await;
        let joined = joined.unwrap_or_else(|_| Err("the join took more than 30 s".into()));
        match joined {
            Ok(socket) => {
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.stats.joins.lock().saturating_record(micros.max(1));
                Some(Joined {
                    socket,
                    client: self,
                    pushes: 1,
                })
            }
            Err(error) => {
                self.stats.fail(error);
                None
            }
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        // The default buffers would be most of the memory of a run.
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let connected = connect_async_with_config(&self.url, Some(config), true).await;
        let (mut socket, _) = connected.map_err(|error| error.to_string())?;
        let join = json!(["1", "1", self.topic, "phx_join", {}]);
        let sent = socket.send(Message::text(join.to_string())).await;
        sent.map_err(|error| error.to_string())?;
        while let Some(frame) = socket.next().await {
            let frame = frame.map_err(|error| error.to_string())?;
            let Some(reply) = reply_of(&frame) else {
                continue;
            };
            if reply[4]["status"] == "ok" {
                return Ok(socket);
            }
            return Err(format!("join refused: {}", reply[4]["response"]["reason"]));
        }
        Err("the server ended the connection before the join".into())
    }
}

impl Joined {
    /// Exchanges frames until the client is told to leave, or the connection ends.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut heartbeat = interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            let done = tokio::select! {
                frame = self.socket.next() => match frame {
                    Some(Ok(frame)) => { self.receive(&frame); Ok(()) }
                    Some(Err(error)) => Err(error.to_string()),
                    None => Err("the server ended the connection".to_owned()),
                },
                command = commands.recv() => match command {
                    Some(Command::Post) => self.post().await,
                    Some(Command::Leave) | None => return self.leave().await,
                },
                _ = heartbeat.tick() => self.push("phoenix", "heartbeat", &json!({})).await,
            };
            if let Err(error) = done {
                return self.client.stats.fail(error);
            }
        }
    }

    fn receive(&mut self, frame: &Message) {
        let Message::Text(text) = frame else { return };
        let stats = &self.client.stats;
        let micros = stats.micros();
        if text.contains(r#""new_message""#) {
            if let Some(sent) = sent_at(text) {
                let took = micros.saturating_sub(sent).max(1);
                stats.deliveries.lock().saturating_record(took);
                stats.received.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let Some(reply) = reply_of(frame).filter(|reply| reply[2] == *self.client.topic) else {
            return;
        };
        if reply[4]["status"] == "ok" {
            self.client.stored.fetch_add(1, Ordering::Relaxed);
        } else {
            stats.refused.fetch_add(1, Ordering::Relaxed);
        }
        stats.answered.fetch_add(1, Ordering::Relaxed);
    }

    async fn post(&mut self) -> Result<(), String> {
        let stats = &self.client.stats;
        stats.sent.fetch_add(1, Ordering::Relaxed);
        let content = format!("{MARK}{}", stats.micros());
        let topic = self.client.topic.clone();
        self.push(&topic, "new_message", &json!({ "content": content }))
            .await
    }

    async fn push(&mut self, topic: &str, event: &str, payload: &Value) -> Result<(), String> {
        self.pushes += 1;
        let reference = self.pushes.to_string();
        let join_ref = (topic == self.client.topic).then_some("1");
        let frame = json!([join_ref, reference, topic, event, payload]).to_string();
        let sent = self.socket.send(Message::text(frame)).await;
        sent.map_err(|error| error.to_string())
    }

    async fn leave(mut self) {
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = self.socket.send(Message::Close(Some(close))).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

/// Returns a frame that is a reply, as JSON.
fn reply_of(frame: &Message) -> Option<Value> {
    let Message::Text(text) = frame else {
        return None;
    };
    let is_reply = text.contains(r#""phx_reply""#);
    is_reply.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Returns the time in the content of a message.
fn sent_at(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(MARK)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

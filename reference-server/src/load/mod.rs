//! `headcount-server load`: clients that join the rooms of a running server and post, and what they measure.

mod api;
mod client;
mod process;
mod report;
mod settings;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    signal::ctrl_c,
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

pub use report::{Deliveries, Joins, Messages, Percentiles, Report, ServerUsage};
pub use settings::Load;

use api::Api;
use client::{Client, Command, Stats};
use process::Usage;

/// The time that the last deliveries may take.
const LAST_MAX: Duration = Duration::from_secs(5);
/// The pause in which the server settles after the joins.
const SETTLE: Duration = Duration::from_secs(1);
/// Messages that may wait for a client to send them.
const COMMANDS_MAX: usize = 16;

/// The error of a run that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The server could not be reached.
    #[error("{url}: {error}")]
    Unreachable {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        error: reqwest::Error,
    },
    /// The server refused a request of the preparation.
    #[error("{what}: {status}: {text}")]
    Refused {
        /// The request.
        what: String,
        /// The status of the answer.
        status: u16,
        /// The answer.
        text: String,
    },
    /// The user that was to own the rooms is another's.
    #[error(
        "the user {0:?} has another password than this runner gives it: name another one by --owner"
    )]
    OwnerTaken(String),
    /// An answer of the preparation is none of this server's.
    #[error("{what}: not an answer of this server: {text}")]
    Malformed {
        /// The request.
        what: String,
        /// The answer.
        text: String,
    },
    /// The run was interrupted (Ctrl-C). Its rooms were deleted.
    #[error("interrupted")]
    Interrupted,
    /// A token could not be signed.
    #[error("a token could not be signed: {0}")]
    Token(String),
    /// No client could join.
    #[error("no client could join: {0}")]
    NoneJoined(String),
    /// The process of the server could not be read.
    #[error("process {pid}: {error}")]
    Process {
        /// Its number.
        pid: i32,
        /// The cause.
        #[source]
        error: io::Error,
    },
}

/// Runs clients against a server.
///
/// # Errors
/// The server cannot be reached or refuses to prepare the rooms, no client can join, the process cannot be read, or
/// the user presses Ctrl-C.
pub async fn run(load: &Load) -> Result<Report, LoadError> {
    let api = Api::connect(load).await?;
    let rooms = api.create_rooms(load.rooms).await?;
    let measured = tokio::select! {
        measured = measure(load, &api, &rooms) => measured,
        _ = ctrl_c() => Err(LoadError::Interrupted),
    };
    api.delete_rooms(&rooms).await;
    measured
}

async fn measure(load: &Load, api: &Api, rooms: &[String]) -> Result<Report, LoadError> {
    let stats = Arc::new(Stats::default());
    let before = Usage::read(load.pid)?;
    let started = Instant::now();
    let mut crowd = Crowd::join(load, api, rooms, &stats).await?;
    let connect_time = started.elapsed();
    sleep(SETTLE).await;
    let joined = Usage::read(load.pid)?;
    let started = Instant::now();
    crowd.talk(load).await;
    crowd.wait_for_last(&stats).await;
    let talk_time = started.elapsed();
    let after = Usage::read(load.pid)?;
    let report = report::Run {
        load,
        stats: &stats,
        expected: crowd.expected(),
        connect_time,
        talk_time,
        usage: [before, joined, after],
    };
    let report = report.report();
    crowd.leave().await;
    Ok(report)
}

/// The clients that have joined.
struct Crowd {
    members: Vec<mpsc::Sender<Command>>,
    tasks: JoinSet<()>,
    rooms: Vec<Room>,
    bar: ProgressBar,
}

struct Room {
    topic: String,
    members: u64,
    /// The messages that the server has stored.
    stored: Arc<std::sync::atomic::AtomicU64>,
}

impl Crowd {
    /// Connects the clients at the rate asked for, and waits until all have joined or failed.
    async fn join(
        load: &Load,
        api: &Api,
        rooms: &[String],
        stats: &Arc<Stats>,
    ) -> Result<Self, LoadError> {
        let room = |id: &String| Room {
            topic: format!("room:{id}"),
            members: 0,
            stored: Arc::default(),
        };
        let mut crowd = Self {
            members: Vec::new(),
            tasks: JoinSet::new(),
            rooms: rooms.iter().map(room).collect(),
            bar: progress(load, "joining", u64::from(load.connections)),
        };
        let mut pace = interval(Duration::from_secs(1) / load.connect_rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut joining = JoinSet::new();
        for n in 0..load.connections {
            let token = api.guest(load, n).await?;
            pace.tick().await;
            let index = n as usize % crowd.rooms.len();
            let room = &crowd.rooms[index];
            let client = Client {
                url: api.socket_url(&token),
                topic: room.topic.clone(),
                stats: Arc::clone(stats),
                stored: Arc::clone(&room.stored),
            };
            joining.spawn(async move { (index, client.join().await) });
            while let Some(Ok(done)) = joining.try_join_next() {
                crowd.admit(done);
            }
        }
        while let Some(Ok(done)) = joining.join_next().await {
            crowd.admit(done);
        }
        crowd.bar.finish_and_clear();
        if crowd.members.is_empty() {
            let errors = stats.errors.lock().keys().cloned().collect::<Vec<_>>();
            return Err(LoadError::NoneJoined(errors.join("; ")));
        }
        Ok(crowd)
    }

    fn admit(&mut self, (room, joined): (usize, Option<client::Joined>)) {
        self.bar.inc(1);
        let Some(joined) = joined else { return };
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        self.rooms[room].members += 1;
        self.members.push(commands);
        self.tasks.spawn(joined.run(inbox));
    }

    /// Posts messages at the rate asked for, from one client after the other.
    async fn talk(&mut self, load: &Load) {
        let messages = load.messages();
        self.bar = progress(load, "talking", load.duration * 10);
        let end = Instant::now() + Duration::from_secs(load.duration);
        let mut tick = interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        for step in 1..=load.duration * 10 {
            tick.tick().await;
            self.bar.inc(1);
            let due = messages * step / (load.duration * 10);
            while sent < due {
                let member = &self.members[sent as usize % self.members.len()];
                // One that is behind, or has failed, posts nothing: the report says how many were asked for.
                let _ = member.try_send(Command::Post);
                sent += 1;
            }
        }
        tokio::time::sleep_until(end.into()).await;
        self.bar.finish_and_clear();
    }

    /// Returns the deliveries of the messages that were stored: each goes to all members of its room.
    fn expected(&self) -> u64 {
        let rooms = self.rooms.iter();
        rooms
            .map(|room| room.members * room.stored.load(Ordering::Relaxed))
            .sum()
    }

    async fn wait_for_last(&self, stats: &Stats) {
        let end = Instant::now() + LAST_MAX;
        let is_done = || {
            stats.answered.load(Ordering::Relaxed) >= stats.sent.load(Ordering::Relaxed)
                && stats.received.load(Ordering::Relaxed) >= self.expected()
        };
        while !is_done() && Instant::now() < end {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the connections as clients that leave.
    async fn leave(mut self) {
        for member in &self.members {
            let _ = member.send(Command::Leave).await;
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_MAX, all).await;
    }
}

/// Makes a progress bar, which is hidden where nobody looks: with `--quiet`, or if stderr is no terminal.
fn progress(load: &Load, what: &'static str, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if load.quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{msg:8} {bar:40} {pos}/{len} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(what)
}

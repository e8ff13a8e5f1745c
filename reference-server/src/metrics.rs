//! `Metrics`: what a server counts and measures, in the format of Prometheus. Each server of a process has its own.
//!
//! Names end in their unit. Labels have few values, all known here: no user and no room is one.

mod causes;
mod cluster;

use std::{fmt, sync::Arc, time::Duration};

use headcount::runtime::NodeStats;
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use causes::{Causes, counter, seconds};
pub(crate) use cluster::ClusterMetrics;

/// The upper bounds of the buckets of durations, in seconds: from a cached write to the longest wait.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

const CONNECTIONS: &str = "headcount_connections";
const REQUESTS: &str = "headcount_http_requests_total";
const REQUEST_SECONDS: &str = "headcount_http_request_seconds";

const OPENED: Causes = Causes {
    name: "headcount_connections_opened_total",
    meaning: "Connections that were opened.",
    label: "transport",
    values: &["websocket", "longpoll"],
};
const CLOSED: Causes = Causes {
    name: "headcount_connections_closed_total",
    meaning: "Connections that ended: by the client, or by the server for this reason.",
    label: "reason",
    values: &[
        "client",
        "malformed",
        "protocol",
        "not_utf8",
        "too_long",
        "flood",
        "token_ended",
        "idle",
        "slow_consumer",
        "restart",
    ],
};
const CONNECTS_REFUSED: Causes = Causes {
    name: "headcount_connects_refused_total",
    meaning: "Sockets and long-poll sessions that were refused.",
    label: "reason",
    values: &[
        "parameters",
        "origin",
        "token",
        "sessions",
        "admission",
        "draining",
        "storage",
    ],
};
const JOINS_REFUSED: Causes = Causes {
    name: "headcount_joins_refused_total",
    meaning: "Joins that were refused.",
    label: "reason",
    values: &[
        "not_found",
        "not_a_member",
        "too_many_channels",
        "unmatched_topic",
        "storage",
        "crashed",
    ],
};
const OIDC_FAILED: Causes = Causes {
    name: "headcount_oidc_sign_ins_failed_total",
    meaning: "Sign-ins at the other site that failed, as the page is told.",
    label: "reason",
    values: &["busy", "refused", "expired", "failed"],
};
const LIMITED: Causes = Causes {
    name: "headcount_limited_total",
    meaning: "Messages, pushes and sign-ins that were over their rates.",
    label: "limit",
    values: &[
        "messages", "sign_ins", "typing", "status", "window", "find", "change", "other",
    ],
};
const FRAMES_DROPPED: Causes = Causes {
    name: "headcount_frames_dropped_total",
    meaning: "Frames that a slow client was not sent; `queue` are those that waited when it was closed.",
    label: "kind",
    values: &["typing", "presence", "member_list", "queue"],
};
const WEBHOOK_EVENTS: Causes = Causes {
    name: "headcount_webhook_events_total",
    meaning: "Events of the webhook.",
    label: "outcome",
    values: &["sent", "dropped", "given_up"],
};
const WEBHOOK_CALLS: Causes = Causes {
    name: "headcount_webhook_calls_total",
    meaning: "Calls of the webhook.",
    label: "outcome",
    values: &["ok", "failed"],
};

/// The kind of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Transport {
    #[default]
    WebSocket,
    LongPoll,
}

impl Transport {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPoll => "longpoll",
        }
    }
}

/// The counters and measures of a server.
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    pub(crate) queues: Arc<QueueMetrics>,
    pub(crate) database: DatabaseMetrics,
    pub(crate) cluster: ClusterMetrics,
    pub(crate) pushes: Counter,
    pub(crate) joins: Counter,
    pub(crate) messages: Counter,
    pub(crate) beats: Histogram,
    pub(crate) list_ticks: Histogram,
    webhook_calls: Histogram,
}

/// The values that are read at the moment of an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) uptime: Duration,
    pub(crate) is_ready: bool,
    pub(crate) websockets: usize,
    pub(crate) long_polls: usize,
    pub(crate) users: usize,
    pub(crate) rooms: usize,
    pub(crate) subscriptions: usize,
    pub(crate) presence_entries: usize,
    pub(crate) queue_frames: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_frames_max: usize,
    pub(crate) congested: usize,
    /// Of presence in a cluster; all zero without one.
    pub(crate) node: NodeStats,
}

impl Metrics {
    /// Makes the counters, all of them at zero, so that each is in the first answer.
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(SECONDS);
        let recorder = builder.expect("there are bounds").build_recorder();
        let recorder = Arc::new(recorder);
        with_local_recorder(&*recorder, || Self::register(Arc::clone(&recorder)))
    }

    fn register(recorder: Arc<PrometheusRecorder>) -> Self {
        describe();
        Self {
            handle: recorder.handle(),
            recorder,
            queues: Arc::new(QueueMetrics::register()),
            database: DatabaseMetrics::register(),
            cluster: ClusterMetrics::register(),
            pushes: counter("headcount_pushes_total", "Frames that clients pushed."),
            joins: counter("headcount_joins_total", "Joins of rooms and conversations."),
            messages: counter("headcount_messages_total", "Messages that were stored."),
            beats: seconds(
                "headcount_beat_seconds",
                "The time in which changes of presence go to the rooms.",
            ),
            list_ticks: seconds(
                "headcount_member_list_tick_seconds",
                "The time in which the member list of a room is published.",
            ),
            webhook_calls: seconds(
                "headcount_webhook_call_seconds",
                "The time until the webhook answers.",
            ),
        }
    }

    /// Counts a new connection.
    pub(crate) fn open(&self, transport: Transport) {
        self.count(OPENED, transport.as_str(), 1);
    }

    /// Counts the end of a connection.
    pub(crate) fn close(&self, reason: &'static str) {
        self.count(CLOSED, reason, 1);
    }

    /// Counts a connection that was refused.
    pub(crate) fn refuse_connect(&self, reason: &'static str) {
        self.count(CONNECTS_REFUSED, reason, 1);
    }

    /// Counts a join that was refused.
    pub(crate) fn refuse_join(&self, reason: &'static str) {
        self.count(JOINS_REFUSED, reason, 1);
    }

    /// Counts a sign-in at the other site that failed.
    pub(crate) fn fail_oidc(&self, reason: &'static str) {
        self.count(OIDC_FAILED, reason, 1);
    }

    /// Counts a request or push over its rate.
    pub(crate) fn limit(&self, limit: &'static str) {
        self.count(LIMITED, limit, 1);
    }

    /// Counts events of the webhook.
    pub(crate) fn webhook_events(&self, outcome: &'static str, events: u64) {
        self.count(WEBHOOK_EVENTS, outcome, events);
    }

    /// Counts a call of the webhook, and the time until it was answered.
    pub(crate) fn webhook_call(&self, outcome: &'static str, time: Duration) {
        self.count(WEBHOOK_CALLS, outcome, 1);
        self.webhook_calls.record(time);
    }

    fn count(&self, causes: Causes, value: &'static str, events: u64) {
        with_local_recorder(&*self.recorder, || causes.counter(value)).increment(events);
    }

    /// Counts a request of a route.
    pub(crate) fn request(&self, route: &str, method: &'static str, status: u16, time: Duration) {
        with_local_recorder(&*self.recorder, || {
            let route = route.to_owned();
            let status = status.to_string();
            let count = counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status);
            count.increment(1);
            histogram!(REQUEST_SECONDS, "route" => route).record(time);
        });
    }

    /// Moves what was measured into its buckets: without it the samples pile up.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Returns all values as text.
    pub(crate) fn render(&self, sample: &Sample) -> String {
        with_local_recorder(&*self.recorder, || sample.set());
        self.handle.render()
    }
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^52")]
    fn set(&self) {
        gauge!("headcount_uptime_seconds").set(self.uptime.as_secs_f64());
        gauge!("headcount_ready").set(f64::from(u8::from(self.is_ready)));
        for (transport, value) in [
            (Transport::WebSocket, self.websockets),
            (Transport::LongPoll, self.long_polls),
        ] {
            gauge!(CONNECTIONS, "transport" => transport.as_str()).set(value as f64);
        }
        for (name, value) in [
            ("headcount_users", self.users),
            ("headcount_rooms", self.rooms),
            ("headcount_subscriptions", self.subscriptions),
            ("headcount_presence_entries", self.presence_entries),
            ("headcount_queue_frames", self.queue_frames),
            ("headcount_queue_bytes", self.queue_bytes),
            ("headcount_queue_frames_max", self.queue_frames_max),
            ("headcount_congested_connections", self.congested),
        ] {
            gauge!(name).set(value as f64);
        }
        cluster::set(&self.node);
    }
}

/// Describes what is registered later, and makes the counters by cause.
fn describe() {
    for (name, meaning) in [
        (CONNECTIONS, "Open connections."),
        ("headcount_uptime_seconds", "The time since the start."),
        (
            "headcount_ready",
            "1 from the end of start-up until a stop begins, else 0.",
        ),
        (
            "headcount_users",
            "Users that are connected, or were within the grace.",
        ),
        (
            "headcount_rooms",
            "Rooms in memory: those with subscribers, and those that had some lately.",
        ),
        ("headcount_subscriptions", "Joined channels of rooms."),
        (
            "headcount_presence_entries",
            "Entries held: sessions in open rooms; in a cluster users and occupied rooms.",
        ),
        (
            "headcount_queue_frames",
            "Frames that wait for their clients.",
        ),
        (
            "headcount_queue_bytes",
            "The bytes of the frames that wait.",
        ),
        (
            "headcount_queue_frames_max",
            "Frames that wait in the longest queue.",
        ),
        (
            "headcount_congested_connections",
            "Connections that are sent less because they are slow.",
        ),
    ] {
        describe_gauge!(name, meaning);
    }
    describe_counter!(REQUESTS, "Requests that were answered.");
    describe_histogram!(REQUEST_SECONDS, "The time until a request is answered.");
    for causes in [
        OPENED,
        CLOSED,
        CONNECTS_REFUSED,
        JOINS_REFUSED,
        OIDC_FAILED,
        LIMITED,
        WEBHOOK_EVENTS,
        WEBHOOK_CALLS,
    ] {
        causes.register();
    }
}

/// A kind of frames that a slow client is not sent, in the order of [`FRAMES_DROPPED`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dropped {
    Typing,
    Presence,
    MemberList,
    /// The queue of a client that is closed because it is too slow.
    Queue,
}

/// The counters of the queues of clients.
pub(crate) struct QueueMetrics {
    delivered: Counter,
    delivered_bytes: Counter,
    dropped: Vec<Counter>,
}

impl QueueMetrics {
    fn register() -> Self {
        Self {
            delivered: counter(
                "headcount_frames_delivered_total",
                "Frames that were written to clients.",
            ),
            delivered_bytes: counter(
                "headcount_frames_delivered_bytes_total",
                "The bytes of the frames that were written to clients.",
            ),
            dropped: FRAMES_DROPPED.register(),
        }
    }

    /// Counts frames that were written to a client.
    pub(crate) fn deliver(&self, frames: u64, bytes: usize) {
        self.delivered.increment(frames);
        self.delivered_bytes.increment(bytes as u64);
    }

    /// Counts frames that a client is not sent.
    pub(crate) fn leave_out(&self, kind: Dropped, frames: usize) {
        if let Some(counter) = self.dropped.get(kind as usize) {
            counter.increment(frames as u64);
        }
    }
}

impl Default for QueueMetrics {
    /// Makes counters that nothing reads.
    fn default() -> Self {
        Self {
            delivered: Counter::noop(),
            delivered_bytes: Counter::noop(),
            dropped: Vec::new(),
        }
    }
}

impl fmt::Debug for QueueMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueMetrics")
    }
}

/// The measures of the database's writes.
#[derive(Clone)]
pub(crate) struct DatabaseMetrics {
    pub(crate) waits: Histogram,
    pub(crate) writes: Histogram,
    pub(crate) failed: Counter,
}

impl DatabaseMetrics {
    fn register() -> Self {
        Self {
            waits: seconds(
                "headcount_database_wait_seconds",
                "The time that a write waits for its turn.",
            ),
            writes: seconds(
                "headcount_database_write_seconds",
                "The time of a write, from its turn to its commit.",
            ),
            failed: counter(
                "headcount_database_writes_failed_total",
                "Writes that were not committed.",
            ),
        }
    }
}

impl fmt::Debug for DatabaseMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseMetrics")
    }
}

impl Default for DatabaseMetrics {
    /// Makes measures that nothing reads.
    fn default() -> Self {
        Self {
            waits: Histogram::noop(),
            writes: Histogram::noop(),
            failed: Counter::noop(),
        }
    }
}

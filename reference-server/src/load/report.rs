//! The result of a run, as a table and as JSON.

use std::{collections::BTreeMap, fmt, sync::atomic::Ordering, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Load, client::Stats, process::Usage};

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The joins of the clients.
    pub joins: Joins,
    /// The messages that were posted.
    pub messages: Messages,
    /// The messages that arrived.
    pub deliveries: Deliveries,
    /// The process of the server, if it was named.
    pub server: Option<ServerUsage>,
    /// The failures by text.
    pub errors: BTreeMap<String, u64>,
}

/// The joins of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Joins {
    /// The clients that were asked for.
    pub asked: u64,
    /// The clients that joined.
    pub joined: u64,
    /// The seconds until all had joined or failed.
    pub seconds: f64,
    /// The times from the connection to the reply of the join.
    pub times: Percentiles,
}

/// The messages of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Messages {
    /// The messages that were asked for.
    pub asked: u64,
    /// The messages that clients posted: none of a client that is behind or has failed.
    pub sent: u64,
    /// The messages that the server stored.
    pub stored: u64,
    /// The messages that the server refused.
    pub refused: u64,
    /// The seconds from the first message to the last delivery.
    pub seconds: f64,
}

/// The deliveries of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Deliveries {
    /// The stored messages, times the members of their rooms.
    pub expected: u64,
    /// The deliveries that arrived.
    pub received: u64,
    /// The times from the post to the delivery.
    pub times: Percentiles,
}

/// Percentiles of a time, in milliseconds.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Percentiles {
    /// The median.
    pub p50_ms: f64,
    /// 90 of 100 are below.
    pub p90_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
    /// 999 of 1,000 are below.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// The usage of the server's process.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ServerUsage {
    /// Its memory before the first connection.
    pub resident_bytes_before: u64,
    /// Its memory when all had joined.
    pub resident_bytes_joined: u64,
    /// The growth, by joined client.
    pub resident_bytes_per_connection: f64,
    /// The CPU time of the joins, by joined client.
    pub cpu_us_per_join: f64,
    /// The CPU time of the messages, by delivery; all that the server did meanwhile is in it.
    pub cpu_us_per_delivery: f64,
}

/// The measures of a run.
pub(super) struct Run<'a> {
    pub(super) load: &'a Load,
    pub(super) stats: &'a Stats,
    pub(super) expected: u64,
    pub(super) connect_time: Duration,
    pub(super) talk_time: Duration,
    /// Before the joins, after them, at the end.
    pub(super) usage: [Option<Usage>; 3],
}

impl Run<'_> {
    pub(super) fn report(&self) -> Report {
        let stats = self.stats;
        let joins = stats.joins.lock();
        let deliveries = stats.deliveries.lock();
        let refused = stats.refused.load(Ordering::Relaxed);
        let received = stats.received.load(Ordering::Relaxed);
        Report {
            server: self.usage(joins.len(), received),
            joins: Joins {
                asked: u64::from(self.load.connections),
                joined: joins.len(),
                seconds: self.connect_time.as_secs_f64(),
                times: Percentiles::of(&joins),
            },
            messages: Messages {
                asked: self.load.messages(),
                sent: stats.sent.load(Ordering::Relaxed),
                stored: stats.answered.load(Ordering::Relaxed) - refused,
                refused,
                seconds: self.talk_time.as_secs_f64(),
            },
            deliveries: Deliveries {
                expected: self.expected,
                received,
                times: Percentiles::of(&deliveries),
            },
            errors: stats.errors.lock().clone(),
        }
    }

    fn usage(&self, joined: u64, received: u64) -> Option<ServerUsage> {
        let [before, full, after] = self.usage;
        let before = before?;
        let full = full?;
        let after = after?;
        let growth = full.resident_bytes.saturating_sub(before.resident_bytes);
        Some(ServerUsage {
            resident_bytes_before: before.resident_bytes,
            resident_bytes_joined: full.resident_bytes,
            resident_bytes_per_connection: share(growth, joined),
            cpu_us_per_join: share(full.cpu_us - before.cpu_us, joined),
            cpu_us_per_delivery: share(after.cpu_us - full.cpu_us, received),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn share(amount: u64, count: u64) -> f64 {
    amount as f64 / count.max(1) as f64
}

impl Percentiles {
    fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| share(micros.value_at_quantile(quantile), 1_000);
        Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: share(micros.max(), 1_000),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            p50_ms,
            p90_ms,
            p99_ms,
            p999_ms,
            max_ms,
        } = self;
        write!(
            f,
            "p50 {p50_ms:.2} ms, p90 {p90_ms:.2}, p99 {p99_ms:.2}, p99.9 {p999_ms:.2}, max {max_ms:.2}"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            joins,
            messages,
            deliveries,
            server,
            errors,
        } = self;
        writeln!(
            f,
            "joins       {} of {} in {:.1} s\n            {}",
            joins.joined, joins.asked, joins.seconds, joins.times
        )?;
        writeln!(
            f,
            "messages    {} of {} sent, {} stored, {} refused in {:.1} s",
            messages.sent, messages.asked, messages.stored, messages.refused, messages.seconds
        )?;
        writeln!(
            f,
            "deliveries  {} of {}\n            {}",
            deliveries.received, deliveries.expected, deliveries.times
        )?;
        if let Some(server) = server {
            writeln!(
                f,
                "server      {:.1} KiB a connection, {:.0} us CPU a join, {:.1} us CPU a delivery",
                server.resident_bytes_per_connection / 1024.0,
                server.cpu_us_per_join,
                server.cpu_us_per_delivery
            )?;
        }
        for (error, count) in errors {
            writeln!(f, "error       {count} times: {error}")?;
        }
        Ok(())
    }
}

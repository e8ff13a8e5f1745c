//! The state that a node, its driver and its subscribers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "metrics")]
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backlog::Changes;
use super::stats::{Counts, NodeStats};
use super::stopped::Stopped;
use super::subscription::{Hub, Readers, Subscription, Wakers};
use crate::codec::DecodeError;
use crate::error::ReadError;
use crate::presence::Presence;
use crate::replica::{Address, Event, Events};
use crate::tracker::{Diff, EntryBuf, TopicDiff};

/// A frame that a node refused: it is malformed, not authentic, or of another cluster or version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The neighbour that the frame came from.
    pub from: Address,
    /// The rule that the frame breaks.
    pub error: DecodeError,
}

/// The part of a topic that a watch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Entries,
    Counts,
}

impl Level {
    pub(super) fn is_ready(self, shared: &Shared, topic: &str) -> bool {
        let checked = match self {
            Self::Entries => shared.presence.check_readable(topic),
            Self::Counts => shared.presence.check_countable(topic),
        };
        checked.is_ok()
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) presence: Presence,
    /// The time that the presence counts from.
    start: Instant,
    /// Notified after a local operation.
    pub(super) wake: Notify,
    is_stopped: AtomicBool,
    /// True once the node has caught up; told once more when it has stopped.
    pub(super) is_settled: watch::Sender<bool>,
    /// The watches that have not ended.
    pub(super) watches: AtomicUsize,
    /// Told when topics can be read, and when the node has stopped.
    pub(super) topics_ready: watch::Sender<()>,
    pub(super) counts: Counts,
    /// When the metrics were last measured.
    #[cfg(feature = "metrics")]
    measured: Mutex<Option<Duration>>,
    /// Diffs are taken from the presence under the lock of this hub, so that every reader gets them
    /// in their order.
    changes: Arc<Hub<Arc<TopicDiff>>>,
    events: Arc<Hub<Event>>,
    refusals: Arc<Hub<Refusal>>,
}

impl Shared {
    pub(super) fn new(presence: Presence) -> Self {
        Self {
            presence,
            start: Instant::now(),
            wake: Notify::new(),
            is_stopped: AtomicBool::new(false),
            is_settled: watch::Sender::new(false),
            watches: AtomicUsize::new(0),
            topics_ready: watch::Sender::new(()),
            counts: Counts::default(),
            #[cfg(feature = "metrics")]
            measured: Mutex::default(),
            changes: Arc::new(Hub::new::<Changes<_>>()),
            events: Arc::new(Hub::new::<Events>()),
            refusals: Arc::new(Hub::new::<Changes<_>>()),
        }
    }

    /// Returns the time that the presence is told.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns whether the presence has a deadline that has come.
    pub(super) fn is_due(&self) -> bool {
        let due = self.presence.poll_timeout();
        due.is_some_and(|due| due <= self.now())
    }

    /// Returns the instant of a time of the presence.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// Checks that the node has not stopped.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        match self.is_stopped.load(Ordering::Acquire) {
            true => Err(Stopped),
            false => Ok(()),
        }
    }

    pub(super) fn subscribe(&self, topic: &str) -> Result<Subscription, ReadError> {
        self.check()?;
        let mut readers = self.changes.lock();
        match self.presence.check_readable(topic) {
            Err(error @ ReadError::NotWatched { .. }) => Err(error),
            // Changes come before it is ready too.
            _ => Ok(self.changes.add(&mut readers, topic)),
        }
    }

    /// Begins a watch of a topic: none of its changes is missed from now on.
    pub(super) fn watch(&self, topic: &str, level: Level) {
        let _readers = self.changes.lock();
        match level {
            Level::Entries => self.presence.watch(self.now(), topic),
            Level::Counts => self.presence.watch_counts(self.now(), topic),
        }
    }

    /// Ends a watch of a topic. The last one ends its subscriptions, which would miss changes: in a
    /// cluster without counts a watch of these is one of the entries.
    pub(super) fn unwatch(&self, topic: &str, level: Level) {
        let mut wakers = Wakers::default();
        let mut readers = self.changes.lock();
        match level {
            Level::Entries => self.presence.unwatch(self.now(), topic),
            Level::Counts => self.presence.unwatch_counts(self.now(), topic),
        }
        let readable = self.presence.check_readable(topic);
        if matches!(readable, Err(ReadError::NotWatched { .. })) {
            readers.close_name(topic, &mut wakers);
        }
        drop(readers);
        wakers.wake();
    }

    pub(super) fn list_and_subscribe(
        &self,
        topic: &str,
    ) -> Result<(Vec<EntryBuf>, Subscription), ReadError> {
        self.check()?;
        let mut wakers = Wakers::default();
        let mut readers = self.changes.lock();
        let (entries, before) = self.presence.list_with_diffs(topic)?;
        for diff in before {
            send_diff(&mut readers, diff, &mut wakers);
        }
        let subscription = self.changes.add(&mut readers, topic);
        drop(readers);
        wakers.wake();
        Ok((entries, subscription))
    }

    pub(super) fn events(&self) -> Subscription<Event> {
        self.events.add(&mut self.events.lock(), "")
    }

    pub(super) fn refusals(&self) -> Subscription<Refusal> {
        self.refusals.add(&mut self.refusals.lock(), "")
    }

    /// Takes one frame from a neighbour.
    pub(super) fn take_frame(&self, from: Address, frame: &Bytes) {
        self.counts.received(frame);
        // A bad frame changes nothing; its sender will notice by itself.
        if let Err(error) = self.presence.handle_message(self.now(), &from, frame) {
            self.counts.refused(&error);
            let mut wakers = Wakers::default();
            let refusal = || (Refusal { from, error }, 0);
            self.refusals.lock().send("", refusal, &mut wakers);
            wakers.wake();
        }
    }

    /// Hands Diffs and events to the subscribers.
    pub(super) fn publish(&self) {
        let mut wakers = Wakers::default();
        let mut readers = self.changes.lock();
        while let Some(diff) = self.presence.poll_diff() {
            send_diff(&mut readers, diff, &mut wakers);
        }
        drop(readers);
        while let Some(event) = self.presence.poll_event() {
            self.counts.event(&event);
            let is_ready = matches!(event, Event::TopicReady { .. } | Event::CountsReady { .. });
            if is_ready {
                self.topics_ready.send_modify(|()| {});
            }
            if event == Event::DiffsDropped {
                self.changes.lock().lose(&mut wakers);
            }
            self.events.lock().send("", || (event, 0), &mut wakers);
        }
        #[cfg(feature = "metrics")]
        self.measure();
        self.is_settled.send_if_modified(|is_settled| {
            !*is_settled && self.presence.is_synced() && {
                *is_settled = true;
                true
            }
        });
        wakers.wake();
    }

    /// Measures what the node holds, once a second.
    #[cfg(feature = "metrics")]
    fn measure(&self) {
        let now = self.now();
        let mut measured = self.measured.lock();
        if measured.is_none_or(|at| now >= at + Duration::from_secs(1)) {
            *measured = Some(now);
            super::telemetry::measure(&self.presence.stats());
        }
    }

    /// Ends all subscriptions, and all that waits for this node; refuses calls from now on.
    pub(super) fn close(&self) {
        self.is_stopped.store(true, Ordering::Release);
        let mut wakers = Wakers::default();
        self.changes.lock().close(&mut wakers);
        self.events.lock().close(&mut wakers);
        self.refusals.lock().close(&mut wakers);
        self.topics_ready.send_modify(|()| {});
        self.is_settled.send_modify(|_| {});
        wakers.wake();
    }

    pub(super) fn stats(&self) -> NodeStats {
        let mut stats = self.counts.read();
        let presence = self.presence.stats();
        stats.entries = presence.entries;
        stats.topics = presence.topics;
        stats.replicas_up = presence.peers.iter().filter(|peer| peer.is_up).count();
        stats.replicas_down = presence.peers.len() - stats.replicas_up;
        stats.leave_log_bytes = presence.leave_log_bytes;
        stats.peers = presence.peers;
        stats.frames = presence.frames;
        stats.diffs_bytes = presence.diffs_bytes;
        add_load(&mut stats, &self.changes);
        add_load(&mut stats, &self.events);
        add_load(&mut stats, &self.refusals);
        stats.watches = self.watches.load(Ordering::Relaxed);
        stats
    }
}

/// Adds what the readers of a hub are behind.
fn add_load<T>(stats: &mut NodeStats, hub: &Hub<T>) {
    let readers = hub.lock();
    let (count, longest) = readers.load();
    stats.subscriptions += count;
    stats.waiting_max = stats.waiting_max.max(longest);
    stats.lagged += readers.lagged();
}

fn send_diff(readers: &mut Readers<Arc<TopicDiff>>, diff: Diff, wakers: &mut Wakers) {
    for change in diff {
        let topic = Arc::clone(&change.topic);
        let measured = || {
            let bytes = change.memory();
            (Arc::new(change), bytes)
        };
        readers.send(&topic, measured, wakers);
    }
}

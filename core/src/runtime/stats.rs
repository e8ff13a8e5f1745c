//! The counts of a node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

#[cfg(any(feature = "metrics", feature = "tracing"))]
use super::telemetry;
use crate::codec::DecodeError;
#[cfg(doc)]
use crate::codec::Kind;
use crate::replica::{Event, PeerStats, Tally, Traffic};

/// The counts of a node: what it holds now, and what happened since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// The entries of all nodes, hidden ones included.
    pub entries: usize,
    /// The topics with entries.
    pub topics: usize,
    /// The other nodes that are known, and how far this one is behind each.
    pub peers: Vec<PeerStats>,
    /// The other nodes that are heard.
    pub replicas_up: usize,
    /// The other nodes that are silent and not forgotten.
    pub replicas_down: usize,
    /// The bytes of the leaves that are remembered for nodes that missed them.
    pub leave_log_bytes: usize,
    /// The bytes of the Diffs that wait to be handed to subscribers.
    pub diffs_bytes: usize,
    /// The frames that wait to be handed to the transport.
    pub frames: usize,
    /// The open subscriptions: to topics, to events and to refusals.
    pub subscriptions: usize,
    /// The watches of topics that have not ended.
    pub watches: usize,
    /// The items that wait for the slowest subscriber.
    pub waiting_max: usize,
    /// The times that a subscriber was too slow and lost items.
    pub lagged: u64,
    /// The frames sent, by [`Kind::name`]: `pull` counts the requests for missing changes.
    pub sent: BTreeMap<&'static str, Traffic>,
    /// The frames that were to be sent and were not: the transport has no connection or refused them, or
    /// too many waited for it.
    pub unsent: u64,
    /// The frames received, by [`Kind::name`]: `repair` counts the states of whole origins.
    pub received: BTreeMap<&'static str, Traffic>,
    /// The frames refused, by the name of the rule that they break
    /// ([`DecodeErrorKind::name`](crate::codec::DecodeErrorKind::name)).
    pub refused: BTreeMap<&'static str, u64>,
    /// The frames whose entries were refused, because they break a limit of this node.
    pub refused_entries: u64,
    /// The origins whose content differed between two nodes at the same clock.
    pub divergences: u64,
    /// The times that another node was heard, new or again.
    pub ups: u64,
    /// The times that another node fell silent.
    pub downs: u64,
}

/// The part of [`NodeStats`] that is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    tally: Mutex<Tally>,
    unsent: AtomicU64,
    #[cfg(feature = "tracing")]
    warning: Mutex<telemetry::UnsentWarning>,
}

impl Counts {
    pub(super) fn sent(&self, frame: &[u8]) {
        #[cfg(feature = "metrics")]
        telemetry::count_frame("sent", frame);
        self.tally.lock().note_sent(frame);
    }

    pub(super) fn received(&self, frame: &[u8]) {
        #[cfg(feature = "metrics")]
        telemetry::count_frame("received", frame);
        self.tally.lock().note_received(frame);
    }

    /// Takes the number of frames that were not sent since the start.
    pub(super) fn unsent(&self, unsent: u64) {
        #[cfg(feature = "metrics")]
        telemetry::count_unsent(unsent.saturating_sub(self.unsent.load(Ordering::Relaxed)));
        self.unsent.store(unsent, Ordering::Relaxed);
        #[cfg(feature = "tracing")]
        self.warning.lock().note(unsent);
    }

    pub(super) fn refused(&self, error: &DecodeError) {
        #[cfg(feature = "metrics")]
        telemetry::count_refused(error);
        self.tally.lock().note_refused(error);
    }

    pub(super) fn event(&self, event: &Event) {
        #[cfg(feature = "tracing")]
        telemetry::log(event);
        #[cfg(feature = "metrics")]
        telemetry::count_event(event);
        self.tally.lock().note_event(event);
    }

    pub(super) fn read(&self) -> NodeStats {
        let tally = self.tally.lock().clone();
        NodeStats {
            sent: tally.sent,
            unsent: self.unsent.load(Ordering::Relaxed),
            received: tally.received,
            refused: tally.refused,
            refused_entries: tally.refused_entries,
            divergences: tally.divergences,
            ups: tally.ups,
            downs: tally.downs,
            ..NodeStats::default()
        }
    }
}

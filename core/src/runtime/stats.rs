//! The counts of a node.

use std::collections::BTreeMap;

use parking_lot::Mutex;

#[cfg(any(feature = "metrics", feature = "tracing"))]
use super::telemetry;
use crate::codec::{DecodeError, Kind};
use crate::replica::{Event, PeerStats};

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
    /// The open subscriptions.
    pub subscriptions: usize,
    /// The watches of topics that have not ended.
    pub watches: usize,
    /// The items that wait for the slowest subscriber.
    pub waiting_max: usize,
    /// The times that a subscriber was too slow and lost items.
    pub lagged: u64,
    /// The frames sent, by [`Kind::name`]: `pull` counts the requests for missing changes.
    pub sent: BTreeMap<&'static str, Traffic>,
    /// The frames that were to be sent, and that the transport could not send: it has no connection,
    /// or refused them.
    pub unsent: u64,
    /// The frames received, by [`Kind::name`]: `repair` counts the states of whole origins.
    pub received: BTreeMap<&'static str, Traffic>,
    /// The frames refused, by the name of the rule that they break
    /// ([`DecodeErrorKind::name`](crate::codec::DecodeErrorKind::name)).
    pub refused: BTreeMap<&'static str, u64>,
    /// The origins whose entries were refused, because they break a limit of this node.
    pub refused_entries: u64,
    /// The origins whose content differed between two nodes at the same clock.
    pub divergences: u64,
    /// The times that another node was heard, new or again.
    pub ups: u64,
    /// The times that another node fell silent.
    pub downs: u64,
}

/// An amount of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The number of frames.
    pub frames: u64,
    /// The sum of their bytes.
    pub bytes: u64,
}

/// The part of [`NodeStats`] that is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counted: Mutex<NodeStats>,
    #[cfg(feature = "tracing")]
    warning: Mutex<telemetry::UnsentWarning>,
}

impl Counts {
    pub(super) fn sent(&self, frame: &[u8]) {
        #[cfg(feature = "metrics")]
        telemetry::count_frame("sent", frame);
        add(&mut self.counted.lock().sent, frame);
    }

    pub(super) fn received(&self, frame: &[u8]) {
        #[cfg(feature = "metrics")]
        telemetry::count_frame("received", frame);
        add(&mut self.counted.lock().received, frame);
    }

    /// Takes the number of frames that were not sent since the start.
    pub(super) fn unsent(&self, unsent: u64) {
        let counts = &mut *self.counted.lock();
        #[cfg(feature = "metrics")]
        telemetry::count_unsent(unsent.saturating_sub(counts.unsent));
        counts.unsent = unsent;
        #[cfg(feature = "tracing")]
        self.warning.lock().note(unsent);
    }

    pub(super) fn refused(&self, error: &DecodeError) {
        #[cfg(feature = "metrics")]
        telemetry::count_refused(error);
        *self
            .counted
            .lock()
            .refused
            .entry(error.kind.name())
            .or_default() += 1;
    }

    pub(super) fn event(&self, event: &Event) {
        #[cfg(feature = "tracing")]
        telemetry::log(event);
        #[cfg(feature = "metrics")]
        telemetry::count_event(event);
        let counts = &mut *self.counted.lock();
        let count = match event {
            Event::ReplicaUp(_) => &mut counts.ups,
            Event::ReplicaDown(_) => &mut counts.downs,
            Event::Divergence { .. } => &mut counts.divergences,
            Event::Refused { .. } => &mut counts.refused_entries,
            _ => return,
        };
        *count += 1;
    }

    pub(super) fn read(&self) -> NodeStats {
        self.counted.lock().clone()
    }
}

fn add(traffic: &mut BTreeMap<&'static str, Traffic>, frame: &[u8]) {
    let traffic = traffic.entry(Kind::of(frame).name()).or_default();
    traffic.frames += 1;
    traffic.bytes += frame.len() as u64;
}

//! What happens to a node, in the terms of others: lines for the crate `tracing` and numbers for the
//! crate `metrics`, each with the feature of that name.

#[cfg(feature = "metrics")]
use crate::codec::{DecodeError, Kind};
use crate::replica::Event;

/// Writes a line about an event that an operator wants to know of.
#[cfg(feature = "tracing")]
pub(super) fn log(event: &Event) {
    use tracing::{error, info, warn};
    match event {
        Event::ReplicaUp(id) => info!(replica = %id, "a replica is up"),
        Event::ReplicaDown(id) => warn!(replica = %id, "a replica is down: its entries are hidden"),
        Event::ReplicaForgotten(id) => info!(replica = %id, "a replica is forgotten"),
        Event::ReplicaLeft(id) => info!(replica = %id, "a replica has left"),
        Event::Divergence { origin, partition } => {
            warn!(replica = %origin, partition, "entries differ from their origin's: asking again");
        }
        Event::Refused {
            origin,
            partition,
            error,
            count,
        } => warn!(replica = %origin, partition, %error, count, "entries were refused"),
        Event::DuplicateName { other } => {
            error!(%other, "another live node has this node's name: this one is silent");
        }
        Event::Reincarnated { id } => warn!(%id, "took a new identity"),
        Event::SecondSelf { from, count } => {
            warn!(%from, count, "frames under the own identity were refused");
        }
        Event::HandleCollision { refused, count } => {
            error!(%refused, count, "a replica was refused: its handle is another one's");
        }
        Event::PeerLimit { refused, count } => {
            error!(%refused, count, "a replica was refused: too many are known");
        }
        Event::ShapeMismatch {
            from,
            ours,
            theirs,
            count,
        } => error!(%from, %ours, %theirs, count, "a node was given another shape"),
        Event::AnswerTooLong {
            partition,
            bytes,
            to,
            count,
        } => error!(partition, bytes, %to, count, "an answer is longer than a frame"),
        Event::Unreadable { from, what, count } => {
            warn!(%from, what, count, "frames cannot be read");
        }
        Event::TooManyPulls { from, count } => {
            warn!(%from, count, "a replica asks for entries without end");
        }
        Event::OthersRefused { count } => warn!(count, "frames of more peers were refused"),
        Event::DiffsDropped => warn!("Diffs that nobody polled were dropped"),
        Event::Ready { missing } => info!(missing = missing.len(), "caught up with the others"),
        Event::TopicReady { .. } | Event::CountsReady { .. } | Event::Signal { .. } => {}
    }
}

/// Warns of frames that are not sent, once a minute.
#[cfg(feature = "tracing")]
#[derive(Debug, Default)]
pub(super) struct UnsentWarning {
    /// The frames that were told of, and when.
    told: u64,
    at: Option<tokio::time::Instant>,
}

#[cfg(feature = "tracing")]
impl UnsentWarning {
    /// Takes the number of frames that were not sent since the start.
    pub(super) fn note(&mut self, unsent: u64) {
        let now = tokio::time::Instant::now();
        let pause = std::time::Duration::from_secs(60);
        if unsent > self.told && self.at.is_none_or(|at| now >= at + pause) {
            let frames = unsent - self.told;
            tracing::warn!(frames, "frames were not sent: no connection, or refused");
            self.told = unsent;
            self.at = Some(now);
        }
    }
}

/// Counts an event.
#[cfg(feature = "metrics")]
pub(super) fn count_event(event: &Event) {
    let name = match event {
        Event::ReplicaUp(_) => "replica_up",
        Event::ReplicaDown(_) => "replica_down",
        Event::ReplicaForgotten(_) => "replica_forgotten",
        Event::ReplicaLeft(_) => "replica_left",
        Event::Divergence { .. } => "divergence",
        Event::Refused { .. } => "refused",
        Event::DuplicateName { .. } => "duplicate_name",
        Event::Reincarnated { .. } => "reincarnated",
        Event::SecondSelf { .. } => "second_self",
        Event::HandleCollision { .. } => "handle_collision",
        Event::PeerLimit { .. } => "peer_limit",
        Event::ShapeMismatch { .. } => "shape_mismatch",
        Event::AnswerTooLong { .. } => "answer_too_long",
        Event::Unreadable { .. } => "unreadable",
        Event::TooManyPulls { .. } => "too_many_pulls",
        Event::OthersRefused { .. } => "others_refused",
        Event::DiffsDropped => "diffs_dropped",
        Event::Ready { .. } => "ready",
        Event::TopicReady { .. } => "topic_ready",
        Event::CountsReady { .. } => "counts_ready",
        Event::Signal { .. } => "signal",
    };
    metrics::counter!("headcount_node_events_total", "event" => name).increment(1);
}

/// Counts a frame that was sent or received.
#[cfg(feature = "metrics")]
pub(super) fn count_frame(direction: &'static str, frame: &[u8]) {
    let kind = Kind::of(frame).name();
    let labels = [("direction", direction), ("kind", kind)];
    metrics::counter!("headcount_node_frames_total", &labels).increment(1);
    metrics::counter!("headcount_node_frame_bytes_total", &labels).increment(frame.len() as u64);
}

/// Counts frames that could not be sent.
#[cfg(feature = "metrics")]
pub(super) fn count_unsent(frames: u64) {
    if frames > 0 {
        metrics::counter!("headcount_node_frames_unsent_total").increment(frames);
    }
}

/// Counts a frame that was refused.
#[cfg(feature = "metrics")]
pub(super) fn count_refused(error: &DecodeError) {
    let reason = error.kind.name();
    metrics::counter!("headcount_node_frames_refused_total", "reason" => reason).increment(1);
}

/// Measures what a node holds now.
#[cfg(feature = "metrics")]
pub(super) fn measure(stats: &crate::presence::PresenceStats) {
    use metrics::gauge;
    let up = stats.peers.iter().filter(|peer| peer.is_up);
    let silence = up.clone().map(|peer| peer.silence).max();
    let behind = up.clone().map(|peer| peer.partitions_behind);
    gauge!("headcount_node_entries").set(stats.entries as f64);
    gauge!("headcount_node_topics").set(stats.topics as f64);
    gauge!("headcount_node_replicas_up").set(up.clone().count() as f64);
    gauge!("headcount_node_replicas_down").set((stats.peers.len() - up.count()) as f64);
    gauge!("headcount_node_silence_max_seconds").set(silence.unwrap_or_default().as_secs_f64());
    gauge!("headcount_node_partitions_behind").set(behind.sum::<usize>() as f64);
    gauge!("headcount_node_leave_log_bytes").set(stats.leave_log_bytes as f64);
    gauge!("headcount_node_diffs_bytes").set(stats.diffs_bytes as f64);
}

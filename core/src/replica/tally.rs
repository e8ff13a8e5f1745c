//! `Tally`: what happened at a node since its start.

use std::collections::BTreeMap;

use super::output::Event;
use crate::codec::{DecodeError, Kind};

/// What happened at a node since its start, as counted by what drives its
/// [`Presence`](crate::Presence).
///
/// ```
/// use headcount::replica::Tally;
/// use headcount::{Presence, PresenceConfig, ReplicaId};
/// use std::time::Duration;
///
/// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
/// let mut tally = Tally::default();
/// presence.handle_timeout(Duration::ZERO);
/// while let Some(transmit) = presence.poll_transmit() {
///     tally.note_sent(&transmit.frame);
/// }
/// assert_eq!(tally.sent["hello"].frames, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// The frames sent, by [`Kind::name`]: `pull` counts the requests for missing changes.
    pub sent: BTreeMap<&'static str, Traffic>,
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

/// An amount of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The number of frames.
    pub frames: u64,
    /// The sum of their bytes.
    pub bytes: u64,
}

impl Tally {
    /// Counts a frame that was sent. O(1).
    pub fn note_sent(&mut self, frame: &[u8]) {
        add(&mut self.sent, frame);
    }

    /// Counts a frame that was received. O(1).
    pub fn note_received(&mut self, frame: &[u8]) {
        add(&mut self.received, frame);
    }

    /// Counts a frame that was refused. O(1).
    pub fn note_refused(&mut self, error: &DecodeError) {
        *self.refused.entry(error.kind.name()).or_default() += 1;
    }

    /// Counts an event, if it is one of those that are counted. O(1).
    pub fn note_event(&mut self, event: &Event) {
        let count = match event {
            Event::ReplicaUp(_) => &mut self.ups,
            Event::ReplicaDown(_) => &mut self.downs,
            Event::Divergence { .. } => &mut self.divergences,
            Event::Refused { .. } => &mut self.refused_entries,
            _ => return,
        };
        *count += event.count();
    }
}

fn add(traffic: &mut BTreeMap<&'static str, Traffic>, frame: &[u8]) {
    let traffic = traffic.entry(Kind::of(frame).name()).or_default();
    traffic.frames += 1;
    traffic.bytes += frame.len() as u64;
}

//! Frames under way, as the simulator sees them.

use bytes::Bytes;

use super::stats::Incident;
use crate::codec::{Envelope, Kind};
use crate::id::ReplicaId;
use crate::replica::{Config, Data, Handle, Message, Relayed, Sender, decode};

/// A frame, as far as the checks tell frames apart.
pub(super) enum Seen {
    /// A Hello, with its heartbeat.
    Heartbeat(ReplicaId, u64),
    /// A Beat, with its heartbeat and the sum of all positions.
    Beat(ReplicaId, u64, u64),
    /// A Goodbye, with its sender.
    Goodbye(ReplicaId),
    Other(Option<Incident>),
}

impl Seen {
    /// Returns the incident that the arrival of the frame is.
    pub(super) fn incident(&self) -> Option<Incident> {
        match self {
            Self::Other(incident) => *incident,
            Self::Heartbeat(..) | Self::Beat(..) | Self::Goodbye(_) => None,
        }
    }
}

/// Returns the seal of a cluster.
pub(super) fn seal(config: &Config) -> Envelope {
    Envelope::new(&config.cluster, config.key.clone(), config.shape)
}

/// Looks at a frame.
pub(super) fn see(config: &Config, frame: &Bytes) -> Seen {
    let Ok(frame) = decode(&seal(config), frame) else {
        return Seen::Other(None);
    };
    match (frame.sender, frame.message) {
        (Sender::Id(id), Message::Hello { heartbeat, .. }) => Seen::Heartbeat(id, heartbeat),
        (Sender::Id(id), Message::Beat(beat)) => Seen::Beat(id, beat.heartbeat, beat.sum),
        (Sender::Id(id), Message::Goodbye { .. }) => Seen::Goodbye(id),
        (_, message) => Seen::Other(incident(&message)),
    }
}

fn incident(message: &Message) -> Option<Incident> {
    Some(match message {
        Message::Superseded { .. } => Incident::Superseded,
        Message::Heard { .. } => Incident::Warned,
        Message::IndexPull { .. } => Incident::IndexAsked,
        Message::IndexFull { .. } => Incident::WholeIndex,
        Message::Ask { .. } => Incident::RowsAsked,
        Message::Bundle(_) => Incident::Bundle,
        Message::Data(answer) => match &answer.data {
            Data::Repair(_) => Incident::Repair,
            Data::Delta(delta) if delta.from == 0 => Incident::LifeBegun,
            Data::Part(part) if part.base > 0 => Incident::ChangePart,
            Data::Part(_) => Incident::StatePart,
            Data::Row(_) => Incident::RowShown,
            _ => return None,
        },
        _ => return None,
    })
}

/// Returns the frame that another one brings to a replica by way of others; else that frame itself.
pub(super) fn unwrap(config: &Config, frame: &Bytes, to: &ReplicaId) -> Bytes {
    let seal = seal(config);
    let opened = seal.open(frame).ok();
    let relayed = opened.filter(|opened| opened.kind == Kind::RELAYED);
    let relayed = relayed.and_then(|opened| Relayed::read(frame, &opened).ok());
    let brought = relayed.filter(|relayed| relayed.to == Handle::of(to));
    brought.map_or_else(|| frame.clone(), |relayed| relayed.frame)
}

/// Describes a frame in words.
pub(super) fn describe(config: &Config, frame: &Bytes) -> String {
    match decode(&seal(config), frame) {
        Ok(frame) => format!("{:?} {:?}", frame.sender, frame.message),
        Err(error) => format!("{error:?}"),
    }
}

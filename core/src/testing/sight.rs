//! Frames under way, as the simulator sees them.

use bytes::Bytes;

use super::stats::Incident;
use super::truth::BeatName;
use crate::codec::{Envelope, Kind};
use crate::id::ReplicaId;
use crate::replica::{Config, Data, Handle, Message, Relayed, Sender, decode};

/// A frame, as far as the checks tell frames apart.
pub(super) enum Seen {
    /// A Hello, with its heartbeat.
    Heartbeat(ReplicaId, u64),
    Beat(ReplicaId, BeatName),
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
pub(super) fn see(seal: &Envelope, frame: &Bytes) -> Seen {
    let Ok(frame) = decode(seal, frame) else {
        return Seen::Other(None);
    };
    match (frame.sender, frame.message) {
        (Sender::Id(id), Message::Hello { heartbeat, .. }) => Seen::Heartbeat(id, heartbeat),
        (Sender::Id(id), Message::Beat(beat)) => {
            let name = BeatName {
                heartbeat: beat.heartbeat,
                sum: beat.sum,
            };
            Seen::Beat(id, name)
        }
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

/// Returns the frame that another one brings to a replica by way of others, if it does.
pub(super) fn unwrap(seal: &Envelope, frame: &Bytes, to: &ReplicaId) -> Option<Bytes> {
    if Kind::of(frame) != Kind::RELAYED {
        return None;
    }
    let opened = seal.open(frame).ok()?;
    let relayed = Relayed::read(frame, &opened).ok()?;
    (relayed.to == Handle::of(to)).then_some(relayed.frame)
}

/// Describes a frame in words.
pub(super) fn describe(seal: &Envelope, frame: &Bytes) -> String {
    match decode(seal, frame) {
        Ok(frame) => format!("{:?} {:?}", frame.sender, frame.message),
        Err(error) => format!("{error:?}"),
    }
}

//! What no sound peer of this version sends: altered entries, other versions, strangers, damage.

use bytes::Bytes;

use super::incident::Incident;
use super::network::{Flight, kind};
use super::world::World;
use crate::codec::{
    DecodeError, DecodeErrorKind, Envelope, Kind, Reader, WIRE_MAJOR, WIRE_MINOR, Writer,
};
use crate::id::ReplicaId;
use crate::replica::Transmit;

/// The parts of a frame before its body: where the versions stand.
const MAJOR_AT: usize = 2;
const MINOR_AT: usize = 3;
const KIND_AT: usize = 4;
/// Bytes of the first part of a reply that may name the origin and its clocks.
const HEADS_MAX: usize = 160;

/// One slot of a replica.
type Slot = (ReplicaId, u8);

/// A refusal that a frame must meet.
type Refusal = fn(&DecodeErrorKind) -> bool;

impl World<'_> {
    /// From now on a node alters what it passes on, or no more.
    pub(super) fn spoil(&mut self) {
        let Some(place) = self.pick_alive() else {
            return;
        };
        if let Some(node) = &mut self.nodes[place] {
            node.spoils = !node.spoils;
        }
        self.note(|| format!("{place} begins or ends to alter what it passes on"));
    }

    /// Returns what a node really sends: a spoilt one alters entries, one of another minor version writes
    /// its number and adds frames that only it understands.
    pub(super) fn disguise(&mut self, from: usize, frame: &Bytes) -> (Bytes, Option<Bytes>) {
        let mut frame = frame.clone();
        let spoils = self.nodes[from].as_ref().is_some_and(|node| node.spoils);
        if spoils && self.rng.below(2) == 0 {
            frame = self.altered(&frame).unwrap_or(frame);
        }
        if self.plan.other_minor & (1 << self.homes[from]) == 0 {
            return (frame, None);
        }
        self.count(Incident::OtherMinor);
        let mut minor = frame.to_vec();
        minor[MINOR_AT] = WIRE_MINOR + 1 + self.rng.below(9) as u8;
        if kind(&frame) == Kind::HELLO
            && let Some(options) = minor.len().checked_sub(9)
        {
            minor[options] = self.rng.below(251) as u8;
        }
        let extra = (self.rng.below(8) == 0).then(|| self.of_unknown_kind(from));
        (sealed(minor), extra)
    }

    fn of_unknown_kind(&mut self, from: usize) -> Bytes {
        let mut body = Writer::new();
        if let Some(node) = &self.nodes[from] {
            let id = &node.id;
            body.identity(id.name(), id.incarnation(), id.salt());
        }
        body.raw(&self.rng.next_u64().to_le_bytes());
        let kind = [12, 13, 31, 33, 128, 255][self.rng.below(6) as usize];
        self.count(Incident::UnknownKind);
        self.envelope().seal(Kind(kind), body.as_slice()).into()
    }

    fn envelope(&self) -> Envelope {
        Envelope::new(&self.plan.config().cluster, None)
    }

    /// A frame with entries, altered behind what names its origin and its clocks: a frame that
    /// cannot be read, that contradicts the state it is for, or that leaves other content.
    fn altered(&mut self, frame: &Bytes) -> Option<Bytes> {
        let envelope = self.envelope();
        let (kind, body) = envelope.open(frame).ok()?;
        let (origin, entries_at) = entries_of(kind, body).ok().flatten()?;
        let room = body
            .len()
            .checked_sub(entries_at)
            .filter(|room| *room > 0)?;
        let at = entries_at + self.rng.below(room as u64) as usize;
        let mut body = body.to_vec();
        match self.rng.below(8) {
            0 => body.truncate(at),
            1 => body[at] = self.rng.next_u64() as u8,
            _ => body[at] ^= 1 << self.rng.below(8),
        }
        self.tainted.insert(origin);
        self.count(Incident::FrameAltered);
        Some(envelope.seal(kind, &body).into())
    }

    /// A frame that must be refused, or change nothing, arrives at a node.
    pub(super) fn stranger(&mut self) -> Result<(), String> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.flights.len() as u64) as usize;
        let Flight {
            from, to, frame, ..
        } = &self.flights[at];
        let from = *from;
        let to = *to;
        let frame = frame.clone();
        let Some(node) = &self.nodes[to] else {
            return Ok(());
        };
        let before = (node.presence.clocks(), node.presence.replicas());
        let (frame, refusal, what) = self.strange(&frame);
        self.note(|| format!("{what:?} {from} -> {to}"));
        let now = self.now(to);
        let address = self.addresses[from].clone();
        let Some(node) = &mut self.nodes[to] else {
            return Ok(());
        };
        node.hearing.advance(now);
        match node.presence.handle_message(now, &address, &frame) {
            Err(DecodeError { kind, .. }) if refusal(&kind) => {}
            other => return Err(format!("{to} answers {what:?} with {other:?}")),
        }
        if (node.presence.clocks(), node.presence.replicas()) != before {
            return Err(format!("{to} changed by {what:?}"));
        }
        let answers: Vec<_> = std::iter::from_fn(|| node.presence.poll_transmit()).collect();
        let is_answered = what == Incident::OtherMajor && kind(&frame) != Kind::WIRE_REFUSED;
        if answers.len() > usize::from(is_answered) {
            return Err(format!(
                "{to} answers {what:?} with {} frames",
                answers.len()
            ));
        }
        self.count(what);
        for answer in answers {
            self.refusal(&answer)?;
            let id = self.nodes[to].as_ref().map(|node| node.id.clone());
            id.into_iter().for_each(|id| self.send(to, &id, &answer));
        }
        self.after(to)
    }

    /// The answer to another major version names the versions spoken.
    fn refusal(&self, answer: &Transmit) -> Result<(), String> {
        let opened = self.envelope().open(&answer.frame).ok();
        let named = opened.filter(|(kind, _)| *kind == Kind::WIRE_REFUSED);
        let range = named.and_then(|(_, body)| body.last_chunk::<2>().copied());
        if range == Some([WIRE_MAJOR, WIRE_MAJOR]) {
            return Ok(());
        }
        Err(format!("no refusal of another version: {answer:?}"))
    }

    fn strange(&mut self, frame: &Bytes) -> (Bytes, Refusal, Incident) {
        let mut bytes = frame.to_vec();
        match self.rng.below(4) {
            0 | 1 => {
                bytes[MAJOR_AT] = [0, WIRE_MAJOR + 1, 255][self.rng.below(3) as usize];
                if self.rng.below(4) == 0 {
                    bytes[KIND_AT] = Kind::WIRE_REFUSED.0;
                }
                let refused: Refusal = |kind| {
                    let supported = WIRE_MAJOR;
                    matches!(kind, DecodeErrorKind::UnsupportedVersion { supported: s, .. } if *s == supported)
                };
                (sealed(bytes), refused, Incident::OtherMajor)
            }
            2 => {
                let opened = self.envelope().open(frame).ok();
                let (kind, body) = opened.unwrap_or((Kind::HELLO, &[]));
                let other = Envelope::new("another", None).seal(kind, body);
                let refused: Refusal = |kind| *kind == DecodeErrorKind::OtherCluster;
                (other.into(), refused, Incident::OtherCluster)
            }
            _ => {
                let at = self.rng.below(bytes.len() as u64) as usize;
                if at == MAJOR_AT || self.rng.below(2) == 0 {
                    bytes.truncate(at);
                } else {
                    bytes[at] ^= 1 << self.rng.below(8);
                }
                (bytes.into(), |_| true, Incident::Damaged)
            }
        }
    }
}

/// The origin of a frame with entries, and where these begin in its body.
fn entries_of(kind: Kind, body: &[u8]) -> Result<Option<(Slot, usize)>, DecodeError> {
    let mut reader = Reader::new(body);
    reader.identity()?;
    match kind {
        Kind::DELTA | Kind::REPAIR => {
            let origin = read_origin(&mut reader)?;
            reader.u64()?;
            reader.u64()?;
            if kind == Kind::REPAIR {
                reader.u64()?;
            }
            Ok(origin.map(|origin| (origin, reader.offset())))
        }
        Kind::PART => {
            for _ in 0..5 {
                reader.u64()?;
            }
            reader.u8()?;
            let origin = read_origin(&mut reader)?;
            Ok(origin.map(|origin| (origin, HEADS_MAX)))
        }
        _ => Ok(None),
    }
}

fn read_origin(reader: &mut Reader<'_>) -> Result<Option<Slot>, DecodeError> {
    let (name, incarnation, salt) = reader.identity()?;
    let slot = reader.u8()?;
    let id = ReplicaId::new(name, incarnation, salt).ok();
    Ok(id.map(|id| (id, slot)))
}

/// The frame with the checksum that its bytes ask for.
fn sealed(mut frame: Vec<u8>) -> Bytes {
    let at = frame.len() - 8;
    let (content, sum) = frame.split_at_mut(at);
    sum.copy_from_slice(&xxhash_rust::xxh3::xxh3_64(content).to_le_bytes());
    frame.into()
}

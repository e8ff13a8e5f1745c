//! Frames that no sound peer of this version sends: altered entries, other versions, other
//! clusters, damage.

use bytes::Bytes;

use super::network::kind;
use super::node::Node;
use super::run::Run;
use super::stats::Incident;
use super::truth::Slot;
use crate::codec::{
    DecodeError, DecodeErrorKind, Envelope, Kind, Reader, WIRE_MAJOR, WIRE_MINOR, Writer,
};
use crate::id::ReplicaId;

/// Offsets in a frame of what precedes its body.
const MAJOR_AT: usize = 2;
const MINOR_AT: usize = 3;
const KIND_AT: usize = 4;
/// Bytes of the first part of a reply that may name the origin and its clocks.
const HEADS_MAX: usize = 160;

/// The frames that a node really sends in place of one.
pub(super) struct Sent {
    pub(super) frame: Bytes,
    /// A frame that only another version understands.
    pub(super) extra: Option<Bytes>,
    /// The origin whose entries were altered.
    pub(super) altered: Option<Slot>,
}

/// A frame that must be refused.
pub(super) struct Strange {
    pub(super) frame: Bytes,
    /// True for the errors that may refuse it.
    pub(super) is_refusal: fn(&DecodeErrorKind) -> bool,
    pub(super) incident: Incident,
}

/// Returns what a node really sends: an altering one changes entries, one of another minor version
/// writes its number and adds frames that only it understands.
pub(super) fn disguise(run: &mut Run<'_>, node: &Node, name: usize, frame: Bytes) -> Sent {
    let mut sent = Sent {
        frame,
        extra: None,
        altered: None,
    };
    if node.is_altering
        && run.rng.below(2) == 0
        && let Some((frame, origin)) = altered(run, &sent.frame)
    {
        sent.frame = frame;
        sent.altered = Some(origin);
    }
    if run.plan.other_minor & (1 << name) == 0 {
        return sent;
    }
    run.count(Incident::OtherMinor);
    let mut minor = sent.frame.to_vec();
    minor[MINOR_AT] = WIRE_MINOR + 1 + run.rng.below(9) as u8;
    if kind(&sent.frame) == Kind::HELLO
        && let Some(options) = minor.len().checked_sub(9)
    {
        minor[options] = run.rng.below(251) as u8;
    }
    sent.extra = (run.rng.below(8) == 0).then(|| of_unknown_kind(run, &node.id));
    sent.frame = sealed(minor);
    sent
}

fn of_unknown_kind(run: &mut Run<'_>, id: &ReplicaId) -> Bytes {
    let mut body = Writer::new();
    body.identity(id.name(), id.incarnation(), id.salt());
    body.raw(&run.rng.next_u64().to_le_bytes());
    let kind = run.pick(&[12, 13, 31, 33, 128, 255]);
    run.count(Incident::UnknownKind);
    run.envelope().seal(Kind(kind), body.as_slice()).into()
}

/// Returns a frame with entries, altered behind what names its origin and its clocks: a frame that
/// cannot be read, that contradicts the state it is for, or that leaves other content.
fn altered(run: &mut Run<'_>, frame: &Bytes) -> Option<(Bytes, Slot)> {
    let envelope = run.envelope();
    let (kind, body) = envelope.open(frame).ok()?;
    let (origin, start) = entries_of(kind, body).ok().flatten()?;
    let room = body.len().checked_sub(start).filter(|room| *room > 0)?;
    let offset = start + run.rng.below(room as u64) as usize;
    let mut body = body.to_vec();
    match run.rng.below(8) {
        0 => body.truncate(offset),
        1 => body[offset] = run.rng.next_u64() as u8,
        _ => body[offset] ^= 1 << run.rng.below(8),
    }
    run.count(Incident::FrameAltered);
    Some((envelope.seal(kind, &body).into(), origin))
}

/// Makes a frame that must be refused out of a sound one.
pub(super) fn strange(run: &mut Run<'_>, frame: &Bytes) -> Strange {
    let mut bytes = frame.to_vec();
    match run.rng.below(4) {
        0 | 1 => {
            bytes[MAJOR_AT] = run.pick(&[0, WIRE_MAJOR + 1, 255]);
            if run.rng.below(4) == 0 {
                bytes[KIND_AT] = Kind::WIRE_REFUSED.0;
            }
            Strange {
                frame: sealed(bytes),
                is_refusal: names_our_version,
                incident: Incident::OtherMajor,
            }
        }
        2 => {
            let opened = run.envelope().open(frame).ok();
            let (kind, body) = opened.unwrap_or((Kind::HELLO, &[]));
            Strange {
                frame: Envelope::new("another", None).seal(kind, body).into(),
                is_refusal: |kind| *kind == DecodeErrorKind::OtherCluster,
                incident: Incident::OtherCluster,
            }
        }
        _ => {
            let offset = run.rng.below(bytes.len() as u64) as usize;
            if offset == MAJOR_AT || run.rng.below(2) == 0 {
                bytes.truncate(offset);
            } else {
                bytes[offset] ^= 1 << run.rng.below(8);
            }
            Strange {
                frame: bytes.into(),
                is_refusal: |_| true,
                incident: Incident::Damaged,
            }
        }
    }
}

fn names_our_version(kind: &DecodeErrorKind) -> bool {
    match kind {
        DecodeErrorKind::UnsupportedVersion { supported, .. } => *supported == WIRE_MAJOR,
        _ => false,
    }
}

/// Returns the lowest and the highest major version that a refusal names, or `None` if the frame is
/// none.
pub(super) fn version_range(envelope: &Envelope, frame: &[u8]) -> Option<[u8; 2]> {
    let (kind, body) = envelope.open(frame).ok()?;
    let body = (kind == Kind::WIRE_REFUSED).then_some(body)?;
    body.last_chunk::<2>().copied()
}

/// Returns the origin of a frame with entries, and where these begin in its body.
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

/// Returns the frame with the checksum that its bytes call for.
fn sealed(mut frame: Vec<u8>) -> Bytes {
    let end = frame.len() - 8;
    let (content, sum) = frame.split_at_mut(end);
    sum.copy_from_slice(&xxhash_rust::xxh3::xxh3_64(content).to_le_bytes());
    frame.into()
}

//! The messages of the control plane and their bytes: a sealed envelope whose body starts with the
//! sender's id.

use bytes::Bytes;

use super::row::Rows;
use crate::codec::{
    DecodeError, DecodeErrorKind, Envelope, FRAME_OVERHEAD_MAX, Kind, Reader, WIRE_MAJOR, Writer,
};
use crate::id::{NAME_LEN_MAX, OP_MAX, ReplicaId, SLOTS as SLOT_COUNT};

/// Slots of a replica, as a length.
pub(crate) const SLOTS: usize = SLOT_COUNT as usize;
/// Longest topic, key and payload of a Signal.
pub(crate) const SIGNAL_FIELD_MAX: usize = 256;
const MISSING_MAX: u64 = 64;
const PARTS_MAX: u8 = 64;

pub(super) type Result<T> = std::result::Result<T, DecodeError>;

/// A request for what an origin did since `clock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pull {
    pub(crate) origin: ReplicaId,
    pub(crate) slot: u8,
    pub(crate) clock: u64,
    pub(crate) full: bool,
    pub(crate) nonce: u64,
}

/// One slice of a reply that is larger than a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) reply: u64,
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) total: u64,
    pub(crate) nonce: u64,
    pub(crate) repair: bool,
    pub(crate) origin: ReplicaId,
    pub(crate) slot: u8,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes: Bytes,
}

/// A short-lived sign such as "is typing"; not stored, not relayed, dropped first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Topic it concerns.
    pub topic: String,
    /// Key it concerns.
    pub key: Vec<u8>,
    /// Application-defined kind.
    pub kind: u8,
    /// How long it holds, in milliseconds.
    pub ttl_ms: u32,
    /// At most 256 bytes.
    pub payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Hello {
        heartbeat: u64,
        wire: (u8, u8),
        options: u32,
    },
    Digest {
        seq: u64,
        full: bool,
        part: u8,
        parts: u8,
        rows: Bytes,
    },
    Delta {
        frame: Bytes,
    },
    Pull(Pull),
    Repair {
        frame: Bytes,
    },
    Part(Part),
    PullParts {
        reply: u64,
        missing: Vec<u32>,
        credit: u8,
        pull: Pull,
    },
    Goodbye {
        heartbeat: u64,
        clocks: Box<[u64; SLOTS]>,
    },
    Superseded {
        id: ReplicaId,
        ago_ms: u32,
    },
    Signal {
        seq: u64,
        signal: Signal,
    },
    Unsupported {
        min: u8,
        max: u8,
    },
    /// A kind of a later minor version: skipped.
    Unknown,
}

/// What a frame adds around slot bytes in the worst case.
pub(crate) const OVERHEAD: usize = FRAME_OVERHEAD_MAX + 2 * (NAME_LEN_MAX + 16) + 64;

pub(crate) fn encode(envelope: &Envelope, sender: &ReplicaId, message: &Message) -> Bytes {
    let mut w = Writer::with_capacity(128);
    put_id(&mut w, sender);
    let kind = encode_body(&mut w, message);
    envelope.seal(kind, w.as_slice()).into()
}

/// Checks a frame whole and reads it. O(length), no copy of the bodies.
pub(crate) fn decode(
    envelope: &Envelope,
    frame_max: usize,
    frame: &Bytes,
) -> Result<(ReplicaId, Message)> {
    if frame.len() > frame_max {
        let kind = DecodeErrorKind::TooLong {
            len: frame.len() as u64,
            max: frame_max as u64,
        };
        return Err(DecodeError::new(0, kind));
    }
    let (kind, body) = envelope.open(frame)?;
    let start = envelope.body_offset();
    let body = frame.slice(start..start + body.len());
    let mut reader = Reader::new(&body);
    let shifted = |error: DecodeError| error.shifted(start);
    let sender = read_id(&mut reader).map_err(shifted)?;
    let message = decode_body(kind, &mut reader, &body).map_err(shifted)?;
    Ok((sender, message))
}

/// Whether a frame of another version is itself the typed refusal, which is never answered.
pub(crate) fn is_refusal(frame: &[u8]) -> bool {
    frame.get(4) == Some(&Kind::WIRE_REFUSED.0)
}

/// The refusal of frames of other versions.
pub(crate) const REFUSAL: Message = Message::Unsupported {
    min: WIRE_MAJOR,
    max: WIRE_MAJOR,
};

pub(super) fn put_id(w: &mut Writer, id: &ReplicaId) {
    w.identity(id.name(), id.incarnation(), id.salt());
}

pub(super) fn read_id(r: &mut Reader<'_>) -> Result<ReplicaId> {
    let at = r.offset();
    let (name, incarnation, salt) = r.identity()?;
    ReplicaId::new(name, incarnation, salt).map_err(|_| Reader::invalid(at, "replica id"))
}

pub(super) fn read_tick(r: &mut Reader<'_>) -> Result<u64> {
    let at = r.offset();
    let tick = r.u64()?;
    if tick < OP_MAX {
        Ok(tick)
    } else {
        Err(DecodeError::new(at, DecodeErrorKind::BadInteger))
    }
}

fn read_slot(r: &mut Reader<'_>) -> Result<u8> {
    let at = r.offset();
    let slot = r.u8()?;
    if slot < SLOT_COUNT {
        Ok(slot)
    } else {
        Err(Reader::invalid(at, "slot number"))
    }
}

/// The bytes up to the end of the body.
fn rest(r: &mut Reader<'_>, body: &Bytes) -> Result<Bytes> {
    let start = r.offset();
    r.raw(r.remaining())?;
    Ok(body.slice(start..))
}

fn put_pull(w: &mut Writer, pull: &Pull) {
    put_id(w, &pull.origin);
    w.u8(pull.slot);
    w.u64(pull.clock);
    w.u8(u8::from(pull.full));
    w.u64(pull.nonce);
}

fn read_pull(r: &mut Reader<'_>) -> Result<Pull> {
    let origin = read_id(r)?;
    let slot = read_slot(r)?;
    let clock = read_tick(r)?;
    let full = r.u8()? & 1 != 0;
    Ok(Pull {
        origin,
        slot,
        clock,
        full,
        nonce: r.u64()?,
    })
}

fn encode_body(w: &mut Writer, message: &Message) -> Kind {
    match message {
        Message::Hello {
            heartbeat,
            wire,
            options,
        } => {
            w.u64(*heartbeat);
            w.raw(&[wire.0, wire.1]);
            w.u64(u64::from(*options));
            Kind::HELLO
        }
        Message::Digest {
            seq,
            full,
            part,
            parts,
            rows,
        } => {
            w.u64(*seq);
            w.raw(&[u8::from(*full), *part, *parts]);
            w.raw(rows);
            Kind::DIGEST
        }
        Message::Pull(pull) => {
            put_pull(w, pull);
            Kind::PULL
        }
        Message::Delta { frame } | Message::Repair { frame } => {
            w.raw(frame);
            if matches!(message, Message::Delta { .. }) {
                Kind::DELTA
            } else {
                Kind::REPAIR
            }
        }
        Message::Part(part) => {
            encode_part(w, part);
            Kind::PART
        }
        Message::PullParts {
            reply,
            missing,
            credit,
            pull,
        } => {
            encode_pull_parts(w, *reply, missing, *credit);
            put_pull(w, pull);
            Kind::PULL_PARTS
        }
        Message::Goodbye { heartbeat, clocks } => {
            w.u64(*heartbeat);
            clocks.iter().for_each(|&clock| w.u64(clock));
            Kind::GOODBYE
        }
        Message::Superseded { id, ago_ms } => {
            put_id(w, id);
            w.u64(u64::from(*ago_ms));
            Kind::SUPERSEDED
        }
        Message::Signal { seq, signal } => encode_signal(w, *seq, signal),
        Message::Unsupported { min, max } => {
            w.raw(&[*min, *max]);
            Kind::WIRE_REFUSED
        }
        Message::Unknown => Kind(0),
    }
}

fn encode_pull_parts(w: &mut Writer, reply: u64, missing: &[u32], credit: u8) {
    w.u64(reply);
    w.u8(credit);
    w.u64(missing.len() as u64);
    missing.iter().for_each(|&n| w.u64(u64::from(n)));
}

fn encode_part(w: &mut Writer, part: &Part) {
    w.u64(part.reply);
    w.u64(u64::from(part.index));
    w.u64(u64::from(part.count));
    w.u64(part.total);
    w.u64(part.nonce);
    w.u8(u8::from(part.repair));
    put_id(w, &part.origin);
    w.u8(part.slot);
    w.u64(part.from);
    w.u64(part.to);
    w.raw(&part.bytes);
}

fn encode_signal(w: &mut Writer, seq: u64, signal: &Signal) -> Kind {
    w.u64(seq);
    w.str(&signal.topic);
    w.bytes(&signal.key);
    w.u8(signal.kind);
    w.u64(u64::from(signal.ttl_ms));
    w.bytes(&signal.payload);
    Kind::SIGNAL
}

fn decode_body(kind: Kind, r: &mut Reader<'_>, body: &Bytes) -> Result<Message> {
    let message = match kind {
        Kind::HELLO => Message::Hello {
            heartbeat: read_tick(r)?,
            wire: (r.u8()?, r.u8()?),
            options: r.u32()?,
        },
        Kind::DIGEST => decode_digest(r, body)?,
        Kind::DELTA => Message::Delta {
            frame: rest(r, body)?,
        },
        Kind::PULL => Message::Pull(read_pull(r)?),
        Kind::REPAIR => Message::Repair {
            frame: rest(r, body)?,
        },
        Kind::PART => Message::Part(decode_part(r, body)?),
        Kind::PULL_PARTS => {
            let reply = r.u64()?;
            let credit = r.u8()?;
            let at = r.offset();
            let count = r.u64()?;
            if count > MISSING_MAX {
                let kind = DecodeErrorKind::TooLong {
                    len: count,
                    max: MISSING_MAX,
                };
                return Err(DecodeError::new(at, kind));
            }
            let missing = (0..count).map(|_| r.u32()).collect::<Result<_>>()?;
            Message::PullParts {
                reply,
                missing,
                credit,
                pull: read_pull(r)?,
            }
        }
        Kind::GOODBYE => {
            let heartbeat = read_tick(r)?;
            let mut clocks = Box::new([0; SLOTS]);
            for clock in clocks.iter_mut() {
                *clock = read_tick(r)?;
            }
            Message::Goodbye { heartbeat, clocks }
        }
        Kind::SUPERSEDED => Message::Superseded {
            id: read_id(r)?,
            ago_ms: r.u32()?,
        },
        Kind::SIGNAL => Message::Signal {
            seq: r.u64()?,
            signal: decode_signal(r)?,
        },
        Kind::WIRE_REFUSED => Message::Unsupported {
            min: r.u8()?,
            max: r.u8()?,
        },
        // A later minor version's: its length is known, so it is skipped.
        _ => return Ok(Message::Unknown),
    };
    r.finish()?;
    Ok(message)
}

fn decode_digest(r: &mut Reader<'_>, body: &Bytes) -> Result<Message> {
    let at = r.offset();
    let seq = r.u64()?;
    let full = r.u8()? & 1 != 0;
    let part = r.u8()?;
    let parts = r.u8()?;
    if part >= parts || parts > PARTS_MAX {
        return Err(Reader::invalid(at, "part of a digest"));
    }
    let start = r.offset();
    let rows = rest(r, body)?;
    for row in Rows::new(&rows) {
        row.map_err(|error| error.shifted(start))?;
    }
    Ok(Message::Digest {
        seq,
        full,
        part,
        parts,
        rows,
    })
}

fn decode_part(r: &mut Reader<'_>, body: &Bytes) -> Result<Part> {
    let at = r.offset();
    let reply = r.u64()?;
    let index = r.u32()?;
    let count = r.u32()?;
    let total = r.u64()?;
    let nonce = r.u64()?;
    let repair = r.u8()? & 1 != 0;
    let origin = read_id(r)?;
    let slot = read_slot(r)?;
    let from = read_tick(r)?;
    let to = read_tick(r)?;
    let bytes = rest(r, body)?;
    let short = bytes.is_empty() || total < bytes.len() as u64 || u64::from(count) > total;
    if index >= count || short {
        return Err(Reader::invalid(at, "part of a reply"));
    }
    Ok(Part {
        reply,
        index,
        count,
        total,
        nonce,
        repair,
        origin,
        slot,
        from,
        to,
        bytes,
    })
}

fn decode_signal(r: &mut Reader<'_>) -> Result<Signal> {
    Ok(Signal {
        topic: r.str(SIGNAL_FIELD_MAX)?.to_owned(),
        key: r.bytes(SIGNAL_FIELD_MAX)?.to_vec(),
        kind: r.u8()?,
        ttl_ms: r.u32()?,
        payload: r.bytes(SIGNAL_FIELD_MAX)?.to_vec(),
    })
}

/// What the control plane needs of a slot frame.
pub(crate) struct SlotHeader {
    pub(crate) origin: ReplicaId,
    pub(crate) slot: u8,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The nonce of the Pull it answers, in a Repair.
    pub(crate) nonce: Option<u64>,
}

/// Reads the first fields of the body of a Delta or Repair.
pub(crate) fn peek(body: &[u8], is_repair: bool) -> Result<SlotHeader> {
    let r = &mut Reader::new(body);
    let origin = read_id(r)?;
    let slot = read_slot(r)?;
    let from = read_tick(r)?;
    let to = read_tick(r)?;
    let nonce = if is_repair { Some(r.u64()?) } else { None };
    Ok(SlotHeader {
        origin,
        slot,
        from,
        to,
        nonce,
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

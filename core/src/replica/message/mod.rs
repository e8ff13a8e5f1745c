//! The messages of replicas and their bytes.
//!
//! A frame names its sender: by the whole id where others learn of it (Hello, Beat, Goodbye,
//! Superseded), else by its [`Handle`]. Messages about one partition name it in the header, so that
//! a receiver that does not watch it need not read on. Questions and warnings name the identity
//! that they are for: a later one may have started at its address. Everything is checked when a
//! frame is decoded, but for the records of entries, which a tracker checks.

mod beat;
mod data;
mod list;
mod values;

use bytes::Bytes;

pub(crate) use beat::{Beat, SIGN_FIELD_MAX, Sign};
pub(crate) use data::{
    Answer, Data, Delta, Mark, Part, Position, PullItem, Repair, Row, Same, TooLong,
};
pub(crate) use list::List;

use self::beat::{read_toggles, write_toggles};
use self::list::Input;
use self::values::{fixed_u32, op, read_id, write_id};
use super::handle::Handle;
use super::partition_set::PartitionSet;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::codec::{Envelope, OpenError};
use crate::id::{OP_MAX, ReplicaId};

/// The most toggles that a Beat repeats.
pub(crate) const BEAT_TOGGLES_MAX: usize = 64;
/// The most toggles that an Index has: as many as the origin remembers.
pub(crate) const INDEX_TOGGLES_MAX: usize = 4_096;
/// The most missing parts that one frame asks for.
const MISSING_MAX: u64 = 64;

/// A message without its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// A replica introduces itself.
    Hello {
        heartbeat: u64,
        wire_min: u8,
        wire_max: u8,
        options: u32,
    },
    Beat(Beat),
    /// A graceful leave.
    Goodbye {
        heartbeat: u64,
    },
    /// A later life of the receiver's name is known, or the receiver's own has ended.
    Superseded {
        greater: ReplicaId,
        ago_ms: u32,
    },
    /// Toggles of the sender's index from a version on.
    Index {
        from: u64,
        toggles: Vec<u16>,
    },
    /// The whole index of the sender.
    IndexFull {
        version: u64,
        set: PartitionSet,
    },
    /// A request for the index of `origin`, the receiver, from a version on.
    IndexPull {
        origin: Handle,
        version: u64,
    },
    /// Questions for partitions of `origin`, the receiver.
    Pull {
        origin: Handle,
        items: List<PullItem>,
    },
    /// A request for parts of a long answer.
    PullParts {
        origin: Handle,
        item: PullItem,
        reply: u32,
        credit: u8,
        missing: Vec<u32>,
    },
    /// Answers that share a frame.
    Bundle(List<Answer>),
    /// A message about one partition of the sender.
    Data(Answer),
    /// A request for the rows of `origin`, the receiver, that changed since a Beat.
    Ask {
        origin: Handle,
        since: u64,
    },
    /// The rows of the sender from one place of its history to another.
    Rows {
        from: Mark,
        to: Mark,
        rows: List<Row>,
    },
    /// More is known of `origin`, the receiver, than it says itself.
    Heard {
        origin: Handle,
        heartbeat: u64,
        version: u64,
    },
    Sign {
        partition: u16,
        sign: Sign,
    },
    /// A kind of a later minor version: skipped.
    Unknown,
}

/// The sender of a frame, as the frame names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sender {
    Id(ReplicaId),
    Handle(Handle),
}

impl Sender {
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Id(id) => Handle::of(id),
            Self::Handle(handle) => *handle,
        }
    }
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) sender: Sender,
    pub(crate) message: Message,
}

/// Returns whether frames of a kind carry the whole id of their sender.
fn carries_id(kind: Kind) -> bool {
    [Kind::HELLO, Kind::BEAT, Kind::GOODBYE, Kind::SUPERSEDED].contains(&kind)
}

/// Encodes a frame. O(length).
pub(crate) fn encode(
    seal: &Envelope,
    sender: &ReplicaId,
    handle: Handle,
    message: &Message,
) -> Bytes {
    let mut writer = Writer::with_capacity(128);
    let kind = message.kind();
    if carries_id(kind) {
        write_id(&mut writer, sender);
    } else {
        handle.write(&mut writer);
    }
    message.write(&mut writer);
    let partition = match message {
        Message::Data(answer) => Some(answer.partition),
        Message::Sign { partition, .. } => Some(*partition),
        _ => None,
    };
    seal.seal(kind, partition, writer.as_slice()).into()
}

/// Opens a frame and checks it whole. O(length); allocates at most twice its length.
///
/// # Errors
/// The first rule that the frame breaks.
pub(crate) fn decode(seal: &Envelope, frame: &Bytes) -> Result<Frame, OpenError> {
    let opened = seal.open(frame)?;
    let body = frame.slice(opened.body_at..opened.body_at + opened.body.len());
    let mut input = Input {
        reader: Reader::new(&body),
        bytes: &body,
        shape: seal.shape(),
    };
    let decoded = read_frame(opened.kind, opened.partition, &mut input);
    decoded.map_err(|error| OpenError::Malformed(error.shifted(opened.body_at)))
}

fn read_frame(
    kind: Kind,
    partition: Option<u16>,
    input: &mut Input<'_>,
) -> Result<Frame, DecodeError> {
    let sender = if carries_id(kind) {
        Sender::Id(read_id(&mut input.reader)?)
    } else {
        Sender::Handle(Handle::read(&mut input.reader)?)
    };
    let message = Message::read(kind, partition, input)?;
    if message != Message::Unknown {
        input.reader.finish()?;
    }
    Ok(Frame { sender, message })
}

impl Message {
    fn kind(&self) -> Kind {
        match self {
            Self::Hello { .. } => Kind::HELLO,
            Self::Beat(_) => Kind::BEAT,
            Self::Goodbye { .. } => Kind::GOODBYE,
            Self::Superseded { .. } => Kind::SUPERSEDED,
            Self::Index { .. } => Kind::INDEX,
            Self::IndexFull { .. } => Kind::INDEX_FULL,
            Self::IndexPull { .. } => Kind::INDEX_PULL,
            Self::Pull { .. } => Kind::PULL,
            Self::PullParts { .. } => Kind::PULL_PARTS,
            Self::Bundle(_) => Kind::BUNDLE,
            Self::Data(answer) => answer.data.kind(),
            Self::Ask { .. } => Kind::ASK,
            Self::Rows { .. } => Kind::ROWS,
            Self::Heard { .. } => Kind::HEARD,
            Self::Sign { .. } => Kind::SIGNAL,
            Self::Unknown => Kind(u8::MAX),
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Hello {
                heartbeat,
                wire_min,
                wire_max,
                options,
            } => {
                writer.u64(*heartbeat);
                writer.u8(*wire_min);
                writer.u8(*wire_max);
                writer.u64(u64::from(*options));
            }
            Self::Beat(beat) => beat.write(writer),
            Self::Goodbye { heartbeat } => writer.u64(*heartbeat),
            Self::Superseded { greater, ago_ms } => {
                write_id(writer, greater);
                writer.u64(u64::from(*ago_ms));
            }
            Self::Index { from, toggles } => {
                writer.u64(*from);
                write_toggles(writer, toggles);
            }
            Self::IndexFull { version, set } => {
                writer.u64(*version);
                set.write(writer);
            }
            Self::Bundle(answers) => answers.write(writer),
            Self::Data(answer) => answer.data.write(writer),
            Self::Rows { from, to, rows } => {
                from.write(writer);
                to.write(writer);
                rows.write(writer);
            }
            Self::Sign { sign, .. } => sign.write(writer),
            Self::Unknown => {}
            Self::IndexPull { .. }
            | Self::Pull { .. }
            | Self::PullParts { .. }
            | Self::Ask { .. }
            | Self::Heard { .. } => self.write_to_origin(writer),
        }
    }

    /// Writes a message that names its receiver.
    fn write_to_origin(&self, writer: &mut Writer) {
        match self {
            Self::IndexPull {
                origin,
                version: number,
            }
            | Self::Ask {
                origin,
                since: number,
            } => {
                origin.write(writer);
                writer.u64(*number);
            }
            Self::Pull { origin, items } => {
                origin.write(writer);
                items.write(writer);
            }
            Self::PullParts {
                origin,
                item,
                reply,
                credit,
                missing,
            } => {
                origin.write(writer);
                list::Item::write(item, writer);
                writer.raw(&reply.to_le_bytes());
                writer.u8(*credit);
                writer.u64(missing.len() as u64);
                missing.iter().for_each(|part| writer.u64(u64::from(*part)));
            }
            Self::Heard {
                origin,
                heartbeat,
                version,
            } => {
                origin.write(writer);
                writer.u64(*heartbeat);
                writer.u64(*version);
            }
            _ => {}
        }
    }

    fn read(
        kind: Kind,
        partition: Option<u16>,
        input: &mut Input<'_>,
    ) -> Result<Self, DecodeError> {
        let Some(partition) = partition else {
            return Self::read_of_replica(kind, input);
        };
        if let Some(data) = Data::read(kind, input) {
            let data = data?;
            return Ok(Self::Data(Answer { partition, data }));
        }
        match kind {
            Kind::SIGNAL => Ok(Self::Sign {
                partition,
                sign: Sign::read(input)?,
            }),
            Kind(number) if number > Kind::HEARD.0 => Ok(Self::Unknown),
            _ => Err(Reader::invalid(0, "the header names a partition")),
        }
    }

    /// Reads a message that is not about one partition.
    fn read_of_replica(kind: Kind, input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let reader = &mut input.reader;
        Ok(match kind {
            Kind::HELLO => Self::Hello {
                heartbeat: op(reader)?,
                wire_min: reader.u8()?,
                wire_max: reader.u8()?,
                options: reader.u32()?,
            },
            Kind::BEAT => Self::Beat(Beat::read(input)?),
            Kind::GOODBYE => Self::Goodbye {
                heartbeat: op(reader)?,
            },
            Kind::SUPERSEDED => Self::Superseded {
                greater: read_id(reader)?,
                ago_ms: reader.u32()?,
            },
            Kind::INDEX => read_index(input)?,
            Kind::INDEX_FULL => Self::IndexFull {
                version: op(reader)?,
                set: PartitionSet::read(reader, input.shape)?,
            },
            Kind::BUNDLE => Self::Bundle(List::read(input)?),
            Kind::ROWS => Self::Rows {
                from: Mark::read(input)?,
                to: Mark::read(input)?,
                rows: List::read(input)?,
            },
            Kind::INDEX_PULL | Kind::PULL | Kind::PULL_PARTS | Kind::ASK | Kind::HEARD => {
                Self::read_to_origin(kind, input)?
            }
            Kind(number) if number > Kind::HEARD.0 => Self::Unknown,
            _ => return Err(Reader::invalid(0, "the header names no partition")),
        })
    }

    /// Reads a message that names its receiver.
    fn read_to_origin(kind: Kind, input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let reader = &mut input.reader;
        let origin = Handle::read(reader)?;
        Ok(match kind {
            Kind::INDEX_PULL => Self::IndexPull {
                origin,
                version: op(reader)?,
            },
            Kind::PULL => Self::Pull {
                origin,
                items: List::read(input)?,
            },
            Kind::PULL_PARTS => read_pull_parts(origin, input)?,
            Kind::ASK => Self::Ask {
                origin,
                since: op(reader)?,
            },
            _ => Self::Heard {
                origin,
                heartbeat: op(reader)?,
                version: op(reader)?,
            },
        })
    }
}

fn read_index(input: &mut Input<'_>) -> Result<Message, DecodeError> {
    let at = input.reader.offset();
    let from = op(&mut input.reader)?;
    let toggles = read_toggles(input, INDEX_TOGGLES_MAX)?;
    if from + toggles.len() as u64 >= OP_MAX {
        return Err(Reader::invalid(at, "versions are not below 2^62"));
    }
    Ok(Message::Index { from, toggles })
}

fn read_pull_parts(origin: Handle, input: &mut Input<'_>) -> Result<Message, DecodeError> {
    let item = list::Item::read(input)?;
    let reader = &mut input.reader;
    let reply = fixed_u32(reader)?;
    let credit = reader.u8()?;
    let at = reader.offset();
    let len = reader.u64()?;
    if len > MISSING_MAX {
        return Err(Reader::invalid(at, "too many parts are asked for"));
    }
    let mut missing = Vec::with_capacity(len as usize);
    for _ in 0..len {
        missing.push(reader.u32()?);
    }
    Ok(Message::PullParts {
        origin,
        item,
        reply,
        credit,
        missing,
    })
}

#[cfg(test)]
mod tests;

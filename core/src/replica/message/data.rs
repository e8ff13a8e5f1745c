//! Messages about one partition of the sender: operations, states, and how far it is.

use bytes::Bytes;

use super::list::{Input, Item};
use super::values::{fixed_u32, fixed_u64, life, op};
use crate::codec::{DecodeError, Kind, Reader, Writer};

/// Operations of one life between two clocks. Takes a holder at any clock in `from..=to` to exactly
/// `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) life: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) records: Bytes,
}

/// The state of one life relative to a base: takes a holder at `base` or later to exactly `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repair {
    pub(crate) life: u64,
    pub(crate) base: u64,
    pub(crate) to: u64,
    /// The nonce of the question that it answers.
    pub(crate) nonce: u32,
    /// The versions that are kept, then the records.
    pub(crate) content: Bytes,
}

/// The answer to a question with nothing to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Same {
    pub(crate) life: u64,
    /// 0 if the partition is vacated.
    pub(crate) clock: u64,
    pub(crate) fingerprint: u64,
    /// The version of the index for which this holds.
    pub(crate) version: u64,
    pub(crate) nonce: u32,
}

/// The progress of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) life: u64,
    pub(crate) clock: u64,
    pub(crate) fingerprint: u64,
}

/// One of several parts of an answer that is longer than a frame.
///
/// With base 0 the parts go in the order of versions, and each is the content of a repair that
/// decodes alone. With another base they are pieces of one content: a byte that is 0 before the
/// records of a delta and 1 before the content of a repair, then these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) life: u64,
    pub(crate) base: u64,
    pub(crate) to: u64,
    pub(crate) nonce: u32,
    /// Names the encoding: parts of two of them do not fit together.
    pub(crate) reply: u32,
    /// The number of this part, from 0, and the number of all.
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) content: Bytes,
}

/// The answer to a question that no frame of the sender takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooLong {
    /// The bytes of the longest piece that cannot be divided.
    pub(crate) len: u64,
    pub(crate) nonce: u32,
}

/// A message about one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Delta(Delta),
    Repair(Repair),
    Same(Same),
    Row(Position),
    Part(Part),
    TooLong(TooLong),
}

/// One of several answers in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) partition: u16,
    pub(crate) data: Data,
}

impl Data {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Delta(_) => Kind::DELTA,
            Self::Repair(_) => Kind::REPAIR,
            Self::Same(_) => Kind::SAME,
            Self::Row(_) => Kind::ROW,
            Self::Part(_) => Kind::PART,
            Self::TooLong(_) => Kind::TOO_LONG,
        }
    }

    /// Returns a bound of the bytes of the body of an answer.
    pub(crate) fn len_max(&self) -> usize {
        const HEAD_MAX: usize = 64;
        let content = match self {
            Self::Delta(delta) => delta.records.len(),
            Self::Repair(repair) => repair.content.len(),
            Self::Part(part) => part.content.len(),
            _ => 0,
        };
        HEAD_MAX + content
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Delta(delta) => {
                writer.u64(delta.life);
                writer.u64(delta.from);
                writer.u64(delta.to);
                writer.raw(&delta.records);
            }
            Self::Repair(repair) => {
                writer.u64(repair.life);
                writer.u64(repair.base);
                writer.u64(repair.to);
                writer.raw(&repair.nonce.to_le_bytes());
                writer.raw(&repair.content);
            }
            Self::Same(same) => {
                writer.u64(same.life);
                writer.u64(same.clock);
                writer.raw(&same.fingerprint.to_le_bytes());
                writer.u64(same.version);
                writer.raw(&same.nonce.to_le_bytes());
            }
            Self::Row(row) => row.write(writer),
            Self::Part(part) => {
                writer.u64(part.life);
                writer.u64(part.base);
                writer.u64(part.to);
                writer.raw(&part.nonce.to_le_bytes());
                writer.raw(&part.reply.to_le_bytes());
                writer.u64(u64::from(part.index));
                writer.u64(u64::from(part.count));
                writer.raw(&part.content);
            }
            Self::TooLong(too_long) => {
                writer.u64(too_long.len);
                writer.raw(&too_long.nonce.to_le_bytes());
            }
        }
    }

    /// Reads the body of a message of a kind; `None` if it is no message about a partition.
    pub(super) fn read(kind: Kind, input: &mut Input<'_>) -> Option<Result<Self, DecodeError>> {
        Some(match kind {
            Kind::DELTA => read_delta(input).map(Self::Delta),
            Kind::REPAIR => read_repair(input).map(Self::Repair),
            Kind::SAME => read_same(input).map(Self::Same),
            Kind::ROW => Position::read(input).map(Self::Row),
            Kind::PART => read_part(input).map(Self::Part),
            Kind::TOO_LONG => read_too_long(input).map(Self::TooLong),
            _ => return None,
        })
    }
}

fn read_delta(input: &mut Input<'_>) -> Result<Delta, DecodeError> {
    let reader = &mut input.reader;
    let life = life(reader)?;
    let interval = Interval::read(reader)?;
    Ok(Delta {
        life,
        from: interval.from,
        to: interval.to,
        records: input.rest(),
    })
}

fn read_repair(input: &mut Input<'_>) -> Result<Repair, DecodeError> {
    let reader = &mut input.reader;
    let life = life(reader)?;
    let interval = Interval::read(reader)?;
    let nonce = fixed_u32(reader)?;
    Ok(Repair {
        life,
        base: interval.from,
        to: interval.to,
        nonce,
        content: input.rest(),
    })
}

fn read_same(input: &mut Input<'_>) -> Result<Same, DecodeError> {
    let reader = &mut input.reader;
    let at = reader.offset();
    let same = Same {
        life: op(reader)?,
        clock: op(reader)?,
        fingerprint: fixed_u64(reader)?,
        version: op(reader)?,
        nonce: fixed_u32(reader)?,
    };
    let is_vacated = same.clock == 0;
    if same.life > same.version || is_vacated != (same.life == 0) {
        return Err(Reader::invalid(at, "a life is not of its index"));
    }
    Ok(same)
}

fn read_part(input: &mut Input<'_>) -> Result<Part, DecodeError> {
    let reader = &mut input.reader;
    let life = life(reader)?;
    let interval = Interval::read(reader)?;
    let nonce = fixed_u32(reader)?;
    let reply = fixed_u32(reader)?;
    let at = reader.offset();
    let index = reader.u32()?;
    let count = reader.u32()?;
    if index >= count {
        return Err(Reader::invalid(at, "there is no such part"));
    }
    Ok(Part {
        life,
        base: interval.from,
        to: interval.to,
        nonce,
        reply,
        index,
        count,
        content: input.rest(),
    })
}

fn read_too_long(input: &mut Input<'_>) -> Result<TooLong, DecodeError> {
    let len = input.reader.u64()?;
    let nonce = fixed_u32(&mut input.reader)?;
    Ok(TooLong { len, nonce })
}

struct Interval {
    from: u64,
    to: u64,
}

impl Interval {
    /// Reads two clocks in order. The second is not 0: nothing is told of a life before its first
    /// operation.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.offset();
        let from = op(reader)?;
        let to = op(reader)?;
        if from > to || to == 0 {
            return Err(Reader::invalid(at, "clocks are not in order"));
        }
        Ok(Self { from, to })
    }
}

impl Position {
    fn write(self, writer: &mut Writer) {
        writer.u64(self.life);
        writer.u64(self.clock);
        writer.raw(&self.fingerprint.to_le_bytes());
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let reader = &mut input.reader;
        let life = life(reader)?;
        let at = reader.offset();
        let clock = op(reader)?;
        if clock == 0 {
            return Err(Reader::invalid(at, "a row of a life without operations"));
        }
        Ok(Self {
            life,
            clock,
            fingerprint: fixed_u64(reader)?,
        })
    }
}

/// A place in the history of the rows of an origin: all that changed before a Beat, and of what changed
/// after it and before the next, that of the partitions below one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) partition: u16,
}

impl Mark {
    /// Returns the place of all that changed before a Beat.
    pub(crate) fn of_beat(seq: u64) -> Self {
        Self { seq, partition: 0 }
    }

    pub(super) fn write(self, writer: &mut Writer) {
        writer.u64(self.seq);
        writer.u64(u64::from(self.partition));
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            seq: op(&mut input.reader)?,
            partition: input.partition()?,
        })
    }
}

/// A position with its partition, as answers to an Ask list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) partition: u16,
    pub(crate) position: Position,
}

impl Item for Row {
    const LEN_MAX: u64 = crate::codec::PARTITIONS_MAX as u64;

    fn write(&self, writer: &mut Writer) {
        writer.u64(u64::from(self.partition));
        self.position.write(writer);
    }

    fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition: input.partition()?,
            position: Position::read(input)?,
        })
    }
}

impl Item for Answer {
    const LEN_MAX: u64 = u64::MAX;

    fn write(&self, writer: &mut Writer) {
        let mut body = Writer::new();
        self.data.write(&mut body);
        writer.u8(self.data.kind().0);
        writer.u64(u64::from(self.partition));
        writer.bytes(body.as_slice());
    }

    fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let at = input.reader.offset();
        let kind = Kind(input.reader.u8()?);
        let partition = input.partition()?;
        let len = input.reader.u64()?;
        let body_at = input.reader.offset();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let body = input.take(len)?;
        let mut inner = Input {
            reader: Reader::new(&body),
            bytes: &body,
            shape: input.shape,
        };
        let data = Data::read(kind, &mut inner)
            .unwrap_or_else(|| Err(Reader::invalid(at, "no such answer")));
        let data = data.and_then(|data| inner.reader.finish().map(|()| data));
        let data = data.map_err(|error| error.shifted(body_at))?;
        Ok(Self { partition, data })
    }
}

/// A question for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PullItem {
    pub(crate) partition: u16,
    /// The life and clock that the asker holds; 0 and 0 if nothing.
    pub(crate) life: u64,
    pub(crate) clock: u64,
    /// True if the whole state is wanted, whatever is held.
    pub(crate) is_full: bool,
    pub(crate) nonce: u32,
}

const PULL_FULL: u8 = 1;

impl Item for PullItem {
    const LEN_MAX: u64 = crate::codec::PARTITIONS_MAX as u64;

    fn write(&self, writer: &mut Writer) {
        writer.u64(u64::from(self.partition));
        writer.u64(self.life);
        writer.u64(self.clock);
        writer.u8(if self.is_full { PULL_FULL } else { 0 });
        writer.raw(&self.nonce.to_le_bytes());
    }

    fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let partition = input.partition()?;
        let reader = &mut input.reader;
        let at = reader.offset();
        let life = op(reader)?;
        let clock = op(reader)?;
        let flags = reader.u8()?;
        if (life == 0) != (clock == 0) || flags > PULL_FULL {
            return Err(Reader::invalid(at, "no such question"));
        }
        Ok(Self {
            partition,
            life,
            clock,
            is_full: flags & PULL_FULL != 0,
            nonce: fixed_u32(reader)?,
        })
    }
}

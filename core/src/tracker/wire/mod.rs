//! Bodies of the states of trackers, and the records in them. See `docs/wire-format.md`.

mod read;
mod write;

pub(super) use read::{Kept, Place, Records};
pub(super) use write::{BodyWriter, PutRecord, delta_body, put_record, repair_body};
pub(super) use write::{PartsWriter, delta_records, repair_content, whole_content};

use super::entry::{EntryVersions, NewEntry};
use super::leave_log::LoggedLeave;
use super::topic_share::TopicShare;
use crate::codec::{DecodeError, Mode, Reader, Shape};
use crate::id::{OP_MAX, Origin, ReplicaId};

const RECORD_TOPIC: u8 = 0;
const RECORD_PUT: u8 = 1;
const RECORD_LEAVE: u8 = 2;
const RECORD_MASK: u8 = 3;
const PUT_STATUS: u8 = 1 << 4;
const PUT_AGE: u8 = 1 << 5;
const PUT_PREVIOUS: u8 = 1 << 6;
const PUT_UNUSED: u8 = 1 << 7;
/// The largest number of a leave reason, which shares a byte with the record kind.
pub(super) const REASON_MAX: u8 = 63;

/// The first fields of a `Delta`, without its records.
///
/// A `Delta` takes a holder of `origin` from any clock in `from..=to` to exactly `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaHead {
    /// The origin whose operations these are.
    pub origin: Origin,
    /// The clock it starts after.
    pub from: u64,
    /// The clock it leads to.
    pub to: u64,
    pub(super) share: TopicShare,
}

/// The first fields of a `Repair`.
///
/// A `Repair` takes a holder of `origin` at `base` or later to exactly `to`. With base 0 it is the
/// full state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairHead {
    /// The origin whose state this is.
    pub origin: Origin,
    /// The clock up to which versions are only listed.
    pub base: u64,
    /// The clock it leads to.
    pub to: u64,
    pub(super) share: TopicShare,
}

/// One operation in a frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record<'a> {
    NewEntry {
        put: NewEntry<'a>,
        versions: EntryVersions,
    },
    Leave(LoggedLeave),
}

impl DeltaHead {
    /// Reads the head of a `Delta` body.
    ///
    /// # Errors
    /// When the bytes do not start with such a head. Offsets are those in the body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(body))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (origin, share) = read_origin(reader)?;
        let (from, to) = read_interval(reader)?;
        Ok(Self {
            origin,
            from,
            to,
            share,
        })
    }
}

impl RepairHead {
    /// Reads the head of a `Repair` body.
    ///
    /// # Errors
    /// When the bytes do not start with such a head. Offsets are those in the body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(body))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (origin, share) = read_origin(reader)?;
        let (base, to) = read_interval(reader)?;
        Ok(Self {
            origin,
            base,
            to,
            share,
        })
    }
}

fn read_origin(reader: &mut Reader<'_>) -> Result<(Origin, TopicShare), DecodeError> {
    let at = reader.offset();
    let (name, incarnation, salt) = reader.identity()?;
    let replica = ReplicaId::new(name, incarnation, salt)
        .map_err(|_| DecodeError::invalid(at, "not a replica id"))?;
    let at = reader.offset();
    let bits = reader.u8()?;
    let number = reader.u64()?;
    let partition = Shape::from_bits(bits, Mode::All).and_then(|shape| shape.partition(number));
    let partition = partition.ok_or_else(|| DecodeError::invalid(at, "no such partition"))?;
    let share = TopicShare::new(bits, partition);
    Ok((Origin { replica, partition }, share))
}

fn read_interval(reader: &mut Reader<'_>) -> Result<(u64, u64), DecodeError> {
    let at = reader.offset();
    let from = reader.u64()?;
    let to = reader.u64()?;
    if from > to || to >= OP_MAX {
        return Err(DecodeError::invalid(
            at,
            "clocks are not in order below 2^62",
        ));
    }
    Ok((from, to))
}

//! The bytes of a snapshot: the life that wrote it, then its own entries in each partition.

use std::fmt;

use crate::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Reader, Writer};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::{OP_MAX, ReplicaId};

/// The layout of the body of a snapshot.
const LAYOUT: u8 = 2;

/// The reason for which a snapshot was not restored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are not a snapshot of this version within the limits.
    Decode(DecodeError),
    /// The states in it contradict each other.
    Apply(ApplyError),
    /// No incarnation above that of the snapshot is left.
    IncarnationExhausted,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => write!(f, "bad snapshot: {error}"),
            Self::Apply(error) => write!(f, "contradictory snapshot: {error}"),
            Self::IncarnationExhausted => write!(f, "no later incarnation is left"),
        }
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            Self::Apply(error) => Some(error),
            Self::IncarnationExhausted => None,
        }
    }
}

impl From<DecodeError> for RestoreError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// The state of the own entries in one partition.
#[derive(Debug)]
pub(super) struct SavedPartition<'a> {
    pub(super) partition: u64,
    pub(super) clock: u64,
    /// The content of a repair from 0.
    pub(super) content: &'a [u8],
    /// Offset of the content in the snapshot.
    pub(super) offset: usize,
}

/// Begins a snapshot of own entries in 2^`bits` partitions.
pub(super) fn begin(id: &ReplicaId, bits: u8) -> Writer {
    let mut body = Writer::new();
    body.u8(LAYOUT);
    body.identity(id.name(), id.incarnation(), id.salt());
    body.u8(bits);
    body
}

/// Adds the state of the own entries in one partition.
pub(super) fn add(body: &mut Writer, partition: u16, clock: u64, content: &[u8]) {
    body.u64(u64::from(partition));
    body.u64(clock);
    body.bytes(content);
}

/// Ends a snapshot.
pub(super) fn end(body: &Writer) -> Vec<u8> {
    Envelope::default().seal(Kind::SNAPSHOT, None, body.as_slice())
}

/// A snapshot being read.
#[derive(Debug)]
pub(super) struct SnapshotReader<'a> {
    reader: Reader<'a>,
    /// Offset of the body in the snapshot.
    body_offset: usize,
    name: &'a str,
    incarnation: u64,
    salt: u32,
}

impl<'a> SnapshotReader<'a> {
    /// Reads what comes before the states.
    pub(super) fn new(snapshot: &'a [u8]) -> Result<Self, RestoreError> {
        let opened = Envelope::default().open(snapshot);
        let opened = opened.map_err(DecodeError::from)?;
        if opened.kind != Kind::SNAPSHOT {
            let kind = opened.kind.0;
            return Err(DecodeError::new(4, DecodeErrorKind::UnexpectedKind { kind }).into());
        }
        let body_offset = opened.body_at;
        let shifted = |error: DecodeError| error.shifted(body_offset);
        let mut reader = Reader::new(opened.body);
        if reader.u8().map_err(shifted)? != LAYOUT {
            return Err(DecodeError::invalid(body_offset, "another layout of snapshot").into());
        }
        let (name, incarnation, salt) = reader.identity().map_err(shifted)?;
        Ok(Self {
            reader,
            body_offset,
            name,
            incarnation,
            salt,
        })
    }

    /// Returns `id` if it is later than the life that wrote the snapshot, else a later incarnation
    /// of it.
    pub(super) fn later_life(&self, id: ReplicaId) -> Result<ReplicaId, RestoreError> {
        let is_later = (id.incarnation(), id.salt()) > (self.incarnation, self.salt);
        if id.name() != self.name || is_later || is_broken(Fault::RestoreSameLife) {
            return Ok(id);
        }
        let incarnation = self.incarnation + 1;
        if incarnation >= OP_MAX {
            return Err(RestoreError::IncarnationExhausted);
        }
        ReplicaId::new(self.name, incarnation, id.salt())
            .map_err(|_| RestoreError::IncarnationExhausted)
    }

    /// Returns the identity that wrote the snapshot.
    pub(super) fn writer(&self) -> Result<ReplicaId, RestoreError> {
        let id = ReplicaId::new(self.name, self.incarnation, self.salt);
        let invalid = DecodeError::invalid(self.body_offset, "no valid identity");
        id.map_err(|_| invalid.into())
    }

    /// Reads the logarithm of the number of partitions.
    pub(super) fn bits(&mut self) -> Result<u8, RestoreError> {
        let bits = self.reader.u8();
        Ok(bits.map_err(|error| error.shifted(self.body_offset))?)
    }

    /// Reads the own state of the next partition; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<SavedPartition<'a>>, RestoreError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let shifted = |error: DecodeError| error.shifted(self.body_offset);
        let partition = self.reader.u64().map_err(shifted)?;
        let clock = self.reader.u64().map_err(shifted)?;
        let len = self.reader.u64().map_err(shifted)?;
        let offset = self.body_offset + self.reader.offset();
        let content = usize::try_from(len)
            .ok()
            .and_then(|len| self.reader.raw(len).ok());
        let content = content.ok_or(DecodeError::new(offset, DecodeErrorKind::Truncated))?;
        Ok(Some(SavedPartition {
            partition,
            clock,
            content,
            offset,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(incarnation: u64, salt: u32) -> ReplicaId {
        ReplicaId::new("a", incarnation, salt).unwrap()
    }

    fn snapshot(id: &ReplicaId) -> Vec<u8> {
        let mut body = begin(id, 5);
        add(&mut body, 3, 7, b"content");
        end(&body)
    }

    #[test]
    fn the_life_after_a_snapshot_is_later_than_the_one_before() {
        let bytes = snapshot(&id(7, 3));
        let reader = SnapshotReader::new(&bytes).unwrap();
        assert_eq!(reader.later_life(id(7, 4)), Ok(id(7, 4)));
        assert_eq!(reader.later_life(id(7, 3)), Ok(id(8, 3)));
        assert_eq!(reader.later_life(id(2, 9)), Ok(id(8, 9)));
        let other = ReplicaId::new("b", 1, 0).unwrap();
        assert_eq!(reader.later_life(other.clone()), Ok(other));
        let last = snapshot(&id(OP_MAX - 1, 3));
        let reader = SnapshotReader::new(&last).unwrap();
        let exhausted = Err(RestoreError::IncarnationExhausted);
        assert_eq!(reader.later_life(id(7, 4)), exhausted);
    }

    #[test]
    fn the_states_are_read_one_after_the_other() {
        let bytes = snapshot(&id(7, 3));
        let mut reader = SnapshotReader::new(&bytes).unwrap();
        assert_eq!(reader.bits(), Ok(5));
        let saved = reader.next().unwrap().unwrap();
        assert_eq!((saved.partition, saved.clock), (3, 7));
        assert_eq!(&bytes[saved.offset..][..7], saved.content);
        assert!(reader.next().unwrap().is_none());
    }
}

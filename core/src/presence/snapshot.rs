//! The bytes of a snapshot: the life that wrote it, then a `Repair` body of each origin.

use std::fmt;

use parking_lot::RwLock;

use crate::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Reader, Writer};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::{OP_MAX, ReplicaId};
use crate::tracker::Tracker;

/// The layout of the body of a snapshot: the states of all origins, or those of the own entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    All = 1,
    #[cfg(any(test, feature = "testing"))]
    Own = 2,
}

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

/// Writes a snapshot, slot by slot: operations are applied meanwhile. O(entries).
pub(super) fn write(id: &ReplicaId, slots: &[RwLock<Tracker>]) -> Vec<u8> {
    let mut body = Writer::new();
    body.u8(Layout::All as u8);
    body.identity(id.name(), id.incarnation(), id.salt());
    for tracker in slots {
        let tracker = tracker.read();
        for info in tracker.origins().filter(|info| info.clock > 0) {
            if let Some(state) = tracker.full_body(&info.replica, 0) {
                body.bytes(&state);
            }
        }
    }
    Envelope::default().seal(Kind::SNAPSHOT, body.as_slice())
}

/// The state of the own entries in one partition.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
pub(super) struct SavedOwn<'a> {
    pub(super) partition: u64,
    pub(super) clock: u64,
    /// The content of a repair from 0.
    pub(super) content: &'a [u8],
    /// Offset of the content in the snapshot.
    pub(super) offset: usize,
}

/// Begins a snapshot of own entries in 2^`bits` partitions.
#[cfg(any(test, feature = "testing"))]
pub(super) fn begin_own(id: &ReplicaId, bits: u8) -> Writer {
    let mut body = Writer::new();
    body.u8(Layout::Own as u8);
    body.identity(id.name(), id.incarnation(), id.salt());
    body.u8(bits);
    body
}

/// Adds the state of the own entries in one partition.
#[cfg(any(test, feature = "testing"))]
pub(super) fn add_own(body: &mut Writer, partition: u16, clock: u64, content: &[u8]) {
    body.u64(u64::from(partition));
    body.u64(clock);
    body.bytes(content);
}

/// Ends a snapshot.
#[cfg(any(test, feature = "testing"))]
pub(super) fn end_own(body: &Writer) -> Vec<u8> {
    Envelope::default().seal(Kind::SNAPSHOT, body.as_slice())
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

/// The state of one origin in a snapshot.
#[derive(Debug)]
pub(super) struct SavedOrigin<'a> {
    /// Offset of the body in the snapshot.
    pub(super) offset: usize,
    /// A `Repair` body.
    pub(super) body: &'a [u8],
}

impl<'a> SnapshotReader<'a> {
    /// Reads what comes before the states.
    pub(super) fn new(snapshot: &'a [u8], layout: Layout) -> Result<Self, RestoreError> {
        let (kind, body) = Envelope::default().open(snapshot)?;
        if kind != Kind::SNAPSHOT {
            let kind = DecodeErrorKind::UnexpectedKind { kind: kind.0 };
            return Err(DecodeError::new(4, kind).into());
        }
        let body_offset = Envelope::default().body_offset();
        let shifted = |error: DecodeError| error.shifted(body_offset);
        let mut reader = Reader::new(body);
        if reader.u8().map_err(shifted)? != layout as u8 {
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
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn writer(&self) -> Result<ReplicaId, RestoreError> {
        let id = ReplicaId::new(self.name, self.incarnation, self.salt);
        let invalid = DecodeError::invalid(self.body_offset, "no valid identity");
        id.map_err(|_| invalid.into())
    }

    /// Reads the logarithm of the number of partitions.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn bits(&mut self) -> Result<u8, RestoreError> {
        let bits = self.reader.u8();
        Ok(bits.map_err(|error| error.shifted(self.body_offset))?)
    }

    /// Reads the own state of the next partition; `None` at the end.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn next_own(&mut self) -> Result<Option<SavedOwn<'a>>, RestoreError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let shifted = |error: DecodeError| error.shifted(self.body_offset);
        let partition = self.reader.u64().map_err(shifted)?;
        let clock = self.reader.u64().map_err(shifted)?;
        Ok(self.next()?.map(|saved| SavedOwn {
            partition,
            clock,
            content: saved.body,
            offset: saved.offset,
        }))
    }

    /// Reads the state of the next origin; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<SavedOrigin<'a>>, RestoreError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let len = self.reader.u64();
        let len = len.map_err(|error| error.shifted(self.body_offset))?;
        let offset = self.body_offset + self.reader.offset();
        let body = usize::try_from(len)
            .ok()
            .and_then(|len| self.reader.raw(len).ok());
        let body = body.ok_or(DecodeError::new(offset, DecodeErrorKind::Truncated))?;
        Ok(Some(SavedOrigin { offset, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ALL_TOPICS;
    use crate::tracker::{Limits, NewEntry};

    fn id(incarnation: u64, salt: u32) -> ReplicaId {
        ReplicaId::new("a", incarnation, salt).unwrap()
    }

    fn snapshot(id: &ReplicaId) -> Vec<u8> {
        let mut tracker = Tracker::with_slot(id.clone(), ALL_TOPICS, Limits::default());
        tracker
            .track(&NewEntry::new("room", "ann", "conn"))
            .unwrap();
        write(id, &[RwLock::new(tracker)])
    }

    #[test]
    fn the_life_after_a_snapshot_is_later_than_the_one_before() {
        let bytes = snapshot(&id(7, 3));
        let reader = SnapshotReader::new(&bytes, Layout::All).unwrap();
        assert_eq!(reader.later_life(id(7, 4)), Ok(id(7, 4)));
        assert_eq!(reader.later_life(id(7, 3)), Ok(id(8, 3)));
        assert_eq!(reader.later_life(id(2, 9)), Ok(id(8, 9)));
        let other = ReplicaId::new("b", 1, 0).unwrap();
        assert_eq!(reader.later_life(other.clone()), Ok(other));
        let last = snapshot(&id(OP_MAX - 1, 3));
        let reader = SnapshotReader::new(&last, Layout::All).unwrap();
        let exhausted = Err(RestoreError::IncarnationExhausted);
        assert_eq!(reader.later_life(id(7, 4)), exhausted);
    }

    #[test]
    fn the_states_are_read_one_after_the_other() {
        let bytes = snapshot(&id(7, 3));
        let mut reader = SnapshotReader::new(&bytes, Layout::All).unwrap();
        let saved = reader.next().unwrap().unwrap();
        assert_eq!(&bytes[saved.offset..][..saved.body.len()], saved.body);
        assert!(reader.next().unwrap().is_none());
    }
}

//! A presence as bytes, and a presence from bytes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{Presence, PresenceConfig};
use crate::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Reader, Writer};
use crate::error::ApplyError;
use crate::id::{OP_MAX, ReplicaId, SLOTS};
use crate::tracker::StagedRepair;

/// Version of the layout of a snapshot's body.
const LAYOUT: u8 = 1;

/// Why a snapshot was not restored.
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

impl Presence {
    /// The state of all origins as bytes, versioned and checksummed. Slot by slot: operations go on
    /// meanwhile. O(entries).
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut body = Writer::new();
        body.u8(LAYOUT);
        let id = self.id();
        body.identity(id.name(), id.incarnation(), id.salt());
        for tracker in &self.slots {
            let tracker = tracker.read();
            for info in tracker.origins().filter(|info| info.clock > 0) {
                if let Some(state) = tracker.full_body(&info.replica, 0) {
                    body.bytes(&state);
                }
            }
        }
        Envelope::default().seal(Kind::SNAPSHOT, body.as_slice())
    }

    /// A presence that starts with what another one knew of the other replicas, so that only what
    /// happened since has to travel. They stay hidden until they are heard. The own entries of the
    /// snapshot are gone: their connections are; `id` takes a later incarnation than the snapshot's
    /// if need be. O(entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let before = Presence::new(ReplicaId::new("a", 7, 0)?, PresenceConfig::default());
    /// before.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let bytes = before.snapshot();
    /// let id = ReplicaId::new("a", 7, 0)?;
    /// let after = Presence::restore(id, PresenceConfig::default(), Duration::ZERO, &bytes)?;
    /// assert!(after.id().supersedes(&before.id()));
    /// assert!(after.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes are not a snapshot, or contradict themselves.
    pub fn restore(
        id: ReplicaId,
        config: PresenceConfig,
        now: Duration,
        snapshot: &[u8],
    ) -> Result<Self, RestoreError> {
        let (kind, body) = Envelope::default().open(snapshot)?;
        if kind != Kind::SNAPSHOT {
            let kind = DecodeErrorKind::UnexpectedKind { kind: kind.0 };
            return Err(DecodeError::new(4, kind).into());
        }
        let start = Envelope::default().body_offset();
        let shifted = |error: DecodeError| error.shifted(start);
        let mut reader = Reader::new(body);
        if reader.u8().map_err(shifted)? != LAYOUT {
            return Err(DecodeError::invalid(start, "another layout of snapshot").into());
        }
        let (name, incarnation, salt) = reader.identity().map_err(shifted)?;
        let id = later(id, name, (incarnation, salt))?;
        let presence = Self::new(id, config);
        while reader.remaining() > 0 {
            let len = reader.u64().map_err(shifted)?;
            let at = start + reader.offset();
            let state = usize::try_from(len)
                .ok()
                .and_then(|len| reader.raw(len).ok());
            let state = state.ok_or(DecodeError::new(at, DecodeErrorKind::Truncated))?;
            presence
                .restore_origin(now, state)
                .map_err(|error| match error {
                    RestoreError::Decode(error) => error.shifted(at).into(),
                    other => other,
                })?;
        }
        Ok(presence)
    }

    fn restore_origin(&self, now: Duration, state: &[u8]) -> Result<(), RestoreError> {
        let limits = self.slots[0].read().limits().clone();
        let mut staged = StagedRepair::new(Bytes::copy_from_slice(state), &limits)?;
        let origin = staged.head().origin.clone();
        if origin.slot >= SLOTS {
            return Err(DecodeError::invalid(0, "not a slot of a presence").into());
        }
        if origin.replica.name() == self.id().name() {
            return Ok(());
        }
        let mut tracker = self.slots[usize::from(origin.slot)].write();
        let begun = tracker
            .begin_repair(&mut staged, false)
            .map_err(RestoreError::Apply)?;
        tracker.set_hidden(&origin.replica, true);
        if begun {
            tracker
                .repair_slice(&mut staged, usize::MAX)
                .map_err(RestoreError::Apply)?;
        }
        let info = tracker.origin_info(&origin.replica);
        drop(tracker);
        if let Some(info) = info {
            let control = &mut *self.control.lock();
            let view = (origin.slot, info.clock, info.fingerprint);
            control.replica.remember(now, &origin.replica, view);
            self.run(control);
        }
        Ok(())
    }
}

/// The id itself, or a later incarnation of it when the snapshot's is not lower.
fn later(id: ReplicaId, name: &str, old: (u64, u32)) -> Result<ReplicaId, RestoreError> {
    if id.name() != name || (id.incarnation(), id.salt()) > old {
        return Ok(id);
    }
    if old.0 + 1 >= OP_MAX {
        return Err(RestoreError::IncarnationExhausted);
    }
    ReplicaId::new(name, old.0 + 1, id.salt()).map_err(|_| RestoreError::IncarnationExhausted)
}

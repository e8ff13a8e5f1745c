//! Frames of other replicas, and verdicts on whole replicas.

use super::diff::{Diff, DiffBuilder};
use super::leave::LeaveReason;
use super::slab::NIL;
use super::slice::Slice;
use super::{Tracker, delta, repair};
use crate::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Opened};
use crate::error::ApplyError;
use crate::id::ReplicaId;

/// Frames of other replicas. Everything is checked before anything changes.
impl Tracker {
    /// Applies a frame made by [`delta_since`](Self::delta_since) and returns what changed. A frame
    /// that brings nothing new is ignored. O(changes).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let frame = a.delta_since(a.id(), b.clock(a.id())).expect("b misses something");
    /// let diff = b.apply(&frame)?;
    /// assert_eq!(diff.topic("room").unwrap().joins.len(), 1);
    /// assert_eq!(b.count("room"), 1);
    /// assert!(b.apply(&frame)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A [`Gap`](ApplyError::Gap) says that frames are missing in between; the other kinds name
    /// what is wrong with the frame. Nothing has changed then.
    pub fn apply(&mut self, frame: &[u8]) -> Result<Diff, ApplyError> {
        let state = open(frame)?;
        let applied = match state.kind {
            Kind::STATE_REPAIR => self.apply_repair(state.body, false),
            _ => self.apply_delta(state.body),
        };
        applied.map_err(|error| in_frame(error, &state))
    }

    /// Checks a frame as [`apply`](Self::apply) does, without applying it. O(frame).
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn check_frame(&self, frame: &[u8]) -> Result<(), ApplyError> {
        let state = open(frame)?;
        let checked = match state.kind {
            Kind::STATE_REPAIR => repair::check(&self.state, state.body),
            _ => delta::check(&self.state, state.body).map(drop),
        };
        checked.map_err(|error| in_frame(error, &state))
    }

    /// Applies the body of a `Delta` frame. O(changes).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); offsets are those in the body.
    pub fn apply_delta(&mut self, body: &[u8]) -> Result<Diff, ApplyError> {
        delta::apply(&mut self.state, body)
    }

    /// Applies the body of a `Repair` frame at once. With `full`, which says that this holder asked
    /// for the whole state because its own is wrong, a state that is not newer is taken too.
    /// O(entries of the origin).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); offsets are those in the body.
    pub fn apply_repair(&mut self, body: &[u8], full: bool) -> Result<Diff, ApplyError> {
        repair::apply(&mut self.state, body, full)
    }
}

/// Verdicts on whole replicas, other than this one.
impl Tracker {
    /// Hides all entries of a replica, or shows them again. Returns whether that changed anything.
    /// One flag: O(1). No Diff is made; see [`VisibilityChange`](super::VisibilityChange).
    pub fn set_hidden(&mut self, replica: &ReplicaId, hidden: bool) -> bool {
        let number = self.state.origins().find_remote(replica);
        number.is_some_and(|number| self.state.set_hidden(number, hidden))
    }

    /// Drops a replica with all its entries at once. The Diff has the leaves of those that
    /// were visible. O(its entries).
    pub fn forget(&mut self, replica: &ReplicaId) -> Diff {
        self.forget_for(replica, LeaveReason::ReplicaForgotten)
    }

    /// Does what [`forget`](Self::forget) does, with a reason for the leaves.
    pub(crate) fn forget_for(&mut self, replica: &ReplicaId, reason: LeaveReason) -> Diff {
        let mut diff = DiffBuilder::default();
        if let Some(number) = self.state.origins().find_remote(replica) {
            self.state.drop_origin(number, reason, &mut diff);
        }
        diff.finish()
    }

    /// Drops a replica: its entries are invisible and its name is free at once; they are removed
    /// by [`reap`](Self::reap). Returns whether the replica was known. O(1).
    pub fn retire(&mut self, replica: &ReplicaId) -> bool {
        self.retire_for(replica, LeaveReason::ReplicaForgotten)
    }

    /// Does what [`retire`](Self::retire) does, with a reason for the leaves.
    pub(crate) fn retire_for(&mut self, replica: &ReplicaId, reason: LeaveReason) -> bool {
        let number = self.state.origins().find_remote(replica);
        number
            .inspect(|&number| self.state.retire(number, reason))
            .is_some()
    }

    /// Removes up to `entries_max` entries of retired replicas. The Diff has the leaves of those
    /// that were visible, for the topics for which `watched` holds. O(`entries_max`).
    pub fn reap(&mut self, entries_max: usize, watched: &dyn Fn(&str) -> bool) -> Slice {
        let state = &mut self.state;
        let mut diff = DiffBuilder::default();
        let mut budget = entries_max.max(1);
        let mut done = true;
        while let Some((number, retired)) = state.origins().next_retired() {
            let newest = state.origin(number).order().newest();
            if newest == NIL {
                state.remove_origin(number);
                continue;
            }
            if budget == 0 {
                done = false;
                break;
            }
            budget -= 1;
            let topic = state.topic_name(newest);
            if retired.was_visible && watched(topic) {
                diff.leave(topic, state.leave(newest, retired.reason));
            }
            state.remove_unseen(newest);
        }
        Slice {
            diff: diff.finish(),
            done,
        }
    }

    /// As [`retire`](Self::retire), but the entries stay visible until
    /// [`end_linger`](Self::end_linger) or until the later life puts them again. Returns `false`,
    /// and does nothing, when none is visible now or when there is no room for them beside those to
    /// come. O(1).
    pub(crate) fn linger(&mut self, replica: &ReplicaId) -> bool {
        let number = self.state.origins().find_remote(replica);
        number.is_some_and(|number| self.state.linger(number))
    }

    /// Ends the lingering of a replaced life: its entries are invisible, and [`reap`](Self::reap)
    /// removes them. Returns whether it lingered. O(1).
    pub(crate) fn end_linger(&mut self, replica: &ReplicaId) -> bool {
        let origins = self.state.origins();
        let mut newest_first = origins.lingering().iter().rev().copied();
        let number = newest_first.find(|&number| origins.get(number).id() == replica);
        number
            .inspect(|&number| self.state.end_linger(number))
            .is_some()
    }
}

/// Opens a frame with operations or a state.
fn open(frame: &[u8]) -> Result<Opened<'_>, DecodeError> {
    let opened = Envelope::default().open(frame)?;
    match opened.kind {
        Kind::STATE_DELTA | Kind::STATE_REPAIR => Ok(opened),
        Kind(kind) => Err(DecodeError::new(
            4,
            DecodeErrorKind::UnexpectedKind { kind },
        )),
    }
}

/// Turns an offset in the body into one in the frame.
fn in_frame(error: ApplyError, frame: &Opened<'_>) -> ApplyError {
    match error {
        ApplyError::Decode(error) => error.shifted(frame.body_at).into(),
        other => other,
    }
}

//! Changes of own entries that the next Diff reports.

use std::sync::Arc;

use hashbrown::HashMap;

use super::diff::{Diff, DiffBuilder};
use super::entry::{Entry, EntryBuf};
use super::leave::{Leave, LeaveReason};
use super::state::State;

/// Most bytes of versions that came and went since the last Diff and that are kept for it: a bound
/// for a tracker whose Diffs are never taken.
const ENDED_BYTES_MAX: usize = 4 << 20;

/// Changes since the last Diff. Joins and updates need no record of their own: they are the
/// newest entries in version order. Entries that were reported before are kept as they were then.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    /// Clock at the last Diff.
    flushed: u64,
    /// `None` while there are none.
    records: Option<Box<Records>>,
}

/// Keeps what the entries themselves do not tell.
#[derive(Debug, Clone, Default)]
struct Records {
    /// Updated entries by birth, as last reported.
    updated: HashMap<u64, EntryBuf>,
    /// Removed entries, as last reported.
    left: Vec<(Arc<str>, Leave)>,
    /// Versions that came and went and that reads may have shown.
    ended: Vec<Ended>,
    ended_bytes: usize,
    /// True if there were too many of them.
    is_lossy: bool,
}

/// A version that is over and was in no Diff.
#[derive(Debug, Clone)]
struct Ended {
    topic: Arc<str>,
    leave: Leave,
    /// True if its entry left, and no version of it was in a Diff.
    is_last: bool,
}

impl Pending {
    /// Returns whether a Diff at `clock` would report something.
    #[inline]
    pub(super) fn has_changes(&self, clock: u64) -> bool {
        clock > self.flushed
    }

    /// Notes an own entry that is about to be written again. O(1).
    #[inline]
    pub(super) fn before_update(&mut self, state: &State, index: u32) {
        let old = state.entry(index);
        if old.version() <= self.flushed {
            let records = self.records.get_or_insert_default();
            records.updated.insert(old.birth(), old.to_buf());
        } else {
            let records = self.records.get_or_insert_default();
            records.end(state.topic_name(index), old, LeaveReason::Updated, false);
        }
    }

    /// Notes an own entry that is about to leave. The reason is that of the version last reported
    /// too. O(1).
    #[inline]
    pub(super) fn before_leave(&mut self, state: &State, index: u32, reason: LeaveReason) {
        let topic = state.topic_name(index);
        let entry = state.entry(index);
        let records = self.records.get_or_insert_default();
        if entry.version() <= self.flushed {
            let leave = state.leave(index, reason);
            records.left.push((Arc::clone(topic), leave));
            return;
        }
        if records.updated.is_empty() {
            records.end(topic, entry, reason, true);
            return;
        }
        let reported = records.updated.remove(&entry.birth());
        records.end(topic, entry, reason, reported.is_none());
        let reported = reported.map(|entry| (Arc::clone(topic), Leave { entry, reason }));
        records.left.extend(reported);
    }

    /// Notes that all own entries are about to get other references: the next Diff has an update of
    /// each that was reported, and each present version is over. O(own entries).
    pub(super) fn before_rename(&mut self, state: &State) {
        for index in state.local().order().newer_than(state.store(), 0) {
            self.before_update(state, index);
        }
        self.flushed = 0;
    }

    /// Returns the changes of own entries since the last call. O(changes).
    pub(super) fn take(&mut self, state: &State) -> Diff {
        let origin = state.local();
        let since = std::mem::replace(&mut self.flushed, origin.clock());
        let taken = *self.records.take().unwrap_or_default();
        let mut diff = DiffBuilder::default();
        for (topic, leave) in taken.left {
            diff.leave(&topic, leave);
        }
        let mut updated = taken.updated;
        for index in origin.order().newer_than(state.store(), since) {
            let topic = state.topic_name(index);
            let entry = state.entry(index).to_buf();
            match updated.remove(&entry.birth()) {
                Some(old) => diff.update(topic, old, entry),
                None => diff.join(topic, entry),
            }
        }
        for ended in taken.ended {
            if ended.is_last {
                diff.brief(&ended.topic, ended.leave);
            } else {
                diff.between(&ended.topic, ended.leave);
            }
        }
        let mut diff = diff.finish();
        if taken.is_lossy {
            diff.set_lossy();
        }
        diff
    }
}

impl Records {
    /// Keeps a version that is over, unless there are too many. O(1).
    #[inline]
    fn end(&mut self, topic: &Arc<str>, entry: Entry<'_>, reason: LeaveReason, is_last: bool) {
        if self.is_lossy {
            return;
        }
        let entry = entry.to_buf();
        self.ended_bytes += size_of::<Ended>() + entry.bytes_len();
        if self.ended_bytes > ENDED_BYTES_MAX {
            self.ended = Vec::new();
            self.is_lossy = true;
            return;
        }
        self.ended.push(Ended {
            topic: Arc::clone(topic),
            leave: Leave { entry, reason },
            is_last,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::NewEntry;
    use super::super::limits::Limits;
    use super::*;
    use crate::id::ReplicaId;

    fn tracked(state: &mut State, meta: &[u8]) -> u32 {
        let put = NewEntry::new("room", "ann", "phone").meta(meta);
        let owner = state.locate_owner(put.owner);
        let location = state.locate(put.topic, put.encoding, put.key);
        state.insert_local(location, owner, &put).unwrap();
        state.local().order().newest()
    }

    fn new_state() -> State {
        let id = ReplicaId::new("a", 1, 0).unwrap();
        State::new(id, Limits::default().shared())
    }

    #[test]
    fn an_entry_that_came_and_went_is_a_join_and_a_leave() {
        let mut state = new_state();
        let mut pending = Pending::default();
        let index = tracked(&mut state, b"");
        assert!(pending.has_changes(state.local().clock()));
        pending.before_leave(&state, index, LeaveReason::Untracked);
        let op = state.next_op().unwrap();
        state.remove_local(index, op, LeaveReason::Untracked);
        let diff = pending.take(&state);
        let room = diff.topic("room").unwrap();
        assert_eq!((room.joins.len(), room.leaves.len()), (1, 1));
        assert!(!pending.has_changes(state.local().clock()));
    }

    #[test]
    fn a_reported_entry_under_a_new_name_is_an_update() {
        let mut state = new_state();
        let mut pending = Pending::default();
        tracked(&mut state, b"");
        pending.take(&state);
        pending.before_rename(&state);
        state.rename_local(ReplicaId::new("a", 2, 0).unwrap());
        let diff = pending.take(&state);
        assert_eq!(diff.topic("room").unwrap().updates.len(), 1);
    }

    #[test]
    fn too_many_versions_that_are_over_make_a_lossy_diff_once() {
        let mut state = new_state();
        let mut pending = Pending::default();
        let meta = vec![7; 16 * 1024];
        let index = tracked(&mut state, &meta);
        for _ in 0..300 {
            let put = NewEntry::new("room", "ann", "phone").meta(&meta);
            pending.before_update(&state, index);
            state.update_local(index, &put, None).unwrap();
        }
        assert!(pending.take(&state).is_lossy());
        assert!(!pending.take(&state).is_lossy());
    }
}

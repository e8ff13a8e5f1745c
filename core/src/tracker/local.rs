//! Local operations: what the connections of this replica do.

use std::sync::Arc;

use hashbrown::HashMap;

use super::diff::{Diff, DiffBuilder};
use super::entry::{EntryBuf, EntryVersions, Key, NewEntry};
use super::origin::Leave;
use super::owners::{OwnerSpot, Owners};
use super::slab::NIL;
use super::store::KeyLocation;
use super::{LOCAL, LeaveReason, Tracker};
use crate::error::TrackError;
use crate::id::{ALL_TOPICS, EntryRef, OP_MAX, slot_of};
use crate::tracker::Encoding;

/// Bytes of versions that came and went since the last `take_diff` and are kept for it. A tracker
/// whose Diffs nobody takes keeps no more.
const ENDED_BYTES_MAX: usize = 4 << 20;

/// Changes since the last `take_diff`. Joins and updates need no record of their own: they are the
/// newest entries in version order. Entries that were reported before are kept as they were then.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    /// Clock at the last `take_diff`.
    flushed: u64,
    /// Updated entries by birth, as last reported.
    updated: HashMap<u64, EntryBuf>,
    /// Removed entries, as last reported.
    left: Vec<(Arc<str>, EntryBuf)>,
    /// Versions that came and went and that reads may have shown.
    ended: Vec<Ended>,
    ended_bytes: usize,
    /// True if there were too many of them.
    is_lossy: bool,
}

/// A version that nobody was told of and that is over.
#[derive(Debug, Clone)]
struct Ended {
    topic: Arc<str>,
    entry: EntryBuf,
    /// True if its entry left, and was never told of.
    is_last: bool,
}

impl Pending {
    /// Keeps a version that is over, unless there are too many. O(1).
    fn end(&mut self, topic: &Arc<str>, entry: EntryBuf, is_last: bool) {
        self.ended_bytes += size_of::<Ended>() + entry.bytes_len();
        if self.ended_bytes > ENDED_BYTES_MAX {
            self.ended = Vec::new();
            self.is_lossy = true;
            return;
        }
        self.ended.push(Ended {
            topic: Arc::clone(topic),
            entry,
            is_last,
        });
    }
}

impl Tracker {
    /// Tracks an entry. O(1).
    ///
    /// # Errors
    /// [`TrackError::AlreadyTracked`] when this topic, key and owner are tracked; the other kinds
    /// when a bound of [`Limits`](super::Limits) is broken.
    pub fn track(&mut self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        // The owner first: the two look-ups then wait for memory side by side.
        let owner = self.owners.locate(&self.store, put.owner);
        let location = self.store.locate(put.topic, put.encoding, put.key);
        if self.find_session(location, put.owner, owner) != NIL {
            return Err(TrackError::AlreadyTracked);
        }
        self.insert_local(location, owner, put)
    }

    /// Gives a tracked entry a new meta and status. O(1).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// tracker.track(&NewEntry::new("room", "ann", "conn-1").meta(b"old"))?;
    /// tracker.update(&NewEntry::new("room", "ann", "conn-1").meta(b"new"))?;
    /// assert_eq!(tracker.list("room").next().unwrap().meta(), b"new");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TrackError::NotTracked`] when there is no such entry.
    pub fn update(&mut self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        let owner = self.owners.locate(&self.store, put.owner);
        let location = self.store.locate(put.topic, put.encoding, put.key);
        match self.find_session(location, put.owner, owner) {
            NIL => Err(TrackError::NotTracked),
            index => self.update_local(index, put),
        }
    }

    /// Tracks an entry, or updates it when it is tracked. O(1).
    ///
    /// # Errors
    /// When a bound is broken.
    pub fn upsert(&mut self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        let owner = self.owners.locate(&self.store, put.owner);
        let location = self.store.locate(put.topic, put.encoding, put.key);
        match self.find_session(location, put.owner, owner) {
            NIL => self.insert_local(location, owner, put),
            index => self.update_local(index, put),
        }
    }

    /// Removes one entry of this replica. Says whether there was one. O(1).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// tracker.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// assert!(tracker.untrack("room", "ann", "conn-1"));
    /// assert!(!tracker.untrack("room", "ann", "conn-1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn untrack<'a>(
        &mut self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> bool {
        let key = key.into();
        let owner = owner.as_ref();
        let owned = self.owners.locate(&self.store, owner);
        let location = self.store.locate(topic, key.encoding, key.bytes);
        match self.find_session(location, owner, owned) {
            NIL => false,
            index => self.leave_local(index, LeaveReason::Untracked),
        }
    }

    /// Removes all entries of an owner, in all topics. Says how many. O(its entries).
    pub fn untrack_owner(&mut self, owner: impl AsRef<[u8]>) -> usize {
        self.remove_owner(owner.as_ref(), LeaveReason::OwnerGone)
    }

    /// As [`untrack_owner`](Self::untrack_owner) with another reason.
    pub(crate) fn remove_owner(&mut self, owner: &[u8], reason: LeaveReason) -> usize {
        let mut removed = 0;
        loop {
            let first = self.owners.first(&self.store, owner);
            if first == NIL {
                return removed;
            }
            // The second entry is taken while there is one: the table then stays as it is.
            let second = self.store.slab[first].owner_next;
            let index = if second == NIL { first } else { second };
            if !self.leave_local(index, reason) {
                return removed;
            }
            removed += 1;
        }
    }

    /// Returns the changes of this replica's own entries since the last call, coalesced as
    /// [`Diff`] says. O(changes).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// tracker.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// tracker.untrack("room", "ann", "conn-1");
    /// let diff = tracker.take_diff(); // a list read in between has shown her
    /// let room = diff.topic("room").unwrap();
    /// assert_eq!((room.joins.len(), room.leaves.len()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "it is handed out once"]
    pub fn take_diff(&mut self) -> Diff {
        let pending = std::mem::take(&mut self.pending);
        let origin = &self.origins.get(LOCAL);
        self.pending.flushed = origin.clock;
        let mut diff = DiffBuilder::default();
        for (topic, entry) in pending.left {
            diff.leave(&topic, entry);
        }
        let mut updated = pending.updated;
        for index in origin.newer_than(&self.store.slab, pending.flushed) {
            let slot = &self.store.slab[index];
            let topic = &self.store.topic(slot.topic).name;
            let entry = self.entry(index).to_buf();
            match updated.remove(&slot.birth) {
                Some(old) => diff.update(topic, old, entry),
                None => diff.join(topic, entry),
            }
        }
        for ended in pending.ended {
            if ended.is_last {
                diff.brief(&ended.topic, ended.entry);
            } else {
                diff.between(&ended.topic, ended.entry);
            }
        }
        let mut diff = diff.finish();
        if pending.is_lossy {
            diff.set_lossy();
        }
        diff
    }

    /// Makes the next `take_diff` an update of every entry that is not new in it, and ends every
    /// version of now: it is about to get another reference.
    pub(super) fn note_all(&mut self) {
        let origin = self.origins.get(LOCAL);
        for index in origin.newer_than(&self.store.slab, 0) {
            let slot = &self.store.slab[index];
            let birth = slot.birth;
            let version = slot.version;
            let topic = slot.topic;
            let old = self.entry(index).to_buf();
            if version <= self.pending.flushed {
                self.pending.updated.insert(birth, old);
            } else {
                self.pending.end(&self.store.topic(topic).name, old, false);
            }
        }
        self.pending.flushed = 0;
    }

    /// Returns whether [`take_diff`](Self::take_diff) would give something.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.origins.get(LOCAL).clock > self.pending.flushed
    }

    pub(super) fn check_put(&self, put: &NewEntry<'_>) -> Result<(), TrackError> {
        let limits = &self.limits;
        if put.topic.len() > limits.topic_len_max {
            let len = put.topic.len();
            let max = limits.topic_len_max;
            return Err(TrackError::TopicTooLong { len, max });
        }
        if put.key.len() > limits.key_len_max {
            return Err(TrackError::KeyTooLong {
                len: put.key.len(),
                max: limits.key_len_max,
            });
        }
        if put.owner.len() > limits.owner_len_max {
            let len = put.owner.len();
            let max = limits.owner_len_max;
            return Err(TrackError::OwnerTooLong { len, max });
        }
        if put.meta.len() > limits.meta_len_max {
            return Err(TrackError::MetaTooLarge {
                len: put.meta.len(),
                max: limits.meta_len_max,
            });
        }
        let text = |bytes| std::str::from_utf8(bytes).is_ok();
        if put.encoding == Encoding::Text && !(text(put.key) && text(put.owner)) {
            return Err(TrackError::NotUtf8);
        }
        if self.slot != ALL_TOPICS && slot_of(put.topic) != self.slot {
            let topic_slot = slot_of(put.topic);
            let tracker_slot = self.slot;
            return Err(TrackError::WrongSlot {
                topic_slot,
                tracker_slot,
            });
        }
        Ok(())
    }

    /// The local entry of (key at `location`, owner), or `NIL`. Walks the sessions of the key and the
    /// entries of the owner side by side: O(the shorter of the two).
    pub(super) fn find_session(
        &self,
        location: KeyLocation,
        owner: &[u8],
        owned: OwnerSpot,
    ) -> u32 {
        let slab = &self.store.slab;
        let mut by_key = location.head;
        let mut by_owner = owned.first;
        while by_key != NIL && by_owner != NIL {
            let slot = &slab[by_key];
            if slot.origin == LOCAL && self.store.parts(by_key).owner == owner {
                return by_key;
            }
            if self.same_key(location.head, by_owner) {
                return by_owner;
            }
            by_key = slot.key_next;
            by_owner = slab[by_owner].owner_next;
        }
        NIL
    }

    fn same_key(&self, a: u32, b: u32) -> bool {
        let x = &self.store.slab[a];
        let y = &self.store.slab[b];
        x.topic == y.topic
            && x.encoding == y.encoding
            && self.store.parts(a).key == self.store.parts(b).key
    }

    pub(super) fn next_op(&self) -> Result<u64, TrackError> {
        let op = self.origins.get(LOCAL).clock + 1;
        if op < OP_MAX {
            Ok(op)
        } else {
            Err(TrackError::ClockExhausted)
        }
    }

    fn local_ref(&self, version: u64) -> EntryRef {
        EntryRef {
            origin: self.origin(),
            version,
        }
    }

    fn insert_local(
        &mut self,
        location: KeyLocation,
        owner: OwnerSpot,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let op = self.next_op()?;
        if self.store.slab.len() >= self.limits.entries_max {
            return Err(TrackError::TooManyEntries {
                max: self.limits.entries_max,
            });
        }
        if Owners::count(&self.store, owner.first) >= self.limits.owner_entries_max {
            return Err(TrackError::OwnerFull {
                max: self.limits.owner_entries_max,
            });
        }
        let index = self
            .store
            .insert(location, put, LOCAL, EntryVersions::new(op));
        self.owners.link(&mut self.store, index, owner);
        let fingerprint = self.store.fingerprint(index);
        let origin = self.origins.get_mut(LOCAL);
        origin.append(&mut self.store.slab, index);
        origin.clock = op;
        origin.len += 1;
        origin.fingerprint = origin.fingerprint.wrapping_add(fingerprint);
        Ok(self.local_ref(op))
    }

    pub(super) fn update_local(
        &mut self,
        index: u32,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let op = self.next_op()?;
        let slot = &self.store.slab[index];
        let old = self.entry(index).to_buf();
        if slot.version <= self.pending.flushed {
            self.pending.updated.insert(slot.birth, old);
        } else {
            let topic = &self.store.topic(slot.topic).name;
            self.pending.end(topic, old, false);
        }
        let before = self.store.fingerprint(index);
        let versions = self.store.versions(index).written(op);
        self.store.rewrite(index, put, versions);
        let after = self.store.fingerprint(index);
        let origin = self.origins.get_mut(LOCAL);
        origin.unlink(&mut self.store.slab, index);
        origin.append(&mut self.store.slab, index);
        origin.clock = op;
        origin.fingerprint = origin.fingerprint.wrapping_sub(before).wrapping_add(after);
        Ok(self.local_ref(op))
    }

    /// Removes a local entry; `false` when no op is left for it.
    pub(super) fn leave_local(&mut self, index: u32, reason: LeaveReason) -> bool {
        let Ok(op) = self.next_op() else {
            return false;
        };
        let slot = &self.store.slab[index];
        let birth = slot.birth;
        let version = slot.version;
        let flushed = self.pending.flushed;
        let topic = &self.store.topic(slot.topic).name;
        let entry = self.entry(index).to_buf();
        if version <= flushed {
            self.pending.left.push((Arc::clone(topic), entry));
        } else {
            let told = self.pending.updated.remove(&birth);
            self.pending.end(topic, entry, told.is_none());
            let told = told.map(|told| (Arc::clone(topic), told));
            self.pending.left.extend(told);
        }
        self.owners.unlink(&mut self.store, index);
        let fingerprint = self.store.fingerprint(index);
        let origin = self.origins.get_mut(LOCAL);
        origin.unlink(&mut self.store.slab, index);
        origin.clock = op;
        origin.len -= 1;
        origin.fingerprint = origin.fingerprint.wrapping_sub(fingerprint);
        let leave = Leave {
            op,
            birth,
            reason: reason as u8,
        };
        origin.log_leave(leave, self.limits.leave_log_len_max);
        self.store.remove(index);
        true
    }
}

//! Operations on the entries of this replica.

use super::Tracker;
use super::diff::Diff;
use super::entry::{Key, NewEntry};
use super::leave::LeaveReason;
use super::session::{SessionName, Since};
use super::slab::NIL;
use crate::error::TrackError;
use crate::id::{EntryRef, ReplicaId};
use crate::tracker::Encoding;

/// Operations on the entries of this replica.
impl Tracker {
    /// Tracks an entry. O(1).
    ///
    /// # Errors
    /// [`TrackError::AlreadyTracked`] when this topic, key and owner are tracked; the other kinds
    /// when a bound of [`Limits`](super::Limits) is broken.
    pub fn track(&mut self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        // The owner first: the two look-ups then wait for memory side by side.
        let owner = self.state.locate_owner(put.owner);
        let location = self.state.locate(put.topic, put.encoding, put.key);
        match self.state.find_session(location, put.owner, owner) {
            NIL => self.state.insert_local(location, owner, put),
            _ => Err(TrackError::AlreadyTracked),
        }
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
    /// [`TrackError::NotTracked`] when there is no such entry; the other kinds when a bound of
    /// [`Limits`](super::Limits) is broken.
    pub fn update(&mut self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        let owner = self.state.locate_owner(put.owner);
        let location = self.state.locate(put.topic, put.encoding, put.key);
        match self.state.find_session(location, put.owner, owner) {
            NIL => Err(TrackError::NotTracked),
            index => self.update_at(index, put),
        }
    }

    /// Tracks an entry, or updates it when it is tracked. O(1).
    ///
    /// # Errors
    /// When a bound of [`Limits`](super::Limits) is broken.
    pub fn upsert(&mut self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        let owner = self.state.locate_owner(put.owner);
        let location = self.state.locate(put.topic, put.encoding, put.key);
        match self.state.find_session(location, put.owner, owner) {
            NIL => self.state.insert_local(location, owner, put),
            index => self.update_at(index, put),
        }
    }

    /// Removes one entry of this replica. Returns whether it was tracked. O(1).
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
        match self.find(topic, key.into(), owner.as_ref()) {
            NIL => false,
            index => self.remove_at(index, LeaveReason::Untracked),
        }
    }

    /// Removes all entries of an owner, in all topics. Returns their number. O(its entries).
    pub fn untrack_owner(&mut self, owner: impl AsRef<[u8]>) -> usize {
        self.remove_owner(owner.as_ref(), LeaveReason::OwnerGone)
    }

    /// As [`untrack_owner`](Self::untrack_owner) with another reason.
    pub(crate) fn remove_owner(&mut self, owner: &[u8], reason: LeaveReason) -> usize {
        let mut removed = 0;
        loop {
            let first = self.state.locate_owner(owner).first();
            if first == NIL {
                return removed;
            }
            // The second entry is taken while there is one: the table then stays as it is.
            let second = self.state.row(first).owner_next;
            let index = if second == NIL { first } else { second };
            if !self.remove_at(index, reason) {
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
        self.pending.take(&self.state)
    }

    /// Returns whether [`take_diff`](Self::take_diff) would report something.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.pending.has_changes(self.state.local().clock())
    }

    /// Starts a new life under a new id of the same replica: all own entries stay, as entries of
    /// the new incarnation. The Diff is that of [`take_diff`](Self::take_diff), with an update of
    /// every entry that was reported under the old id: its reference is another one now.
    /// O(own entries).
    pub fn reincarnate(&mut self, id: ReplicaId) -> Diff {
        self.pending.before_rename(&self.state);
        self.state.rename_local(id);
        self.take_diff()
    }

    /// Returns the index of an own entry, or `NIL`. O(1).
    fn find(&self, topic: &str, key: Key<'_>, owner: &[u8]) -> u32 {
        let owned = self.state.locate_owner(owner);
        let location = self.state.locate(topic, key.encoding, key.bytes);
        self.state.find_session(location, owner, owned)
    }

    fn update_at(&mut self, index: u32, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.state.next_op()?;
        self.pending.before_update(&self.state, index);
        self.state.update_local(index, put, None)
    }

    /// Removes an own entry. Returns `false`, and changes nothing, when no op is left for it.
    fn remove_at(&mut self, index: u32, reason: LeaveReason) -> bool {
        let Ok(op) = self.state.next_op() else {
            return false;
        };
        self.pending.before_leave(&self.state, index, reason);
        self.state.remove_local(index, op, reason);
        true
    }

    fn check_put(&self, put: &NewEntry<'_>) -> Result<(), TrackError> {
        let limits = self.state.limits();
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
        let share = self.state.share();
        if !share.holds(put.topic) {
            return Err(TrackError::WrongPartition {
                topic_partition: share.number_of(put.topic),
                tracker_partition: share.number(),
            });
        }
        Ok(())
    }
}

/// Operations on sessions by name, for leases and grace.
impl Tracker {
    /// Returns the birth of an own session, if it is tracked. O(1).
    pub(crate) fn birth_of(&self, topic: &str, key: Key<'_>, owner: &[u8]) -> Option<u64> {
        let index = self.find(topic, key, owner);
        (index != NIL).then(|| self.state.row(index).birth)
    }

    /// Returns whether an owner has own entries. O(1).
    pub(crate) fn has_owner(&self, owner: &[u8]) -> bool {
        self.state.locate_owner(owner).first() != NIL
    }

    /// Returns the own sessions of an owner with their versions. O(its entries).
    pub(crate) fn sessions_of(&self, owner: &[u8]) -> Vec<(SessionName, u64)> {
        let mut sessions = Vec::new();
        let mut index = self.state.locate_owner(owner).first();
        while index != NIL {
            let entry = self.state.entry(index);
            let session = SessionName::new(entry.topic(), entry.key(), entry.owner());
            sessions.push((session, entry.version()));
            index = self.state.row(index).owner_next;
        }
        sessions
    }

    /// Removes an own session, if it is still the one meant. Returns whether it did.
    pub(crate) fn leave(
        &mut self,
        session: &SessionName,
        since: Since,
        reason: LeaveReason,
    ) -> bool {
        let index = self.find(session.topic(), session.key(), session.owner());
        if index == NIL {
            return false;
        }
        let row = self.state.row(index);
        let is_meant = match since {
            Since::Birth(birth) => row.birth == birth,
            Since::Version(version) => row.version == version,
        };
        is_meant && self.remove_at(index, reason)
    }

    /// Gives the entry of `owner` for the topic and key of `put` the content of `put`, its owner
    /// included. The entry stays the same, so others see an update.
    pub(crate) fn adopt(
        &mut self,
        owner: &[u8],
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        self.check_put(put)?;
        let location = self.state.locate(put.topic, put.encoding, put.key);
        let owned = self.state.locate_owner(owner);
        let index = self.state.find_session(location, owner, owned);
        if index == NIL {
            return Err(TrackError::NotTracked);
        }
        if owner == put.owner {
            return self.update_at(index, put);
        }
        let new_owner = self.state.locate_owner(put.owner);
        if self.state.find_session(location, put.owner, new_owner) != NIL {
            return Err(TrackError::AlreadyTracked);
        }
        self.state.check_owner_has_room(new_owner)?;
        self.state.next_op()?;
        self.pending.before_update(&self.state, index);
        self.state.update_local(index, put, Some(new_owner))
    }
}

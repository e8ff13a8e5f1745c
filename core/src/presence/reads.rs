//! Operations that do not wait for a lock, and lists that do not hold one for long.
//!
//! For callers that must not be held up, such as the scheduler threads of a virtual machine: what
//! gives `None` is tried again elsewhere.

use parking_lot::RwLockWriteGuard;

use super::{LEAVE_WIRE_LEN, Presence};
use crate::error::TrackError;
use crate::id::{EntryRef, slot_of};
use crate::tracker::{Entry, Key, LeaveReason, NewEntry, Pages, Slice, Tracker};

/// Owners removed while the lock of a slot is held.
const OWNERS_AT_ONCE: usize = 256;

/// Operations that may give up instead of waiting, and long ones that hold no lock for long.
impl Presence {
    /// Reads the tracker of a topic's slot, which holds all that is known of the topic. Writers to
    /// topics of the same slot wait meanwhile; do not call back into the presence.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let owner = |tracker: &headcount::Tracker| {
    ///     let mut sessions = tracker.get_by_key("room", "ann");
    ///     sessions.next().map(|entry| entry.owner().to_vec())
    /// };
    /// assert_eq!(presence.read("room", owner), Some(b"conn-1".to_vec()));
    /// assert_eq!(presence.try_read("room", owner), Some(Some(b"conn-1".to_vec())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<R>(&self, topic: &str, read: impl FnOnce(&Tracker) -> R) -> R {
        read(&self.slot(topic).read_recursive())
    }

    /// As [`read`](Self::read); `None` when a writer is at work in the slot.
    pub fn try_read<R>(&self, topic: &str, read: impl FnOnce(&Tracker) -> R) -> Option<R> {
        let tracker = self.slot(topic).try_read_recursive()?;
        Some(read(&tracker))
    }

    /// As [`track`](Self::track); `None`, and nothing is changed, when the slot is in use. O(1).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// let put = NewEntry::new("room", "ann", "conn-1");
    /// presence.read("room", |_| assert!(presence.try_track(&put).is_none()));
    /// assert!(presence.try_track(&put).is_some_and(|tracked| tracked.is_ok()));
    /// assert!(presence.try_update(&put).is_some_and(|updated| updated.is_ok()));
    /// assert_eq!(presence.try_untrack("room", "ann", "conn-1"), Some(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`track`](Self::track).
    pub fn try_track(&self, put: &NewEntry<'_>) -> Option<Result<EntryRef, TrackError>> {
        Some(self.track_in(self.slot(put.topic).try_write()?, put))
    }

    /// As [`update`](Self::update); `None`, and nothing is changed, when the slot is in use. O(1).
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn try_update(&self, put: &NewEntry<'_>) -> Option<Result<EntryRef, TrackError>> {
        Some(self.update_in(self.slot(put.topic).try_write()?, put))
    }

    /// As [`untrack`](Self::untrack); `None`, and nothing is changed, when the slot is in use.
    /// O(1).
    pub fn try_untrack<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> Option<bool> {
        let tracker = self.slot(topic).try_write()?;
        Some(self.untrack_in(tracker, topic, key.into(), owner.as_ref()))
    }

    /// As [`len`](Self::len); `None` when a writer is at work in some slot.
    #[must_use]
    pub fn try_len(&self) -> Option<usize> {
        let lens = self.slots.iter().map(|slot| Some(slot.try_read()?.len()));
        lens.sum()
    }

    /// Returns whether [`handle_timeout`](Self::handle_timeout) has work in slices to go on with at once, as
    /// when a large frame came. Local operations alone are none.
    #[must_use]
    pub fn is_working(&self) -> bool {
        !self.control.lock().jobs.is_empty()
    }

    /// Removes all entries of many owners, as [`untrack_owner`](Self::untrack_owner) does for one,
    /// with the locks taken once for hundreds of them. Says how many. O(owners + their entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.track(&NewEntry::new("other room", "bob", "conn-2"))?;
    /// assert_eq!(presence.untrack_owners(&["conn-1", "conn-2", "conn-3"]), 2);
    /// assert!(presence.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn untrack_owners(&self, owners: &[impl AsRef<[u8]>]) -> usize {
        for owner in owners {
            self.end_owner_timers(owner.as_ref());
        }
        self.remove_owners(owners, LeaveReason::OwnerGone)
    }

    pub(super) fn remove_owners(&self, owners: &[impl AsRef<[u8]>], reason: LeaveReason) -> usize {
        let mut removed = 0;
        for (slot, tracker) in (0..).zip(&self.slots) {
            for some in owners.chunks(OWNERS_AT_ONCE) {
                let mut tracker = tracker.write();
                let owners = some.iter().map(AsRef::as_ref);
                let here: usize = owners
                    .map(|owner| tracker.remove_owner(owner, reason))
                    .sum();
                drop(tracker);
                if here > 0 {
                    self.mark_changed(slot, here * LEAVE_WIRE_LEN);
                }
                removed += here;
            }
        }
        removed
    }

    /// Begins a list of a topic that is read in pages, so that nobody waits for the whole of it:
    /// an entry that is there from the first page to the last comes once, one that joins or
    /// leaves meanwhile at most once. O(keys x log keys), of which O(keys) with the lock held: a
    /// millisecond for a million.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// for n in 0..1_000 {
    ///     presence.track(&NewEntry::new("room", &format!("user {n}"), "conn-1"))?;
    /// }
    /// let mut keys = Vec::new();
    /// let mut pages = presence.begin_pages("room");
    /// let mut add = |entry: headcount::Entry<'_>| keys.extend(entry.key_str().map(str::to_owned));
    /// while !presence.page(&mut pages, 100, &mut add).done {}
    /// assert_eq!(keys.len(), 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn begin_pages(&self, topic: &str) -> Pages {
        let pages = self.read(topic, |tracker| Pages::collect(tracker, topic));
        pages.sorted()
    }

    /// Calls `each` for the visible entries of the next `keys_max` keys, without copying; do not
    /// call back into the presence. O(their sessions), with the lock held.
    pub fn page(&self, pages: &mut Pages, keys_max: usize, each: impl FnMut(Entry<'_>)) -> Slice {
        let slot = &self.slots[usize::from(slot_of(pages.topic()))];
        pages.step(&slot.read_recursive(), keys_max, each)
    }

    pub(super) fn track_in(
        &self,
        mut tracker: RwLockWriteGuard<'_, Tracker>,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let tracked = self
            .adopt(&mut tracker, put)
            .unwrap_or_else(|| tracker.track(put))?;
        drop(tracker);
        self.mark_changed(tracked.origin.slot, put.wire_len());
        Ok(tracked)
    }

    pub(super) fn update_in(
        &self,
        mut tracker: RwLockWriteGuard<'_, Tracker>,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let updated = tracker.update(put)?;
        drop(tracker);
        self.mark_changed(updated.origin.slot, put.wire_len());
        Ok(updated)
    }

    pub(super) fn untrack_in(
        &self,
        mut tracker: RwLockWriteGuard<'_, Tracker>,
        topic: &str,
        key: Key<'_>,
        owner: &[u8],
    ) -> bool {
        let removed = tracker.untrack(topic, key, owner);
        drop(tracker);
        if removed {
            self.end_entry_timer(topic, key, owner);
            self.mark_changed(slot_of(topic), LEAVE_WIRE_LEN);
        }
        removed
    }
}

//! Operations on the entries of this replica, and the times at which entries leave by themselves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::RwLockWriteGuard;

use super::timers::{Expired, Lost};
use super::{LEAVE_WIRE_LEN, Presence};
use crate::error::TrackError;
use crate::fault::{Fault, is_broken};
use crate::id::EntryRef;
use crate::replica::Partitions;
use crate::tracker::{Diff, Key, LeaveReason, NewEntry, SessionName, Since};

/// Number of owners removed while the lock of a partition is held.
const OWNERS_AT_ONCE: usize = 256;

/// Operations on the entries of this replica.
impl Presence {
    /// Tracks an entry. See [`Tracker::track`](crate::Tracker::track). O(1).
    ///
    /// # Errors
    /// When it is tracked already or a bound is broken.
    pub fn track(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.track_in(self.shard(put.topic).write(), put)
    }

    /// Gives a tracked entry a new meta and status. See
    /// [`Tracker::update`](crate::Tracker::update). O(1).
    ///
    /// # Errors
    /// When it is not tracked or a bound is broken.
    pub fn update(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.update_in(self.shard(put.topic).write(), put)
    }

    /// Tracks an entry, or updates it when it is tracked. See
    /// [`Tracker::upsert`](crate::Tracker::upsert). O(1).
    ///
    /// # Errors
    /// When a bound is broken.
    pub fn upsert(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        let mut tracker = self.shard(put.topic).write();
        let written = self
            .adopt(&mut tracker, put)
            .unwrap_or_else(|| tracker.upsert(put))?;
        drop(tracker);
        self.mark_changed(self.number_of(put.topic), put.wire_len());
        Ok(written)
    }

    /// Removes one entry of this replica. Returns whether it was tracked. O(1).
    pub fn untrack<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> bool {
        self.untrack_in(self.shard(topic).write(), topic, key.into(), owner.as_ref())
    }

    /// Removes all entries of an owner, in all topics. Returns their number. O(its entries).
    pub fn untrack_owner(&self, owner: impl AsRef<[u8]>) -> usize {
        self.untrack_owners(&[owner])
    }

    /// Removes all entries of many owners, as [`untrack_owner`](Self::untrack_owner) does for one,
    /// with the locks taken once for hundreds of them. Returns their number. O(owners + their
    /// entries).
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
            self.timers.end_owner(owner.as_ref());
        }
        self.remove_owners(owners, LeaveReason::OwnerGone)
    }

    /// Flushes now: returns the changes of this replica's own entries since the last flush,
    /// coalesced. See [`Tracker::take_diff`](crate::Tracker::take_diff). O(changes).
    ///
    /// For programs without replication, or with a schedule of their own (then set
    /// [`flush`](super::PresenceConfig::flush) to [`Duration::MAX`]). Others get these changes from
    /// [`poll_diff`](Self::poll_diff). Each change is returned once, here or there; the Diffs that
    /// `poll_diff` still holds are older than this one.
    #[must_use = "it is handed out once"]
    pub fn take_diff(&self) -> Diff {
        let mut diff = Diff::default();
        let mut changed = self.changed.swap(0, Ordering::Acquire);
        while changed != 0 {
            let number = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            diff.append_disjoint(self.shards[number].write().take_diff());
        }
        diff
    }
}

/// Operations that give up instead of waiting for a lock, for callers that must not block, such as
/// the scheduler threads of a virtual machine: after `None` they try again elsewhere.
impl Presence {
    /// Does what [`track`](Self::track) does; returns `None`, and changes nothing, when the partition is
    /// in use. O(1).
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
        Some(self.track_in(self.shard(put.topic).try_write()?, put))
    }

    /// Does what [`update`](Self::update) does; returns `None`, and changes nothing, when the partition
    /// is in use. O(1).
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn try_update(&self, put: &NewEntry<'_>) -> Option<Result<EntryRef, TrackError>> {
        Some(self.update_in(self.shard(put.topic).try_write()?, put))
    }

    /// Does what [`untrack`](Self::untrack) does; returns `None`, and changes nothing, when the
    /// partition is in use. O(1).
    pub fn try_untrack<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> Option<bool> {
        let tracker = self.shard(topic).try_write()?;
        Some(self.untrack_in(tracker, topic, key.into(), owner.as_ref()))
    }

    /// Does what [`take_diff`](Self::take_diff) does; returns `None`, and takes nothing, when a
    /// partition with changes is in use, or while [`poll_diff`](Self::poll_diff) holds older Diffs.
    /// A Diff that is [lossy](Diff::is_lossy) is told as
    /// [`DiffsDropped`](crate::replica::Event::DiffsDropped) too, for a caller that hands it on.
    /// O(changes).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.read("room", |_| assert!(presence.try_take_diff().is_none()));
    /// assert!(presence.try_take_diff().is_some_and(|diff| diff.topic("room").is_some()));
    /// assert!(presence.try_take_diff().is_some_and(|diff| diff.is_empty()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "it is handed out once"]
    pub fn try_take_diff(&self) -> Option<Diff> {
        let mut control = self.control.try_lock()?;
        let changed = self.changed.swap(0, Ordering::Acquire);
        let shards = (0..).zip(&self.shards);
        let shards = shards.filter(|(number, _)| changed & 1 << number != 0);
        let locked: Option<Vec<_>> = shards.map(|(_, shard)| shard.try_write()).collect();
        // Looked at while the shards are locked: none of them makes an older Diff any more.
        let is_newest = || control.diffs.is_empty() && self.done.lock().is_empty();
        let Some(locked) = locked.filter(|_| is_newest()) else {
            self.changed.fetch_or(changed, Ordering::Release);
            return None;
        };
        let mut diff = Diff::default();
        for mut shard in locked {
            diff.append_disjoint(shard.take_diff());
        }
        if diff.is_lossy() {
            control.replica.tell_diffs_dropped();
        }
        Some(diff)
    }
}

/// Leases and grace. `now` is the time since any start, the same for all calls.
impl Presence {
    /// Starts or renews the lease of an owner: unless it is renewed within `ttl`, all its entries
    /// leave, with the reason [`LeaveReason::Expired`]. Does nothing if `owner` is longer than any
    /// may be ([`owner_len_max`](crate::tracker::Limits::owner_len_max)). O(log leases).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.lease_owner(Duration::from_secs(0), "conn-1", Duration::from_secs(30));
    /// presence.lease_owner(Duration::from_secs(20), "conn-1", Duration::from_secs(30));
    /// presence.handle_timeout(Duration::from_secs(40));
    /// assert_eq!(presence.count("room")?, 1);
    /// presence.handle_timeout(Duration::from_secs(50));
    /// assert_eq!(presence.count("room")?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_owner(&self, now: Duration, owner: impl AsRef<[u8]>, ttl: Duration) {
        let until = self.timers.advance(now).saturating_add(ttl);
        self.timers.lease_owner(owner.as_ref(), until);
    }

    /// Starts or renews the lease of one entry. Returns whether it is tracked.
    /// O(log leases).
    pub fn lease<'a>(
        &self,
        now: Duration,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> bool {
        let key = key.into();
        let owner = owner.as_ref();
        let shard = self.shard(topic).read();
        let birth = shard.tracker(topic).birth_of(topic, key, owner);
        drop(shard);
        if let Some(birth) = birth {
            let session = SessionName::new(topic, key, owner);
            let until = self.timers.advance(now).saturating_add(ttl);
            self.timers.lease_entry(session, birth, until);
        }
        birth.is_some()
    }

    /// Reports that an owner was lost unexpectedly: its connection broke, or its process died. Its
    /// entries stay, listed and counted, for the [`grace`](super::PresenceConfig::grace), then they
    /// leave. Until then another owner that tracks the same topic and key takes an entry over,
    /// which is an update; the same owner keeps it by writing it. A lease of the owner ends what it has
    /// kept or tracked since, at the end of the grace at the earliest. Without grace this is
    /// [`untrack_owner`](Self::untrack_owner). O(its entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let config = PresenceConfig::default().grace(Duration::from_secs(10));
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, config);
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// presence.track(&NewEntry::new("room", "bob", "conn-1"))?;
    /// presence.take_diff();
    /// presence.owner_lost(Duration::from_secs(0), "conn-1");
    /// assert_eq!(presence.count("room")?, 2);
    /// presence.track(&NewEntry::new("room", "ann", "conn-2"))?;
    /// presence.handle_timeout(Duration::from_secs(10));
    /// let diff = presence.take_diff();
    /// let room = diff.topic("room").unwrap();
    /// assert_eq!((room.joins.len(), room.updates.len(), room.leaves.len()), (0, 1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn owner_lost(&self, now: Duration, owner: impl AsRef<[u8]>) {
        let owner = owner.as_ref();
        if self.grace.is_zero() {
            self.untrack_owner(owner);
            return;
        }
        let shards = self.shards.iter();
        let sessions = shards.flat_map(|shard| shard.read().sessions_of(owner));
        let until = self.timers.advance(now).saturating_add(self.grace);
        self.timers.lose_owner(owner, sessions.collect(), until);
    }

    /// Reports that a lost owner is back: its entries stay. Returns whether it had entries when it
    /// was lost and its grace is not over. A lease that it had goes on, and lasts at least as long as
    /// the grace would have.
    pub fn owner_back(&self, owner: impl AsRef<[u8]>) -> bool {
        self.timers.owner_back(owner.as_ref())
    }

    /// Removes the entries whose lease or grace has ended.
    pub(super) fn expire(&self, now: Duration) {
        let now = self.timers.advance(now);
        while let Some(expired) = self.timers.next_expired(now) {
            match expired {
                Expired::Owner(_) if is_broken(Fault::KeepLease) => {}
                Expired::Owner(owner) => {
                    self.remove_owners(&[owner], LeaveReason::Expired);
                }
                Expired::Entry(session, birth) => {
                    self.leave(&session, Since::Birth(birth), LeaveReason::Expired);
                }
                Expired::Lost(lost) => self.end_lost(lost),
            }
        }
    }

    /// Removes the entries of a lost owner that were not written since. Its lease goes on if it has
    /// others.
    fn end_lost(&self, lost: Lost) {
        let mut sessions: Vec<_> = lost.entries.into_iter().collect();
        // In the order in which they were written.
        sessions.sort_unstable_by(|(a, written_a), (b, written_b)| {
            (written_a, a.topic()).cmp(&(written_b, b.topic()))
        });
        for (session, version) in sessions {
            let since = Since::Version(version);
            self.leave(&session, since, LeaveReason::OwnerGone);
        }
        let mut shards = self.shards.iter();
        if let Some(until) = lost.lease_until
            && shards.any(|shard| !shard.read().sessions_of(&lost.owner).is_empty())
        {
            self.timers.resume_lease(&lost.owner, until);
        }
    }
}

impl Presence {
    fn track_in(
        &self,
        mut tracker: RwLockWriteGuard<'_, Partitions>,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let tracked = self
            .adopt(&mut tracker, put)
            .unwrap_or_else(|| tracker.track(put))?;
        drop(tracker);
        self.mark_changed(self.number_of(put.topic), put.wire_len());
        Ok(tracked)
    }

    fn update_in(
        &self,
        mut tracker: RwLockWriteGuard<'_, Partitions>,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let updated = tracker.update(put)?;
        drop(tracker);
        self.mark_changed(self.number_of(put.topic), put.wire_len());
        Ok(updated)
    }

    fn untrack_in(
        &self,
        mut tracker: RwLockWriteGuard<'_, Partitions>,
        topic: &str,
        key: Key<'_>,
        owner: &[u8],
    ) -> bool {
        let removed = tracker.untrack(topic, key, owner);
        drop(tracker);
        if removed {
            self.timers.end_entry(topic, key, owner);
            self.mark_changed(self.number_of(topic), LEAVE_WIRE_LEN);
        }
        removed
    }

    /// Takes over the entry of a lost owner for the same topic and key, if there is one.
    fn adopt(
        &self,
        shard: &mut Partitions,
        put: &NewEntry<'_>,
    ) -> Option<Result<EntryRef, TrackError>> {
        let lost = self.timers.lost_owner_of(shard.tracker(put.topic), put)?;
        let adopted = shard.adopt(&lost, put);
        if adopted.is_ok() && *lost != *put.owner {
            // It keeps its birth: the lease would end it if its old owner took it back.
            self.timers.end_entry(put.topic, put.key(), &lost);
        }
        Some(adopted)
    }

    fn remove_owners(&self, owners: &[impl AsRef<[u8]>], reason: LeaveReason) -> usize {
        let mut removed = 0;
        for (number, shard) in (0..).zip(&self.shards) {
            for chunk in owners.chunks(OWNERS_AT_ONCE) {
                let mut shard = shard.write();
                let owners = chunk.iter().map(AsRef::as_ref);
                let here: usize = owners.map(|owner| shard.remove_owner(owner, reason)).sum();
                drop(shard);
                if here > 0 {
                    self.mark_changed(number, here * LEAVE_WIRE_LEN);
                }
                removed += here;
            }
        }
        removed
    }

    /// Removes one own entry, if it is still the one meant.
    fn leave(&self, session: &SessionName, since: Since, reason: LeaveReason) {
        let mut shard = self.shard(session.topic()).write();
        if shard.leave(session, since, reason) {
            self.mark_changed(self.number_of(session.topic()), LEAVE_WIRE_LEN);
        }
    }
}

//! Operations on own entries, and the leaves that are remembered of them.

use std::time::Duration;

use super::Partitions;
use crate::error::TrackError;
use crate::fault::{Fault, is_broken};
use crate::id::EntryRef;
use crate::replica::output::{Access, OwnState};
use crate::tracker::{Diff, Key, LeaveReason, NewEntry, SessionName, Since, Tracker};

/// Operations on own entries.
impl Partitions {
    /// Starts to track an entry.
    ///
    /// # Errors
    /// Those of [`Tracker::track`]; nothing has changed then.
    pub(crate) fn track(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.put(entry, Tracker::track)
    }

    /// Starts to track an entry, or replaces the content of one.
    ///
    /// # Errors
    /// Those of [`Tracker::upsert`]; nothing has changed then.
    pub(crate) fn upsert(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.put(entry, Tracker::upsert)
    }

    fn put(
        &mut self,
        entry: &NewEntry<'_>,
        put: impl FnOnce(&mut Tracker, &NewEntry<'_>) -> Result<EntryRef, TrackError>,
    ) -> Result<EntryRef, TrackError> {
        let partition = self.partition_of(entry.topic);
        let floor = self.floor;
        let counts = self.owners.is_some();
        let part = self.part(partition);
        if !part.is_occupied && !is_broken(Fault::RestartTicks) {
            part.tracker.begin_life(floor);
        }
        let is_new = counts && {
            let tracker = &part.tracker;
            let birth = tracker.birth_of(entry.topic, entry.key(), entry.owner);
            birth.is_none()
        };
        let entry_ref = put(&mut part.tracker, entry);
        part.is_occupied |= entry_ref.is_ok();
        if entry_ref.is_err() {
            self.tidy(partition);
            return entry_ref;
        }
        if let Some(owners) = self.owners.as_mut().filter(|_| is_new) {
            owners.add(entry.owner, partition);
        }
        self.written(partition);
        entry_ref
    }

    /// Replaces the content of an own entry.
    ///
    /// # Errors
    /// Those of [`Tracker::update`]; nothing has changed then.
    pub(crate) fn update(&mut self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        let partition = self.partition_of(entry.topic);
        let Some(part) = self.parts.get_mut(&partition) else {
            // It is checked as any other.
            return self.empty.update(entry);
        };
        let entry_ref = part.tracker.update(entry)?;
        self.written(partition);
        Ok(entry_ref)
    }

    /// Removes an own entry. Returns whether there was one.
    pub(crate) fn untrack(&mut self, topic: &str, key: Key<'_>, owner: &[u8]) -> bool {
        let untrack = |tracker: &mut Tracker| tracker.untrack(topic, key, owner);
        self.remove(topic, owner, untrack)
    }

    /// Removes an own session, if it is still the one meant, for a reason. Returns whether it did.
    /// O(1).
    pub(crate) fn leave(
        &mut self,
        session: &SessionName,
        since: Since,
        reason: LeaveReason,
    ) -> bool {
        let leave = |tracker: &mut Tracker| tracker.leave(session, since, reason);
        self.remove(session.topic(), session.owner(), leave)
    }

    fn remove(
        &mut self,
        topic: &str,
        owner: &[u8],
        remove: impl FnOnce(&mut Tracker) -> bool,
    ) -> bool {
        let partition = self.partition_of(topic);
        let part = self.parts.get_mut(&partition);
        let is_removed = part.is_some_and(|part| remove(&mut part.tracker));
        if is_removed {
            if let Some(owners) = &mut self.owners {
                owners.remove(owner, partition, 1);
            }
            self.written(partition);
        }
        is_removed
    }

    /// Removes all own entries of an owner, for a reason. Returns their number. O(its entries).
    pub(crate) fn remove_owner(&mut self, owner: &[u8], reason: LeaveReason) -> usize {
        let partitions = self.partitions_of(owner);
        let mut removed = 0;
        for partition in partitions {
            let part = self.parts.get_mut(&partition);
            let count = part.map_or(0, |part| part.tracker.remove_owner(owner, reason));
            if count > 0 {
                if let Some(owners) = &mut self.owners {
                    owners.remove(owner, partition, count);
                }
                self.written(partition);
            }
            removed += count;
        }
        removed
    }

    fn partitions_of(&self, owner: &[u8]) -> Vec<u16> {
        match &self.owners {
            Some(owners) => owners.partitions(owner),
            None => self.parts.keys().copied().collect(),
        }
    }

    /// Gives the entry of a lost owner for the topic and key of `entry` the content of `entry`, its
    /// owner included: others see an update. O(1).
    ///
    /// # Errors
    /// Those of [`update`](Self::update), and when the new owner has such an entry already.
    pub(crate) fn adopt(
        &mut self,
        owner: &[u8],
        entry: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let partition = self.partition_of(entry.topic);
        let Some(part) = self.parts.get_mut(&partition) else {
            return Err(TrackError::NotTracked);
        };
        let entry_ref = part.tracker.adopt(owner, entry)?;
        if let Some(owners) = &mut self.owners {
            owners.remove(owner, partition, 1);
            owners.add(entry.owner, partition);
        }
        self.written(partition);
        Ok(entry_ref)
    }

    /// Returns the own sessions of an owner with their versions. O(its entries).
    pub(crate) fn sessions_of(&self, owner: &[u8]) -> Vec<(SessionName, u64)> {
        let partitions = self.partitions_of(owner).into_iter();
        let parts = partitions.filter_map(|partition| self.parts.get(&partition));
        parts
            .flat_map(|part| part.tracker.sessions_of(owner))
            .collect()
    }

    /// Returns whether an owner has own entries. O(partitions).
    pub(crate) fn has_owner(&self, owner: &[u8]) -> bool {
        let partitions = self.partitions_of(owner).into_iter();
        let mut parts = partitions.filter_map(|partition| self.parts.get(&partition));
        parts.any(|part| part.tracker.has_owner(owner))
    }

    /// Returns the changes of own entries since the last call. O(changes).
    pub(crate) fn take_diff(&mut self) -> Diff {
        let mut diff = Diff::default();
        for partition in std::mem::take(&mut self.changed) {
            if let Some(part) = self.parts.get_mut(&partition) {
                diff.append_disjoint(part.tracker.take_diff());
                self.tidy(partition);
            }
        }
        diff.retain(|topic| self.access(topic) != Access::NotWatched);
        diff
    }

    /// Returns the own states of the partitions that were written since the last call.
    /// O(partitions).
    pub(crate) fn take_unreported(&mut self) -> Vec<OwnState> {
        let partitions = std::mem::take(&mut self.unreported).into_iter();
        let states: Vec<_> = partitions.map(|p| self.own_state(p)).collect();
        for state in &states {
            self.leave_ages.note(*state);
        }
        states
    }

    /// Notes an own operation.
    fn written(&mut self, partition: u16) {
        self.changed.insert(partition);
        self.unreported.insert(partition);
        if self.shape.has_counts() && !self.is_of_counts {
            self.uncounted.insert(partition);
        }
    }

    pub(super) fn own_state(&self, partition: u16) -> OwnState {
        let part = self.parts.get(&partition);
        let own = part.and_then(|part| part.tracker.origin_info(&self.id));
        OwnState {
            partition,
            clock: own.as_ref().map_or(0, |own| own.clock),
            entries: own.map_or(0, |own| own.entries),
        }
    }
}

/// Own leaves that are remembered for holders that missed them.
impl Partitions {
    /// Drops own leaves that are remembered for long. O(operations since the last call).
    pub(crate) fn trim_leaves(&mut self, now: Duration) {
        for (partition, clock) in self.leave_ages.take_aged(now) {
            if let Some(part) = self.parts.get_mut(&partition) {
                part.tracker.trim_leaves(&self.id, clock);
            }
        }
    }

    /// Returns the number of leaves remembered. O(partitions with a tracker).
    pub(crate) fn leave_log_len(&self) -> usize {
        let parts = self.parts.values();
        parts.map(|part| part.leave_log_len()).sum()
    }

    /// Returns the length of the longest log of leaves. O(partitions with a tracker).
    pub(crate) fn longest_leave_log(&self) -> usize {
        let parts = self.parts.values();
        let lens = parts.map(|part| part.leave_log_len());
        lens.max().unwrap_or(0)
    }

    /// Cuts the longest log of leaves down to its newest `len_max`. O(partitions with a tracker).
    pub(crate) fn limit_longest_leave_log(&mut self, len_max: usize) {
        let parts = self.parts.values_mut();
        if let Some(longest) = parts.max_by_key(|part| part.leave_log_len()) {
            longest.tracker.limit_leaves(&self.id, len_max);
        }
    }
}

//! Operations on own entries, and the leaves that are remembered of them.

use std::time::Duration;

use super::{LEAVE_LEN, LEAVES_PERIOD, Partitions};
use crate::error::TrackError;
use crate::fault::{Fault, is_broken};
use crate::id::EntryRef;
use crate::tracker::{Diff, Key, LeaveReason, NewEntry, SessionName, Since};
use crate::wire2::output::OwnState;

/// Operations on own entries.
impl Partitions {
    /// Starts to track an entry. Returns its reference and the own state of its partition.
    ///
    /// # Errors
    /// Those of [`Tracker::track`]; nothing has changed then.
    pub(crate) fn track(
        &mut self,
        entry: &NewEntry<'_>,
    ) -> Result<(EntryRef, OwnState), TrackError> {
        let partition = self.shape.partition_of(entry.topic);
        let floor = self.floor;
        let part = self.part(partition);
        if !part.is_occupied && !is_broken(Fault::RestartTicks) {
            part.tracker.begin_life(floor);
        }
        let tracked = part.tracker.track(entry);
        part.is_occupied |= tracked.is_ok();
        self.tidy(partition);
        let tracked = tracked?;
        self.owners.add(entry.owner, partition);
        Ok((tracked, self.written(partition)))
    }

    /// Replaces the content of an own entry.
    ///
    /// # Errors
    /// Those of [`Tracker::update`]; nothing has changed then.
    pub(crate) fn update(
        &mut self,
        entry: &NewEntry<'_>,
    ) -> Result<(EntryRef, OwnState), TrackError> {
        let partition = self.shape.partition_of(entry.topic);
        let Some(part) = self.parts.get_mut(&partition) else {
            return Err(TrackError::NotTracked);
        };
        let entry_ref = part.tracker.update(entry)?;
        Ok((entry_ref, self.written(partition)))
    }

    /// Removes an own entry. Returns the own state of its partition; `None` if there is no such
    /// entry.
    pub(crate) fn untrack<'k>(
        &mut self,
        topic: &str,
        key: impl Into<Key<'k>>,
        owner: impl AsRef<[u8]>,
    ) -> Option<OwnState> {
        let owner = owner.as_ref();
        let partition = self.shape.partition_of(topic);
        let part = self.parts.get_mut(&partition)?;
        if !part.tracker.untrack(topic, key, owner) {
            return None;
        }
        self.owners.remove(owner, partition);
        Some(self.written(partition))
    }

    /// Removes all own entries of an owner, for a reason. Returns the own states of the partitions
    /// that changed. O(its entries).
    pub(crate) fn untrack_owner(
        &mut self,
        owner: impl AsRef<[u8]>,
        reason: LeaveReason,
    ) -> Vec<OwnState> {
        let owner = owner.as_ref();
        let mut states = Vec::new();
        for partition in self.owners.take(owner) {
            if let Some(part) = self.parts.get_mut(&partition)
                && part.tracker.remove_owner(owner, reason) > 0
            {
                states.push(self.written(partition));
            }
        }
        states
    }

    /// Removes an own session, if it is still the one meant, for a reason. Returns the own state of
    /// its partition if it did. O(1).
    pub(crate) fn leave(
        &mut self,
        session: &SessionName,
        since: Since,
        reason: LeaveReason,
    ) -> Option<OwnState> {
        let partition = self.shape.partition_of(session.topic());
        let part = self.parts.get_mut(&partition)?;
        if !part.tracker.leave(session, since, reason) {
            return None;
        }
        self.owners.remove(session.owner(), partition);
        Some(self.written(partition))
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
    ) -> Result<(EntryRef, OwnState), TrackError> {
        let partition = self.shape.partition_of(entry.topic);
        let Some(part) = self.parts.get_mut(&partition) else {
            return Err(TrackError::NotTracked);
        };
        let entry_ref = part.tracker.adopt(owner, entry)?;
        self.owners.remove(owner, partition);
        self.owners.add(entry.owner, partition);
        Ok((entry_ref, self.written(partition)))
    }

    /// Returns the own sessions of an owner with their versions. O(its entries).
    pub(crate) fn sessions_of(&self, owner: &[u8]) -> Vec<(SessionName, u64)> {
        let trackers = self
            .owners
            .partitions(owner)
            .filter_map(|p| self.parts.get(&p));
        trackers
            .flat_map(|part| part.tracker.sessions_of(owner))
            .collect()
    }

    /// Returns the changes of own entries since the last call. O(changes).
    pub(crate) fn take_diff(&mut self) -> Diff {
        let mut diff = Diff::default();
        for partition in std::mem::take(&mut self.changed) {
            if let Some(part) = self.parts.get_mut(&partition) {
                diff.append_disjoint(part.tracker.take_diff());
            }
        }
        diff
    }

    /// Notes an own operation. Returns the own state after it.
    fn written(&mut self, partition: u16) -> OwnState {
        self.changed.insert(partition);
        let state = self.own_state(partition);
        self.leave_ages.note(state);
        state
    }

    /// Drops own leaves that are remembered for long, or that are too many. O(partitions) once a
    /// second, else O(operations since the last call).
    pub(crate) fn trim_leaves(&mut self, now: Duration) {
        for (partition, clock) in self.leave_ages.take_aged(now) {
            if let Some(part) = self.parts.get_mut(&partition) {
                part.tracker.trim_leaves(&self.id, clock);
            }
        }
        if now < self.leaves_at {
            return;
        }
        self.leaves_at = now + LEAVES_PERIOD;
        let lens = self.parts.values().map(|part| part.tracker.leave_log_len());
        let mut total: usize = lens.sum();
        while total * LEAVE_LEN > self.leave_bounds.bytes_max {
            let parts = self.parts.values_mut();
            let Some(longest) = parts.max_by_key(|part| part.tracker.leave_log_len()) else {
                return;
            };
            let len = longest.tracker.leave_log_len();
            longest.tracker.limit_leaves(&self.id, len / 2);
            total -= len - len / 2;
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

//! The entries of the other origins.

use std::cmp::Ordering;

use super::State;
use crate::error::ApplyError;
use crate::id::ReplicaId;
use crate::tracker::diff::DiffBuilder;
use crate::tracker::entry::{EntryVersions, NewEntry};
use crate::tracker::leave::{Leave, LeaveReason};
use crate::tracker::leave_log::LoggedLeave;
use crate::tracker::origins::LOCAL;
use crate::tracker::slab::NIL;
use crate::tracker::topic_share::TopicShare;
use crate::tracker::visible_keys;

impl State {
    /// Returns the number of the frame's origin, if it is known; an error if its frames are not for
    /// us.
    pub(in crate::tracker) fn admit(
        &self,
        replica: &ReplicaId,
        share: TopicShare,
    ) -> Result<Option<u16>, ApplyError> {
        if share != self.share {
            return Err(ApplyError::WrongPartition {
                frame: share.place(),
                tracker: self.share.place(),
            });
        }
        let Some(number) = self.origins.by_name(replica.name()) else {
            let max = self.limits.origins_max;
            if self.origins.len() >= usize::from(max) {
                return Err(ApplyError::TooManyOrigins { max });
            }
            return Ok(None);
        };
        if number == LOCAL {
            return Err(ApplyError::OwnOrigin);
        }
        let known = self.origins.get(number);
        match replica.cmp(known.id()) {
            Ordering::Less => Err(ApplyError::Superseded),
            Ordering::Equal if known.is_claimed() => Err(ApplyError::Applying),
            Ordering::Equal => Ok(Some(number)),
            Ordering::Greater => Ok(None),
        }
    }

    /// Returns an error unless that many entries more fit the limit.
    pub(in crate::tracker) fn check_room(&self, entries: u32) -> Result<(), ApplyError> {
        let max = self.limits.entries_max;
        if self.store.len().saturating_add(entries) > max {
            return Err(ApplyError::TooManyEntries { max });
        }
        Ok(())
    }

    /// Adds an origin that [`admit`](Self::admit) let in. A lower incarnation of its name is
    /// dropped.
    pub(in crate::tracker) fn add_origin(
        &mut self,
        replica: &ReplicaId,
        diff: &mut DiffBuilder,
    ) -> u16 {
        if let Some(lower) = self.origins.by_name(replica.name()) {
            self.drop_origin(lower, LeaveReason::ReplicaReplaced, diff);
        }
        self.origins.add(replica.clone())
    }

    /// Removes an origin with all its entries. O(its entries).
    pub(in crate::tracker) fn drop_origin(
        &mut self,
        number: u16,
        reason: LeaveReason,
        diff: &mut DiffBuilder,
    ) {
        loop {
            let newest = self.origins.get(number).order().newest();
            if newest == NIL {
                break;
            }
            self.remove(newest, reason, diff);
        }
        self.origins.remove(number);
    }

    /// Inserts or updates an entry of a remote origin; it becomes the newest of it.
    pub(in crate::tracker) fn put(
        &mut self,
        number: u16,
        put: &NewEntry<'_>,
        versions: EntryVersions,
        diff: &mut DiffBuilder,
    ) {
        match self.by_birth(number, versions.birth) {
            Some(index) if self.store.has_key_of(index, put) => {
                self.update(index, put, versions, diff);
                return;
            }
            Some(index) => self.remove(index, LeaveReason::Unknown, diff),
            None => {}
        }
        self.insert(number, put, versions, diff);
    }

    /// Inserts an entry of a remote origin whose birth no other one has; it becomes the newest of it.
    pub(in crate::tracker) fn insert(
        &mut self,
        number: u16,
        put: &NewEntry<'_>,
        versions: EntryVersions,
        diff: &mut DiffBuilder,
    ) {
        let location = self.store.locate(put.topic, put.encoding, put.key);
        let index = self.store.insert(location, put, number, versions);
        visible_keys::note_entry(&mut self.store, &self.origins, index);
        let origin = self.origins.get_mut(number);
        origin.insert(&mut self.store, index);
        if self.origins.is_visible(number) {
            let former = self.take_former(index);
            let topic = self.store.topic_name(index);
            let entry = self.entry(index).to_buf();
            match former {
                Some(former) => diff.update(topic, former, entry),
                None => diff.join(topic, entry),
            }
        }
    }

    fn update(
        &mut self,
        index: u32,
        put: &NewEntry<'_>,
        versions: EntryVersions,
        diff: &mut DiffBuilder,
    ) {
        let row = self.store.row(index);
        let number = row.origin;
        let parts = self.store.parts(index);
        let is_same = self.store.versions(index) == versions
            && row.status == put.status
            && parts.owner == put.owner
            && parts.meta == put.meta;
        if is_same {
            self.make_newest(index);
            return;
        }
        let is_visible = self.origins.is_visible(number);
        let old = is_visible.then(|| self.entry(index).to_buf());
        let origin = self.origins.get_mut(number);
        origin.rewrite(&mut self.store, index, put, versions);
        if let Some(old) = old {
            let topic = self.store.topic_name(index);
            diff.update(topic, old, self.entry(index).to_buf());
        }
    }

    /// Moves an entry of a remote origin to the newest end of the version order.
    pub(in crate::tracker) fn make_newest(&mut self, index: u32) {
        let number = self.store.row(index).origin;
        self.origins
            .get_mut(number)
            .make_newest(&mut self.store, index);
    }

    /// Removes an entry of a remote origin.
    pub(in crate::tracker) fn remove(
        &mut self,
        index: u32,
        reason: LeaveReason,
        diff: &mut DiffBuilder,
    ) {
        let number = self.store.row(index).origin;
        if self.origins.is_visible(number) {
            let topic = self.store.topic_name(index);
            diff.leave(topic, self.leave(index, reason));
        }
        self.remove_unseen(index);
    }

    /// Returns the leave of an entry that is about to go.
    pub(in crate::tracker) fn leave(&self, index: u32, reason: LeaveReason) -> Leave {
        let entry = self.entry(index).to_buf();
        Leave { entry, reason }
    }

    /// Removes an entry of a remote origin that is in no Diff.
    pub(in crate::tracker) fn remove_unseen(&mut self, index: u32) {
        let number = self.store.row(index).origin;
        self.origins.get_mut(number).remove(&mut self.store, index);
        visible_keys::note_leave(&mut self.store, &self.origins, index);
        self.store.remove(index);
    }

    /// Remembers a leave of a remote origin.
    pub(in crate::tracker) fn log_leave(&mut self, number: u16, leave: LoggedLeave) {
        let len_max = self.limits.leave_log_len_max;
        let origin = self.origins.get_mut(number);
        if self.logs_own_leaves_only {
            origin.restart_leaves(leave.op);
        } else {
            origin.push_leave(leave, len_max);
        }
    }

    pub(in crate::tracker) fn trim_leaves(&mut self, number: u16, op: u64) {
        self.origins.get_mut(number).trim_leaves(op);
    }

    pub(in crate::tracker) fn limit_leaves(&mut self, number: u16, len_max: usize) {
        self.origins.get_mut(number).limit_leaves(len_max);
    }

    /// Forgets the leaves of an origin up to `clock`, whose state came without them.
    pub(in crate::tracker) fn restart_leaves(&mut self, number: u16, clock: u64) {
        self.origins.get_mut(number).restart_leaves(clock);
    }

    pub(in crate::tracker) fn set_clock(&mut self, number: u16, clock: u64) {
        self.origins.get_mut(number).set_clock(clock);
    }
}

//! The entries of the local origin.

use super::State;
use crate::error::TrackError;
use crate::id::{EntryRef, OP_MAX, Origin, ReplicaId};
use crate::tracker::entry::{EntryVersions, NewEntry};
use crate::tracker::leave::LeaveReason;
use crate::tracker::leave_log::LoggedLeave;
use crate::tracker::origins::LOCAL;
use crate::tracker::owners::OwnerLocation;
use crate::tracker::slab::NIL;
use crate::tracker::store::KeyLocation;
use crate::tracker::{Encoding, visible_keys};

impl State {
    #[inline]
    pub(in crate::tracker) fn locate_owner(&self, owner: &[u8]) -> OwnerLocation {
        self.owners.locate(&self.store, owner)
    }

    #[inline]
    pub(in crate::tracker) fn locate(
        &self,
        topic: &str,
        encoding: Encoding,
        key: &[u8],
    ) -> KeyLocation {
        self.store.locate(topic, encoding, key)
    }

    /// Finds the local entry of a key and an owner, or `NIL`. Walks the sessions of the key and the
    /// entries of the owner side by side: O(the shorter of the two).
    #[inline]
    pub(in crate::tracker) fn find_session(
        &self,
        location: KeyLocation,
        owner: &[u8],
        owned: OwnerLocation,
    ) -> u32 {
        let mut by_key = location.first();
        let mut by_owner = owned.first();
        while by_key != NIL && by_owner != NIL {
            let row = self.store.row(by_key);
            if row.origin == LOCAL && self.store.parts(by_key).owner == owner {
                return by_key;
            }
            if self.store.have_same_key(location.first(), by_owner) {
                return by_owner;
            }
            by_key = row.key_next;
            by_owner = self.store.row(by_owner).owner_next;
        }
        NIL
    }

    /// Returns the op of the next local operation.
    #[inline]
    pub(in crate::tracker) fn next_op(&self) -> Result<u64, TrackError> {
        let op = self.local().clock() + 1;
        if op < OP_MAX {
            Ok(op)
        } else {
            Err(TrackError::ClockExhausted)
        }
    }

    #[inline]
    pub(in crate::tracker) fn check_owner_has_room(
        &self,
        owner: OwnerLocation,
    ) -> Result<(), TrackError> {
        let max = self.limits.owner_entries_max;
        if owner.count(&self.store) >= max {
            return Err(TrackError::OwnerFull { max });
        }
        Ok(())
    }

    pub(in crate::tracker) fn insert_local(
        &mut self,
        location: KeyLocation,
        owner: OwnerLocation,
        put: &NewEntry<'_>,
    ) -> Result<EntryRef, TrackError> {
        let op = self.next_op()?;
        if self.store.len() >= self.limits.entries_max {
            return Err(TrackError::TooManyEntries {
                max: self.limits.entries_max,
            });
        }
        self.check_owner_has_room(owner)?;
        let versions = EntryVersions::new(op);
        let index = self.store.insert(location, put, LOCAL, versions);
        visible_keys::note_entry(&mut self.store, &self.origins, index);
        if let Some(counts) = &mut self.own_counts {
            counts.note_entry(&self.store, index);
        }
        self.owners.link(&mut self.store, index, owner);
        let origin = self.origins.get_mut(LOCAL);
        origin.insert(&mut self.store, index);
        origin.set_clock(op);
        Ok(self.local_ref(op))
    }

    /// Gives a local entry the content of `put`, whose owner is at `owner` if it is another one
    /// than before.
    pub(in crate::tracker) fn update_local(
        &mut self,
        index: u32,
        put: &NewEntry<'_>,
        new_owner: Option<OwnerLocation>,
    ) -> Result<EntryRef, TrackError> {
        let op = self.next_op()?;
        self.save_captured(index);
        if new_owner.is_some() {
            self.owners.unlink(&mut self.store, index);
        }
        let versions = self.store.versions(index).written(op);
        let origin = self.origins.get_mut(LOCAL);
        origin.rewrite(&mut self.store, index, put, versions);
        origin.set_clock(op);
        if let Some(owner) = new_owner {
            self.owners.link(&mut self.store, index, owner);
        }
        Ok(self.local_ref(op))
    }

    /// Removes a local entry at `op`, the next one.
    pub(in crate::tracker) fn remove_local(&mut self, index: u32, op: u64, reason: LeaveReason) {
        let birth = self.store.row(index).birth;
        let reason = reason as u8;
        self.save_captured(index);
        self.owners.unlink(&mut self.store, index);
        let origin = self.origins.get_mut(LOCAL);
        origin.remove(&mut self.store, index);
        origin.set_clock(op);
        let leave = LoggedLeave { op, birth, reason };
        let len_max = self.limits.leave_log_len_max;
        origin.push_leave(leave, len_max);
        visible_keys::note_leave(&mut self.store, &self.origins, index);
        if let Some(counts) = &mut self.own_counts {
            counts.note_leave(&self.store, index);
        }
        self.store.remove(index);
    }

    /// Lets the next local operation come after `floor`, and forgets the leaves before it.
    pub(in crate::tracker) fn begin_life(&mut self, floor: u64) {
        let origin = self.origins.get_mut(LOCAL);
        let clock = origin.clock().max(floor);
        origin.set_clock(clock);
        origin.restart_leaves(clock);
        self.captures.clear();
    }

    /// Gives the local origin a new id: it starts with the entries of the old one, and without its
    /// leaves.
    pub(in crate::tracker) fn rename_local(&mut self, id: ReplicaId) {
        self.origins.rename_local(id);
        let origin = self.origins.get_mut(LOCAL);
        let clock = origin.clock();
        origin.restart_leaves(clock);
        self.captures.clear();
    }

    #[inline]
    fn save_captured(&mut self, index: u32) {
        if !self.captures.is_empty() {
            self.captures.save(&self.store, index);
        }
    }

    fn local_ref(&self, version: u64) -> EntryRef {
        EntryRef {
            origin: Origin {
                replica: self.local().id().clone(),
                partition: self.share.number(),
            },
            version,
        }
    }
}

//! The entries of all origins, each in all its indexes: every change of an entry goes through here.

use std::cmp::Ordering;
use std::sync::Arc;

use super::capture::Captures;
use super::diff::DiffBuilder;
use super::entry::{Entry, EntryBuf, EntryVersions, NewEntry};
use super::leave::{Leave, LeaveReason};
use super::leave_log::LoggedLeave;
use super::limits::Limits;
use super::linger;
use super::origin::OriginState;
use super::origins::{LOCAL, Origins};
use super::own_counts::OwnCounts;
use super::owners::{OwnerLocation, Owners};
use super::slab::{NIL, Row};
use super::store::{KeyLocation, Store};
use super::topic_share::TopicShare;
use super::version_order::Direction;
use super::visible_keys;
use crate::error::{ApplyError, TrackError};
use crate::id::{EntryRef, OP_MAX, Origin, ReplicaId};
use crate::tracker::Encoding;

#[derive(Clone)]
pub(super) struct State {
    share: TopicShare,
    /// True if frames of other origins are never served, so that their leaves need no log.
    logs_own_leaves_only: bool,
    limits: Arc<Limits>,
    store: Store,
    origins: Origins,
    /// Local entries by owner.
    owners: Owners,
    /// `None` if nobody wants counts.
    pub(super) own_counts: Option<Box<OwnCounts>>,
    pub(super) captures: Captures,
    /// Number of claims and cursors given out.
    tokens: u64,
}

impl State {
    pub(super) fn new(replica: ReplicaId, limits: Arc<Limits>) -> Self {
        Self {
            share: TopicShare::all(),
            logs_own_leaves_only: false,
            limits,
            store: Store::new(),
            origins: Origins::new(replica),
            owners: Owners::default(),
            own_counts: None,
            captures: Captures::default(),
            tokens: 0,
        }
    }

    /// Returns the topics that it holds.
    #[inline]
    pub(super) fn share(&self) -> TopicShare {
        self.share
    }

    /// Narrows the topics that it holds, for a wire on which only origins serve their states.
    pub(super) fn set_share(&mut self, share: TopicShare) {
        self.share = share;
        self.logs_own_leaves_only = true;
    }

    #[inline]
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    #[inline]
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    #[inline]
    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    #[inline]
    pub(super) fn origin(&self, number: u16) -> &OriginState {
        self.origins.get(number)
    }

    #[inline]
    pub(super) fn local(&self) -> &OriginState {
        self.origins.get(LOCAL)
    }

    #[inline]
    pub(super) fn row(&self, index: u32) -> &Row {
        self.store.row(index)
    }

    #[inline]
    pub(super) fn entry(&self, index: u32) -> Entry<'_> {
        let row = self.store.row(index);
        let parts = self.store.parts(index);
        Entry {
            topic: self.store.topic(row.topic).name(),
            key: parts.key,
            owner: parts.owner,
            meta: parts.meta,
            encoding: Encoding::from_u8(row.encoding).unwrap_or(Encoding::Bytes),
            status: row.status,
            versions: self.store.versions(index),
            replica: self.origins.get(row.origin).id(),
            partition: self.share.number(),
        }
    }

    /// Returns the entry of a remote origin with this birth. O(1).
    #[inline]
    pub(super) fn by_birth(&self, number: u16, birth: u64) -> Option<u32> {
        self.origins.get(number).by_birth(&self.store, birth)
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }
}

/// Entries of the local origin.
impl State {
    #[inline]
    pub(super) fn locate_owner(&self, owner: &[u8]) -> OwnerLocation {
        self.owners.locate(&self.store, owner)
    }

    #[inline]
    pub(super) fn locate(&self, topic: &str, encoding: Encoding, key: &[u8]) -> KeyLocation {
        self.store.locate(topic, encoding, key)
    }

    /// Finds the local entry of a key and an owner, or `NIL`. Walks the sessions of the key and the
    /// entries of the owner side by side: O(the shorter of the two).
    #[inline]
    pub(super) fn find_session(
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
    pub(super) fn next_op(&self) -> Result<u64, TrackError> {
        let op = self.local().clock() + 1;
        if op < OP_MAX {
            Ok(op)
        } else {
            Err(TrackError::ClockExhausted)
        }
    }

    #[inline]
    pub(super) fn check_owner_has_room(&self, owner: OwnerLocation) -> Result<(), TrackError> {
        let max = self.limits.owner_entries_max;
        if owner.count(&self.store) >= max {
            return Err(TrackError::OwnerFull { max });
        }
        Ok(())
    }

    pub(super) fn insert_local(
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
    pub(super) fn update_local(
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
    pub(super) fn remove_local(&mut self, index: u32, op: u64, reason: LeaveReason) {
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
    pub(super) fn begin_life(&mut self, floor: u64) {
        let origin = self.origins.get_mut(LOCAL);
        let clock = origin.clock().max(floor);
        origin.set_clock(clock);
        origin.restart_leaves(clock);
        self.captures.clear();
    }

    /// Gives the local origin a new id: it starts with the entries of the old one, and without its
    /// leaves.
    pub(super) fn rename_local(&mut self, id: ReplicaId) {
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

/// Entries of the other origins.
impl State {
    /// Returns the number of the frame's origin, if it is known; an error if its frames are not for
    /// us.
    pub(super) fn admit(
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
    pub(super) fn check_room(&self, entries: u32) -> Result<(), ApplyError> {
        let max = self.limits.entries_max;
        if self.store.len().saturating_add(entries) > max {
            return Err(ApplyError::TooManyEntries { max });
        }
        Ok(())
    }

    /// Adds an origin that [`admit`](Self::admit) let in. A lower incarnation of its name is
    /// dropped.
    pub(super) fn add_origin(&mut self, replica: &ReplicaId, diff: &mut DiffBuilder) -> u16 {
        if let Some(lower) = self.origins.by_name(replica.name()) {
            self.drop_origin(lower, LeaveReason::ReplicaReplaced, diff);
        }
        self.origins.add(replica.clone())
    }

    /// Removes an origin with all its entries. O(its entries).
    pub(super) fn drop_origin(&mut self, number: u16, reason: LeaveReason, diff: &mut DiffBuilder) {
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
    pub(super) fn put(
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
    pub(super) fn insert(
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
    pub(super) fn make_newest(&mut self, index: u32) {
        let number = self.store.row(index).origin;
        self.origins
            .get_mut(number)
            .make_newest(&mut self.store, index);
    }

    /// Removes an entry of a remote origin.
    pub(super) fn remove(&mut self, index: u32, reason: LeaveReason, diff: &mut DiffBuilder) {
        let number = self.store.row(index).origin;
        if self.origins.is_visible(number) {
            let topic = self.store.topic_name(index);
            diff.leave(topic, self.leave(index, reason));
        }
        self.remove_unseen(index);
    }

    /// Returns the leave of an entry that is about to go.
    pub(super) fn leave(&self, index: u32, reason: LeaveReason) -> Leave {
        let entry = self.entry(index).to_buf();
        Leave { entry, reason }
    }

    /// Removes an entry of a remote origin that is in no Diff.
    pub(super) fn remove_unseen(&mut self, index: u32) {
        let number = self.store.row(index).origin;
        self.origins.get_mut(number).remove(&mut self.store, index);
        visible_keys::note_leave(&mut self.store, &self.origins, index);
        self.store.remove(index);
    }

    /// Remembers a leave of a remote origin.
    pub(super) fn log_leave(&mut self, number: u16, leave: LoggedLeave) {
        let len_max = self.limits.leave_log_len_max;
        let origin = self.origins.get_mut(number);
        if self.logs_own_leaves_only {
            origin.restart_leaves(leave.op);
        } else {
            origin.push_leave(leave, len_max);
        }
    }

    pub(super) fn trim_leaves(&mut self, number: u16, op: u64) {
        self.origins.get_mut(number).trim_leaves(op);
    }

    pub(super) fn limit_leaves(&mut self, number: u16, len_max: usize) {
        self.origins.get_mut(number).limit_leaves(len_max);
    }

    /// Forgets the leaves of an origin up to `clock`, whose state came without them.
    pub(super) fn restart_leaves(&mut self, number: u16, clock: u64) {
        self.origins.get_mut(number).restart_leaves(clock);
    }

    pub(super) fn set_clock(&mut self, number: u16, clock: u64) {
        self.origins.get_mut(number).set_clock(clock);
    }
}

/// Work in slices: the origins that it holds between two slices.
impl State {
    /// Lets work in slices hold an origin. The token names the work, so that it is not mistaken for
    /// a later one.
    pub(super) fn claim(&mut self, number: u16) -> u64 {
        let token = self.token();
        self.origins.get_mut(number).claim(token);
        token
    }

    /// Claims an origin for a load. With `quiet` its entries stay invisible until the end if
    /// nothing of the origin was known before.
    pub(super) fn begin_load(&mut self, number: u16, quiet: bool) -> u64 {
        if quiet && self.origins.get(number).clock() == 0 {
            self.origins.set_loading(number, true);
        }
        self.claim(number)
    }

    /// Makes room for a load of that many entries.
    pub(super) fn reserve(&mut self, number: u16, entries: u32) {
        self.origins.get_mut(number).reserve(entries);
    }

    /// Ends a load: the origin is exactly at `clock` now.
    pub(super) fn end_load(&mut self, number: u16, clock: u64) {
        self.set_clock(number, clock);
        self.end_claim(number);
        self.origins.set_loading(number, false);
    }

    /// Gives up a load. An origin that is no longer, or not yet, in an exact state is dropped.
    pub(super) fn cancel_load(
        &mut self,
        number: u16,
        is_unchanged: bool,
        reason: LeaveReason,
        diff: &mut DiffBuilder,
    ) {
        if is_unchanged && self.origins.get(number).clock() > 0 {
            self.end_claim(number);
        } else {
            self.drop_origin(number, reason, diff);
        }
    }

    /// Returns the number of an origin while the work that `token` names holds it.
    pub(super) fn claimed(&self, replica: &ReplicaId, token: u64) -> Option<u16> {
        let number = self.origins.find(replica)?;
        let origin = self.origins.get(number);
        origin.is_claimed_by(token).then_some(number)
    }

    pub(super) fn end_claim(&mut self, number: u16) {
        self.origins.get_mut(number).end_claim();
    }

    /// Starts a walk over the entries of an origin between whose steps they may change; returns its
    /// token.
    pub(super) fn begin_cursor(&mut self, number: u16, direction: Direction) -> u64 {
        let token = self.token();
        self.origins.get_mut(number).begin_cursor(token, direction);
        token
    }

    pub(super) fn set_cursor(&mut self, number: u16, token: u64, index: u32) {
        self.origins.get_mut(number).set_cursor(token, index);
    }

    pub(super) fn end_cursor(&mut self, number: u16, token: u64) {
        self.origins.get_mut(number).end_cursor(token);
    }
}

/// Whole origins: visible, hidden, lingering, retired.
impl State {
    pub(super) fn set_hidden(&mut self, number: u16, hidden: bool) -> bool {
        self.origins.set_hidden(number, hidden)
    }

    /// Notes the life that is held of an origin.
    pub(super) fn set_life(&mut self, number: u16, life: u64) {
        self.origins.set_life(number, life);
    }

    pub(super) fn retire(&mut self, number: u16, reason: LeaveReason) {
        self.origins.retire(number, reason);
    }

    /// Removes a retired origin that has no entries left.
    pub(super) fn remove_origin(&mut self, number: u16) {
        self.origins.remove(number);
    }

    /// Takes an origin out but leaves its entries visible. Returns whether it did: not when none is
    /// visible now, or when there is no room for them beside those to come.
    pub(super) fn linger(&mut self, number: u16) -> bool {
        let len = self.origins.get(number).len();
        let has_room = self.check_room(len).is_ok()
            && self.origins.len() < usize::from(self.limits.origins_max)
            && self.origins.lingering().len() < linger::ORIGINS_MAX;
        let lingers = len > 0 && has_room && self.origins.is_visible(number);
        if lingers {
            self.origins.linger(number);
        }
        lingers
    }

    pub(super) fn end_linger(&mut self, number: u16) {
        self.origins.end_linger(number);
    }

    /// Takes away the lingering entry that this one replaces, if there is one. O(1) while none
    /// lingers, else O(sessions of the key), 512 at most.
    pub(super) fn take_former(&mut self, index: u32) -> Option<EntryBuf> {
        let former = linger::find_former(&self.store, &self.origins, index)?;
        let entry = self.entry(former).to_buf();
        let number = self.store.row(former).origin;
        self.remove_unseen(former);
        if self.origins.get(number).len() == 0 {
            self.origins.remove(number);
        }
        Some(entry)
    }

    /// Returns the name of the topic of an entry.
    #[inline]
    pub(super) fn topic_name(&self, index: u32) -> &Arc<str> {
        self.store.topic_name(index)
    }
}

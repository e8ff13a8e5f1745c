//! The entries of all origins, each in all its indexes: every change of an entry goes through here.

mod local;
mod others;

use std::sync::Arc;

use super::capture::Captures;
use super::diff::DiffBuilder;
use super::entry::{Entry, EntryBuf};
use super::leave::LeaveReason;
use super::limits::Limits;
use super::linger;
use super::origin::OriginState;
use super::origins::{LOCAL, Origins};
use super::own_counts::OwnCounts;
use super::owners::Owners;
use super::slab::Row;
use super::store::Store;
use super::topic_share::TopicShare;
use super::version_order::Direction;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
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

    /// Takes away the entry that users see in the place of this one, if there is one: itself, dropped
    /// without a leave so far, or a lingering one. O(retired origins), and while one lingers
    /// O(sessions of the key), 512 at most.
    pub(super) fn take_former(&mut self, index: u32) -> Option<EntryBuf> {
        let former = self.find_unreaped(index);
        let former = former.or_else(|| linger::find_former(&self.store, &self.origins, index))?;
        let entry = self.entry(former).to_buf();
        let number = self.store.row(former).origin;
        self.remove_unseen(former);
        if self.origins.get(number).len() == 0 {
            self.origins.remove(number);
        }
        Some(entry)
    }

    /// Finds an entry in a state of its origin that was dropped, of which the leave is to come.
    fn find_unreaped(&self, index: u32) -> Option<u32> {
        let row = self.store.row(index);
        let mut twins = self.origins.retired_twins(row.origin);
        let twin = twins.find_map(|twin| self.by_birth(twin, row.birth))?;
        let is_meant = self.store.have_same_key(index, twin) && !is_broken(Fault::RejoinUnreaped);
        is_meant.then_some(twin)
    }

    /// Returns the name of the topic of an entry.
    #[inline]
    pub(super) fn topic_name(&self, index: u32) -> &Arc<str> {
        self.store.topic_name(index)
    }
}

//! The state of one origin: its clock, its entries by version and by birth, its leave log, its
//! fingerprint.

use std::num::NonZeroU64;

use hashbrown::HashTable;

use super::entry::{EntryVersions, NewEntry};
use super::leave::LeaveReason;
use super::leave_log::{LeaveLog, LoggedLeave, NO_LEAVES};
use super::store::Store;
use super::version_order::{Cursors, Direction, VersionOrder};
use crate::id::ReplicaId;

#[derive(Debug, Clone)]
pub(super) struct OriginState {
    id: ReplicaId,
    clock: u64,
    /// Wrapping sum of the fingerprints of all live entries.
    fingerprint: u64,
    /// The life that is held of it, where lives are noted; 0 otherwise.
    pub(super) life: u64,
    order: VersionOrder,
    /// The newest op whose leave was dropped from the log.
    horizon: u64,
    /// `None` while all of it is empty, as it is in most origins of few entries.
    extras: Option<Box<Extras>>,
    len: u32,
    stage: Stage,
    pub(super) hidden: bool,
    /// Set when the origin gave up its name, and its entries go bit by bit.
    pub(super) retired: Option<Retired>,
}

/// Tells whose an origin is, and whether its entries are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The local one. Its entries are not found by birth.
    Local,
    /// A first load in slices is under way: its entries are not visible before the end.
    Loading,
    Loaded,
}

/// An origin that gave up its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retired {
    /// True if its entries were visible until then.
    pub(super) was_visible: bool,
    /// The reason of their leaves.
    pub(super) reason: LeaveReason,
}

/// Holds what few origins have.
#[derive(Debug, Clone, Default)]
struct Extras {
    /// `None` while there are so few entries that a walk finds them.
    births: Option<Births>,
    /// Walks under way.
    cursors: Cursors,
    /// The token of the work in slices that holds this origin.
    claim: Option<NonZeroU64>,
    /// Of other origins none are remembered where only origins answer.
    leaves: LeaveLog,
}

/// The most entries of an origin that are found by birth by a walk.
const WALK_MAX: u32 = 12;

/// A cluster of many nodes and partitions has an origin for each pair of them.
const _: () = assert!(size_of::<OriginState>() == 64);

impl OriginState {
    pub(super) fn local(id: ReplicaId) -> Self {
        Self {
            id,
            clock: 0,
            fingerprint: 0,
            life: 0,
            len: 0,
            order: VersionOrder::new(),
            horizon: 0,
            extras: None,
            stage: Stage::Local,
            hidden: false,
            retired: None,
        }
    }

    pub(super) fn remote(id: ReplicaId) -> Self {
        Self {
            stage: Stage::Loaded,
            ..Self::local(id)
        }
    }

    /// Makes room for that many entries in an origin without any, so that a load does not look at
    /// all of them again whenever it has doubled. O(1).
    pub(super) fn reserve(&mut self, entries: u32) {
        if self.is_remote() && self.len == 0 && entries > WALK_MAX {
            let extras = self.extras.get_or_insert_default();
            let births = extras.births.get_or_insert_default();
            births.table.reserve(entries as usize, |_| 0);
        }
    }

    /// Takes in an entry that the store has just inserted: it becomes the newest one. O(1).
    #[inline]
    pub(super) fn insert(&mut self, store: &mut Store, index: u32) {
        self.fingerprint = self.fingerprint.wrapping_add(store.fingerprint(index));
        self.order.append(store, index);
        self.len += 1;
        if let Some(births) = self.births_mut() {
            births.insert(store, index);
        } else if self.is_remote() && self.len > WALK_MAX {
            let mut births = Births::default();
            let entries = self.order.entries(store);
            entries.for_each(|entry| births.insert(store, entry));
            self.extras.get_or_insert_default().births = Some(births);
        }
    }

    /// Gives an entry new content: it becomes the newest one. O(1).
    #[inline]
    pub(super) fn rewrite(
        &mut self,
        store: &mut Store,
        index: u32,
        put: &NewEntry<'_>,
        versions: EntryVersions,
    ) {
        let before = store.fingerprint(index);
        store.rewrite(index, put, versions);
        let after = store.fingerprint(index);
        self.fingerprint = self.fingerprint.wrapping_sub(before).wrapping_add(after);
        self.make_newest(store, index);
    }

    /// Moves an entry to the newest end of the version order. O(1).
    #[inline]
    pub(super) fn make_newest(&mut self, store: &mut Store, index: u32) {
        self.unlink(store, index);
        self.order.append(store, index);
    }

    /// Lets go of an entry that the store is about to remove. O(1).
    #[inline]
    pub(super) fn remove(&mut self, store: &mut Store, index: u32) {
        self.fingerprint = self.fingerprint.wrapping_sub(store.fingerprint(index));
        self.unlink(store, index);
        self.len -= 1;
        if let Some(births) = self.births_mut() {
            births.remove(store, index);
        }
        if self.len == 0
            && let Some(extras) = &mut self.extras
        {
            extras.births = None;
            self.drop_empty_extras();
        }
    }

    fn unlink(&mut self, store: &mut Store, index: u32) {
        if let Some(extras) = &mut self.extras {
            extras.cursors.step_aside(store, index);
        }
        self.order.unlink(store, index);
    }

    fn births_mut(&mut self) -> Option<&mut Births> {
        self.extras.as_mut()?.births.as_mut()
    }

    fn drop_empty_extras(&mut self) {
        let is_empty = |extras: &Extras| {
            extras.births.is_none()
                && extras.cursors.is_empty()
                && extras.claim.is_none()
                && extras.leaves.is_empty()
        };
        if self.extras.as_deref().is_some_and(is_empty) {
            self.extras = None;
        }
    }

    /// Returns whether a first load of it is under way.
    pub(super) fn is_loading(&self) -> bool {
        self.stage == Stage::Loading
    }

    /// Begins or ends the first load of another replica's origin.
    pub(super) fn set_loading(&mut self, is_loading: bool) {
        if self.is_remote() {
            self.stage = if is_loading {
                Stage::Loading
            } else {
                Stage::Loaded
            };
        }
    }

    #[inline]
    fn is_remote(&self) -> bool {
        self.stage != Stage::Local
    }

    #[inline]
    pub(super) fn set_clock(&mut self, clock: u64) {
        self.clock = clock;
    }

    pub(super) fn set_id(&mut self, id: ReplicaId) {
        self.id = id;
    }

    #[inline]
    pub(super) fn id(&self) -> &ReplicaId {
        &self.id
    }

    #[inline]
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Returns the number of live entries.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn order(&self) -> &VersionOrder {
        &self.order
    }

    /// Returns an entry of a remote origin by its birth. O(1).
    #[inline]
    pub(super) fn by_birth(&self, store: &Store, birth: u64) -> Option<u32> {
        let extras = self.extras.as_ref();
        match extras.and_then(|extras| extras.births.as_ref()) {
            Some(births) => births.find(store, birth),
            None if self.is_remote() => {
                let mut entries = self.order.entries(store);
                entries.find(|&index| store.row(index).birth == birth)
            }
            None => None,
        }
    }

    /// Returns the leaves that are remembered.
    #[inline]
    pub(super) fn leaves(&self) -> &LeaveLog {
        let extras = self.extras.as_ref();
        extras.map_or(&NO_LEAVES, |extras| &extras.leaves)
    }

    /// Returns the newest op whose leave was dropped: a `Delta` can start from there.
    #[inline]
    pub(super) fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Remembers a leave; beyond `len_max` the oldest is dropped and the horizon rises.
    pub(super) fn push_leave(&mut self, leave: LoggedLeave, len_max: usize) {
        let leaves = &mut self.extras.get_or_insert_default().leaves;
        self.horizon = leaves.push(leave, len_max).unwrap_or(self.horizon);
    }

    /// Drops leaves up to and including `op`.
    pub(super) fn trim_leaves(&mut self, op: u64) {
        self.drop_leaves(|leaves| leaves.trim(op));
    }

    /// Drops all but the newest `len_max` leaves.
    pub(super) fn limit_leaves(&mut self, len_max: usize) {
        self.drop_leaves(|leaves| leaves.limit(len_max));
    }

    fn drop_leaves(&mut self, drop: impl FnOnce(&mut LeaveLog) -> Option<u64>) {
        if let Some(extras) = &mut self.extras {
            self.horizon = drop(&mut extras.leaves).unwrap_or(self.horizon);
            self.drop_empty_extras();
        }
    }

    /// Forgets all leaves: no `Delta` starts from below `horizon` any more.
    pub(super) fn restart_leaves(&mut self, horizon: u64) {
        if let Some(extras) = &mut self.extras {
            extras.leaves = LeaveLog::default();
            self.drop_empty_extras();
        }
        self.horizon = horizon;
    }

    /// Returns the entry that a walk comes to next: `NIL` at its end, `None` when there is no such
    /// walk.
    pub(super) fn cursor(&self, token: u64) -> Option<u32> {
        self.extras.as_ref()?.cursors.get(token)
    }

    pub(super) fn begin_cursor(&mut self, token: u64, direction: Direction) {
        let cursors = &mut self.extras.get_or_insert_default().cursors;
        cursors.begin(&self.order, token, direction);
    }

    pub(super) fn set_cursor(&mut self, token: u64, index: u32) {
        if let Some(extras) = &mut self.extras {
            extras.cursors.set(token, index);
        }
    }

    pub(super) fn end_cursor(&mut self, token: u64) {
        if let Some(extras) = &mut self.extras {
            extras.cursors.end(token);
            self.drop_empty_extras();
        }
    }

    /// Lets the work in slices that `token`, not 0, names hold this origin.
    pub(super) fn claim(&mut self, token: u64) {
        self.extras.get_or_insert_default().claim = NonZeroU64::new(token);
    }

    pub(super) fn end_claim(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.claim = None;
            self.drop_empty_extras();
        }
    }

    /// Returns whether some work in slices holds this origin: its state is not exact until the end.
    #[inline]
    pub(super) fn is_claimed(&self) -> bool {
        self.claimant().is_some()
    }

    pub(super) fn is_claimed_by(&self, token: u64) -> bool {
        self.claimant().is_some_and(|claim| claim.get() == token)
    }

    #[inline]
    fn claimant(&self) -> Option<NonZeroU64> {
        self.extras.as_ref()?.claim
    }

    /// Ends everything that belongs to a name: the origin gave its own up.
    pub(super) fn give_up(&mut self) {
        self.end_claim();
        self.restart_leaves(0);
    }
}

/// Entries by birth.
#[derive(Debug, Clone, Default)]
struct Births {
    table: HashTable<u32>,
}

impl Births {
    #[inline]
    fn find(&self, store: &Store, birth: u64) -> Option<u32> {
        let found = self
            .table
            .find(birth_hash(birth), |&index| store.row(index).birth == birth);
        found.copied()
    }

    fn insert(&mut self, store: &Store, index: u32) {
        let hash = birth_hash(store.row(index).birth);
        self.table
            .insert_unique(hash, index, |&i| birth_hash(store.row(i).birth));
    }

    fn remove(&mut self, store: &Store, index: u32) {
        let hash = birth_hash(store.row(index).birth);
        if let Ok(entry) = self.table.find_entry(hash, |&i| i == index) {
            entry.remove();
        }
        let len = self.table.len();
        let capacity = self.table.capacity();
        if capacity > 1_024 && len < capacity / 8 {
            self.table
                .shrink_to(len * 2, |&i| birth_hash(store.row(i).birth));
        }
    }
}

/// Births of one origin ascend, so any spreading of their bits will do.
#[inline]
fn birth_hash(birth: u64) -> u64 {
    let mixed = u128::from(birth) * 0x9E37_79B9_7F4A_7C15;
    (mixed >> 64) as u64 ^ (mixed as u64).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(store: &mut Store, origin: &mut OriginState, op: u64) -> u32 {
        let name = format!("user {op}");
        let put = NewEntry::new("room", &name, "phone");
        let location = store.locate(put.topic, put.encoding, put.key);
        let index = store.insert(location, &put, 1, EntryVersions::new(op));
        origin.insert(store, index);
        index
    }

    #[test]
    fn the_fingerprint_depends_on_the_entries_and_not_on_the_way_to_them() {
        let id = ReplicaId::new("a", 1, 0).unwrap();
        let mut store = Store::new();
        let mut origin = OriginState::remote(id);
        let first = insert(&mut store, &mut origin, 1);
        let alone = origin.fingerprint();
        let second = insert(&mut store, &mut origin, 2);
        assert_eq!(origin.by_birth(&store, 2), Some(second));
        origin.make_newest(&mut store, first);
        assert_eq!(origin.order().newest(), first);
        origin.remove(&mut store, second);
        store.remove(second);
        assert_eq!((origin.fingerprint(), origin.len()), (alone, 1));
        assert_eq!(origin.by_birth(&store, 2), None);
        let put = NewEntry::new("room", "user 1", "phone").meta(b"away");
        let versions = store.versions(first).written(3);
        origin.rewrite(&mut store, first, &put, versions);
        assert_ne!(origin.fingerprint(), alone);
        origin.remove(&mut store, first);
        assert_eq!((origin.fingerprint(), origin.len()), (0, 0));
    }

    #[test]
    fn a_claim_is_held_by_one_work_at_a_time() {
        let mut origin = OriginState::remote(ReplicaId::new("a", 1, 0).unwrap());
        origin.claim(7);
        assert!(origin.is_claimed() && origin.is_claimed_by(7) && !origin.is_claimed_by(8));
        origin.give_up();
        assert!(!origin.is_claimed() && !origin.is_claimed_by(7));
    }

    #[test]
    fn the_horizon_is_the_newest_op_whose_leave_was_dropped() {
        let mut origin = OriginState::local(ReplicaId::new("a", 1, 0).unwrap());
        for op in 1..=9 {
            let leave = LoggedLeave {
                op,
                birth: 1,
                reason: 0,
            };
            origin.push_leave(leave, 6);
        }
        assert_eq!((origin.leaves().len(), origin.horizon()), (6, 3));
        origin.trim_leaves(5);
        origin.trim_leaves(2);
        assert_eq!((origin.leaves().len(), origin.horizon()), (4, 5));
        origin.limit_leaves(1);
        assert_eq!((origin.leaves().len(), origin.horizon()), (1, 8));
        origin.restart_leaves(20);
        assert_eq!((origin.leaves().len(), origin.horizon()), (0, 20));
        assert!(origin.extras.is_none());
    }
}

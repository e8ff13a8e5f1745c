//! The state of one origin: its clock, its entries by version and by birth, its leave log, its
//! fingerprint.

use std::num::NonZeroU64;

use hashbrown::HashTable;

use super::entry::{EntryVersions, NewEntry};
use super::leave_log::LeaveLog;
use super::store::Store;
use super::version_order::{Direction, VersionOrder};
use crate::id::ReplicaId;

#[derive(Debug, Clone)]
pub(super) struct OriginState {
    id: ReplicaId,
    clock: u64,
    /// Wrapping sum of the fingerprints of all live entries.
    fingerprint: u64,
    len: u32,
    order: VersionOrder,
    leaves: LeaveLog,
    /// Entries are found by birth, but for those of the local origin.
    is_remote: bool,
    /// `None` while there are so few entries that a walk finds them.
    births: Option<Box<Births>>,
    /// The token of the work in slices that holds this origin.
    claim: Option<NonZeroU64>,
}

/// The most entries of an origin that are found by birth by a walk.
const WALK_MAX: u32 = 8;

/// A cluster of many nodes and partitions has an origin for each pair of them.
const _: () = assert!(size_of::<OriginState>() == 80);

impl OriginState {
    pub(super) fn local(id: ReplicaId) -> Self {
        Self {
            id,
            clock: 0,
            fingerprint: 0,
            len: 0,
            order: VersionOrder::new(),
            leaves: LeaveLog::default(),
            is_remote: false,
            births: None,
            claim: None,
        }
    }

    pub(super) fn remote(id: ReplicaId) -> Self {
        Self {
            is_remote: true,
            ..Self::local(id)
        }
    }

    /// Makes room for that many entries in an origin without any, so that a load does not look at
    /// all of them again whenever it has doubled. O(1).
    pub(super) fn reserve(&mut self, entries: u32) {
        if self.is_remote && self.len == 0 && entries > WALK_MAX {
            let births = self.births.get_or_insert_default();
            births.table.reserve(entries as usize, |_| 0);
        }
    }

    /// Takes in an entry that the store has just inserted: it becomes the newest one. O(1).
    #[inline]
    pub(super) fn insert(&mut self, store: &mut Store, index: u32) {
        self.fingerprint = self.fingerprint.wrapping_add(store.fingerprint(index));
        self.order.append(store, index);
        self.len += 1;
        if let Some(births) = &mut self.births {
            births.insert(store, index);
        } else if self.is_remote && self.len > WALK_MAX {
            let mut births = Births::default();
            let entries = self.order.entries(store);
            entries.for_each(|entry| births.insert(store, entry));
            self.births = Some(Box::new(births));
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
        self.order.unlink(store, index);
        self.order.append(store, index);
    }

    /// Lets go of an entry that the store is about to remove. O(1).
    #[inline]
    pub(super) fn remove(&mut self, store: &mut Store, index: u32) {
        self.fingerprint = self.fingerprint.wrapping_sub(store.fingerprint(index));
        self.order.unlink(store, index);
        self.len -= 1;
        if self.len == 0 {
            self.births = None;
        } else if let Some(births) = &mut self.births {
            births.remove(store, index);
        }
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
        match &self.births {
            Some(births) => births.find(store, birth),
            None if self.is_remote => {
                let mut entries = self.order.entries(store);
                entries.find(|&index| store.row(index).birth == birth)
            }
            None => None,
        }
    }

    #[inline]
    pub(super) fn leaves(&self) -> &LeaveLog {
        &self.leaves
    }

    #[inline]
    pub(super) fn leaves_mut(&mut self) -> &mut LeaveLog {
        &mut self.leaves
    }

    pub(super) fn begin_cursor(&mut self, token: u64, direction: Direction) {
        self.order.begin_cursor(token, direction);
    }

    pub(super) fn set_cursor(&mut self, token: u64, index: u32) {
        self.order.set_cursor(token, index);
    }

    pub(super) fn end_cursor(&mut self, token: u64) {
        self.order.end_cursor(token);
    }

    /// Lets the work in slices that `token`, not 0, names hold this origin.
    pub(super) fn claim(&mut self, token: u64) {
        self.claim = NonZeroU64::new(token);
    }

    pub(super) fn end_claim(&mut self) {
        self.claim = None;
    }

    /// Returns whether some work in slices holds this origin: its state is not exact until the end.
    #[inline]
    pub(super) fn is_claimed(&self) -> bool {
        self.claim.is_some()
    }

    pub(super) fn is_claimed_by(&self, token: u64) -> bool {
        self.claim.is_some_and(|claim| claim.get() == token)
    }

    /// Ends everything that belongs to a name: the origin gave its own up.
    pub(super) fn give_up(&mut self) {
        self.claim = None;
        self.leaves = LeaveLog::default();
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
}

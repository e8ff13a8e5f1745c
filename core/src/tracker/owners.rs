//! Local entries by owner: the first entry of each owner in a table, the others linked to it.

use super::head_table::HeadTable;
use super::slab::{NIL, OWNER_HEAD};
use super::store::Store;

/// The tag that keeps hashes of owners apart from those of keys.
const OWNER_TAG: u8 = u8::MAX;

#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    heads: HeadTable,
}

/// The place where the entries of an owner are or would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnerLocation {
    hash: u32,
    /// First entry, or `NIL`.
    first: u32,
}

impl OwnerLocation {
    /// Returns the first entry of the owner, or `NIL`.
    #[inline]
    pub(super) fn first(self) -> u32 {
        self.first
    }

    /// Returns the number of entries of the owner. O(1).
    #[inline]
    pub(super) fn count(self, store: &Store) -> u32 {
        if self.first == NIL {
            0
        } else {
            store.row(self.first).owner_prev & !OWNER_HEAD
        }
    }
}

impl Owners {
    /// Finds the entries of an owner. O(1).
    #[inline]
    pub(super) fn locate(&self, store: &Store, owner: &[u8]) -> OwnerLocation {
        let hash = store.hash_bytes(owner, OWNER_TAG);
        let first = self
            .heads
            .find(hash, |index| store.parts(index).owner == owner);
        OwnerLocation { hash, first }
    }

    /// Adds an entry to those of its owner. O(1).
    #[inline]
    pub(super) fn link(&mut self, store: &mut Store, index: u32, location: OwnerLocation) {
        let OwnerLocation { hash, first } = location;
        if first == NIL {
            self.heads.insert(hash, index);
            let row = store.links_mut(index);
            row.owner_prev = OWNER_HEAD | 1;
            row.owner_next = NIL;
            return;
        }
        let head = store.links_mut(first);
        let next = head.owner_next;
        head.owner_prev += 1;
        head.owner_next = index;
        let row = store.links_mut(index);
        row.owner_prev = first;
        row.owner_next = next;
        if next != NIL {
            store.links_mut(next).owner_prev = index;
        }
    }

    /// Takes an entry from those of its owner. O(1).
    pub(super) fn unlink(&mut self, store: &mut Store, index: u32) {
        let prev = store.row(index).owner_prev;
        let next = store.row(index).owner_next;
        if prev & OWNER_HEAD == 0 {
            store.links_mut(prev).owner_next = next;
            if next != NIL {
                store.links_mut(next).owner_prev = prev;
            }
            let first = self.locate(store, store.parts(index).owner).first;
            if first != NIL {
                store.links_mut(first).owner_prev -= 1;
            }
            return;
        }
        let hash = store.hash_bytes(store.parts(index).owner, OWNER_TAG);
        if next == NIL {
            self.heads.remove(hash, index);
        } else {
            self.heads.replace(hash, index, next);
            store.links_mut(next).owner_prev = prev - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{EntryVersions, NewEntry};
    use super::*;

    #[test]
    fn an_owner_knows_its_entries_and_their_number() {
        let mut store = Store::new();
        let mut owners = Owners::default();
        let mut entries = Vec::new();
        for (op, topic) in (1..).zip(["a", "b", "c", "d"]) {
            let put = NewEntry::new(topic, "ann", "phone");
            let location = store.locate(put.topic, put.encoding, put.key);
            let index = store.insert(location, &put, 0, EntryVersions::new(op));
            let owner = owners.locate(&store, b"phone");
            owners.link(&mut store, index, owner);
            entries.push(index);
        }
        assert_eq!(owners.locate(&store, b"phone").count(&store), 4);
        assert_eq!(owners.locate(&store, b"laptop").count(&store), 0);
        // The first one, one in the middle, and what is left.
        for (removed, left) in [(0, 3), (2, 2), (3, 1), (1, 0)] {
            owners.unlink(&mut store, entries[removed]);
            store.remove(entries[removed]);
            let owner = owners.locate(&store, b"phone");
            assert_eq!(owner.count(&store), left);
            let entry = |index: u32| (index != NIL).then_some(index);
            let next = |&index: &u32| entry(store.row(index).owner_next);
            let linked = std::iter::successors(entry(owner.first()), next).count();
            assert_eq!(linked as u32, left);
        }
    }
}

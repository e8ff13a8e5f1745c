//! Local entries by owner: the first entry of each owner in a table, the others linked to it.

use hashbrown::HashTable;

use super::slab::{NIL, OWNER_HEAD};
use super::store::{Bucket, Store, wide};

#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    table: HashTable<Bucket>,
}

/// Where the entries of an owner are or would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnerSpot {
    hash: u32,
    /// First entry, or `NIL`.
    pub(super) first: u32,
}

impl Owners {
    /// Returns where the entries of an owner are. O(1).
    #[inline]
    pub(super) fn locate(&self, store: &Store, owner: &[u8]) -> OwnerSpot {
        let hash = hash(store, owner);
        let found = self.table.find(wide(hash), |bucket| {
            bucket.hash == hash && store.parts(bucket.index).owner == owner
        });
        OwnerSpot {
            hash,
            first: found.map_or(NIL, |bucket| bucket.index),
        }
    }

    /// First entry of an owner, or `NIL`. O(1).
    pub(super) fn first(&self, store: &Store, owner: &[u8]) -> u32 {
        self.locate(store, owner).first
    }

    /// Number of entries of the owner whose first entry this is.
    pub(super) fn count(store: &Store, first: u32) -> u32 {
        if first == NIL {
            0
        } else {
            store.slab[first].owner_prev & !OWNER_HEAD
        }
    }

    /// Adds an entry to its owner's, which are at `location`.
    pub(super) fn link(&mut self, store: &mut Store, index: u32, location: OwnerSpot) {
        let OwnerSpot { hash, first } = location;
        if first == NIL {
            self.table
                .insert_unique(wide(hash), Bucket { hash, index }, |h| wide(h.hash));
            store.slab[index].owner_prev = OWNER_HEAD | 1;
            return;
        }
        let next = store.slab[first].owner_next;
        store.slab[first].owner_prev += 1;
        store.slab[first].owner_next = index;
        store.slab[index].owner_prev = first;
        store.slab[index].owner_next = next;
        if next != NIL {
            store.slab[next].owner_prev = index;
        }
    }

    pub(super) fn unlink(&mut self, store: &mut Store, index: u32) {
        let prev = store.slab[index].owner_prev;
        let next = store.slab[index].owner_next;
        if prev & OWNER_HEAD == 0 {
            store.slab[prev].owner_next = next;
            if next != NIL {
                store.slab[next].owner_prev = prev;
            }
            self.shrink_count(store, index);
            return;
        }
        let hash = hash(store, store.parts(index).owner);
        if next == NIL {
            if let Ok(entry) = self.table.find_entry(wide(hash), |h| h.index == index) {
                entry.remove();
            }
            return;
        }
        if let Some(bucket) = self.table.find_mut(wide(hash), |h| h.index == index) {
            bucket.index = next;
        }
        store.slab[next].owner_prev = prev - 1;
    }

    fn shrink_count(&self, store: &mut Store, index: u32) {
        let first = self.first(store, store.parts(index).owner);
        if first != NIL {
            store.slab[first].owner_prev -= 1;
        }
    }
}

fn hash(store: &Store, owner: &[u8]) -> u32 {
    store.hash_bytes(owner, u8::MAX)
}

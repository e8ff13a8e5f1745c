//! A hash table of the first entries of lists: the sessions of each key, the entries of each owner.

use hashbrown::HashTable;
use hashbrown::hash_table::Iter;

use super::slab::NIL;

/// Finds the first entry of a list by a hash of what its entries have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadTable {
    table: HashTable<Head>,
}

/// The first entry of a list. Its hash decides most comparisons without a look at the entry.
#[derive(Debug, Clone, Copy)]
struct Head {
    hash: u32,
    index: u32,
}

/// Iterator over the first entries of all lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads<'a>(Iter<'a, Head>);

impl Iterator for Heads<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        self.0.next().map(|head| head.index)
    }
}

/// Spreads 32 bits of hash over 64: the table takes its tag from the top and its place from below.
#[inline]
fn wide(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl HeadTable {
    /// Returns the number of lists.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns the first entry with this hash for which `is_it` holds, or `NIL`. O(1).
    #[inline]
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> u32 {
        let found = self
            .table
            .find(wide(hash), |head| head.hash == hash && is_it(head.index));
        found.map_or(NIL, |head| head.index)
    }

    /// Adds the first entry of a new list. O(1).
    #[inline]
    pub(super) fn insert(&mut self, hash: u32, index: u32) {
        self.table
            .insert_unique(wide(hash), Head { hash, index }, |head| wide(head.hash));
    }

    /// Makes `next` the first entry of the list that began with `index`. O(1).
    #[inline]
    pub(super) fn replace(&mut self, hash: u32, index: u32, next: u32) {
        let head = self.table.find_mut(wide(hash), |head| head.index == index);
        head.expect("the first entry of a list is in the table")
            .index = next;
    }

    /// Removes a list whose only entry is `index`. O(1).
    #[inline]
    pub(super) fn remove(&mut self, hash: u32, index: u32) {
        let head = self
            .table
            .find_entry(wide(hash), |head| head.index == index);
        head.expect("the first entry of a list is in the table")
            .remove();
    }

    /// Gives memory back when most places are free. O(1) amortized over removals.
    pub(super) fn shrink(&mut self) {
        let len = self.table.len();
        let capacity = self.table.capacity();
        if capacity > 64 && len < capacity / 8 {
            self.table.shrink_to(len * 2, |head| wide(head.hash));
        }
    }

    /// Returns the first entries of all lists, in no particular order.
    pub(super) fn iter(&self) -> Heads<'_> {
        Heads(self.table.iter())
    }

    /// Returns the hash of every list.
    pub(super) fn hashes(&self) -> impl Iterator<Item = u32> {
        self.table.iter().map(|head| head.hash)
    }

    /// Returns the first entries of all lists with this hash. O(1).
    pub(super) fn with_hash(&self, hash: u32) -> impl Iterator<Item = u32> {
        let places = self.table.iter_hash(wide(hash));
        places
            .filter(move |head| head.hash == hash)
            .map(|head| head.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_hash_are_kept_apart() {
        let mut heads = HeadTable::default();
        heads.insert(7, 1);
        heads.insert(7, 2);
        heads.insert(8, 3);
        assert_eq!(heads.find(7, |index| index == 2), 2);
        assert_eq!(heads.find(8, |index| index == 2), NIL);
        heads.replace(7, 2, 4);
        heads.remove(7, 1);
        assert_eq!(heads.with_hash(7).collect::<Vec<_>>(), [4]);
        let mut hashes: Vec<_> = heads.hashes().collect();
        hashes.sort_unstable();
        assert_eq!((hashes, heads.len()), (vec![7, 8], 2));
    }

    #[test]
    fn a_table_that_was_large_shrinks() {
        let mut heads = HeadTable::default();
        (0..10_000).for_each(|i| heads.insert(i, i));
        for i in 10..10_000 {
            heads.remove(i, i);
            heads.shrink();
        }
        assert!(heads.table.capacity() < 200);
        assert!((0..10).all(|i| heads.find(i, |_| true) == i));
        assert_eq!(heads.iter().count(), 10);
    }
}

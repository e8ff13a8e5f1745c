//! A table of the first entries of lists, by hash: the sessions of each key, the entries of each owner.

use std::slice;

use hashbrown::HashTable;
use hashbrown::hash_table;

use super::slab::{NIL, push_tight};

/// The most lists that are found by a walk over their heads: they take an eighth more than their
/// bytes, where a hash table takes up to half as much again, and most topics are small.
const FEW_MAX: usize = 64;

/// Finds the first entry of a list by a hash of what its entries have in common.
#[derive(Debug, Clone)]
pub(super) enum HeadTable {
    Few(Vec<Head>),
    Many(HashTable<Head>),
}

/// The first entry of a list. Its hash decides most comparisons without a look at the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    hash: u32,
    index: u32,
}

/// Iterator over the first entries of all lists.
#[derive(Debug, Clone)]
pub(super) enum Heads<'a> {
    Few(slice::Iter<'a, Head>),
    Many(hash_table::Iter<'a, Head>),
}

impl Default for HeadTable {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Default for Heads<'_> {
    fn default() -> Self {
        Self::Few([].iter())
    }
}

impl Iterator for Heads<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let head = match self {
            Self::Few(heads) => heads.next(),
            Self::Many(heads) => heads.next(),
        };
        head.map(|head| head.index)
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
        match self {
            Self::Few(heads) => heads.len(),
            Self::Many(table) => table.len(),
        }
    }

    /// Returns the first entry with this hash for which `is_it` holds, or `NIL`. O(1).
    #[inline]
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> u32 {
        let mut is_found = |head: &&Head| head.hash == hash && is_it(head.index);
        let found = match self {
            Self::Few(heads) => heads.iter().find(is_found),
            Self::Many(table) => table.find(wide(hash), |head| is_found(&head)),
        };
        found.map_or(NIL, |head| head.index)
    }

    /// Adds the first entry of a new list. O(1).
    pub(super) fn insert(&mut self, hash: u32, index: u32) {
        let head = Head { hash, index };
        match self {
            Self::Few(heads) if heads.len() < FEW_MAX => push_tight(heads, head),
            Self::Few(heads) => {
                let mut table = HashTable::with_capacity(heads.len() + 1);
                for head in heads.drain(..).chain([head]) {
                    table.insert_unique(wide(head.hash), head, |head| wide(head.hash));
                }
                *self = Self::Many(table);
            }
            Self::Many(table) => {
                table.insert_unique(wide(hash), head, |head| wide(head.hash));
            }
        }
    }

    /// Makes `next` the first entry of the list that began with `index`. O(1).
    pub(super) fn replace(&mut self, hash: u32, index: u32, next: u32) {
        let head = match self {
            Self::Few(heads) => heads.iter_mut().find(|head| head.index == index),
            Self::Many(table) => table.find_mut(wide(hash), |head| head.index == index),
        };
        head.expect("the first entry of a list is in the table")
            .index = next;
    }

    /// Removes a list whose only entry is `index`. O(1).
    pub(super) fn remove(&mut self, hash: u32, index: u32) {
        match self {
            Self::Few(heads) => {
                let place = heads.iter().position(|head| head.index == index);
                heads.swap_remove(place.expect("the first entry of a list is in the table"));
            }
            Self::Many(table) => {
                let head = table.find_entry(wide(hash), |head| head.index == index);
                head.expect("the first entry of a list is in the table")
                    .remove();
            }
        }
    }

    /// Gives memory back when most places are free. O(1) amortized over removals.
    pub(super) fn shrink(&mut self) {
        let Self::Many(table) = self else {
            return;
        };
        let len = table.len();
        if len <= FEW_MAX / 2 {
            *self = Self::Few(table.drain().collect());
        } else if len < table.capacity() / 8 {
            table.shrink_to(len * 2, |head| wide(head.hash));
        }
    }

    /// Returns the first entries of all lists, in no particular order.
    pub(super) fn iter(&self) -> Heads<'_> {
        match self {
            Self::Few(heads) => Heads::Few(heads.iter()),
            Self::Many(table) => Heads::Many(table.iter()),
        }
    }

    /// Returns the hash of every list.
    pub(super) fn hashes(&self) -> impl Iterator<Item = u32> {
        let (few, many) = self.parts();
        let many = many.into_iter().flat_map(HashTable::iter);
        few.iter().chain(many).map(|head| head.hash)
    }

    /// Returns the first entries of all lists with this hash. O(1).
    pub(super) fn with_hash(&self, hash: u32) -> impl Iterator<Item = u32> {
        let (few, many) = self.parts();
        let many = many.into_iter();
        let many = many.flat_map(move |table| table.iter_hash(wide(hash)));
        few.iter()
            .chain(many)
            .filter(move |head| head.hash == hash)
            .map(|head| head.index)
    }

    fn parts(&self) -> (&[Head], Option<&HashTable<Head>>) {
        match self {
            Self::Few(heads) => (heads, None),
            Self::Many(table) => (&[], Some(table)),
        }
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
        assert!(matches!(&heads, HeadTable::Few(heads) if heads.capacity() < 40));
        assert!((0..10).all(|i| heads.find(i, |_| true) == i));
        assert_eq!(heads.iter().count(), 10);
    }
}

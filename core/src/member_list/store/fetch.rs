//! Memory that a batch needs, read ahead: a single call waits for each of its reads; in short loops
//! over a block of members those of all of them are under way together.

use std::hash::BuildHasher;
use std::hint::black_box;

use arrayvec::ArrayVec;

use crate::member_list::Id;
use crate::member_list::store::Store;
use crate::member_list::store::nodes::Nodes;
use crate::member_list::store::table::Table;
use crate::member_list::tree::Climb;

/// The most members whose memory is read at once; the writes then find it in the near caches.
pub(crate) const FETCHED_MAX: usize = 48;

/// Smaller lists are in the caches as they are: from here on a batch gains more than it pays.
const LARGE: usize = 1 << 18;

/// A value for each member of a block.
pub(crate) type Block<T> = ArrayVec<T, FETCHED_MAX>;

impl<I: Id> Table<I> {
    /// Returns whether a batch gains more by reads ahead of its writes than they cost.
    pub(crate) fn is_large(&self) -> bool {
        self.len() >= LARGE
    }

    /// Returns the slots of up to [`FETCHED_MAX`] ids, in order, and reads the cells of their
    /// members. O(ids).
    pub(crate) fn slots_of<'a>(
        &self,
        ids: impl Iterator<Item = &'a I> + Clone,
    ) -> Block<Option<u32>>
    where
        I: 'a,
    {
        let ids = ids.take(FETCHED_MAX);
        let hashes: Block<u64> = ids.clone().map(|id| self.hasher.hash_one(id)).collect();
        let buckets = hashes.iter().map(|&hash| self.index.touch(hash));
        black_box(buckets.fold(0, |sum, bucket| sum ^ bucket));
        // The member with this hash is nearly always the one with this id.
        let likely = hashes
            .iter()
            .filter_map(|&hash| self.index.find(hash, |_| true));
        let cells = likely.map(|slot| self.cells[slot as usize].revision ^ self.keys.leaf(slot));
        black_box(cells.fold(0, |sum, cell| sum ^ cell));
        let is_member = |id: &I, slot: u32| self.cells[slot as usize].id == *id;
        let found = ids.zip(&hashes);
        let found = found.map(|(id, &hash)| self.index.find(hash, |slot| is_member(id, slot)));
        found.collect()
    }
}

impl<I: Id> Store<I> {
    /// Reads what writes of up to [`FETCHED_MAX`] members need, if the list is large. A write waits
    /// for each of its reads; here those of all members are under way together. O(ids log n).
    pub(crate) fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone)
    where
        I: 'a,
    {
        if self.table.is_large() {
            black_box(self.fetch(ids));
        }
    }

    /// Returns a number made of all that was read, so that no read is left out.
    fn fetch<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone) -> usize
    where
        I: 'a,
    {
        let slots: Block<u32> = self.table.slots_of(ids).into_iter().flatten().collect();
        let keys = slots.iter().map(|&slot| self.table.key(slot).len());
        let keys = keys.fold(0, usize::wrapping_add);
        let climbs: Block<Climb> = slots.iter().map(|&slot| self.climb(slot)).collect();
        let leaves = climbs.iter().filter_map(|climb| {
            let (before, run) = self.groups[Nodes::owner(climb)].tree.descend(climb)?;
            let middle = run.slots().len() / 2;
            Some(before + run.slots()[middle] as usize)
        });
        leaves.fold(keys, usize::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use crate::member_list::{ListOptions, MemberList, SortKey};

    #[test]
    fn fetches_known_and_unknown_members_of_all_groups() {
        let mut list = MemberList::<u64>::new(ListOptions::default());
        let groups = list.set_groups(&["a", "b"]).expect("good names");
        for id in 0..3_000 {
            let group = groups[id as usize % 2];
            let key = SortKey::from_u64(id % 7);
            list.upsert(id, group, &key, 0).expect("known");
        }
        list.set_group_hidden(groups[1], true).expect("known");
        let ids: Vec<u64> = (0..4_000).rev().collect();
        for some in ids.chunks(super::FETCHED_MAX) {
            let known = some.iter().any(|id| *id < 3_000);
            assert_eq!(list.store.fetch(some.iter()) > 0, known);
        }
        // Of more than the most the first are read.
        assert!(list.store.fetch(ids.iter().rev()) > 0);
        assert_eq!(list.store.fetch(ids.iter()), 0);
        assert_eq!(list.store.fetch([].iter()), 0);
    }
}

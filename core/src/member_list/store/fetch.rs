//! Memory that a batch needs, read ahead of its writes.

use std::hint::black_box;

use arrayvec::ArrayVec;

use crate::member_list::Id;
use crate::member_list::store::Store;
use crate::member_list::store::table::Nodes;
use crate::member_list::tree::Climb;

/// The most members whose memory is read at once; the writes then find it in the near caches.
pub(crate) const FETCHED_MAX: usize = 48;

/// Smaller lists are in the caches as they are: from here on a batch gains more than it pays.
const LARGE: usize = 1 << 18;

impl<I: Id> Store<I> {
    /// Reads what writes of up to [`FETCHED_MAX`] members need, if the list is large. A write waits
    /// for each of its reads; here those of all members are under way together. O(ids log n).
    pub(crate) fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I>)
    where
        I: 'a,
    {
        if self.member_count() >= LARGE {
            black_box(self.fetch(ids));
        }
    }

    /// Returns a number made of all that was read, so that no read is left out.
    fn fetch<'a>(&self, ids: impl Iterator<Item = &'a I>) -> usize
    where
        I: 'a,
    {
        let slots = ids.filter_map(|id| self.table.slot(id));
        let slots: ArrayVec<u32, FETCHED_MAX> = slots.take(FETCHED_MAX).collect();
        let keys = slots.iter().map(|&slot| self.table.key(slot).len());
        let keys = keys.fold(0, usize::wrapping_add);
        let climbs: ArrayVec<Climb, FETCHED_MAX> =
            slots.iter().map(|&slot| self.climb(slot)).collect();
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
        // More than the most are read in part.
        assert!(list.store.fetch(ids.iter()) > 0);
        assert_eq!(list.store.fetch([].iter()), 0);
    }
}

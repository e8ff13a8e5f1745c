//! The rows of many members, found in steps: each is a short loop over a block of them.

use std::hint::black_box;

use crate::member_list::Id;
use crate::member_list::store::Store;
use crate::member_list::store::classes::Classes;
use crate::member_list::store::fetch::{Block, FETCHED_MAX};
use crate::member_list::store::groups::{GroupId, Groups};
use crate::member_list::store::leaf::{LeafSlots, Needle};
use crate::member_list::store::nodes::Nodes;
use crate::member_list::store::placed::{PlacedOrder, Sorted};
use crate::member_list::store::table::Table;

/// Smaller tables are in the caches as they are: there single calls find the rows sooner.
pub(super) const STEPS_MIN: usize = 1 << 16;

/// A member that is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) slot: u32,
    pub(super) group: GroupId,
    pub(super) index: usize,
}

/// The leaf of a member.
pub(super) struct LeafOf<'a> {
    slot: u32,
    pub(super) group: GroupId,
    /// Members of the group before the leaf.
    before: usize,
    run: &'a LeafSlots,
}

impl LeafOf<'_> {
    /// Returns the position of the member in its group. O(leaf).
    #[inline]
    pub(super) fn position(&self) -> usize {
        let at = self.run.find(self.slot);
        self.before + at.expect("a member is in the leaf it refers to")
    }
}

impl<I: Id> Store<I> {
    /// Finds the rows of members and tells them in order; `None` of one that is not shown.
    /// O(ids log n), no comparison of keys.
    pub(super) fn each_shown(&self, ids: &[I], mut tell: impl FnMut(Option<Shown>)) {
        for block in ids.chunks(FETCHED_MAX) {
            let slots = self.table.slots_of(block.iter());
            let leaves = slots.into_iter().map(|slot| Some(self.leaf_of(slot?)));
            tell_shown(&self.groups, &leaves.collect(), &mut tell);
        }
    }

    /// Climbs from a member to the leaf that it is in, without key comparisons. O(log n).
    #[inline]
    pub(super) fn leaf_of(&self, slot: u32) -> LeafOf<'_> {
        let climb = self.climb(slot);
        let group = Nodes::owner(&climb);
        let (before, run) = self.groups[group]
            .tree
            .descend(&climb)
            .expect("the parent table leads to the leaf of every member");
        LeafOf {
            slot,
            group,
            before,
            run,
        }
    }
}

impl<I: Id> PlacedOrder<I> {
    /// Finds the rows of members and tells them in order; `None` of one that the list does not
    /// admit or not show. O(ids log n).
    pub(super) fn each_shown(
        &self,
        table: &Table<I>,
        classes: &Classes,
        ids: &[I],
        mut tell: impl FnMut(Option<Shown>),
    ) {
        let keys = table.column(self.column());
        for block in ids.chunks(FETCHED_MAX) {
            let slots = table.slots_of(block.iter());
            let known = slots.iter().flatten();
            let read = known.map(|&slot| keys.key_of(slot).len() ^ table.class(slot) as usize);
            black_box(read.fold(0, |sum, part| sum ^ part));
            let leaves = slots.into_iter().map(|slot| {
                let group = self.group_of(table, classes, slot?)?;
                self.leaf_of(table, slot?, group)
            });
            tell_shown(self.groups(), &leaves.collect(), &mut tell);
        }
    }

    /// Reads the leaves of up to [`FETCHED_MAX`] members, of those that the order knows and admits.
    /// Returns a number made of all that was read. O(members x log n).
    pub(crate) fn fetch(
        &self,
        table: &Table<I>,
        classes: &Classes,
        slots: impl Iterator<Item = u32>,
    ) -> u32 {
        let leaves = slots.take(FETCHED_MAX).filter_map(|slot| {
            let group = self.group_of(table, classes, slot)?;
            self.leaf_of(table, slot, group)
        });
        let leaves: Block<LeafOf<'_>> = leaves.collect();
        touch(leaves.iter())
    }

    fn leaf_of(&self, table: &Table<I>, slot: u32, group: GroupId) -> Option<LeafOf<'_>> {
        let context = Sorted::new(table, self.column());
        let needle = Needle::new(table.column(self.column()).key_of(slot));
        let probe = (&needle, Some(&table.cells[slot as usize].id));
        let (before, run) = self.groups()[group].tree.seek(&context, probe)?;
        Some(LeafOf {
            slot,
            group,
            before,
            run,
        })
    }
}

/// Reads leaves ahead of searches in them. Returns a number made of all that was read.
fn touch<'a>(leaves: impl Iterator<Item = &'a LeafOf<'a>>) -> u32 {
    leaves.fold(0, |sum, leaf| sum ^ leaf.run.touch())
}

/// Looks for members in their leaves and tells their rows.
fn tell_shown(
    groups: &Groups,
    leaves: &Block<Option<LeafOf<'_>>>,
    tell: &mut impl FnMut(Option<Shown>),
) {
    black_box(touch(leaves.iter().flatten()));
    for leaf in leaves {
        tell(leaf.as_ref().and_then(|leaf| {
            let index = groups.member_row(leaf.group, leaf.position())?;
            Some(Shown {
                slot: leaf.slot,
                group: leaf.group,
                index,
            })
        }));
    }
}

//! The members of a list: ids, keys, groups, and the order of them all.

mod bulk;
mod check;
pub(crate) mod classes;
pub(crate) mod cow_vec;
pub(crate) mod fetch;
pub(crate) mod groups;
mod id_index;
pub(crate) mod kept_pages;
mod key_bytes;
mod key_table;
pub(crate) mod leaf;
pub(crate) mod list_ref;
mod many;
pub(crate) mod matches;
pub(crate) mod nodes;
mod paged_vec;
mod payloads;
pub(crate) mod placed;
mod row_counts;
pub(crate) mod row_write;
pub(crate) mod rows;
mod saved;
mod slot_runs;
pub(crate) mod staging;
pub(crate) mod table;
mod write;

use std::ops::RangeBounds;

use triomphe::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::member_list::options::{ListOptions, ResumeLimits};
use crate::member_list::tree::{Climb, Tree};
use crate::member_list::{Id, ListError};
pub use bulk::NewMember;
use groups::{Group, GroupId, Groups};
use leaf::LeafSlots;
use nodes::Nodes;
use placed::check_saved;
use rows::{Member, Row, Rows, View, payload};
pub use staging::BulkReport;
use table::Table;
pub(crate) use write::Entry;
pub use write::Upsert;

/// The members of one list, in order. Writes note what they changed in the
/// [`Changes`](crate::member_list::changes::Changes) they are given.
#[derive(Debug)]
pub(crate) struct Store<I> {
    table: Table<I>,
    groups: Arc<Groups>,
    /// The revision of members that are new: above that of any member that left.
    floor: u32,
    options: ListOptions,
}

impl<I: Id> Store<I> {
    /// Makes an empty store without groups. O(1).
    pub(crate) fn new(options: ListOptions) -> Self {
        Self {
            table: Table::new(options.payloads),
            groups: Arc::new(Groups::new(options.headers)),
            floor: 0,
            options,
        }
    }

    pub(crate) const fn options(&self) -> ListOptions {
        self.options
    }

    pub(crate) const fn set_resume(&mut self, limits: ResumeLimits) {
        self.options.resume = limits;
    }

    /// Returns the number of rows that are shown. O(1).
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns the number of members, shown or not. O(1).
    pub(crate) fn member_count(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Returns whether the id is a member's. O(1).
    pub(crate) fn contains(&self, id: &I) -> bool {
        self.table.slot(id).is_some()
    }

    /// Returns a member. O(log n).
    pub(crate) fn get(&self, id: &I) -> Option<Member<'_, I>> {
        let slot = self.table.slot(id)?;
        let cell = &self.table.cells[slot as usize];
        Some(Member {
            id: &cell.id,
            group: self.group_of(slot),
            key: self.table.key(slot),
            attrs: cell.attrs,
            revision: cell.revision,
            payload: payload(self.table.payloads.as_ref(), slot),
        })
    }

    /// Returns the row of a member that is shown. O(log n), no comparison of keys.
    pub(crate) fn index_of(&self, id: &I) -> Option<usize> {
        self.row_of(self.table.slot(id)?)
    }

    /// Returns a number for the place of a member: the same one as long as group and key are.
    pub(crate) fn place_of(&self, id: &I) -> Option<u64> {
        let slot = self.table.slot(id)?;
        Some(place(self.group_of(slot), self.table.key(slot)))
    }

    pub(crate) fn row_at(&self, index: usize) -> Option<Row<'_, I>> {
        self.view().row_at(index)
    }

    pub(crate) fn slice(&self, range: impl RangeBounds<usize>) -> Rows<'_, I> {
        self.view().slice(range)
    }

    /// Returns the heap memory in bytes, without what text ids, long keys and payloads own.
    /// O(n / 128).
    pub(crate) fn heap_bytes(&self) -> usize {
        self.table.heap_bytes() + self.order_bytes()
    }

    /// Returns the part of the heap memory that is the order. O(n / 128).
    pub(crate) fn order_bytes(&self) -> usize {
        let order = self.groups.order().iter();
        order.map(|&id| self.groups[id].tree.heap_bytes()).sum()
    }

    fn view(&self) -> View<'_, I> {
        View {
            cells: &self.table.cells,
            payloads: self.table.payloads.as_ref(),
            groups: &self.groups,
        }
    }

    fn known(&self, id: &I) -> Result<u32, ListError> {
        self.table
            .slot(id)
            .ok_or_else(|| ListError::UnknownMember { id: id.to_text() })
    }

    /// Returns the group of a member and its position there: a climb without key comparisons.
    /// O(log n).
    fn position(&self, slot: u32) -> (GroupId, usize) {
        let leaf = self.leaf_of(slot);
        (leaf.group, leaf.position())
    }

    fn group_of(&self, slot: u32) -> GroupId {
        Nodes::owner(&self.climb(slot))
    }

    fn climb(&self, slot: u32) -> Climb {
        Climb::new(self.table.leaf(slot), &self.table.nodes.parents)
    }

    fn row_of(&self, slot: u32) -> Option<usize> {
        let (group, at) = self.position(slot);
        self.groups.member_row(group, at)
    }

    /// Changes the tree of a group by `work`; afterwards the index space is in line with it.
    fn change_tree<T>(
        &mut self,
        group: GroupId,
        work: impl FnOnce(&mut Table<I>, &mut Group) -> T,
    ) -> T {
        let groups = Arc::make_mut(&mut self.groups);
        let changed = groups.at_mut(group);
        let done = work(&mut self.table, changed);
        self.table.nodes.own(changed.tree.root_id(), group);
        groups.recount(group);
        done
    }

    /// Puts a member without a place into a group and returns its row.
    fn enter(&mut self, slot: u32, group: GroupId, key: &[u8]) -> Option<usize> {
        let at = self.change_tree(group, |table, group| {
            table.insert_into(&mut group.tree, slot, key)
        });
        self.groups.member_row(group, at)
    }

    /// Takes a member out of the tree of its group: the group, and the row the member had.
    fn leave(&mut self, slot: u32, climb: &Climb) -> (GroupId, Option<usize>) {
        let group = Nodes::owner(climb);
        let at = self.change_tree(group, |table, group| {
            let found = |run: &LeafSlots| run.find(slot);
            let (_, at) = group
                .tree
                .remove_below(table, climb, found)
                .expect("the parent table leads to the leaf of every member");
            at
        });
        (group, self.groups.member_row(group, at))
    }

    /// Works on a copy of the group table, so that an error leaves no trace. Trees are shared,
    /// so the copy is O(groups).
    pub(crate) fn regroup<T>(
        &mut self,
        work: impl FnOnce(&mut Groups) -> Result<T, ListError>,
    ) -> Result<T, ListError> {
        let mut groups = (*self.groups).clone();
        let done = work(&mut groups)?;
        self.groups = Arc::new(groups);
        self.check_when_due();
        Ok(done)
    }
}

/// Verbs of saves and loads.
impl<I: Id> Store<I> {
    /// Makes a store of members that are in no group yet.
    pub(crate) fn of_saved(table: Table<I>, groups: Groups, floor: u32, payloads: bool) -> Self {
        let options = ListOptions::default()
            .headers(groups.headers())
            .payloads(payloads);
        Self {
            table,
            groups: Arc::new(groups),
            floor,
            options,
        }
    }

    pub(crate) const fn table(&self) -> &Table<I> {
        &self.table
    }

    pub(crate) const fn table_mut(&mut self) -> &mut Table<I> {
        &mut self.table
    }

    pub(crate) const fn floor(&self) -> u32 {
        self.floor
    }

    pub(crate) const fn shared_groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Fills a group with the members of a saved order, which is checked. O(members).
    pub(crate) fn restore_group(
        &mut self,
        group: GroupId,
        slots: &[u32],
    ) -> Result<(), &'static str> {
        let table = &self.table;
        // A member that has a leaf is in another group.
        let is_here = |slot: &u32| table.is_detached(*slot);
        check_saved(table, slots, is_here, |a, b| table.order(a, b))?;
        self.change_tree(group, |table, group| {
            group.tree = Tree::build(table, slots.iter().copied());
        });
        Ok(())
    }

    /// Checks that all members are in groups.
    pub(crate) fn end_restore(&self) -> Result<(), &'static str> {
        let order = self.groups.order().iter();
        let members: usize = order.map(|&id| self.groups[id].tree.len()).sum();
        if members != self.table.len() {
            return Err("a list has members without a group");
        }
        self.check_when_due();
        Ok(())
    }
}

/// Returns a number for a place in the order.
pub(crate) fn place(group: GroupId, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, u64::from(group.0))
}

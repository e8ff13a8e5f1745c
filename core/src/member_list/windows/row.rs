//! The rows of windows, read from the store.

use std::ops::Range;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;
use crate::member_list::frames::model::RowKey;
use crate::member_list::store::groups::{Group, GroupId};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::rows::RowRef;
use crate::member_list::windows::diff::Diffable;

/// The slot of a row that is no member.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// A row of a window as it was published.
#[derive(Clone, Debug)]
pub(crate) struct WindowRow<I> {
    pub(crate) key: RowKey<I>,
    /// Revision of a member, count of a header.
    pub(crate) stamp: u32,
    pub(crate) attrs: u32,
    /// The slot of the member in the table, or [`NO_SLOT`]: no part of what viewers see.
    pub(crate) slot: u32,
}

impl<I: Id> Diffable for WindowRow<I> {
    type Key = RowKey<I>;

    fn key(&self) -> &RowKey<I> {
        &self.key
    }

    fn same_content(&self, next: &Self) -> bool {
        let is_missed = self.slot == NO_SLOT && is_broken(Fault::MissHeaderCount);
        is_missed || self.stamp == next.stamp && self.attrs == next.attrs
    }
}

impl<I: Id> WindowRow<I> {
    /// Reads a row.
    pub(crate) fn read(list: ListRef<'_, I>, row_ref: RowRef) -> Self {
        match row_ref {
            RowRef::Header(group) => {
                let group = &list.groups()[group];
                Self {
                    key: RowKey::Header(group.name.as_ref().into()),
                    stamp: group.tree.len() as u32,
                    attrs: 0,
                    slot: NO_SLOT,
                }
            }
            RowRef::Member(_, slot) => {
                let cell = list.cell(slot);
                Self {
                    key: RowKey::Member(cell.id.clone()),
                    stamp: cell.revision,
                    attrs: cell.attrs,
                    slot,
                }
            }
        }
    }
}

impl<I: Id> WindowRow<I> {
    /// Returns whether it is the header of a group, with the count that the group has.
    pub(crate) fn is_header_of(&self, group: &Group) -> bool {
        let is_named = matches!(&self.key, RowKey::Header(name) if **name == *group.name);
        is_named && self.stamp as usize == group.tree.len()
    }

    /// Returns the memory of the row in bytes, with that of its key.
    pub(crate) fn bytes(&self) -> usize {
        let key = match &self.key {
            RowKey::Header(group) => group.len() + 2 * size_of::<usize>(),
            RowKey::Member(id) => id.heap_bytes(),
        };
        size_of::<Self>() + key
    }

    /// Reads the member at a position in the tree of a group. O(log n).
    pub(crate) fn member(list: ListRef<'_, I>, group: GroupId, at: usize) -> Option<Self> {
        let slot = list.slot_at(group, at)?;
        Some(Self::read(list, RowRef::Member(group, slot)))
    }
}

/// Reads the rows of a range. O(log n + rows).
pub(crate) fn read_rows<I: Id>(list: ListRef<'_, I>, range: Range<usize>) -> Vec<WindowRow<I>> {
    let mut refs = list.slice(range);
    let mut rows = Vec::with_capacity(refs.len());
    while let Some(row_ref) = refs.next_ref() {
        rows.push(WindowRow::read(list, row_ref));
    }
    rows
}

/// Reads the row at `index`, or the last one if the list ends before it. O(log n).
pub(crate) fn row_near<I: Id>(list: ListRef<'_, I>, index: u64) -> Option<WindowRow<I>> {
    let last = list.len().checked_sub(1)?;
    let index = (index as usize).min(last);
    read_rows(list, index..index + 1).pop()
}

/// Returns the index of a row that is shown. O(log n + groups).
pub(crate) fn row_index<I: Id>(list: ListRef<'_, I>, key: &RowKey<I>) -> Option<usize> {
    match key {
        RowKey::Header(name) => {
            let groups = list.groups();
            groups.header_row(groups.by_name(name)?)
        }
        RowKey::Member(id) => list.index_of(id),
    }
}

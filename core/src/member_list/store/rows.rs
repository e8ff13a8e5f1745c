//! Ordered reads, the same for a list and for its snapshots.

use std::ops::{Range, RangeBounds};

use bytes::Bytes;

use crate::member_list::sorted_set::clip;
use crate::member_list::store::cow_vec::CowVec;
use crate::member_list::store::groups::{GroupId, GroupInfo, Groups, Place};
use crate::member_list::store::leaf::{LeafSlots, Needle};
use crate::member_list::store::table::Cell;
use crate::member_list::tree::Runs;
use crate::member_list::{Id, MemberList, SortKey};

/// A row of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Row<'a, I> {
    /// The header of a group that has members.
    Header {
        /// The group.
        group: GroupId,
        /// Its name.
        name: &'a str,
        /// Its members.
        count: usize,
    },
    /// A member.
    Member {
        /// The id of the member.
        id: &'a I,
        /// The group it is in.
        group: GroupId,
        /// Grows with each change of attributes or payload.
        revision: u32,
        /// The user's bits.
        attrs: u32,
        /// The payload; empty in lists without payloads.
        #[cfg_attr(feature = "serde", serde(with = "crate::text_or_bytes"))]
        payload: &'a [u8],
    },
}

/// What a list knows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Member<'a, I> {
    /// The id of the member.
    pub id: &'a I,
    /// The group it is in.
    pub group: GroupId,
    /// The bytes it sorts by.
    #[cfg_attr(feature = "serde", serde(with = "crate::text_or_bytes"))]
    pub key: &'a [u8],
    /// The user's bits.
    pub attrs: u32,
    /// Grows with each change of attributes or payload.
    pub revision: u32,
    /// The payload; empty in lists without payloads.
    #[cfg_attr(feature = "serde", serde(with = "crate::text_or_bytes"))]
    pub payload: &'a [u8],
}

impl<I: Id> MemberList<I> {
    /// Rows in the index space: members and headers that are shown. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns whether there are no rows. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Members, shown or not. O(1).
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.table.len()
    }

    /// Returns whether the id is a member's. O(1).
    pub fn contains(&self, id: &I) -> bool {
        self.table.slot(id).is_some()
    }

    /// A member by id. O(log n).
    pub fn get(&self, id: &I) -> Option<Member<'_, I>> {
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

    /// The row of a member; `None` when it is unknown or its group is hidden or collapsed.
    /// O(log n), no comparison of keys.
    pub fn index_of(&self, id: &I) -> Option<usize> {
        self.row_of(self.table.slot(id)?)
    }

    /// The row of a group's header. O(groups).
    #[must_use]
    pub fn header_index(&self, group: GroupId) -> Option<usize> {
        self.groups.find(group)?;
        self.groups.header_row(group)
    }

    /// Returns what is at a row. O(log n).
    #[must_use]
    pub fn row_at(&self, index: usize) -> Option<Row<'_, I>> {
        self.view().row_at(index)
    }

    /// The rows of a range, in order; rows past the end are left out. O(log n) to begin with and
    /// once per 128 rows, O(1) otherwise.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Rows<'_, I> {
        self.view().slice(range)
    }

    /// All rows in order.
    pub fn iter(&self) -> Rows<'_, I> {
        self.slice(..)
    }

    /// All groups in order, also hidden and empty ones. O(groups).
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo<'_>> {
        self.groups.infos()
    }

    /// Returns for each group the row of the first member whose key begins with these bytes;
    /// groups without one, or not shown, are left out. O(groups x log n).
    ///
    /// The prefix is made as the keys are: by [`SortKey::from_name`] of the first letters if they
    /// are of names, by `Collation::prefix` (not `key`) if they are of a collation. Keys end after
    /// 64 bytes: a longer text finds the first member whose name agrees with it so far.
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// for (id, name) in [(1, "Anna"), (2, "Moritz"), (3, "Max")] {
    ///     list.upsert(id, online, &SortKey::from_name(name), 0)?;
    /// }
    /// assert_eq!(list.find_prefix(&SortKey::from_name("m")), [(online, 2)]);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    #[must_use]
    pub fn find_prefix(&self, prefix: &SortKey) -> Vec<(GroupId, usize)> {
        let mut found = Vec::new();
        let needle = Needle::new(prefix.as_bytes());
        for &group in self.groups.order() {
            let tree = &self.groups[group].tree;
            let at = tree
                .rank(&self.table, (&needle, None))
                .unwrap_or_else(|at| at);
            let starts = tree.select(at).is_some_and(|(run, at)| {
                self.table
                    .key(run.slots()[at])
                    .starts_with(prefix.as_bytes())
            });
            if let Some(row) = self.groups.member_row(group, at).filter(|_| starts) {
                found.push((group, row));
            }
        }
        found
    }

    /// Heap memory of the list in bytes, without what text ids, keys over 15 bytes and payloads
    /// own. O(n / 128).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let trees = self
            .groups
            .order()
            .iter()
            .map(|&id| self.groups[id].tree.heap_bytes());
        self.table.heap_bytes() + trees.sum::<usize>()
    }

    /// The part of [`heap_bytes`](Self::heap_bytes) that is the order: the trees. O(n / 128).
    #[must_use]
    pub fn order_bytes(&self) -> usize {
        let trees = self
            .groups
            .order()
            .iter()
            .map(|&id| self.groups[id].tree.heap_bytes());
        trees.sum()
    }

    pub(in crate::member_list) fn view(&self) -> View<'_, I> {
        View {
            cells: &self.table.cells,
            payloads: self.table.payloads.as_ref(),
            groups: &self.groups,
        }
    }
}

/// What ordered reads need.
#[derive(Debug)]
pub(in crate::member_list) struct View<'a, I> {
    pub(in crate::member_list) cells: &'a CowVec<Cell<I>>,
    pub(in crate::member_list) payloads: Option<&'a CowVec<Bytes>>,
    pub(in crate::member_list) groups: &'a Groups,
}

impl<I> Clone for View<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for View<'_, I> {}

impl<'a, I> View<'a, I> {
    pub(in crate::member_list) fn row_at(self, index: usize) -> Option<Row<'a, I>> {
        match self.groups.place(index)? {
            Place::Header(group) => Some(self.header(group)),
            Place::Member(group, at) => {
                let (run, at) = self.groups[group].tree.select(at)?;
                Some(self.member(group, run.slots()[at]))
            }
        }
    }

    pub(in crate::member_list) fn slice(self, range: impl RangeBounds<usize>) -> Rows<'a, I> {
        let (from, to) = clip(range, self.groups.len());
        Rows {
            view: self,
            next: from,
            end: to,
            group: GroupId(0),
            runs: None,
            slots: [].iter(),
        }
    }

    fn header(self, group: GroupId) -> Row<'a, I> {
        let found = &self.groups[group];
        Row::Header {
            group,
            name: &found.name,
            count: found.tree.len(),
        }
    }

    #[inline]
    fn member(self, group: GroupId, slot: u32) -> Row<'a, I> {
        let cell = &self.cells[slot as usize];
        Row::Member {
            id: &cell.id,
            group,
            revision: cell.revision,
            attrs: cell.attrs,
            payload: payload(self.payloads, slot),
        }
    }
}

#[inline]
fn payload(payloads: Option<&CowVec<Bytes>>, slot: u32) -> &[u8] {
    payloads.map_or(&[], |payloads| &payloads[slot as usize])
}

/// What is at a row, by group and slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RowRef {
    Header(GroupId),
    Member(GroupId, u32),
}

/// Rows of a list or snapshot, in order.
#[derive(Clone, Debug)]
#[must_use = "iterators are lazy"]
pub struct Rows<'a, I> {
    view: View<'a, I>,
    next: usize,
    end: usize,
    group: GroupId,
    /// The leaves of the current group that are still to come.
    runs: Option<Runs<'a, LeafSlots>>,
    slots: std::slice::Iter<'a, u32>,
}

impl<'a, I> Rows<'a, I> {
    /// The row the next item is at.
    #[must_use]
    pub fn index(&self) -> usize {
        self.next
    }

    /// The next row, without a look at the member.
    #[inline]
    pub(crate) fn next_ref(&mut self) -> Option<RowRef> {
        // The slots at hand end where the rows do.
        if let Some(&slot) = self.slots.next() {
            self.next += 1;
            return Some(RowRef::Member(self.group, slot));
        }
        self.next_leaf()
    }

    /// The next row when the slots at hand are used up.
    fn next_leaf(&mut self) -> Option<RowRef> {
        while self.next < self.end {
            if let Some(group) = self.advance() {
                self.next += 1;
                return Some(RowRef::Header(group));
            }
            if let Some(&slot) = self.slots.next() {
                self.next += 1;
                return Some(RowRef::Member(self.group, slot));
            }
        }
        None
    }

    /// Finds the next leaf, or the group whose header is next.
    fn advance(&mut self) -> Option<GroupId> {
        if let Some(runs) = &mut self.runs {
            if let Some((run, Range { start, end })) = runs.next_run(|run| run.slots().len()) {
                self.slots = run.slots()[start..end].iter();
                return None;
            }
            self.runs = None;
        }
        match self.view.groups.place(self.next)? {
            Place::Header(group) => Some(group),
            Place::Member(group, at) => {
                let tree = &self.view.groups[group].tree;
                self.group = group;
                self.runs = Some(tree.runs(at, at + (self.end - self.next)));
                None
            }
        }
    }
}

impl<'a, I> Iterator for Rows<'a, I> {
    type Item = Row<'a, I>;

    #[inline]
    fn next(&mut self) -> Option<Row<'a, I>> {
        Some(match self.next_ref()? {
            RowRef::Header(group) => self.view.header(group),
            RowRef::Member(group, slot) => self.view.member(group, slot),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl<I> ExactSizeIterator for Rows<'_, I> {}

//! One list, explicit or placed, as windows and answers read it.

use std::ops::{Range, RangeBounds};

use crate::member_list::store::classes::Classes;
use crate::member_list::store::groups::{GroupId, Groups};
use crate::member_list::store::leaf::Needle;
use crate::member_list::store::many::{STEPS_MIN, Shown};
use crate::member_list::store::placed::{PlacedOrder, Sorted};
use crate::member_list::store::rows::{Ordered, Row, Rows, View, payload};
use crate::member_list::store::table::{Cell, Table};
use crate::member_list::store::{Store, place};
use crate::member_list::{Id, SortKey};

/// One list of a table.
#[derive(Debug)]
pub(crate) struct ListRef<'a, I> {
    table: &'a Table<I>,
    kind: Kind<'a, I>,
}

#[derive(Debug)]
enum Kind<'a, I> {
    Explicit(&'a Store<I>),
    Placed(&'a PlacedOrder<I>, &'a Classes),
}

impl<I> Clone for ListRef<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for ListRef<'_, I> {}

impl<I> Clone for Kind<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Kind<'_, I> {}

impl<'a, I: Id> ListRef<'a, I> {
    /// Returns the list that a store is.
    pub(crate) const fn explicit(store: &'a Store<I>) -> Self {
        Self {
            table: &store.table,
            kind: Kind::Explicit(store),
        }
    }

    /// Returns a placed list of a table.
    pub(crate) const fn placed(
        table: &'a Table<I>,
        order: &'a PlacedOrder<I>,
        classes: &'a Classes,
    ) -> Self {
        Self {
            table,
            kind: Kind::Placed(order, classes),
        }
    }

    pub(crate) fn groups(self) -> &'a Groups {
        match self.kind {
            Kind::Explicit(store) => &store.groups,
            Kind::Placed(order, _) => order.groups(),
        }
    }

    /// Returns the number of rows that are shown. O(1).
    pub(crate) fn len(self) -> usize {
        self.groups().len()
    }

    /// Returns the number of members of the list, shown or not. O(1).
    pub(crate) fn member_count(self) -> usize {
        match self.kind {
            Kind::Explicit(store) => store.member_count(),
            Kind::Placed(order, _) => order.member_count(),
        }
    }

    /// Returns the id, revision and attributes of the member in a slot.
    #[inline]
    pub(crate) fn cell(self, slot: u32) -> &'a Cell<I> {
        &self.table.cells[slot as usize]
    }

    pub(crate) fn slice(self, range: impl RangeBounds<usize>) -> Rows<'a, I> {
        self.view().slice(range)
    }

    pub(crate) fn row_at(self, index: usize) -> Option<Row<'a, I>> {
        self.view().row_at(index)
    }

    /// Returns the row of a member; `None` when the list does not admit it, when its group is
    /// hidden or collapsed, and when there is no such member. O(log n).
    pub(crate) fn index_of(self, id: &I) -> Option<usize> {
        match self.kind {
            Kind::Explicit(store) => store.index_of(id),
            Kind::Placed(order, classes) => {
                let slot = self.table.slot(id)?;
                let group = order.group_of(self.table, classes, slot)?;
                order.row_of(self.table, slot, group)
            }
        }
    }

    /// Returns the row of each member, as [`index_of`](Self::index_of). O(ids log n).
    pub(crate) fn index_of_many(self, ids: &[I]) -> Vec<Option<usize>> {
        if self.table.len() < STEPS_MIN {
            return ids.iter().map(|id| self.index_of(id)).collect();
        }
        let mut rows = Vec::with_capacity(ids.len());
        self.each_shown(ids, |shown| rows.push(shown.map(|shown| shown.index)));
        rows
    }

    /// Returns the index and the content of the row of each member. O(ids log n).
    pub(crate) fn rows_of(self, ids: &[I]) -> Vec<Option<(usize, Row<'a, I>)>> {
        let mut rows = Vec::with_capacity(ids.len());
        let view = self.view();
        let row = |shown: Shown| (shown.index, view.member(shown.group, shown.slot));
        self.each_shown(ids, |shown| rows.push(shown.map(row)));
        rows
    }

    fn each_shown(self, ids: &[I], tell: impl FnMut(Option<Shown>)) {
        match self.kind {
            Kind::Explicit(store) => store.each_shown(ids, tell),
            Kind::Placed(order, classes) => order.each_shown(self.table, classes, ids, tell),
        }
    }

    /// Returns the group of a member of the list. O(log n).
    pub(crate) fn group_of(self, id: &I) -> Option<GroupId> {
        let slot = self.table.slot(id)?;
        match self.kind {
            Kind::Explicit(store) => Some(store.group_of(slot)),
            Kind::Placed(order, classes) => order.group_of(self.table, classes, slot),
        }
    }

    /// Returns a number for the place of a member: the same one as long as group and key are.
    pub(crate) fn place_of(self, id: &I) -> Option<u64> {
        match self.kind {
            Kind::Explicit(store) => store.place_of(id),
            Kind::Placed(order, classes) => {
                let slot = self.table.slot(id)?;
                let group = order.group_of(self.table, classes, slot)?;
                Some(place(group, order.key(self.table, slot)))
            }
        }
    }

    /// Returns the payload of a member of the list.
    pub(crate) fn payload(self, id: &I) -> Option<&'a [u8]> {
        let slot = self.table.slot(id)?;
        Some(payload(self.table.payloads.as_ref(), slot))
    }

    /// Returns for each group the row of the first member whose key begins with `prefix`.
    /// O(groups x log n).
    pub(crate) fn find_prefix(self, prefix: &SortKey) -> Vec<(GroupId, usize)> {
        let groups = self.groups();
        let found = |&group: &GroupId| {
            let matches = self.matches(group, prefix);
            let first = match groups.descending() {
                true => matches.end.checked_sub(1)?,
                false => matches.start,
            };
            let row = groups.member_row(group, first);
            row.filter(|_| !matches.is_empty()).map(|row| (group, row))
        };
        groups.order().iter().filter_map(found).collect()
    }

    /// Returns the positions in the tree of a group of the members whose keys begin with `prefix`.
    /// O(log n).
    pub(crate) fn matches(self, group: GroupId, prefix: &SortKey) -> Range<usize> {
        let tree = &self.groups()[group].tree;
        let sorted = Sorted::new(self.table, self.column());
        if tree.len() == 0 {
            return 0..0;
        }
        let rank = |key: &[u8]| {
            let needle = Needle::new(key);
            let at = tree.rank(&sorted, (&needle, None));
            at.unwrap_or_else(|at| at)
        };
        let start = rank(prefix.as_bytes());
        let end = match prefix.successor() {
            Some(next) => rank(next.as_bytes()),
            None => tree.len(),
        };
        start..end
    }

    /// Returns the slot of the member at a position in the tree of a group. O(log n).
    pub(crate) fn slot_at(self, group: GroupId, at: usize) -> Option<u32> {
        let (run, at) = self.groups()[group].tree.select(at)?;
        Some(run.slots()[at])
    }

    /// Returns the ordered part as it is now, for readers in any thread. O(1).
    pub(crate) fn ordered(self) -> Ordered<I> {
        Ordered {
            cells: self.table.cells.clone(),
            payloads: self.table.payloads.clone(),
            groups: match self.kind {
                Kind::Explicit(store) => store.groups.clone(),
                Kind::Placed(order, _) => order.shared_groups().clone(),
            },
        }
    }

    fn column(self) -> usize {
        match self.kind {
            Kind::Explicit(_) => 0,
            Kind::Placed(order, _) => order.column(),
        }
    }

    fn view(self) -> View<'a, I> {
        View {
            cells: &self.table.cells,
            payloads: self.table.payloads.as_ref(),
            groups: self.groups(),
        }
    }
}

//! Ordered reads, the same for a list and for its snapshots.

use std::ops::{Range, RangeBounds};

use bytes::Bytes;
use hashbrown::HashMap;
use triomphe::Arc;

use crate::member_list::Id;
use crate::member_list::store::cow_vec::CowVec;
use crate::member_list::store::groups::{GroupId, Groups, Place};
use crate::member_list::store::leaf::LeafSlots;
use crate::member_list::store::table::Cell;
use crate::member_list::tree::{Runs, clip};

/// A row of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
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
        #[cfg_attr(
            feature = "serde",
            serde(serialize_with = "crate::member_list::id::serde_form::serialize_ref")
        )]
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

/// A member of a list: id, group, key and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
pub struct Member<'a, I> {
    /// The id of the member.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::member_list::id::serde_form::serialize_ref")
    )]
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

/// The ordered part of a store at one moment. Cloning it is O(1).
#[derive(Clone)]
pub(crate) struct Ordered<I> {
    pub(super) cells: CowVec<Cell<I>>,
    pub(super) payloads: Option<CowVec<Bytes>>,
    pub(super) groups: Arc<Groups>,
}

impl<I> Ordered<I> {
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn view(&self) -> View<'_, I> {
        View {
            cells: &self.cells,
            payloads: self.payloads.as_ref(),
            groups: &self.groups,
        }
    }
}

/// The place of each member, shown or not: its group, and its position in the tree of that.
pub(crate) type Places<I> = HashMap<I, (GroupId, u32)>;

impl<I: Id> Ordered<I> {
    /// Returns the places of all members. O(n).
    pub(crate) fn places(&self) -> Places<I> {
        let len = |run: &LeafSlots| run.slots().len();
        let trees = self.groups.order().iter();
        let members = trees.clone().map(|&group| self.groups[group].tree.len());
        let mut places = Places::with_capacity(members.sum());
        for &group in trees {
            let tree = &self.groups[group].tree;
            let mut runs = tree.runs(0, tree.len());
            let mut at = 0;
            while let Some((run, _)) = runs.next_run(len) {
                for &slot in run.slots() {
                    places.insert(self.cells[slot as usize].id.clone(), (group, at));
                    at += 1;
                }
            }
        }
        places
    }

    /// Returns the member at a place. O(log n).
    pub(crate) fn member_at(&self, (group, at): (GroupId, u32)) -> Option<Row<'_, I>> {
        let (run, at) = self.groups[group].tree.select(at as usize)?;
        Some(self.view().member(group, run.slots()[at]))
    }
}

/// The parts of a store that ordered reads need.
#[derive(Debug)]
pub(crate) struct View<'a, I> {
    pub(super) cells: &'a CowVec<Cell<I>>,
    pub(super) payloads: Option<&'a CowVec<Bytes>>,
    pub(super) groups: &'a Groups,
}

impl<I> Clone for View<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for View<'_, I> {}

impl<'a, I> View<'a, I> {
    pub(crate) fn row_at(self, index: usize) -> Option<Row<'a, I>> {
        match self.groups.place(index)? {
            Place::Header(group) => Some(self.header(group)),
            Place::Member(group, at) => {
                let (run, at) = self.groups[group].tree.select(at)?;
                Some(self.member(group, run.slots()[at]))
            }
        }
    }

    pub(crate) fn slice(self, range: impl RangeBounds<usize>) -> Rows<'a, I> {
        let (from, to) = clip(range, self.groups.len());
        Rows {
            view: self,
            next: from,
            end: to,
            group: GroupId(0),
            backwards: self.groups.descending(),
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
    pub(super) fn member(self, group: GroupId, slot: u32) -> Row<'a, I> {
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
pub(crate) fn payload(payloads: Option<&CowVec<Bytes>>, slot: u32) -> &[u8] {
    payloads.map_or(&[], |payloads| &payloads[slot as usize])
}

/// The content of a row, by group and slot.
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
    backwards: bool,
    /// The leaves of the current group that are still to come.
    runs: Option<Runs<'a, LeafSlots>>,
    slots: std::slice::Iter<'a, u32>,
}

impl<'a, I> Rows<'a, I> {
    /// Returns the row the next item is at.
    #[must_use]
    pub fn index(&self) -> usize {
        self.next
    }

    /// The next row, without a look at the member.
    #[inline]
    pub(crate) fn next_ref(&mut self) -> Option<RowRef> {
        // The slots at hand end where the rows do.
        if let Some(slot) = self.next_slot() {
            self.next += 1;
            return Some(RowRef::Member(self.group, slot));
        }
        self.next_leaf()
    }

    #[inline]
    fn next_slot(&mut self) -> Option<u32> {
        if self.backwards {
            return self.slots.next_back().copied();
        }
        self.slots.next().copied()
    }

    /// The next row when the slots at hand are used up.
    fn next_leaf(&mut self) -> Option<RowRef> {
        while self.next < self.end {
            if let Some(group) = self.advance() {
                self.next += 1;
                return Some(RowRef::Header(group));
            }
            if let Some(slot) = self.next_slot() {
                self.next += 1;
                return Some(RowRef::Member(self.group, slot));
            }
        }
        None
    }

    /// Finds the next leaf, or the group whose header is next.
    fn advance(&mut self) -> Option<GroupId> {
        if let Some(runs) = &mut self.runs {
            let len = |run: &LeafSlots| run.slots().len();
            let next = match self.backwards {
                true => runs.last_run(),
                false => runs.next_run(len),
            };
            if let Some((run, Range { start, end })) = next {
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
                let wanted = self.end - self.next;
                self.runs = Some(match self.backwards {
                    true => tree.runs((at + 1).saturating_sub(wanted), at + 1),
                    false => tree.runs(at, at + wanted),
                });
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

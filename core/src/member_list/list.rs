//! `MemberList`: its writes, one member at a time.

use std::fmt;
use triomphe::Arc;

use bytes::Bytes;

use crate::member_list::changes::members::{Fields, Marks};
use crate::member_list::changes::rows::Dirty;
use crate::member_list::store::groups::{GroupId, Groups};
use crate::member_list::store::leaf::LeafSlots;
use crate::member_list::store::table::{Nodes, Table};
use crate::member_list::tree::Climb;
use crate::member_list::windows::registry::Windows;
use crate::member_list::windows::tick::place;
use crate::member_list::{Id, ListError, ListOptions, SortKey};

/// The most members a list can have.
pub const MEMBERS_MAX: usize = 1 << 30;

/// The longest payload, in bytes.
pub const PAYLOAD_MAX: usize = 64 * 1024;

/// What [`upsert`](MemberList::upsert) and the moves did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsert {
    /// The row of the member now; `None` while its group is hidden or collapsed.
    pub index: Option<usize>,
    /// True if the member was not in the list before.
    pub is_new: bool,
    /// The row before the call; `None` for new members and those without a row.
    pub old_index: Option<usize>,
}

/// A sorted, grouped, sliced list of members, for one writer.
///
/// A row of the list is a member or the header of a group with members. Rows are numbered from 0;
/// every write says at which row it happened, and [`slice`](Self::slice) reads any range of rows.
/// All of it costs O(log n), whatever the row. [`snapshot`](Self::snapshot) is O(1) and gives
/// readers the list as it is now, while writes go on.
///
/// Ids are `u64`, `u128` (UUIDs) or [`TextId`](crate::member_list::TextId). A member has an id, a group, a
/// [`SortKey`], attribute bits of the user's choice and a revision, which grows by one with every
/// change of attributes or payload and never repeats for an id while the list lives.
///
/// # Example
///
/// ```
/// use headcount::{ListOptions, MemberList, Row, SortKey};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// let online = list.add_group("online")?;
/// let offline = list.add_group("offline")?;
///
/// let bob = list.upsert(7, online, &SortKey::from_name("Bob"), 0)?;
/// let alice = list.upsert(9, online, &SortKey::from_name("alice"), 0)?;
/// assert_eq!((bob.index, alice.index), (Some(1), Some(1))); // row 0 is the header
///
/// let moved = list.set_group(&9, offline)?;
/// assert_eq!((moved.old_index, moved.index), (Some(1), Some(3)));
///
/// let rows: Vec<String> = list
///     .slice(..)
///     .map(|row| match row {
///         Row::Header { name, count, .. } => format!("{name} ({count})"),
///         Row::Member { id, .. } => format!("  {id}"),
///     })
///     .collect();
/// assert_eq!(rows, ["online (1)", "  7", "offline (1)", "  9"]);
/// assert_eq!(list.remove(&9), Some(3));
/// # Ok::<(), headcount::ListError>(())
/// ```
pub struct MemberList<I> {
    pub(super) table: Table<I>,
    pub(super) groups: Arc<Groups>,
    pub(super) dirty: Dirty,
    pub(super) marks: Marks<I>,
    pub(super) windows: Windows<I>,
    /// The revision of members that are new: above that of any member that left.
    pub(super) floor: u32,
    options: ListOptions,
}

impl<I: Id> MemberList<I> {
    /// An empty list without groups. O(1).
    #[must_use]
    pub fn new(options: ListOptions) -> Self {
        Self {
            table: Table::new(options.payloads),
            groups: Arc::new(Groups::new(options.headers)),
            dirty: Dirty::new(),
            marks: Marks::default(),
            windows: Windows::default(),
            floor: 0,
            options,
        }
    }

    /// Returns what the list was made with.
    #[must_use]
    pub fn options(&self) -> ListOptions {
        self.options
    }

    /// Puts a member in, or moves it and sets its attributes. O(log n).
    ///
    /// The revision grows when the attributes of a known member change. Its payload stays.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`], [`ListError::TooManyMembers`].
    pub fn upsert(
        &mut self,
        id: I,
        group: GroupId,
        key: &SortKey,
        attrs: u32,
    ) -> Result<Upsert, ListError> {
        self.groups.check(group)?;
        if let Some(slot) = self.table.slot(&id) {
            let revised = self.table.cells[slot as usize].attrs != attrs;
            if revised {
                self.table.revise(slot).attrs = attrs;
            }
            return Ok(self.relocate(slot, group, key.as_bytes(), revised));
        }
        if self.table.len() >= MEMBERS_MAX {
            return Err(ListError::TooManyMembers { max: MEMBERS_MAX });
        }
        self.marks.inserted(&id);
        let slot = self.table.add(id, key.as_bytes(), self.floor, attrs);
        let index = self.enter(slot, group, key.as_bytes());
        self.dirty.mark(None, index);
        self.mark_header(group, true);
        self.check_when_due();
        Ok(Upsert {
            index,
            is_new: true,
            old_index: None,
        })
    }

    /// Takes a member out: the row it had. O(log n).
    ///
    /// `None` when there is no such member, and also when it had no row because its group is
    /// hidden or collapsed; [`contains`](Self::contains) tells which.
    pub fn remove(&mut self, id: &I) -> Option<usize> {
        let slot = self.table.slot(id)?;
        let (group, index) = self.leave(slot, &self.climb(slot));
        self.marks
            .removed(id, || place(group, self.table.key(slot)));
        self.dirty.mark(index, None);
        self.mark_header(group, false);
        let revision = self.table.cells[slot as usize].revision;
        self.floor = self.floor.max(revision.saturating_add(1));
        self.table.drop_slot(slot);
        self.compact();
        self.check_when_due();
        index
    }

    /// Moves a member to another group. Its revision stays. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`], [`ListError::UnknownGroup`].
    pub fn set_group(&mut self, id: &I, group: GroupId) -> Result<Upsert, ListError> {
        let slot = self.known(id)?;
        self.groups.check(group)?;
        let key = SortKey::cut(self.table.key(slot));
        Ok(self.relocate(slot, group, key.as_bytes(), false))
    }

    /// Gives a member another sort key. Its revision stays. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn set_key(&mut self, id: &I, key: &SortKey) -> Result<Upsert, ListError> {
        let slot = self.known(id)?;
        let group = self.group_of(slot);
        Ok(self.relocate(slot, group, key.as_bytes(), false))
    }

    /// Says that what is shown of a member has changed: its revision grows. Returns its row.
    /// O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn touch(&mut self, id: &I) -> Result<Option<usize>, ListError> {
        self.touch_fields(id, Fields::ALL)
    }

    /// Like [`touch`](Self::touch), when only these fields of the member's body have changed:
    /// viewers are sent a patch instead of the body. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn touch_fields(&mut self, id: &I, fields: Fields) -> Result<Option<usize>, ListError> {
        let slot = self.known(id)?;
        self.marks.fields(id, fields);
        self.table.revise(slot);
        Ok(self.mark_revised(slot))
    }

    /// Sets the attribute bits of a member; the revision grows if they differ. Returns its row.
    /// O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownMember`].
    pub fn set_attrs(&mut self, id: &I, attrs: u32) -> Result<Option<usize>, ListError> {
        let slot = self.known(id)?;
        if self.table.cells[slot as usize].attrs == attrs {
            return Ok(self.row_of(slot));
        }
        self.table.revise(slot).attrs = attrs;
        Ok(self.mark_revised(slot))
    }

    /// Sets the payload of a member; the revision grows if it differs. Returns its row. O(log n).
    ///
    /// # Errors
    ///
    /// [`ListError::NoPayloads`], [`ListError::UnknownMember`], [`ListError::PayloadTooLong`].
    pub fn set_payload(&mut self, id: &I, payload: Bytes) -> Result<Option<usize>, ListError> {
        let slot = self.known(id)?;
        self.check_payload(&payload)?;
        let payloads = self.table.payloads.as_mut().ok_or(ListError::NoPayloads)?;
        if payloads[slot as usize] == payload {
            return Ok(self.row_of(slot));
        }
        *payloads.at_mut(slot as usize) = payload;
        self.marks.fields(id, Fields::ALL);
        self.table.revise(slot);
        Ok(self.mark_revised(slot))
    }

    pub(super) fn check_payload(&self, payload: &Bytes) -> Result<(), ListError> {
        if !self.options.payloads {
            return Err(ListError::NoPayloads);
        }
        if payload.len() > PAYLOAD_MAX {
            return Err(ListError::PayloadTooLong {
                len: payload.len(),
                max: PAYLOAD_MAX,
            });
        }
        Ok(())
    }

    pub(super) fn known(&self, id: &I) -> Result<u32, ListError> {
        self.table
            .slot(id)
            .ok_or_else(|| ListError::UnknownMember { id: id.to_text() })
    }

    /// The group of a member and its position there: a climb without key comparisons. O(log n).
    pub(super) fn position(&self, slot: u32) -> (GroupId, usize) {
        let climb = self.climb(slot);
        let group = Nodes::owner(&climb);
        let (before, run) = self.groups[group]
            .tree
            .descend(&climb)
            .expect("the parent table leads to the leaf of every member");
        let at = run
            .find(slot)
            .expect("a member is in the leaf it refers to");
        (group, before + at)
    }

    pub(super) fn group_of(&self, slot: u32) -> GroupId {
        Nodes::owner(&self.climb(slot))
    }

    pub(super) fn climb(&self, slot: u32) -> Climb {
        Climb::new(self.table.leaf(slot), &self.table.nodes.parents)
    }

    pub(super) fn row_of(&self, slot: u32) -> Option<usize> {
        let (group, at) = self.position(slot);
        self.groups.member_row(group, at)
    }

    /// Puts a member without a place into a group and returns its row.
    fn enter(&mut self, slot: u32, group: GroupId, key: &[u8]) -> Option<usize> {
        let groups = Arc::make_mut(&mut self.groups);
        let tree = &mut groups.at_mut(group).tree;
        let at = self.table.insert_into(tree, slot, key);
        self.table.nodes.own(tree.root_id(), group);
        groups.recount(group);
        groups.member_row(group, at)
    }

    /// Takes a member out of the tree of its group: the group, and the row the member had.
    pub(super) fn leave(&mut self, slot: u32, climb: &Climb) -> (GroupId, Option<usize>) {
        let group = Nodes::owner(climb);
        let groups = Arc::make_mut(&mut self.groups);
        let tree = &mut groups.at_mut(group).tree;
        let (_, at) = tree
            .remove_below(&mut self.table, climb, |run: &LeafSlots| run.find(slot))
            .expect("the parent table leads to the leaf of every member");
        self.table.nodes.own(tree.root_id(), group);
        let index = groups.member_row(group, at);
        groups.recount(group);
        (group, index)
    }

    /// Gives memory back: with many free slots, two members a removal move to lower ones.
    fn compact(&mut self) {
        for _ in 0..2 {
            let Some((from, to)) = self.table.compact() else {
                return;
            };
            let climb = self.climb(to);
            let groups = Arc::make_mut(&mut self.groups);
            let tree = &mut groups.at_mut(Nodes::owner(&climb)).tree;
            tree.rename::<Table<I>>(&climb, &to, |run| {
                let at = run.find(from)?;
                run.replace(at, to);
                Some(at)
            });
            self.table.pop_slot();
        }
    }

    /// Moves a member to where its group and key say.
    fn relocate(&mut self, slot: u32, to: GroupId, key: &[u8], revised: bool) -> Upsert {
        let climb = self.climb(slot);
        if Nodes::owner(&climb) == to && self.table.key(slot) == key {
            let index = self.row_of(slot);
            if revised {
                self.dirty.mark(index, index);
            }
            return Upsert {
                index,
                is_new: false,
                old_index: index,
            };
        }
        let (from, old_index) = self.leave(slot, &climb);
        let id = &self.table.cells[slot as usize].id;
        self.marks.moved(id, || place(from, self.table.key(slot)));
        self.table.set_key(slot, key);
        let index = self.enter(slot, to, key);
        self.dirty.mark(old_index, index);
        if from != to {
            self.mark_header(from, false);
            self.mark_header(to, true);
        }
        self.check_when_due();
        Upsert {
            index,
            is_new: false,
            old_index,
        }
    }

    /// Marks the header of a group that won or lost one member.
    fn mark_header(&mut self, group: GroupId, won: bool) {
        if self.dirty.is_all() || !self.groups.headers() || self.groups[group].hidden {
            return;
        }
        let row = Some(self.groups.first_row(group));
        match (self.groups[group].tree.len(), won) {
            (0, _) => self.dirty.mark(row, None),
            (1, true) => self.dirty.mark(None, row),
            _ => self.dirty.mark(row, row),
        }
    }

    fn mark_revised(&mut self, slot: u32) -> Option<usize> {
        let index = self.row_of(slot);
        self.dirty.mark(index, index);
        index
    }
}

impl<I: Id> fmt::Debug for MemberList<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<MemberList {}", self.table.len())?;
        for group in self.groups.infos() {
            write!(f, " {}={}", group.name, group.count)?;
        }
        f.write_str(">")
    }
}

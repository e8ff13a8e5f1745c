//! The notes that writes leave for the next tick: rows, members and slots.

pub(crate) mod members;
pub(crate) mod rows;
pub(crate) mod slots;

use crate::member_list::Id;
use members::{Fields, MemberMarks, OldPlace};
use rows::{DirtyRows, RowMarks};
use slots::{SlotMarks, WrittenSlots};

/// The changes that writes made since the last tick. Bounded in memory; a list without viewers
/// notes next to nothing.
#[derive(Debug)]
pub(crate) struct Changes<I> {
    rows: RowMarks,
    members: MemberMarks<I>,
    slots: SlotMarks,
}

impl<I> Default for Changes<I> {
    fn default() -> Self {
        Self {
            rows: RowMarks::default(),
            members: MemberMarks::default(),
            slots: SlotMarks::default(),
        }
    }
}

impl<I: Id> Changes<I> {
    /// Notes that a row went, came, moved or changed; indexes are those of the moment. O(1).
    #[inline]
    pub(crate) fn row(&mut self, old: Option<usize>, new: Option<usize>) {
        self.rows.mark(old, new);
    }

    /// Returns whether everything counts as changed already, so that notes of single rows add
    /// nothing.
    pub(crate) const fn is_everything(&self) -> bool {
        self.rows.is_all()
    }

    /// Notes bulk work: any row may have changed. O(1).
    pub(crate) fn everything(&mut self) {
        self.rows.mark_all();
    }

    /// Notes bulk work that moved members. O(1).
    pub(crate) fn moved_many(&mut self) {
        self.rows.mark_all();
        self.members.moved_many();
    }

    /// Notes a new member. O(1).
    #[inline]
    pub(crate) fn inserted(&mut self, id: &I) {
        self.members.inserted(id);
    }

    /// Notes that a member is about to leave the list, and the place it has. O(1).
    #[inline]
    pub(crate) fn removed(&mut self, id: &I, place: impl FnOnce() -> u64) {
        self.members.removed(id, place);
    }

    /// Notes that a member is about to leave its place. O(1).
    #[inline]
    pub(crate) fn moved(&mut self, id: &I, place: impl FnOnce() -> u64) {
        self.members.moved(id, place);
    }

    /// Notes that these fields of a member's body changed. O(1).
    #[inline]
    pub(crate) fn fields(&mut self, id: &I, fields: Fields) {
        self.members.fields(id, fields);
    }

    /// Notes that a slot has another member, or its member another content. O(1).
    #[inline]
    pub(crate) fn slot(&mut self, slot: u32) {
        self.slots.mark(slot);
    }

    /// Notes that a member went to another slot. O(1).
    pub(crate) const fn renumbered(&mut self) {
        self.slots.renumbered();
    }

    /// Returns whether viewers hold windows.
    pub(crate) const fn is_watched(&self) -> bool {
        self.members.is_watched()
    }

    /// Starts or ends noting, as viewers hold windows, and anchored ones, from now on.
    pub(crate) fn watch(&mut self, watched: bool, anchored: bool) {
        self.members.watch(watched, anchored);
        self.slots.watch(watched);
    }

    /// Forgets the rows: windows that are opened now are read as the list is.
    pub(crate) fn clear_rows(&mut self) {
        self.rows.clear();
    }

    /// Forgets everything, which was published.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.members.clear();
        self.slots.clear();
    }

    /// Returns the rows that may have changed. O(n log n) for n noted ones.
    pub(crate) fn dirty_rows(&self) -> DirtyRows {
        self.rows.dirty()
    }

    /// Returns the slots that were written. O(n) for n noted ones.
    pub(crate) fn written_slots(&self) -> WrittenSlots {
        self.slots.written()
    }

    /// Returns that any slot may have been written.
    pub(crate) const fn unknown_slots(&self) -> WrittenSlots {
        self.slots.unknown()
    }

    /// Returns the place a member had at the last tick, if it may have left it.
    pub(crate) fn old_place(&self, id: &I) -> OldPlace {
        self.members.old_place(id)
    }

    /// Returns the fields of a member's body that changed.
    pub(crate) fn changed_fields(&self, id: &I) -> Fields {
        self.members.changed_fields(id)
    }
}

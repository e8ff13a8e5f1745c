//! The parts of a table that saves read and loads fill.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::member_list::Id;
use crate::member_list::store::kept_pages::{FREE_SLOT, KEPT_PAGE, KeptPages};
use crate::member_list::store::table::{Cell, Table};

/// Slots of a saved table that enter the index at once.
const INDEXED_AT_ONCE: usize = 1 << 20;

impl<I: Id> Table<I> {
    /// Encodes the keys and classes of a page: for each slot [`FREE_SLOT`], or each key after its
    /// length and then the class, where there are classes.
    pub(super) fn page(&self, page: u32, slots: u32) -> Vec<u8> {
        let start = page * KEPT_PAGE;
        let end = slots.min(start + KEPT_PAGE);
        let mut bytes = Vec::with_capacity(KEPT_PAGE as usize * 20 * self.columns());
        for slot in start..end {
            if self.is_free(slot) {
                bytes.push(FREE_SLOT);
                continue;
            }
            for column in 0..self.columns() {
                let key = self.column(column).key_of(slot);
                bytes.push(key.len() as u8);
                bytes.extend_from_slice(key);
            }
            if self.has_classes() {
                bytes.extend_from_slice(&self.class(slot).to_le_bytes());
            }
        }
        bytes
    }

    /// Returns whether what changes is kept for this save.
    pub(crate) fn is_saved_by(&self, save: &Arc<()>) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_of(save))
    }

    /// Returns whether a save goes on.
    pub(crate) fn is_saving(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_wanted())
    }

    /// Keeps what changes from now on for a save, which lives as long as this does.
    pub(crate) fn start_save(&mut self, save: &Arc<()>) {
        self.kept = Some(Box::new(KeptPages::new(save, self.slots())));
    }

    /// Returns the next page of keys and classes as it was at the beginning of the save; `None`
    /// without a save.
    pub(crate) fn next_saved_page(&mut self) -> Option<Box<[u8]>> {
        let kept = self.kept.as_mut()?;
        let page = kept.next();
        let slots = kept.slots();
        if let Some(changed) = kept.take_next() {
            return Some(changed);
        }
        Some(self.page(page, slots).into_boxed_slice())
    }

    /// Keeps nothing more for a save.
    pub(crate) fn end_save(&mut self) {
        self.kept = None;
    }

    /// Adds a slot of a saved table, which is in no tree and not in the index. O(1).
    pub(crate) fn push_saved(&mut self, member: Option<Cell<I>>, key: &[u8]) -> u32 {
        let is_free = member.is_none();
        let cell = member.unwrap_or_default();
        self.negative |= cell.id.is_negative();
        let slot = self.push_slot(cell, key);
        if is_free {
            self.keys.set_free(slot, self.free.len());
            self.free.push(slot);
        }
        slot
    }

    /// Enters the ids of all slots into the index, which is empty; returns whether all are
    /// different. O(n).
    pub(crate) fn index_saved(&mut self) -> bool {
        let members = self.cells.len() - self.free.len();
        self.index.reserve(members, |_| 0);
        let slots = self.cells.len() as u32;
        let hasher = &self.hasher;
        let cells = &self.cells;
        let hash_of = |slot: u32| hasher.hash_one(&cells[slot as usize].id);
        for start in (0..slots).step_by(INDEXED_AT_ONCE) {
            let end = slots.min(start.saturating_add(INDEXED_AT_ONCE as u32));
            let taken = (start..end).filter(|slot| self.keys.free_place(*slot).is_none());
            let hashes: Vec<(u64, u32)> = taken.map(|slot| (hash_of(slot), slot)).collect();
            for (hash, slot) in self.index.by_place(hashes.iter().copied()) {
                let same = |other: u32| cells[other as usize].id == cells[slot as usize].id;
                if self.index.find(hash, same).is_some() {
                    return false;
                }
                self.index.insert(hash, slot, hash_of);
            }
        }
        self.cut_free_end();
        true
    }
}

//! The rows of a window as they are now. Most were in it at the last tick and have not been written
//! since: the reader copies them from there, which spares reads of members all over the memory.

use std::hint::black_box;
use std::ops::Range;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::rows::RowRef;
use crate::member_list::windows::base::WindowBase;
use crate::member_list::windows::diff::positions;
use crate::member_list::windows::render::FrameBuilder;
use crate::member_list::windows::row::{NO_SLOT, WindowRow, read_rows};

/// The rows of a window, and where they were before. Reused from window to window.
#[derive(Debug)]
pub(crate) struct WindowReader<I> {
    pub(crate) rows: Vec<WindowRow<I>>,
    /// For each row its position among the old rows.
    pub(crate) was: Vec<Option<u32>>,
    /// The matches of a search.
    pub(crate) matches: Option<u64>,
    refs: Vec<RowRef>,
    old_at: SlotMap,
}

impl<I> Default for WindowReader<I> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            was: Vec::new(),
            matches: None,
            refs: Vec::new(),
            old_at: SlotMap::default(),
        }
    }
}

/// Returns whether the rows of `range` are still `old`: none came, went, moved or was written. Looks
/// at no member. O(log n + rows).
pub(crate) fn are_untouched<I: Id>(
    range: Range<usize>,
    old: &WindowBase<I>,
    builder: &FrameBuilder<'_, I>,
) -> bool {
    let Some(written) = builder.written().since(old.renumberings) else {
        return false;
    };
    let list = builder.list();
    let is_written = |slot| written.contains(&slot) && !is_broken(Fault::MissWrittenMember);
    let is_untouched = |(old, row_ref): (&WindowRow<I>, RowRef)| match row_ref {
        RowRef::Member(_, slot) => slot == old.slot && !is_written(slot),
        RowRef::Header(group) => old.is_header_of(&list.groups()[group]),
    };
    let mut refs = list.slice(range);
    let has_as_many = refs.len() == old.rows.len();
    let refs = std::iter::from_fn(|| refs.next_ref());
    has_as_many && old.rows.iter().zip(refs).all(is_untouched)
}

impl<I: Id> WindowReader<I> {
    /// Reads the rows of `range`, which were `old` when they were last looked at. O(log n + rows).
    pub(crate) fn read(
        &mut self,
        range: Range<usize>,
        old: &WindowBase<I>,
        builder: &FrameBuilder<'_, I>,
    ) {
        let list = builder.list();
        self.rows.clear();
        let Some(written) = builder.written().since(old.renumberings) else {
            self.rows = read_rows(list, range);
            self.was = positions(&old.rows, &self.rows);
            return;
        };
        self.locate(range, old, list);
        self.rows.reserve(self.refs.len());
        for (row_ref, was) in self.refs.iter().zip(&mut self.was) {
            let row = match (row_ref, &was) {
                (RowRef::Member(_, slot), Some(at)) if !written.contains(slot) => {
                    old.rows[*at as usize].clone()
                }
                // The member was not in the window at the last tick.
                (RowRef::Member(_, slot), None) if !written.contains(slot) => {
                    WindowRow::read(list, *row_ref)
                }
                _ => {
                    let row = WindowRow::read(list, *row_ref);
                    let old_at = old.rows.iter().position(|old| old.key == row.key);
                    *was = old_at.map(|at| at as u32);
                    row
                }
            };
            self.rows.push(row);
        }
    }

    /// Notes the slots of a range, and where each was in the old window.
    fn locate(&mut self, range: Range<usize>, old: &WindowBase<I>, list: ListRef<'_, I>) {
        self.refs.clear();
        self.was.clear();
        self.old_at.fill(old.rows.iter().map(|row| row.slot));
        let mut refs = list.slice(range);
        let mut revisions = 0;
        while let Some(row_ref) = refs.next_ref() {
            let mut was = None;
            if let RowRef::Member(_, slot) = row_ref {
                was = self.old_at.get(slot);
                // The members to be read are not in the cache. Asked for in a row, with little
                // between, they come at the same time; later all of them are there.
                if was.is_none() {
                    revisions ^= list.cell(slot).revision;
                }
            }
            self.refs.push(row_ref);
            self.was.push(was);
        }
        black_box(revisions);
    }
}

/// Positions by slot: open addressing with linear probing, at most half full.
#[derive(Debug, Default)]
struct SlotMap {
    /// Slot and position; `NO_SLOT` is a free cell.
    cells: Vec<(u32, u32)>,
}

impl SlotMap {
    /// Holds these slots, each at its position, and nothing else.
    fn fill(&mut self, slots: impl ExactSizeIterator<Item = u32>) {
        let size = (2 * slots.len() + 2).next_power_of_two();
        self.cells.clear();
        self.cells.resize(size, (NO_SLOT, 0));
        for (at, slot) in slots.enumerate() {
            if slot == NO_SLOT {
                continue;
            }
            let mut place = self.place(slot);
            while self.cells[place].0 != NO_SLOT {
                place = (place + 1) & (size - 1);
            }
            self.cells[place] = (slot, at as u32);
        }
    }

    fn get(&self, slot: u32) -> Option<u32> {
        let mut place = self.place(slot);
        loop {
            match self.cells[place] {
                (found, at) if found == slot => return Some(at),
                (NO_SLOT, _) => return None,
                _ => place = (place + 1) & (self.cells.len() - 1),
            }
        }
    }

    /// Returns where to begin to look: the high bits of a product are well mixed (Knuth, 6.4).
    fn place(&self, slot: u32) -> usize {
        (slot.wrapping_mul(0x9e37_79b1) >> 16) as usize & (self.cells.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_at_their_positions() {
        let mut map = SlotMap::default();
        for count in [0, 1, 100, 500, 3] {
            // Steps that a multiplicative hash sends to few places, and a header.
            let slot = |at: usize| if at == 2 { NO_SLOT } else { at as u32 * 65_536 };
            map.fill((0..count).map(slot));
            for at in (0..count).filter(|&at| at != 2) {
                assert_eq!(map.get(slot(at)), Some(at as u32));
            }
            assert_eq!((map.get(7), map.get(501 * 65_536)), (None, None));
        }
    }
}

//! The sort key of each member, once, and beside it the leaf the member is in: 20 bytes, more
//! only for long keys.

use super::column::Column;
use super::tree::NOWHERE;

/// Keys up to this length lie in the cell itself.
const INLINE: usize = 15;
/// The length byte of a cell whose key lies elsewhere.
const LONG: u8 = u8::MAX;
/// The length byte of a cell that is free.
const FREE: u8 = u8::MAX - 1;

/// A key, or where it is, and in the last byte its length.
type Cell = [u8; INLINE + 1];

/// What is kept of a slot.
#[derive(Debug)]
struct Slot {
    key: Cell,
    leaf: u32,
}

/// The key and the leaf of each slot.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    cells: Column<Slot>,
    long: Vec<Box<[u8]>>,
    free: Vec<u32>,
}

impl Keys {
    pub(crate) fn push(&mut self) {
        self.cells.push(Slot {
            key: [0; 16],
            leaf: NOWHERE,
        });
    }

    pub(crate) fn pop(&mut self) {
        self.cells.pop();
    }

    /// The key of a slot. O(1).
    #[inline]
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        let cell = &self.cells[slot as usize].key;
        match cell[INLINE] {
            LONG => &self.long[place(cell)],
            FREE => &[],
            len => &cell[..usize::from(len)],
        }
    }

    /// Sets the key of a slot; an empty key owns nothing. O(1).
    pub(crate) fn set(&mut self, slot: u32, key: &[u8]) {
        let cell = &mut self.cells[slot as usize].key;
        if cell[INLINE] == LONG {
            let old = place(cell);
            self.long[old] = Box::default();
            self.free.push(old as u32);
        }
        *cell = [0; 16];
        if key.len() <= INLINE {
            cell[..key.len()].copy_from_slice(key);
            cell[INLINE] = key.len() as u8;
            return;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.long.push(Box::default());
            (self.long.len() - 1) as u32
        });
        self.long[at as usize] = key.into();
        cell[..4].copy_from_slice(&at.to_le_bytes());
        cell[INLINE] = LONG;
        self.trim();
    }

    /// The leaf of a slot; [`NOWHERE`] when the slot is free. O(1).
    #[inline]
    pub(crate) fn leaf(&self, slot: u32) -> u32 {
        self.cells[slot as usize].leaf
    }

    #[inline]
    pub(crate) fn set_leaf(&mut self, slot: u32, leaf: u32) {
        self.cells[slot as usize].leaf = leaf;
    }

    /// Says that a slot is free, and which of the free ones it is. Its key is gone before.
    pub(crate) fn set_free(&mut self, slot: u32, place: usize) {
        let cell = &mut self.cells[slot as usize].key;
        cell[..4].copy_from_slice(&(place as u32).to_le_bytes());
        cell[INLINE] = FREE;
    }

    /// Which of the free slots this one is, if it is free.
    pub(crate) fn free_place(&self, slot: u32) -> Option<usize> {
        let cell = &self.cells[slot as usize].key;
        (cell[INLINE] == FREE).then(|| place(cell))
    }

    /// Takes the key of one slot to another, whose own is dropped.
    pub(crate) fn take(&mut self, from: u32, to: u32) {
        self.set(to, &[]);
        self.cells[to as usize].key = std::mem::take(&mut self.cells[from as usize].key);
    }

    /// Heap bytes of the cells and of the table of long keys, without their bytes. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        self.cells.heap_bytes() + self.long.capacity() * 16 + self.free.capacity() * 4
    }

    /// Forgets the table of long keys when no long key is left.
    fn trim(&mut self) {
        if self.free.len() == self.long.len() {
            self.long = Vec::new();
            self.free = Vec::new();
        }
    }
}

#[inline]
fn place(cell: &Cell) -> usize {
    u32::from_le_bytes([cell[0], cell[1], cell[2], cell[3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_come_back() {
        let mut keys = Keys::default();
        let names: Vec<Vec<u8>> = (0..=64).map(|len| vec![b'x'; len]).collect();
        (0..65).for_each(|_| keys.push());
        for round in 0..3 {
            for slot in 0..65 {
                keys.set(slot, &names[(slot as usize + round) % 65]);
            }
            for slot in 0..65 {
                assert_eq!(keys.key(slot), names[(slot as usize + round) % 65]);
            }
        }
        assert!(keys.long.len() <= 65);
        keys.take(40, 3);
        assert_eq!((keys.key(3), keys.key(40)), (&names[42][..], &[][..]));
    }
}

//! The sort key of each member, once, and beside it the leaf the member is in: 20 bytes, more
//! only for long keys.

use std::cmp::Ordering;

use crate::member_list::store::key_bytes::rest;
use crate::member_list::store::paged_vec::Column;
use crate::member_list::tree::NO_NODE;

/// Keys up to this length lie in the cell itself.
const INLINE: usize = 15;
/// The length byte of a cell whose key lies elsewhere.
const LONG: u8 = u8::MAX;
/// The length byte of a cell that is free.
const FREE: u8 = u8::MAX - 1;

/// A key, or where it is, and in the last byte its length.
pub(crate) type KeyCell = [u8; INLINE + 1];

/// Keys that do not fit a cell.
#[derive(Debug, Default)]
pub(crate) struct LongKeys {
    keys: Vec<Box<[u8]>>,
    free: Vec<u32>,
}

impl LongKeys {
    /// The cell of a key. O(length).
    #[inline]
    pub(crate) fn cell(&mut self, key: &[u8]) -> KeyCell {
        let mut cell = [0; INLINE + 1];
        if key.len() <= INLINE {
            cell[..key.len()].copy_from_slice(key);
            cell[INLINE] = key.len() as u8;
            return cell;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.keys.push(Box::default());
            (self.keys.len() - 1) as u32
        });
        self.keys[at as usize] = key.into();
        cell[..4].copy_from_slice(&at.to_le_bytes());
        cell[INLINE] = LONG;
        cell
    }

    /// Returns a cell with the key of a cell that refers to other long keys. O(1).
    #[inline]
    fn copy(&mut self, cell: &KeyCell, other: &Self) -> KeyCell {
        match cell[INLINE] {
            LONG => self.cell(other.key(cell)),
            _ => *cell,
        }
    }

    /// The key of a cell. O(1).
    #[inline]
    pub(crate) fn key<'a>(&'a self, cell: &'a KeyCell) -> &'a [u8] {
        match cell[INLINE] {
            LONG => &self.keys[place(cell)],
            FREE => &[],
            len => &cell[..usize::from(len)],
        }
    }

    /// Forgets the key of a cell, and all memory when no long key is left.
    #[cold]
    fn release(&mut self, cell: &KeyCell) {
        self.keys[place(cell)] = Box::default();
        self.free.push(place(cell) as u32);
        if self.free.len() == self.keys.len() {
            *self = Self::default();
        }
    }
}

/// The key of a slot, and the leaf it is in where members know theirs.
#[derive(Debug)]
struct Slot<L> {
    key: KeyCell,
    leaf: L,
}

/// The keys of all slots by which the members of a list are sorted.
pub(crate) trait KeyColumn {
    /// The key of a slot. O(1).
    fn key(&self, slot: u32) -> &[u8];

    /// The key of a slot, for [`rest`](Self::rest). O(1).
    fn cell(&self, slot: u32) -> KeyCell;

    /// The 16 bytes of a key after its first `common` ones, zeros where it ends. O(1).
    fn rest(&self, cell: &KeyCell, common: usize) -> u128;

    /// Compares the key of a slot with another one, whose first 16 bytes are `head`. O(1) unless
    /// the slot's key is long.
    fn compare(&self, slot: u32, key: &[u8], head: u128) -> Ordering;
}

/// The key of each slot and, with `L = u32`, its leaf; `L = ()` keeps none.
#[derive(Debug)]
pub(crate) struct Keys<L = u32> {
    cells: Column<Slot<L>>,
    long: LongKeys,
}

impl<L> Default for Keys<L> {
    fn default() -> Self {
        Self {
            cells: Column::default(),
            long: LongKeys::default(),
        }
    }
}

impl Keys<()> {
    /// Adds a slot with this key. O(1).
    pub(crate) fn push_key(&mut self, key: &[u8]) {
        let key = self.long.cell(key);
        self.cells.push(Slot { key, leaf: () });
    }

    /// Adds a slot with the key of a cell that refers to other long keys. O(1).
    pub(crate) fn push_key_from(&mut self, cell: &KeyCell, long: &LongKeys) {
        let key = self.long.copy(cell, long);
        self.cells.push(Slot { key, leaf: () });
    }
}

/// One of the key columns of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ColumnRef<'a> {
    /// The one beside the leaves.
    First(&'a Keys),
    /// Another one.
    Other(&'a Keys<()>),
}

impl<'a> ColumnRef<'a> {
    /// The key of a slot. O(1).
    pub(crate) fn key_of(self, slot: u32) -> &'a [u8] {
        match self {
            Self::First(keys) => keys.key(slot),
            Self::Other(keys) => keys.key(slot),
        }
    }
}

impl KeyColumn for ColumnRef<'_> {
    #[inline]
    fn key(&self, slot: u32) -> &[u8] {
        self.key_of(slot)
    }

    #[inline]
    fn cell(&self, slot: u32) -> KeyCell {
        match self {
            Self::First(keys) => keys.cell(slot),
            Self::Other(keys) => keys.cell(slot),
        }
    }

    #[inline]
    fn rest(&self, cell: &KeyCell, common: usize) -> u128 {
        match self {
            Self::First(keys) => keys.rest(cell, common),
            Self::Other(keys) => keys.rest(cell, common),
        }
    }

    #[inline]
    fn compare(&self, slot: u32, key: &[u8], head: u128) -> Ordering {
        match self {
            Self::First(keys) => keys.compare(slot, key, head),
            Self::Other(keys) => keys.compare(slot, key, head),
        }
    }
}

impl Keys {
    /// Adds a slot with this key. O(1).
    pub(crate) fn push(&mut self, key: &[u8]) {
        let key = self.long.cell(key);
        self.cells.push(Slot { key, leaf: NO_NODE });
    }

    /// Adds a slot with the key of a cell that refers to other long keys. O(1).
    pub(crate) fn push_from(&mut self, cell: &KeyCell, long: &LongKeys) {
        let key = self.long.copy(cell, long);
        self.cells.push(Slot { key, leaf: NO_NODE });
    }

    /// The leaf of a slot; [`NO_NODE`] when the slot is free. O(1).
    #[inline]
    pub(crate) fn leaf(&self, slot: u32) -> u32 {
        self.cells[slot as usize].leaf
    }

    #[inline]
    pub(crate) fn set_leaf(&mut self, slot: u32, leaf: u32) {
        self.cells[slot as usize].leaf = leaf;
    }
}

impl<L> KeyColumn for Keys<L> {
    #[inline]
    fn key(&self, slot: u32) -> &[u8] {
        self.long.key(&self.cells[slot as usize].key)
    }

    #[inline]
    fn cell(&self, slot: u32) -> KeyCell {
        self.cells[slot as usize].key
    }

    #[inline]
    fn rest(&self, cell: &KeyCell, common: usize) -> u128 {
        if cell[INLINE] > INLINE as u8 || common > INLINE {
            return rest(self.long.key(cell), common);
        }
        (u128::from_be_bytes(*cell) & !0xff) << (8 * common)
    }

    #[inline]
    fn compare(&self, slot: u32, key: &[u8], head: u128) -> Ordering {
        let cell = &self.cells[slot as usize].key;
        if cell[INLINE] > INLINE as u8 {
            return self.long.key(cell).cmp(key);
        }
        // Without their last byte. Where these are equal, the shorter key is the beginning of the
        // longer one.
        let mine = u128::from_be_bytes(*cell) >> 8;
        let by_bytes = mine.cmp(&(head >> 8));
        by_bytes.then_with(|| usize::from(cell[INLINE]).cmp(&key.len()))
    }
}

impl<L> Keys<L> {
    pub(crate) fn pop(&mut self) {
        if let Some(Slot { key, .. }) = self.cells.pop()
            && key[INLINE] == LONG
        {
            self.long.release(&key);
        }
    }

    /// Sets the key of a slot; an empty key owns nothing. O(1).
    pub(crate) fn set(&mut self, slot: u32, key: &[u8]) {
        let cell = &mut self.cells[slot as usize].key;
        if cell[INLINE] == LONG {
            self.long.release(cell);
        }
        *cell = self.long.cell(key);
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
        let LongKeys { keys, free } = &self.long;
        self.cells.heap_bytes() + keys.capacity() * 16 + free.capacity() * 4
    }
}

#[inline]
fn place(cell: &KeyCell) -> usize {
    u32::from_le_bytes([cell[0], cell[1], cell[2], cell[3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_come_back() {
        let mut keys = Keys::default();
        let names: Vec<Vec<u8>> = (0..=64).map(|len| vec![b'x'; len]).collect();
        (0..65).for_each(|_| keys.push(b""));
        for round in 0..3 {
            for slot in 0..65 {
                keys.set(slot, &names[(slot as usize + round) % 65]);
            }
            for slot in 0..65 {
                assert_eq!(keys.key(slot), names[(slot as usize + round) % 65]);
            }
        }
        assert!(keys.long.keys.len() <= 65);
        let mut head = [0; 16];
        for key in [
            &b""[..],
            b"\0",
            b"x",
            b"x\0",
            b"xxxxxxxxxxxxxxx",
            b"xxxxxxxxxxxxxxx\0",
            b"y",
        ] {
            head.fill(0);
            head[..key.len()].copy_from_slice(key);
            for slot in 0..65 {
                let order = keys.compare(slot, key, u128::from_be_bytes(head));
                assert_eq!(order, keys.key(slot).cmp(key), "{key:?}");
            }
        }
        keys.take(40, 3);
        assert_eq!((keys.key(3), keys.key(40)), (&names[42][..], &[][..]));
    }
}

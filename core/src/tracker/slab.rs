//! Rows of entries, addressed by 32-bit indexes, in chunks: to grow moves no more than one chunk.

/// The index that means "no entry".
pub(super) const NIL: u32 = u32::MAX;

/// Set in `owner_prev` of the first entry of an owner: the other bits then count its entries.
pub(super) const OWNER_HEAD: u32 = 1 << 31;

/// Set in `blob_len` when the blob ends in the previous version.
pub(super) const LONG: u32 = 1 << 31;

const CHUNK: usize = 128;

/// The fixed-size part of one entry: 56 bytes. Its key, owner and meta are in `Blobs`.
///
/// The fields that a look-up reads lie together at the end. Each pair of links belongs to one part,
/// which alone writes it.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct Row {
    pub(super) birth: u64,
    pub(super) version: u64,
    /// Neighbours in the version order of the origin. Written by `VersionOrder`.
    pub(super) older: u32,
    pub(super) newer: u32,
    /// Neighbours among the entries of one owner (local origin only). Written by `Owners`.
    pub(super) owner_prev: u32,
    pub(super) owner_next: u32,
    /// Neighbours among the sessions of one key; the first one is in the topic's table. Written by
    /// `Store`.
    pub(super) key_prev: u32,
    pub(super) key_next: u32,
    pub(super) topic: u32,
    pub(super) blob: u32,
    /// Bytes of the blob, and [`LONG`] if they end in the previous version.
    pub(super) blob_len: u32,
    pub(super) origin: u16,
    pub(super) status: u8,
    pub(super) encoding: u8,
}

/// A row has no gap: a million entries take 56 MB besides their blobs.
const _: () = assert!(size_of::<Row>() == 56);

impl Row {
    #[inline]
    pub(super) fn blob_len(&self) -> usize {
        (self.blob_len & !LONG) as usize
    }

    #[inline]
    pub(super) fn is_long(&self) -> bool {
        self.blob_len & LONG != 0
    }
}

/// Returns how many places to add to `len` of them: a sixteenth, so that a partition with few entries
/// takes no room for many.
#[inline]
pub(super) fn growth(len: usize) -> usize {
    (len / 16).max(2)
}

/// Appends to a list that is short in most partitions.
#[inline]
pub(super) fn push_tight<T>(list: &mut Vec<T>, value: T) {
    if list.len() == list.capacity() {
        let more = (list.len() / 8).max(1);
        list.reserve_exact(more);
    }
    list.push(value);
}

#[derive(Debug, Clone)]
pub(super) struct Slab {
    chunks: Vec<Vec<Row>>,
    /// First free row; each free row holds the index of the following one in `newer`.
    free: u32,
    used: u32,
}

impl Slab {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: NIL,
            used: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.used
    }

    #[inline]
    pub(super) fn insert(&mut self, row: Row) -> u32 {
        self.used += 1;
        if self.free != NIL {
            let index = self.free;
            let place = &mut self[index];
            let next = place.newer;
            *place = row;
            self.free = next;
            return index;
        }
        let index = self.used - 1;
        if (index as usize).is_multiple_of(CHUNK) {
            push_tight(&mut self.chunks, Vec::new());
        }
        let chunk = &mut self.chunks[index as usize / CHUNK];
        if chunk.len() == chunk.capacity() {
            let more = growth(index as usize).min(CHUNK - chunk.len());
            chunk.reserve_exact(more);
        }
        chunk.push(row);
        index
    }

    #[inline]
    pub(super) fn remove(&mut self, index: u32) {
        self.used -= 1;
        if self.used == 0 {
            *self = Self::new();
            return;
        }
        let free = self.free;
        self[index].newer = free;
        self.free = index;
    }
}

impl std::ops::Index<u32> for Slab {
    type Output = Row;

    #[inline]
    fn index(&self, index: u32) -> &Row {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

impl std::ops::IndexMut<u32> for Slab {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Row {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

//! Places for entries, addressed by 32-bit numbers, in chunks that never move.

/// "No entry" in a link.
pub(super) const NIL: u32 = u32::MAX;

/// Set in `owner_prev` of the first entry of an owner: the other bits then count its entries.
pub(super) const OWNER_HEAD: u32 = 1 << 31;

/// Set in `blob_len` when the blob ends in the previous version.
pub(super) const LONG: u32 = 1 << 31;

const CHUNK: usize = 128;

/// One entry. 56 bytes; the bytes of key, owner and meta are in `Blobs`. In this order: what a
/// lookup reads lies together at the end.
#[derive(Debug, Clone)]
#[repr(C)]
pub(super) struct Slot {
    pub(super) birth: u64,
    pub(super) version: u64,
    /// Neighbours in the version order of the origin.
    pub(super) older: u32,
    pub(super) newer: u32,
    /// Neighbours among the entries of one owner (local origin only).
    pub(super) owner_prev: u32,
    pub(super) owner_next: u32,
    /// Neighbours among the sessions of one key; the first one is in the topic's table.
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

/// A million entries weigh what this says: the links, ops and numbers above, without a gap.
const _: () = assert!(size_of::<Slot>() == 56);

impl Slot {
    #[inline]
    pub(super) fn blob_len(&self) -> usize {
        (self.blob_len & !LONG) as usize
    }
}

#[derive(Debug, Clone)]
pub(super) struct Slab {
    chunks: Vec<Vec<Slot>>,
    /// First free place; each free place holds the following one in `newer`.
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
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        self.used += 1;
        if self.free != NIL {
            let index = self.free;
            let place = &mut self[index];
            let next = place.newer;
            *place = slot;
            self.free = next;
            return index;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(slot),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(slot);
                self.chunks.push(chunk);
            }
        }
        self.used - 1
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
    type Output = Slot;

    #[inline]
    fn index(&self, index: u32) -> &Slot {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

impl std::ops::IndexMut<u32> for Slab {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

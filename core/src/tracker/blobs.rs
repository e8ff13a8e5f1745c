//! Byte storage for entries: key, owner and meta of an entry in one piece.
//!
//! Pieces of up to 512 bytes live in chunks of 128 equal places, one set of chunks per multiple of
//! 16 bytes, so that an entry needs no allocation of its own, and freeing a million of them frees
//! few chunks. The last chunk of a set grows as it needs: most partitions hold few entries. Larger
//! pieces are boxes of their own.

use super::slab::{growth, push_tight};

const STEP: usize = 16;
const CLASSES: usize = 32;
const CHUNK_PLACES: u32 = 128;
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
pub(super) struct Blobs {
    /// Those from `first` on, as many as the pieces so far need.
    classes: Vec<Class>,
    first: usize,
    big: Vec<Box<[u8]>>,
    big_free: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Class {
    chunks: Vec<Vec<u8>>,
    /// First free place below `next`; each free place holds the number of the following one.
    free: u32,
    /// The first place that was never used.
    next: u32,
    used: u32,
}

impl Blobs {
    pub(super) fn new() -> Self {
        Self {
            classes: Vec::new(),
            first: 0,
            big: Vec::new(),
            big_free: Vec::new(),
        }
    }

    /// Allocates a place for `len` bytes. Its content is unspecified.
    #[inline]
    pub(super) fn alloc(&mut self, len: usize) -> u32 {
        match class_of(len) {
            Some(class) => {
                self.make_class(class);
                self.classes[class - self.first].alloc(size_of_class(class))
            }
            None => {
                let bytes = vec![0; len].into_boxed_slice();
                if let Some(place) = self.big_free.pop() {
                    self.big[place as usize] = bytes;
                    return place;
                }
                self.big.push(bytes);
                (self.big.len() - 1) as u32
            }
        }
    }

    /// Makes a class, if it is not there.
    fn make_class(&mut self, class: usize) {
        if self.classes.is_empty() {
            self.first = class;
        }
        while class < self.first {
            self.classes.insert(0, Class::EMPTY);
            self.first -= 1;
        }
        while class - self.first >= self.classes.len() {
            push_tight(&mut self.classes, Class::EMPTY);
        }
    }

    /// Frees a place. `len` is the length that it was allocated for.
    #[inline]
    pub(super) fn free(&mut self, place: u32, len: usize) {
        match class_of(len) {
            Some(class) => self.classes[class - self.first].free(place, size_of_class(class)),
            None => {
                self.big[place as usize] = Box::default();
                self.big_free.push(place);
                if self.big_free.len() == self.big.len() {
                    self.big = Vec::new();
                    self.big_free = Vec::new();
                }
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, place: u32, len: usize) -> &[u8] {
        match class_of(len) {
            Some(class) => {
                let at = (place % CHUNK_PLACES) as usize * size_of_class(class);
                &self.classes[class - self.first].chunks[(place / CHUNK_PLACES) as usize]
                    [at..at + len]
            }
            None => &self.big[place as usize],
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32, len: usize) -> &mut [u8] {
        match class_of(len) {
            Some(class) => {
                let at = (place % CHUNK_PLACES) as usize * size_of_class(class);
                &mut self.classes[class - self.first].chunks[(place / CHUNK_PLACES) as usize]
                    [at..at + len]
            }
            None => &mut self.big[place as usize],
        }
    }
}

#[inline]
fn class_of(len: usize) -> Option<usize> {
    let class = len.saturating_sub(1) / STEP;
    (class < CLASSES).then_some(class)
}

#[inline]
fn size_of_class(class: usize) -> usize {
    (class + 1) * STEP
}

impl Class {
    const EMPTY: Self = Self {
        chunks: Vec::new(),
        free: NONE,
        next: 0,
        used: 0,
    };

    #[inline]
    fn place(&mut self, place: u32, size: usize) -> &mut [u8] {
        let at = (place % CHUNK_PLACES) as usize * size;
        &mut self.chunks[(place / CHUNK_PLACES) as usize][at..at + size]
    }

    #[inline]
    fn alloc(&mut self, size: usize) -> u32 {
        self.used += 1;
        if self.free != NONE {
            let place = self.free;
            let link = self.place(place, size);
            self.free = u32::from_le_bytes([link[0], link[1], link[2], link[3]]);
            return place;
        }
        let place = self.next;
        if place.is_multiple_of(CHUNK_PLACES) {
            push_tight(&mut self.chunks, Vec::new());
        }
        let chunk = &mut self.chunks[(place / CHUNK_PLACES) as usize];
        let used = (place % CHUNK_PLACES) as usize;
        if chunk.len() == used * size {
            let more = growth(place as usize).min(CHUNK_PLACES as usize - used) * size;
            chunk.reserve_exact(more);
            chunk.resize(chunk.len() + more, 0);
        }
        self.next += 1;
        place
    }

    #[inline]
    fn free(&mut self, place: u32, size: usize) {
        self.used -= 1;
        if self.used == 0 {
            *self = Self::EMPTY;
            return;
        }
        let next = self.free;
        self.place(place, size)[..4].copy_from_slice(&next.to_le_bytes());
        self.free = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_reused_and_given_back() {
        let mut blobs = Blobs::new();
        let mut places = Vec::new();
        for i in 0..1_000usize {
            let len = i % 700;
            let place = blobs.alloc(len);
            blobs.get_mut(place, len).fill(i as u8);
            places.push((place, len, i as u8));
        }
        for round in 0..2 {
            let (place, len, _) = places.swap_remove(round * 17 + 300);
            blobs.free(place, len);
            let again = blobs.alloc(len);
            assert_eq!(again, place, "a free place of the class is taken first");
            blobs.get_mut(again, len).fill(9);
            places.push((again, len, 9));
        }
        for (place, len, byte) in &places {
            assert!(blobs.get(*place, *len).iter().all(|b| b == byte));
        }
        for (place, len, _) in places {
            blobs.free(place, len);
        }
        assert!(blobs.classes.iter().all(|c| c.chunks.is_empty()) && blobs.big.is_empty());
    }
}

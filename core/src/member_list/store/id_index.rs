//! Slots by id: a hash table of slots that keeps no ids of its own.
//!
//! A bucket is one cache line: twelve slots, a byte of hash for each, and how many entries found
//! it full and went on to the next one (after Facebook's F14, without its chunk-wide SIMD). A
//! lookup therefore costs one memory access in the table and one at the member it names.

/// Slots in a bucket.
const WIDTH: usize = 12;
/// Shards of a large index.
const SHARDS: usize = 32;
/// Slots whose hashes are taken at once when a table is resized.
const REHASHED_AT_ONCE: usize = 64;
/// From this many slots on the index is sharded.
const LARGE: usize = 1 << 15;

/// Which of the 32 shards each of 256 hash ranges belongs to. The shares grow geometrically over
/// one octave, so shards outgrow their tables at different times: the index as a whole is never
/// half empty, and no single insert moves more than about 1/23 of it.
static SHARD_OF: [u8; 256] = shares();

/// A hash table of slots. The caller knows the ids and their hashes.
#[derive(Debug)]
pub(crate) struct Index {
    /// One shard, or [`SHARDS`] of them.
    shards: Vec<Shard>,
    len: usize,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// A byte of each slot's hash, zero where there is no slot.
    tags: [u8; WIDTH],
    /// Entries that belong here or before and are further on.
    passed: u32,
    slots: [u32; WIDTH],
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: vec![Shard::default()],
            len: 0,
        }
    }
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slot with this hash that `is_it`. O(1).
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[self.shard(hash)].find(hash, is_it)
    }

    /// Reads the bucket in which a look-up begins, ahead of it. Returns a part of it. O(1).
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u32 {
        let shard = &self.shards[self.shard(hash)];
        let bucket = shard.buckets.get(shard.home(hash));
        bucket.map_or(0, |bucket| bucket.passed)
    }

    /// Adds a slot that is not there. Amortised O(1).
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len == LARGE && self.shards.len() == 1 {
            self.reshard(SHARDS, &hash_of);
        }
        let shard = self.shard(hash);
        self.shards[shard].insert(hash, slot, &hash_of);
        self.len += 1;
    }

    /// Makes room for that many more slots at once. O(n) if it must grow.
    pub(crate) fn reserve(&mut self, more: usize, hash_of: impl Fn(u32) -> u64) {
        let all = self.len + more;
        if all > LARGE && self.shards.len() == 1 {
            self.reshard(SHARDS, &hash_of);
        }
        let shards = self.shards.len();
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let ranges = SHARD_OF.iter().filter(|&&of| usize::from(of) == at).count();
            let share = if shards == 1 { all } else { all * ranges / 256 };
            if share * 8 > shard.buckets.len() * WIDTH * 7 {
                // Filled to three quarters, and so much larger that loads of any size together
                // cost O(1) a member.
                let filled = share * 4 / (3 * WIDTH) + 1;
                shard.resize(filled.max(shard.buckets.len() * 4 / 3), &hash_of);
            }
        }
    }

    /// Sorts hashes roughly by where in the index they belong; equal ones keep their order. Work
    /// in this order finds the buckets it needs in the caches. O(hashes).
    pub(crate) fn by_place(
        &self,
        hashes: impl ExactSizeIterator<Item = (u64, u32)> + Clone,
    ) -> Vec<(u64, u32)> {
        const PARTS: usize = SHARDS << PART_BITS;
        const PART_BITS: usize = 5;
        let part = |hash: u64| self.shard(hash) << PART_BITS | (hash as u32 >> 27) as usize;
        let mut ends = [0u32; PARTS + 1];
        let mut placed = vec![(0, 0); hashes.len()];
        for (hash, _) in hashes.clone() {
            ends[part(hash) + 1] += 1;
        }
        for at in 1..=PARTS {
            ends[at] += ends[at - 1];
        }
        for (hash, at) in hashes {
            let end = &mut ends[part(hash)];
            placed[*end as usize] = (hash, at);
            *end += 1;
        }
        placed
    }

    /// Takes a slot out. Amortised O(1): tables that have become too large shrink.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let shard = self.shard(hash);
        self.shards[shard].remove(hash, slot, &hash_of);
        self.len -= 1;
        if self.len == LARGE / 4 && self.shards.len() > 1 {
            self.reshard(1, &hash_of);
        }
    }

    /// Says that the member of a slot is now in another slot.
    pub(crate) fn rename(&mut self, hash: u64, from: u32, to: u32) {
        let shard = self.shard(hash);
        if let Some((bucket, at)) = self.shards[shard].place(hash, |slot| slot == from) {
            self.shards[shard].buckets[bucket].slots[at] = to;
        }
    }

    /// Heap bytes. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        let buckets: usize = self
            .shards
            .iter()
            .map(|shard| shard.buckets.capacity())
            .sum();
        buckets * size_of::<Bucket>() + self.shards.capacity() * size_of::<Shard>()
    }

    /// Buckets come from the low 32 bits of a hash, shards from the next byte but one, tags from
    /// the byte after that.
    fn shard(&self, hash: u64) -> usize {
        match self.shards.len() {
            1 => 0,
            _ => usize::from(SHARD_OF[(hash >> 40) as usize & 0xff]),
        }
    }

    fn reshard(&mut self, shards: usize, hash_of: &impl Fn(u32) -> u64) {
        let fresh = (0..shards).map(|_| Shard::default()).collect();
        for old in std::mem::replace(&mut self.shards, fresh) {
            for slot in old.slots() {
                let hash = hash_of(slot);
                let shard = self.shard(hash);
                self.shards[shard].insert(hash, slot, hash_of);
            }
        }
    }
}

impl Shard {
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (bucket, at) = self.place(hash, is_it)?;
        Some(self.buckets[bucket].slots[at])
    }

    #[inline]
    fn place(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<(usize, usize)> {
        if self.buckets.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut hits = bucket.hits(tag(hash));
            while hits != 0 {
                let place = hits.trailing_zeros() as usize / 8;
                if is_it(bucket.slots[place]) {
                    return Some((at, place));
                }
                hits &= hits - 1;
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.next(at);
        }
        None
    }

    fn insert(&mut self, hash: u64, slot: u32, hash_of: &impl Fn(u32) -> u64) {
        // Up to seven eighths full; then a third larger.
        if (self.len + 1) * 8 > self.buckets.len() * WIDTH * 7 {
            let buckets = self.buckets.len();
            self.resize(buckets + (buckets / 3).max(1), hash_of);
        }
        self.put(hash, slot);
    }

    fn put(&mut self, hash: u64, slot: u32) {
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.tags.iter().position(|&tag| tag == 0) {
                bucket.tags[place] = tag(hash);
                bucket.slots[place] = slot;
                self.len += 1;
                return;
            }
            bucket.passed += 1;
            at = self.next(at);
        }
    }

    fn remove(&mut self, hash: u64, slot: u32, hash_of: &impl Fn(u32) -> u64) {
        let Some((found, place)) = self.place(hash, |other| other == slot) else {
            return;
        };
        let mut at = self.home(hash);
        while at != found {
            self.buckets[at].passed -= 1;
            at = self.next(at);
        }
        self.buckets[found].tags[place] = 0;
        self.len -= 1;
        if self.len * 10 < self.buckets.len() * WIDTH * 3 && self.buckets.len() > 4 {
            self.resize(self.buckets.len() / 2, hash_of);
        }
    }

    fn resize(&mut self, buckets: usize, hash_of: &impl Fn(u32) -> u64) {
        let old = std::mem::replace(
            self,
            Self {
                buckets: vec![Bucket::default(); buckets],
                len: 0,
            },
        );
        // Ids come from all over the memory: a short loop fetches many of them at once.
        let mut hashes = Vec::with_capacity(REHASHED_AT_ONCE);
        let mut slots = old.slots();
        loop {
            hashes.extend(slots.by_ref().take(REHASHED_AT_ONCE).map(|slot| (0, slot)));
            if hashes.is_empty() {
                return;
            }
            for (hash, slot) in &mut hashes {
                *hash = hash_of(*slot);
            }
            for (hash, slot) in hashes.drain(..) {
                self.put(hash, slot);
            }
        }
    }

    fn slots(&self) -> impl Iterator<Item = u32> {
        self.buckets.iter().flat_map(|bucket| {
            let used = bucket.tags.iter().zip(bucket.slots);
            used.filter(|(tag, _)| **tag != 0).map(|(_, slot)| slot)
        })
    }

    /// The low 32 bits, scaled to the number of buckets.
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.buckets.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() {
            0
        } else {
            at + 1
        }
    }
}

impl Bucket {
    /// The high bit of each byte of `tags` that equals the tag, all at once.
    #[inline]
    fn hits(&self, tag: u8) -> u128 {
        const LOW: u128 = u128::from_le_bytes([0x7f; 16]);
        let mut bytes = [0; 16];
        bytes[..WIDTH].copy_from_slice(&self.tags);
        let differ = u128::from_le_bytes(bytes) ^ u128::from_le_bytes([tag; 16]);
        // A byte that is zero stays below 0x80 when 0x7f is added to its low bits.
        !(((differ & LOW) + LOW) | differ | LOW)
    }
}

fn tag(hash: u64) -> u8 {
    ((hash >> 48) as u8).max(1)
}

/// Shard k ends at 256 (2^((k + 1) / 32) - 1), rounded.
const fn shares() -> [u8; 256] {
    const ENDS: [u16; SHARDS] = [
        6, 11, 17, 23, 29, 36, 42, 48, 55, 62, 69, 76, 83, 91, 98, 106, 114, 122, 130, 139, 147,
        156, 165, 175, 184, 194, 203, 214, 224, 234, 245, 256,
    ];
    let mut shard_of = [0; 256];
    let mut at = 0;
    let mut shard = 0;
    while at < 256 {
        if at == ENDS[shard] as usize {
            shard += 1;
        }
        shard_of[at] = shard as u8;
        at += 1;
    }
    shard_of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(slot: u32) -> u64 {
        u64::from(slot)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    }

    #[test]
    fn shares_grow_over_one_octave() {
        assert_eq!((SHARD_OF[0], SHARD_OF[255]), (0, 31));
        let size = |shard| SHARD_OF.iter().filter(|&&other| other == shard).count();
        assert!((5..=6).contains(&size(0)) && (10..=11).contains(&size(31)));
    }

    #[test]
    fn hashes_by_place_are_all_there_and_equal_ones_in_order() {
        let mut index = Index::default();
        (0..LARGE as u32 + 1).for_each(|slot| index.insert(hash_of(slot), slot, hash_of));
        let hashes = (0..5000u32).map(|at| (hash_of(at % 100), at));
        let placed = index.by_place(hashes.collect::<Vec<_>>().into_iter());
        assert_eq!(placed.len(), 5000);
        for at in 0..100 {
            let equal = placed.iter().filter(|(hash, _)| *hash == hash_of(at));
            assert!(equal.map(|&(_, at)| at).eq((at..5000).step_by(100)));
        }
    }

    #[test]
    fn finds_what_is_there_and_shrinks() {
        let mut index = Index::default();
        let n = 3 * LARGE as u32;
        (0..n).for_each(|slot| index.insert(hash_of(slot), slot, hash_of));
        assert!((0..n).all(|slot| index.find(hash_of(slot), |it| it == slot) == Some(slot)));
        let full = index.heap_bytes();
        assert!(full < n as usize * 10, "{full}");
        (9..n).for_each(|slot| index.remove(hash_of(slot), slot, hash_of));
        assert!((0..9).all(|slot| index.find(hash_of(slot), |it| it == slot) == Some(slot)));
        assert!(index.heap_bytes() < full / 50, "{}", index.heap_bytes());
        index.rename(hash_of(3), 3, 77);
        assert_eq!(index.find(hash_of(3), |_| true), Some(77));
    }
}

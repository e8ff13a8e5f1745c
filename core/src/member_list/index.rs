//! Slots by id: a hash table of slots that keeps no ids of its own.

use hashbrown::HashTable;

/// Shards of a large index.
const SHARDS: usize = 32;
/// From this many slots on the index is sharded.
const LARGE: usize = 1 << 15;

/// Which of the 32 shards each of 256 hash ranges belongs to. The shards' shares grow
/// geometrically over one octave, so they double their tables at different times: the index as a
/// whole is never half empty, and no single insert rehashes more than about 1/23 of it.
static SHARD_OF: [u8; 256] = shares();

/// A hash table of slots. The caller knows the ids and their hashes.
#[derive(Debug)]
pub(crate) struct Index {
    /// One shard, or [`SHARDS`] of them.
    shards: Vec<HashTable<u32>>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: vec![HashTable::new()],
            len: 0,
        }
    }
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slot with this hash that `is_it`. O(1).
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards[self.shard(hash)]
            .find(hash, |&slot| is_it(slot))
            .copied()
    }

    /// Adds a slot that is not there. Amortised O(1).
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len == LARGE && self.shards.len() == 1 {
            self.reshard(SHARDS, &hash_of);
        }
        let shard = self.shard(hash);
        self.shards[shard].insert_unique(hash, slot, |&slot| hash_of(slot));
        self.len += 1;
    }

    /// Takes a slot out. Amortised O(1): tables that have become too large shrink.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let at = self.shard(hash);
        let shard = &mut self.shards[at];
        let Ok(entry) = shard.find_entry(hash, |&other| other == slot) else {
            return;
        };
        entry.remove();
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
            let room = shard.len() * 3 / 2;
            shard.shrink_to(room, |&slot| hash_of(slot));
        }
        self.len -= 1;
        if self.len == LARGE / 4 && self.shards.len() > 1 {
            self.reshard(1, &hash_of);
        }
    }

    /// Says that the member of a slot is now in another slot.
    pub(crate) fn rename(&mut self, hash: u64, from: u32, to: u32) {
        let shard = self.shard(hash);
        if let Some(slot) = self.shards[shard].find_mut(hash, |&slot| slot == from) {
            *slot = to;
        }
    }

    /// Heap bytes. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        tables + self.shards.capacity() * size_of::<HashTable<u32>>()
    }

    /// The table itself uses the lowest and the highest bits.
    fn shard(&self, hash: u64) -> usize {
        match self.shards.len() {
            1 => 0,
            _ => usize::from(SHARD_OF[(hash >> 40) as usize & 0xff]),
        }
    }

    fn reshard(&mut self, shards: usize, hash_of: &impl Fn(u32) -> u64) {
        let fresh = (0..shards).map(|_| HashTable::new()).collect();
        for slot in std::mem::replace(&mut self.shards, fresh)
            .into_iter()
            .flatten()
        {
            let hash = hash_of(slot);
            let shard = self.shard(hash);
            self.shards[shard].insert_unique(hash, slot, |&slot| hash_of(slot));
        }
    }
}

/// Shard k ends at 256 (2^((k + 1) / 32) - 1), rounded.
const fn shares() -> [u8; 256] {
    const ENDS: [u16; SHARDS] = [
        6, 11, 17, 23, 29, 36, 42, 48, 55, 62, 69, 76, 83, 91, 98, 106, 114, 122, 130, 139, 147,
        156, 165, 175, 184, 194, 203, 214, 224, 234, 245, 256,
    ];
    let mut shard_of = [0; 256];
    let (mut at, mut shard) = (0, 0);
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

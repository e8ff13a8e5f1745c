//! `Owners`: the partitions in which each owner has own entries.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap};

/// The number of own entries of each owner, by partition.
///
/// Owners go by their hashes: those of one hash are counted as one, and [`partitions`](Self::partitions)
/// may then name some in which an owner has nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    counts: HashMap<u64, Counts>,
    hasher: DefaultHashBuilder,
}

/// Numbers of entries by partition.
#[derive(Debug, Clone)]
enum Counts {
    /// Most owners have one topic, or one entry.
    One { partition: u16, count: u32 },
    #[expect(clippy::box_collection, reason = "few owners have it")]
    Many(Box<BTreeMap<u16, u32>>),
}

impl Owners {
    /// Counts an entry.
    pub(super) fn add(&mut self, owner: &[u8], partition: u16) {
        let nothing = Counts::One {
            partition,
            count: 0,
        };
        let hash = self.hasher.hash_one(owner);
        self.counts.entry(hash).or_insert(nothing).add(partition);
    }

    /// Counts some entries no more.
    pub(super) fn remove(&mut self, owner: &[u8], partition: u16, count: usize) {
        let hash = self.hasher.hash_one(owner);
        if let Some(counts) = self.counts.get_mut(&hash)
            && counts.sub(partition, count as u32)
        {
            self.counts.remove(&hash);
        }
    }

    /// Returns the partitions in which an owner has entries.
    pub(super) fn partitions(&self, owner: &[u8]) -> Vec<u16> {
        match self.counts.get(&self.hasher.hash_one(owner)) {
            None => Vec::new(),
            Some(Counts::One { partition, .. }) => vec![*partition],
            Some(Counts::Many(counts)) => counts.keys().copied().collect(),
        }
    }
}

impl Counts {
    fn add(&mut self, added: u16) {
        match self {
            Self::One { partition, count } if *partition == added => *count += 1,
            Self::One { partition, count } => {
                let counts = BTreeMap::from([(*partition, *count), (added, 1)]);
                *self = Self::Many(Box::new(counts));
            }
            Self::Many(counts) => *counts.entry(added).or_default() += 1,
        }
    }

    /// Returns whether nothing is left.
    fn sub(&mut self, removed: u16, less: u32) -> bool {
        match self {
            Self::One { partition, count } => {
                if *partition == removed {
                    *count = count.saturating_sub(less);
                }
                *count == 0
            }
            Self::Many(counts) => {
                if let Some(count) = counts.get_mut(&removed) {
                    *count = count.saturating_sub(less);
                    if *count == 0 {
                        counts.remove(&removed);
                    }
                }
                counts.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_in_the_partitions_where_it_has_entries() {
        let mut owners = Owners::default();
        for partition in [3, 5, 3, 9] {
            owners.add(b"conn", partition);
        }
        owners.add(b"other", 7);
        owners.remove(b"conn", 3, 1);
        owners.remove(b"conn", 9, 1);
        owners.remove(b"conn", 9, 1);
        assert_eq!(owners.partitions(b"conn"), [3, 5]);
        owners.remove(b"conn", 3, 1);
        owners.remove(b"conn", 5, 1);
        assert!(owners.partitions(b"conn").is_empty());
        owners.remove(b"other", 5, 1);
        assert_eq!(owners.partitions(b"other"), [7]);
        owners.remove(b"other", 7, 1);
        assert!(owners.counts.is_empty());
    }
}

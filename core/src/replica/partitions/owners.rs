//! `Owners`: the partitions in which each owner has own entries.

use std::collections::{BTreeMap, HashMap};

/// The number of own entries of each owner, by partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    counts: HashMap<Box<[u8]>, BTreeMap<u16, u32>>,
}

impl Owners {
    /// Counts an entry.
    pub(super) fn add(&mut self, owner: &[u8], partition: u16) {
        match self.counts.get_mut(owner) {
            Some(counts) => *counts.entry(partition).or_default() += 1,
            None => {
                let counts = BTreeMap::from([(partition, 1)]);
                self.counts.insert(owner.into(), counts);
            }
        }
    }

    /// Counts an entry no more.
    pub(super) fn remove(&mut self, owner: &[u8], partition: u16) {
        let Some(counts) = self.counts.get_mut(owner) else {
            return;
        };
        if let Some(count) = counts.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&partition);
            }
        }
        if counts.is_empty() {
            self.counts.remove(owner);
        }
    }

    /// Forgets an owner. Returns the partitions in which it has entries.
    pub(super) fn take(&mut self, owner: &[u8]) -> Vec<u16> {
        let counts = self.counts.remove(owner);
        counts.map_or_else(Vec::new, |counts| counts.into_keys().collect())
    }

    /// Returns the partitions in which an owner has entries.
    pub(super) fn partitions(&self, owner: &[u8]) -> impl Iterator<Item = u16> + '_ {
        let counts = self.counts.get(owner);
        counts.into_iter().flat_map(|counts| counts.keys().copied())
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
        owners.remove(b"conn", 3);
        owners.remove(b"conn", 9);
        owners.remove(b"conn", 9);
        let partitions: Vec<_> = owners.partitions(b"conn").collect();
        assert_eq!(partitions, [3, 5]);
        assert_eq!(owners.take(b"conn"), [3, 5]);
        assert!(owners.take(b"conn").is_empty());
        owners.remove(b"other", 7);
        assert!(owners.counts.is_empty());
    }
}

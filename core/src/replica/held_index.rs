//! `HeldIndex`: the index of another replica, as far as it is known here.

use super::own_index::set_share;
use super::partition_set::PartitionSet;
use crate::codec::Shape;
use crate::fault::{Fault, is_broken};

/// A partition that another replica occupied or vacated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Toggle {
    pub(super) partition: u16,
    /// The version of the index with this toggle: the life, if it begins one.
    pub(super) version: u64,
    pub(super) is_occupied: bool,
}

/// The index of another replica, by its frames.
///
/// The *announced* version is the greatest one heard of; the *content* may be older. Toggles apply
/// to a content that reaches them only. A content that contradicts its origin is void until a whole
/// index replaces it.
#[derive(Debug, Clone)]
pub(super) struct HeldIndex {
    announced: u64,
    version: u64,
    set: PartitionSet,
    set_hash: u64,
    is_void: bool,
}

impl HeldIndex {
    /// Makes an empty index of a replica of which a version may have been heard before it was
    /// forgotten.
    pub(super) fn new(shape: Shape, announced: u64) -> Self {
        Self {
            announced,
            version: 0,
            set: PartitionSet::new(shape),
            set_hash: 0,
            is_void: false,
        }
    }

    /// Returns the greatest version heard of.
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    /// Returns the version of the content.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns whether the content is that of the greatest version heard of.
    pub(super) fn is_current(&self) -> bool {
        !self.is_void && self.version == self.announced
    }

    /// Returns the version from which toggles are missing; 0 if the whole index is. `None` if
    /// nothing is missing.
    pub(super) fn missing_since(&self) -> Option<u64> {
        let since = if self.is_void { 0 } else { self.version };
        (!self.is_current()).then_some(since)
    }

    /// Returns whether the content names a partition; `None` while it is void.
    pub(super) fn names(&self, partition: u16) -> Option<bool> {
        (!self.is_void).then(|| self.set.contains(partition))
    }

    /// Returns the partitions of the content.
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.set.iter()
    }

    /// Notes a version that the replica told of.
    pub(super) fn hear(&mut self, version: u64) {
        self.announced = self.announced.max(version);
    }

    /// Applies toggles from a version on, as far as they are new. Returns the new ones; none if
    /// there is a gap. O(toggles).
    pub(super) fn apply(&mut self, from: u64, toggles: &[u16]) -> Vec<Toggle> {
        let to = from + toggles.len() as u64;
        self.hear(to);
        let is_gap = from > self.version && !is_broken(Fault::IndexOverGap);
        if self.is_void || is_gap || to <= self.version {
            return Vec::new();
        }
        let known = self.version.saturating_sub(from) as usize;
        let news = toggles[known..].iter().zip(from + known as u64 + 1..);
        let applied = news.map(|(&partition, version)| {
            self.set_hash ^= set_share(partition);
            Toggle {
                partition,
                version,
                is_occupied: self.set.toggle(partition),
            }
        });
        let applied = applied.collect();
        self.version = to;
        applied
    }

    /// Takes a whole index. Returns whether it is newer than the content, or as new as one that is
    /// void.
    pub(super) fn replace(&mut self, version: u64, set: PartitionSet) -> bool {
        self.hear(version);
        if version < self.version || version == self.version && !self.is_void {
            return false;
        }
        self.set_hash = set.iter().fold(0, |hash, p| hash ^ set_share(p));
        self.set = set;
        self.version = version;
        self.is_void = false;
        true
    }

    /// Compares the content with the hash of the set at a version. At the same version it must be
    /// the same, else the content is void.
    pub(super) fn check(&mut self, version: u64, set_hash: u64) {
        let differs = self.version == version && self.set_hash != set_hash;
        if differs && !is_broken(Fault::IndexWithoutHash) {
            self.is_void = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::replica::own_index::OwnIndex;

    fn own(toggles: &[u16]) -> OwnIndex {
        let mut index = OwnIndex::new(Shape::default());
        for &partition in toggles {
            if !index.vacate(partition) {
                index.show(partition, 1, 0, 0);
            }
        }
        index
    }

    proptest! {
        /// Whatever is heard in whatever order, the content is that of the origin at its version.
        #[test]
        fn the_content_is_exact_at_its_version(
            toggles in vec(0u16..32, 1..60),
            heard in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..30),
        ) {
            let mut held = HeldIndex::new(Shape::default(), 0);
            let mut greatest = 0;
            for (from, to, is_whole) in heard {
                let from = from.index(toggles.len());
                let to = from + to.index(toggles.len() - from + 1);
                let before = held.version();
                greatest = greatest.max(to as u64);
                if is_whole {
                    let whole = own(&toggles[..to]);
                    let is_taken = held.replace(to as u64, whole.set().clone());
                    prop_assert_eq!(is_taken, to as u64 > before);
                } else {
                    let applied = held.apply(from as u64, &toggles[from..to]);
                    let is_useful = from as u64 <= before && before < to as u64;
                    let count = if is_useful { to as u64 - before } else { 0 };
                    prop_assert_eq!(applied.len() as u64, count);
                    for toggle in applied {
                        let now = own(&toggles[..toggle.version as usize]);
                        prop_assert_eq!(toggle.is_occupied, now.set().contains(toggle.partition));
                    }
                }
                let expected = own(&toggles[..held.version() as usize]);
                prop_assert!(held.iter().eq(expected.set().iter()));
                prop_assert_eq!(held.set_hash, expected.set_hash());
                prop_assert_eq!(held.announced(), greatest);
                held.check(held.version(), expected.set_hash());
                prop_assert_eq!(held.is_current(), held.version() == greatest);
            }
        }
    }

    #[test]
    fn a_content_that_contradicts_its_origin_is_void_until_a_whole_index_comes() {
        let mut held = HeldIndex::new(Shape::default(), 0);
        assert_eq!(held.apply(0, &[3, 4]).len(), 2);
        let fork = own(&[5, 6]);
        held.check(1, fork.set_hash());
        assert_eq!(held.names(3), Some(true));
        held.check(2, fork.set_hash());
        assert_eq!((held.names(3), held.missing_since()), (None, Some(0)));
        assert!(held.apply(2, &[7]).is_empty());
        assert!(!held.replace(1, own(&[5]).set().clone()));
        assert!(held.replace(2, fork.set().clone()));
        assert_eq!((held.names(3), held.names(5)), (Some(false), Some(true)));
        assert_eq!(held.missing_since(), Some(2), "version 3 was heard of");
    }

    #[test]
    fn a_version_heard_before_a_replica_was_forgotten_is_no_news() {
        let held = HeldIndex::new(Shape::default(), 9);
        assert_eq!((held.announced(), held.version()), (9, 0));
        assert_eq!(held.missing_since(), Some(0));
    }
}

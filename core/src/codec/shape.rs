//! The shape of a cluster: how many partitions its topics lie in, and whether replicas choose what
//! they hold.

use std::fmt;

use crate::id::topic_hash;

/// The most partitions of a cluster.
pub(crate) const PARTITIONS_MAX: u32 = 1 << 16;

/// The rule by which replicas hold entries of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Every replica holds everything.
    All,
    /// A replica holds the partitions that it watches.
    Interest,
}

/// The number of partitions and the mode: equal on all nodes of a cluster, and stated in every
/// frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    bits: u8,
    mode: Mode,
}

impl Shape {
    /// Makes a shape; `None` unless `partitions` is a power of two from 1 to 65,536.
    ///
    /// ```
    /// use headcount::replica::{Mode, Shape};
    /// let shape = Shape::new(4_096, Mode::All).expect("it is a power of two");
    /// assert_eq!(shape.partitions(), 4_096);
    /// assert_eq!(Shape::new(1_000, Mode::All), None);
    /// ```
    #[must_use]
    pub fn new(partitions: u32, mode: Mode) -> Option<Self> {
        let is_valid = partitions.is_power_of_two() && partitions <= PARTITIONS_MAX;
        is_valid.then(|| Self {
            bits: partitions.trailing_zeros() as u8,
            mode,
        })
    }

    /// Makes a shape from the fields of a header; `None` if there are too many partitions.
    pub(crate) fn from_bits(bits: u8, mode: Mode) -> Option<Self> {
        (u32::from(bits) <= PARTITIONS_MAX.trailing_zeros()).then_some(Self { bits, mode })
    }

    /// Returns the shape with one partition.
    pub(crate) fn single() -> Self {
        Self {
            bits: 0,
            mode: Mode::All,
        }
    }

    /// Returns the logarithm of the number of partitions, to base 2.
    pub(crate) fn bits(self) -> u8 {
        self.bits
    }

    /// Returns the mode.
    #[must_use]
    pub fn mode(self) -> Mode {
        self.mode
    }

    /// Returns the number of partitions.
    #[must_use]
    pub fn partitions(self) -> u32 {
        1 << self.bits
    }

    /// Returns the partition of a topic: the low bits of its hash. O(length).
    #[must_use]
    pub fn partition_of(self, topic: &str) -> u16 {
        (topic_hash(topic) & u64::from(self.partitions() - 1)) as u16
    }

    /// Returns a number as a partition; `None` if there is no such partition.
    pub(crate) fn partition(self, number: u64) -> Option<u16> {
        let is_valid = number < u64::from(self.partitions());
        is_valid.then_some(number as u16)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::All => "all",
            Mode::Interest => "interest",
        };
        write!(f, "{} partitions in mode {mode}", self.partitions())
    }
}

impl Default for Shape {
    /// Returns the shape with 32 partitions in which every replica holds everything.
    fn default() -> Self {
        Self {
            bits: 5,
            mode: Mode::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_up_to_65536_are_shapes() {
        for partitions in [0, 3, 33, PARTITIONS_MAX + 1, PARTITIONS_MAX * 2] {
            assert_eq!(Shape::new(partitions, Mode::All), None, "{partitions}");
        }
        let largest = Shape::new(PARTITIONS_MAX, Mode::Interest).unwrap();
        assert_eq!(largest.partition(65_535), Some(65_535));
        assert_eq!(largest.partition(65_536), None);
        assert_eq!(Shape::from_bits(16, Mode::Interest), Some(largest));
        assert_eq!(Shape::from_bits(17, Mode::All), None);
        let single = Shape::new(1, Mode::All).unwrap();
        assert_eq!((single.bits(), single.partition_of("hall")), (0, 0));
    }
}

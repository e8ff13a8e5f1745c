//! The shape of a cluster: how many partitions its topics lie in, whether replicas choose what they
//! hold, whether they count it, and whether they pass frames on.

use std::fmt;

use crate::id::topic_hash;

/// The most partitions of a cluster, those of counts included.
pub(crate) const PARTITIONS_MAX: u32 = 1 << 16;

/// The rule by which replicas hold entries of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Every replica holds everything.
    All,
    /// A replica holds the partitions that it watches.
    Interest,
}

/// The number of partitions, the mode, whether topics are counted, and whether nodes pass frames on:
/// equal on all nodes of a cluster, and stated in every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    bits: u8,
    mode: Mode,
    has_counts: bool,
    is_relayed: bool,
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
            has_counts: false,
            is_relayed: false,
        })
    }

    /// Returns the shape of a cluster in which each partition has one of counts beside it; `None` in
    /// mode `all`, and if it has more than 32,768 partitions.
    ///
    /// ```
    /// use headcount::replica::{Mode, Shape};
    /// let shape = Shape::new(4_096, Mode::Interest).expect("it is a power of two");
    /// let shape = shape.with_counts().expect("it has room for as many partitions of counts");
    /// assert!(shape.has_counts());
    /// assert_eq!(shape.partitions(), 4_096);
    /// ```
    #[must_use]
    pub fn with_counts(self) -> Option<Self> {
        let has_room = 2 * self.partitions() <= PARTITIONS_MAX;
        (has_room && self.mode == Mode::Interest).then_some(Self {
            has_counts: true,
            ..self
        })
    }

    /// Returns the shape of a cluster in which nodes pass frames on; `None` in mode `interest`.
    ///
    /// ```
    /// use headcount::replica::Shape;
    /// let shape = Shape::default().with_relay().expect("the mode is `all`");
    /// assert!(shape.is_relayed());
    /// ```
    #[must_use]
    pub fn with_relay(self) -> Option<Self> {
        (self.mode == Mode::All).then_some(Self {
            is_relayed: true,
            ..self
        })
    }

    /// Makes a shape without counts and relay from the fields of a header; `None` if there are too many
    /// partitions.
    pub(crate) fn from_bits(bits: u8, mode: Mode) -> Option<Self> {
        (u32::from(bits) <= PARTITIONS_MAX.trailing_zeros()).then_some(Self {
            bits,
            mode,
            has_counts: false,
            is_relayed: false,
        })
    }

    /// Returns the shape with one partition.
    pub(crate) fn single() -> Self {
        Self {
            bits: 0,
            mode: Mode::All,
            has_counts: false,
            is_relayed: false,
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

    /// Returns whether topics are counted.
    #[must_use]
    pub fn has_counts(self) -> bool {
        self.has_counts
    }

    /// Returns whether nodes pass frames on, for others that do not reach each other.
    #[must_use]
    pub fn is_relayed(self) -> bool {
        self.is_relayed
    }

    /// Returns the number of partitions, without those of counts.
    #[must_use]
    pub fn partitions(self) -> u32 {
        1 << self.bits
    }

    /// Returns the number of partitions, those of counts included.
    pub(crate) fn all_partitions(self) -> u32 {
        self.partitions() << u8::from(self.has_counts)
    }

    /// Returns the partition of a topic: the low bits of its hash. O(length).
    #[must_use]
    pub fn partition_of(self, topic: &str) -> u16 {
        (topic_hash(topic) & u64::from(self.partitions() - 1)) as u16
    }

    /// Returns the partition of a topic's counts. O(length).
    pub(crate) fn count_partition_of(self, topic: &str) -> u16 {
        debug_assert!(self.has_counts);
        self.partition_of(topic) + self.partitions() as u16
    }

    /// Returns whether a partition is one of counts.
    pub(crate) fn is_of_counts(self, partition: u16) -> bool {
        u32::from(partition) >= self.partitions()
    }

    /// Returns a number as a partition, of counts too; `None` if there is no such partition.
    pub(crate) fn partition(self, number: u64) -> Option<u16> {
        let is_valid = number < u64::from(self.all_partitions());
        is_valid.then_some(number as u16)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::All => "all",
            Mode::Interest => "interest",
        };
        let counts = if self.has_counts { " with counts" } else { "" };
        let relay = if self.is_relayed { " with relay" } else { "" };
        let partitions = self.partitions();
        write!(f, "{partitions} partitions in mode {mode}{counts}{relay}")
    }
}

impl Default for Shape {
    /// Returns the shape with 32 partitions in which every replica holds everything.
    fn default() -> Self {
        Self {
            bits: 5,
            mode: Mode::All,
            has_counts: false,
            is_relayed: false,
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

    #[test]
    fn partitions_of_counts_follow_the_others_one_for_each() {
        let shape = Shape::new(32, Mode::Interest).unwrap();
        assert_eq!(shape.partition(32), None);
        let shape = shape.with_counts().unwrap();
        assert_eq!((shape.partitions(), shape.all_partitions()), (32, 64));
        assert_eq!(shape.partition(63), Some(63));
        assert_eq!(shape.partition(64), None);
        let partition = shape.partition_of("hall");
        assert_eq!(shape.count_partition_of("hall"), partition + 32);
        assert!(shape.is_of_counts(partition + 32) && !shape.is_of_counts(partition));
        assert_eq!(
            shape.to_string(),
            "32 partitions in mode interest with counts"
        );
        let largest = Shape::new(PARTITIONS_MAX / 2, Mode::Interest).unwrap();
        assert_eq!(
            largest.with_counts().unwrap().partition(65_535),
            Some(65_535)
        );
        let too_large = Shape::new(PARTITIONS_MAX, Mode::Interest).unwrap();
        assert_eq!(too_large.with_counts(), None);
        assert_eq!(Shape::new(32, Mode::All).unwrap().with_counts(), None);
    }

    #[test]
    fn frames_are_passed_on_in_mode_all_only() {
        let relayed = Shape::default().with_relay().unwrap();
        assert!(relayed.is_relayed() && relayed != Shape::default());
        assert_eq!(relayed.to_string(), "32 partitions in mode all with relay");
        let interest = Shape::new(32, Mode::Interest).unwrap();
        assert_eq!(interest.with_relay(), None);
    }
}

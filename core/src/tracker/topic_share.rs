//! `TopicShare`: the topics that a tracker holds.

use crate::id::topic_hash;

/// All topics, or those of one of 2^`bits` equal parts: the low bits of a topic's hash decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicShare {
    bits: u8,
    number: u16,
}

impl TopicShare {
    /// Makes the share of part `number` of 2^`bits`.
    pub(crate) fn new(bits: u8, number: u16) -> Self {
        Self { bits, number }
    }

    /// Makes the share of all topics.
    pub(super) fn all() -> Self {
        Self::new(0, 0)
    }

    /// Returns the number of the part.
    pub(super) fn number(self) -> u16 {
        self.number
    }

    /// Returns the logarithm of the number of parts.
    pub(super) fn bits(self) -> u8 {
        self.bits
    }

    /// Returns the number of the part, and the number of parts.
    pub(super) fn place(self) -> (u16, u32) {
        (self.number, 1 << self.bits)
    }

    /// Returns the number of the part that a topic belongs to. O(length), or O(1) if there is one.
    pub(super) fn number_of(self, topic: &str) -> u16 {
        let mask = (1u64 << self.bits) - 1;
        if mask == 0 {
            return 0;
        }
        (topic_hash(topic) & mask) as u16
    }

    /// Returns whether a topic belongs to the share. O(length), or O(1) if all do.
    pub(super) fn holds(self, topic: &str) -> bool {
        self.number_of(topic) == self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_belongs_to_one_share_of_each_size() {
        for topic in ["hall", "attic", ""] {
            assert!(TopicShare::all().holds(topic));
            for bits in [0, 1, 4, 15] {
                let numbers = 0..1u16 << bits;
                let held = numbers.filter(|&number| TopicShare::new(bits, number).holds(topic));
                assert_eq!(held.count(), 1, "{topic} in 2^{bits}");
            }
        }
    }
}

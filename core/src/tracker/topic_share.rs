//! `TopicShare`: the topics that a tracker holds.

use crate::id::{ALL_TOPICS, SLOTS, topic_hash};

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

    /// Makes the share of a slot, or of all topics for [`ALL_TOPICS`].
    pub(super) fn of_slot(slot: u8) -> Self {
        if slot == ALL_TOPICS {
            return Self::new(0, 0);
        }
        Self::new(SLOTS.trailing_zeros() as u8, u16::from(slot))
    }

    /// Returns the slot by which origins name the share: [`ALL_TOPICS`] if there are more shares
    /// than slots.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn slot(self) -> u8 {
        let slot = u8::try_from(self.number).unwrap_or(ALL_TOPICS);
        if self.bits > SLOTS.trailing_zeros() as u8 {
            return ALL_TOPICS;
        }
        slot
    }

    /// Returns whether a topic belongs to the share. O(length), or O(1) if all do.
    pub(super) fn holds(self, topic: &str) -> bool {
        let mask = (1u64 << self.bits) - 1;
        mask == 0 || topic_hash(topic) & mask == u64::from(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::slot_of;

    #[test]
    fn every_topic_belongs_to_one_share_of_each_size() {
        for topic in ["hall", "attic", ""] {
            assert!(TopicShare::of_slot(ALL_TOPICS).holds(topic));
            let slots = (0..SLOTS).filter(|&slot| TopicShare::of_slot(slot).holds(topic));
            assert_eq!(slots.collect::<Vec<_>>(), [slot_of(topic)]);
            for bits in [0, 1, 4, 15] {
                let numbers = 0..1u16 << bits;
                let held = numbers.filter(|&number| TopicShare::new(bits, number).holds(topic));
                assert_eq!(held.count(), 1, "{topic} in 2^{bits}");
            }
        }
    }
}

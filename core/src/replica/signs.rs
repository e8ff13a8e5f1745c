//! `Signs`: the newest short-lived signs, such as "is typing". Of those about the same thing the
//! last one sent wins.

use std::collections::{BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_128;

use super::handle::Handle;
use super::message::{SIGN_FIELD_MAX, Sign};
use super::output::Signal;
use crate::codec::Writer;
use crate::error::SignalError;

/// The most signs remembered, over all senders; beyond it the one that ends first is forgotten.
const SIGNS_MAX: usize = 4_096;
/// The shortest and the longest memory of a sign, in microseconds: while an older one may be under
/// way.
const MEMORY: (u64, u64) = (10_000_000, 60_000_000);

/// A hash of what a sign is about: sender, topic, key, kind.
type About = u128;

/// The newest sign of each sender, topic, key and kind, by its number.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    newest: HashMap<About, (u64, u64)>,
    ends: BTreeSet<(u64, About)>,
}

impl Signs {
    /// Returns whether a sign is newer than those about the same thing; if so it is remembered.
    /// O(log signs).
    pub(super) fn admits(&mut self, sender: Handle, sign: &Sign, now: u64) -> bool {
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
        let about = about(sender, sign);
        if let Some((seq, until)) = self.newest.get(&about).copied() {
            if sign.seq <= seq {
                return false;
            }
            self.ends.remove(&(until, about));
        }
        let memory = (u64::from(sign.ttl_ms) * 1_000).clamp(MEMORY.0, MEMORY.1);
        self.newest.insert(about, (sign.seq, now + memory));
        self.ends.insert((now + memory, about));
        if self.ends.len() > SIGNS_MAX {
            self.forget_first();
        }
        true
    }

    fn forget_first(&mut self) {
        if let Some((_, about)) = self.ends.pop_first() {
            self.newest.remove(&about);
        }
    }
}

fn about(sender: Handle, sign: &Sign) -> About {
    let mut fields = Writer::new();
    fields.u64(sender.0);
    fields.bytes(&sign.topic);
    fields.bytes(&sign.key);
    fields.u8(sign.kind);
    xxh3_128(fields.as_slice())
}

/// Checks that the fields of a signal fit a Sign.
pub(super) fn check_signal(signal: &Signal) -> Result<(), SignalError> {
    let max = SIGN_FIELD_MAX;
    let topic = signal.topic.len();
    let key = signal.key.len();
    let payload = signal.payload.len();
    if topic > max {
        return Err(SignalError::TopicTooLong { len: topic, max });
    }
    if key > max {
        return Err(SignalError::KeyTooLong { len: key, max });
    }
    if payload > max {
        return Err(SignalError::PayloadTooLong { len: payload, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Handle = Handle(1);

    fn sign(key: u64, seq: u64, ttl_ms: u32) -> Sign {
        Sign {
            seq,
            topic: "room".into(),
            key: key.to_le_bytes().to_vec().into(),
            kind: 1,
            ttl_ms,
            payload: Vec::new().into(),
        }
    }

    #[test]
    fn the_memory_is_bounded_and_empties() {
        let mut signs = Signs::default();
        for number in 1..=3 * SIGNS_MAX as u64 {
            assert!(signs.admits(A, &sign(number, number, u32::MAX), number));
        }
        assert_eq!(
            (signs.newest.len(), signs.ends.len()),
            (SIGNS_MAX, SIGNS_MAX)
        );
        assert!(signs.admits(A, &sign(0, 1, 0), 4 * MEMORY.1));
        assert_eq!((signs.newest.len(), signs.ends.len()), (1, 1));
    }

    #[test]
    fn of_signs_about_the_same_thing_the_last_one_sent_wins() {
        let mut signs = Signs::default();
        assert!(signs.admits(A, &sign(1, 2, 20_000), 0));
        assert!(!signs.admits(A, &sign(1, 2, 0), 1), "it is doubled");
        assert!(!signs.admits(A, &sign(1, 1, 0), 19_999_999), "it is late");
        assert!(signs.admits(Handle(2), &sign(1, 1, 0), 1));
        assert!(signs.admits(A, &sign(2, 1, 0), 1));
        assert!(signs.admits(A, &sign(1, 3, 0), 2));
    }
}

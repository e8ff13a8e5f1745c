//! The ephemeral lane: short-lived signs, of which the last one written wins.

use std::collections::{BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_128;

use super::message::{self, Message, Signal};
use super::own::Voice;
use super::{Address, Event, OUT_MAX, Replica};
use crate::codec::{DecodeError, DecodeErrorKind, Writer};
use crate::id::ReplicaId;

/// Signs remembered, over all senders; beyond it the one that ends first is forgotten.
const SIGNALS_MAX: usize = 4096;
/// Shortest and longest memory of a sign, in microseconds: while an older one may be on its way.
const MEMORY_US: (u64, u64) = (10_000_000, 60_000_000);

/// What a sign is about: a hash of (sender, topic, key, kind).
type About = u128;

/// The newest sign of each (sender, topic, key, kind), by its sequence number.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    newest: HashMap<About, (u64, u64)>,
    ends: BTreeSet<(u64, About)>,
}

impl Signals {
    /// Whether a sign is newer than those of the same sender about the same; if so it is
    /// remembered. O(log signs).
    fn admits(&mut self, now: u64, sender: &ReplicaId, seq: u64, signal: &Signal) -> bool {
        self.expire(now);
        let about = about(sender, signal);
        if let Some((known, until)) = self.newest.get(&about).copied() {
            if seq <= known {
                return false;
            }
            self.ends.remove(&(until, about));
        }
        let memory = (u64::from(signal.ttl_ms) * 1000).clamp(MEMORY_US.0, MEMORY_US.1);
        self.newest.insert(about, (seq, now + memory));
        self.ends.insert((now + memory, about));
        if self.ends.len() > SIGNALS_MAX {
            self.forget_first();
        }
        true
    }

    /// Forgets the signs whose time is over.
    pub(super) fn expire(&mut self, now: u64) {
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, about)) = self.ends.pop_first() {
            self.newest.remove(&about);
        }
    }
}

fn about(sender: &ReplicaId, signal: &Signal) -> About {
    let mut fields = Writer::new();
    fields.identity(sender.name(), sender.incarnation(), sender.salt());
    fields.str(&signal.topic);
    fields.bytes(&signal.key);
    fields.u8(signal.kind);
    xxh3_128(fields.as_slice())
}

impl Replica {
    /// Sends a short-lived sign to all peers. Of the signs about one (topic, key, kind) the last
    /// one sent wins: an older one that arrives later is dropped. O(its length).
    ///
    /// # Errors
    /// `TooLong` when the payload, the topic or the key exceeds 256 bytes.
    pub fn signal(&mut self, signal: Signal) -> Result<(), DecodeError> {
        let max = message::SIGNAL_FIELD_MAX;
        for len in [signal.topic.len(), signal.key.len(), signal.payload.len()] {
            if len > max {
                let kind = DecodeErrorKind::TooLong {
                    len: len as u64,
                    max: max as u64,
                };
                return Err(DecodeError::new(0, kind));
            }
        }
        self.own.signals += 1;
        if self.voice == Voice::Speaking && self.out.len() < OUT_MAX / 2 {
            self.broadcast(&Message::Signal {
                seq: self.own.signals,
                signal,
            });
        }
        Ok(())
    }

    pub(super) fn signalled(
        &mut self,
        from: &Address,
        sender: &ReplicaId,
        seq: u64,
        signal: Signal,
    ) {
        let is_met = |peer: &super::members::Peer| peer.id == *sender;
        if self.peers.get(from).is_some_and(is_met)
            && self.signals.admits(self.now, sender, seq, &signal)
        {
            self.tell(Event::Signal {
                from: sender.clone(),
                signal,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(key: u64, ttl_ms: u32) -> Signal {
        let topic = "room".to_owned();
        let key = key.to_le_bytes().to_vec();
        let kind = 1;
        let payload = Vec::new();
        Signal {
            topic,
            key,
            kind,
            ttl_ms,
            payload,
        }
    }

    #[test]
    fn the_table_is_bounded_and_empties() {
        let mut signals = Signals::default();
        let id = ReplicaId::new("a", 1, 1).unwrap();
        for n in 0..3 * SIGNALS_MAX as u64 {
            assert!(signals.admits(n, &id, n + 1, &signal(n, u32::MAX)));
        }
        assert_eq!(signals.newest.len(), SIGNALS_MAX);
        assert_eq!(signals.ends.len(), SIGNALS_MAX);
        let newest = 3 * SIGNALS_MAX as u64;
        assert!(!signals.admits(newest, &id, newest, &signal(newest - 1, 0)));
        signals.expire(newest + MEMORY_US.1);
        assert!(signals.newest.is_empty() && signals.ends.is_empty());
    }

    #[test]
    fn a_sign_is_remembered_for_its_time_and_for_ten_seconds_at_least() {
        let mut signals = Signals::default();
        let id = ReplicaId::new("a", 1, 1).unwrap();
        assert!(signals.admits(0, &id, 2, &signal(1, 0)));
        assert!(!signals.admits(MEMORY_US.0 - 1, &id, 1, &signal(1, 0)));
        assert!(signals.admits(MEMORY_US.0, &id, 1, &signal(1, 20_000)));
        assert!(!signals.admits(MEMORY_US.0 + 19_999_999, &id, 1, &signal(1, 0)));
        let restarted = ReplicaId::new("a", 2, 1).unwrap();
        assert!(signals.admits(MEMORY_US.0, &restarted, 1, &signal(1, 0)));
    }
}

//! `Refusals`: what was refused, so that users are told of each peer and rule once a minute at most,
//! with a count.

use std::collections::BTreeMap;

use super::output::{Address, Event};
use crate::id::ReplicaId;

/// Peers and rules that are told of one by one within a minute. Those beyond it are counted together.
const KEPT_MAX: usize = 1_024;
/// The time between two events about the same, in microseconds.
const PAUSE: u64 = 60_000_000;

/// A peer of which something was refused, or to which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// A neighbour of which only the address is known.
    Address(Address),
    Replica(ReplicaId),
    /// Any asker for a partition.
    Asker(u16),
}

/// A peer, and the rule that it broke.
pub(super) type Cause = (Peer, &'static str);

/// The refusals of the last minute, and those that are not told yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals {
    /// Boxed: a tree makes room for eleven when it gets its first.
    kept: BTreeMap<Cause, Box<Refusal>>,
    /// The refusals while no more causes could be kept.
    others: Option<Box<Refusal>>,
    /// A lower bound of the next time at which something is due.
    next_at: Option<u64>,
}

#[derive(Debug, Clone)]
struct Refusal {
    /// The first event of those that are not told.
    event: Event,
    count: u64,
    /// When it is told, or forgotten if there is nothing to tell.
    at: u64,
}

impl Refusals {
    /// Notes that something was refused. `event` makes the event about it. O(log n).
    pub(super) fn note(&mut self, cause: Cause, now: u64, event: impl FnOnce() -> Event) {
        let begin = |event| {
            Box::new(Refusal {
                event,
                count: 0,
                at: now,
            })
        };
        let has_room = self.kept.len() < KEPT_MAX;
        let refusal = match self.kept.get_mut(&cause) {
            Some(refusal) => {
                if refusal.count == 0 {
                    refusal.event = event();
                }
                refusal
            }
            None if has_room => self.kept.entry(cause).or_insert_with(|| begin(event())),
            None => {
                let event = Event::OthersRefused { count: 0 };
                self.others.get_or_insert_with(|| begin(event))
            }
        };
        refusal.count += 1;
        let at = refusal.at;
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
    }

    /// Takes the events that are due. O(n) if there are any, or if something is forgotten.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<Event> {
        if self.next_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut due = Vec::new();
        let mut stays = |refusal: &mut Refusal| {
            if now < refusal.at {
                return true;
            }
            let count = std::mem::take(&mut refusal.count);
            refusal.at = now + PAUSE;
            if count > 0 {
                due.push(refusal.event.clone().with_count(count));
            }
            count > 0
        };
        self.kept.retain(|_, refusal| stays(refusal));
        if self.others.as_mut().is_some_and(|others| !stays(others)) {
            self.others = None;
        }
        let kept = self.kept.values().chain(&self.others);
        self.next_at = kept.map(|refusal| refusal.at).min();
        due
    }

    /// Returns when something is to be told, or forgotten.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.next_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(refusals: &mut Refusals, address: &str, rule: &'static str, now: u64) {
        let from: Address = address.into();
        refusals.note((Peer::Address(from.clone()), rule), now, || {
            Event::Unreadable {
                from,
                what: format!("{rule} at {now}"),
                count: 0,
            }
        });
    }

    fn told(address: &str, what: &str, count: u64) -> Event {
        Event::Unreadable {
            from: address.into(),
            what: what.into(),
            count,
        }
    }

    #[test]
    fn each_peer_and_rule_is_told_at_once_then_once_a_minute_with_a_count() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.take_due(0), []);
        for (address, rule) in [("ä", "seal"), ("ä", "shape"), ("", "seal")] {
            note(&mut refusals, address, rule, 5);
            assert_eq!(
                refusals.take_due(5),
                [told(address, &format!("{rule} at 5"), 1)]
            );
        }
        for now in 6..1_006 {
            note(&mut refusals, "ä", "seal", now);
            assert_eq!(refusals.take_due(now), []);
        }
        assert_eq!(refusals.next_at(), Some(5 + PAUSE));
        assert_eq!(refusals.take_due(4 + PAUSE), []);
        let rest = [told("ä", "seal at 6", 1_000)];
        assert_eq!(refusals.take_due(5 + PAUSE), rest);
        assert_eq!(refusals.kept.len(), 1, "the quiet ones are forgotten");
        note(&mut refusals, "ä", "seal", 6 + PAUSE);
        assert_eq!(
            refusals.take_due(6 + PAUSE),
            [],
            "a minute from the last event"
        );
        let last = [told("ä", &format!("seal at {}", 6 + PAUSE), 1)];
        assert_eq!(refusals.take_due(5 + 2 * PAUSE), last);
        assert_eq!(refusals.take_due(5 + 3 * PAUSE), []);
        assert_eq!((refusals.kept.len(), refusals.next_at()), (0, None));
    }

    #[test]
    fn causes_beyond_the_bound_are_told_as_one_with_the_number_of_all() {
        let mut refusals = Refusals::default();
        for round in 0..3 {
            for address in 0..KEPT_MAX + 100 {
                note(&mut refusals, &address.to_string(), "seal", round);
            }
        }
        assert_eq!(refusals.kept.len(), KEPT_MAX);
        let due = refusals.take_due(3);
        let counts: u64 = due.iter().map(|event| event.count()).sum();
        assert_eq!(
            (due.len(), counts),
            (KEPT_MAX + 1, 3 * (KEPT_MAX as u64 + 100))
        );
        assert_eq!(
            due.last(),
            Some(&Event::OthersRefused { count: 300 }),
            "{:?}",
            due.last()
        );
        assert_eq!(refusals.take_due(3 + PAUSE), []);
        note(&mut refusals, "later", "seal", 4 + PAUSE);
        assert_eq!(refusals.take_due(4 + PAUSE).len(), 1, "there is room again");
    }
}

//! `Events`: what users are told, with a bound for each kind.

use std::collections::{HashMap, VecDeque};
use std::mem::{Discriminant, discriminant};

use super::output::Event;

/// The most events of one kind that wait; beyond it the oldest of the kind go.
const OF_KIND_MAX: usize = 4_096;

/// The most topics that became ready and wait: a program may watch many at once.
const TOPICS_READY_MAX: usize = 65_536;

/// Events in their order. A flood of one kind, such as signals, pushes out none of another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    /// Events of each kind, with the numbers of their order.
    kinds: HashMap<Discriminant<Event>, VecDeque<(u64, Event)>>,
    /// The number of the next event.
    next: u64,
}

impl Events {
    /// Adds an event. Returns whether an older one of its kind is lost for it. O(1).
    pub(crate) fn push(&mut self, event: Event) -> bool {
        let is_repeatable = event == Event::DiffsDropped;
        let of_kind = self.kinds.entry(discriminant(&event)).or_default();
        let is_full = of_kind.len() >= bound(&event);
        if is_full {
            of_kind.pop_front();
        }
        of_kind.push_back((self.next, event));
        self.next += 1;
        is_full && !is_repeatable
    }

    /// Takes the oldest event. O(kinds).
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let waiting = self.kinds.values_mut().filter(|kind| !kind.is_empty());
        let oldest = waiting.min_by_key(|kind| kind.front().map(|(number, _)| *number))?;
        let (_, event) = oldest.pop_front()?;
        Some(event)
    }

    /// Returns the number of events that wait. O(kinds).
    #[cfg(feature = "tokio")]
    pub(crate) fn len(&self) -> usize {
        self.kinds.values().map(VecDeque::len).sum()
    }
}

/// Returns the most events of the same kind that wait. One loss of Diffs is as good as many: the
/// newest stands behind everything that was lost.
fn bound(event: &Event) -> usize {
    match event {
        Event::DiffsDropped => 1,
        Event::TopicReady { .. } | Event::CountsReady { .. } => TOPICS_READY_MAX,
        _ => OF_KIND_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Signal;
    use super::*;
    use crate::id::ReplicaId;

    fn id(name: &str) -> ReplicaId {
        ReplicaId::new(name, 1, 0).unwrap()
    }

    fn signal(number: usize) -> Event {
        let signal = Signal {
            topic: "room".into(),
            key: number.to_le_bytes().into(),
            kind: 1,
            ttl_ms: 1,
            payload: Vec::new(),
        };
        Event::Signal {
            from: id("a"),
            signal,
        }
    }

    #[test]
    fn a_flood_of_signals_pushes_out_signals_only() {
        let mut events = Events::default();
        events.push(Event::ReplicaUp(id("a")));
        for number in 0..OF_KIND_MAX {
            events.push(signal(number));
        }
        events.push(Event::ReplicaDown(id("a")));
        for number in OF_KIND_MAX..3 * OF_KIND_MAX {
            assert!(events.push(signal(number)), "an older one is lost");
        }
        let polled: Vec<_> = std::iter::from_fn(|| events.pop()).collect();
        assert_eq!(polled.len(), OF_KIND_MAX + 2);
        assert_eq!(
            polled[..2],
            [Event::ReplicaUp(id("a")), Event::ReplicaDown(id("a"))]
        );
        let newest = (2 * OF_KIND_MAX..3 * OF_KIND_MAX).map(signal);
        assert!(polled[2..].iter().cloned().eq(newest));
    }

    #[test]
    fn events_of_all_kinds_come_in_their_order() {
        let mut events = Events::default();
        let expected = [
            Event::ReplicaUp(id("b")),
            signal(1),
            Event::ReplicaUp(id("a")),
            Event::ReplicaLeft(id("b")),
            signal(2),
        ];
        for event in expected.iter().cloned() {
            assert!(!events.push(event));
        }
        let polled: Vec<_> = std::iter::from_fn(|| events.pop()).collect();
        assert_eq!(polled, expected);
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn many_losses_of_diffs_are_one_event_behind_the_last_of_them() {
        let mut events = Events::default();
        events.push(Event::DiffsDropped);
        events.push(signal(1));
        assert!(!events.push(Event::DiffsDropped));
        assert_eq!(events.pop(), Some(signal(1)));
        assert_eq!(events.pop(), Some(Event::DiffsDropped));
        assert_eq!(events.pop(), None);
    }
}

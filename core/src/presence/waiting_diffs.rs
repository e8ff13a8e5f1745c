//! `WaitingDiffs`: the Diffs that the program has not polled, within a bound of bytes.

use std::collections::VecDeque;

use crate::tracker::Diff;

/// Diffs in their order. Those of different moments are not joined: each version that a read could
/// have shown needs a leave of its own, so two updates of an entry would still take three of the
/// four versions.
#[derive(Debug, Clone)]
pub(super) struct WaitingDiffs {
    /// Diffs with the bytes that each takes.
    queue: VecDeque<(Diff, usize)>,
    /// The sum of these bytes.
    bytes: usize,
    bytes_max: usize,
}

impl WaitingDiffs {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds a Diff. Returns `false` if there is no room for it beside those that wait: all of them
    /// are dropped then. A Diff that comes to an empty queue has room, whatever its length, so a
    /// program that polls after each call loses none. O(changes).
    #[must_use]
    pub(super) fn push(&mut self, mut diff: Diff) -> bool {
        if !self.queue.is_empty() {
            // The program is behind, so this one waits too.
            diff.shrink();
        }
        let bytes = diff.memory();
        let is_kept = self.queue.is_empty() || self.bytes.saturating_add(bytes) <= self.bytes_max;
        if is_kept {
            self.bytes += bytes;
            self.queue.push_back((diff, bytes));
        } else {
            *self = Self::new(self.bytes_max);
        }
        is_kept
    }

    /// Returns the bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether no Diff waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the oldest Diff.
    pub(super) fn pop(&mut self) -> Option<Diff> {
        let (diff, bytes) = self.queue.pop_front()?;
        self.bytes -= bytes;
        if self.queue.is_empty() {
            // A burst does not hold its memory for ever.
            self.queue.shrink_to(64);
        }
        Some(diff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;
    use crate::tracker::{NewEntry, Tracker};

    /// Makes Diffs of one join each, with a meta of that many bytes.
    fn diffs(meta_len: usize) -> impl Iterator<Item = Diff> {
        let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).unwrap());
        let meta = vec![0; meta_len];
        (0..).map(move |number| {
            let key = format!("{number:08}");
            let put = NewEntry::new("room", &key, "c").meta(&meta);
            tracker.track(&put).unwrap();
            tracker.take_diff()
        })
    }

    #[test]
    fn diffs_wait_until_their_bytes_reach_the_bound() {
        let mut diffs = diffs(1_000);
        let mut next = || {
            let mut diff = diffs.next().unwrap();
            diff.shrink();
            diff
        };
        let each = next().memory();
        assert!((1_000..1_300).contains(&each), "{each} bytes");
        let mut waiting = WaitingDiffs::new(10 * each);
        for number in 1..=10 {
            assert!(waiting.push(next()));
            let expected = (number, number * each);
            assert_eq!((waiting.queue.len(), waiting.bytes), expected);
        }
        assert!(waiting.pop().is_some());
        assert!(waiting.push(next()));
        assert_eq!(waiting.bytes, 10 * each);
        assert!(!waiting.push(next()), "the eleventh has no room");
        assert_eq!((waiting.pop(), waiting.bytes), (None, 0));
        assert!(waiting.push(next()));
        assert_eq!((waiting.queue.len(), waiting.bytes), (1, each));
    }

    #[test]
    fn a_diff_that_is_longer_than_the_bound_is_kept_if_it_is_alone() {
        let mut diffs = diffs(1_000);
        let mut waiting = WaitingDiffs::new(100);
        assert!(waiting.push(diffs.next().unwrap()));
        assert!(waiting.pop().is_some());
        assert!(waiting.push(diffs.next().unwrap()));
        assert!(!waiting.push(diffs.next().unwrap()));
        assert_eq!((waiting.pop(), waiting.bytes), (None, 0));
    }
}

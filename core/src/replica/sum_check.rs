//! `SumCheck`: whether all that a replica showed with its last Beat has arrived.

use crate::fault::{Fault, is_broken};

/// The time that late frames are given before something counts as lost, in microseconds.
const PATIENCE: u64 = 200_000;

/// The comparison of what is held of a replica with the sums of its Beats.
#[derive(Debug, Clone, Default)]
pub(super) struct SumCheck {
    /// The number of the last Beat and its sum, until the sum was met.
    wanted: Option<(u64, u64)>,
    /// The last Beat whose sum was met.
    met: u64,
    /// The first Beat, if it had nothing: that of a new identity, whose entries come after it, has
    /// nothing too.
    empty_first: Option<u64>,
    /// When to ask; `None` once asked.
    ask_at: Option<u64>,
    /// The times that was asked since a sum was met.
    asks: u32,
}

impl SumCheck {
    /// Takes the sum of a new Beat. Returns when to look whether it was met, if it is not yet.
    pub(super) fn beat(&mut self, seq: u64, sum: u64, held: u64, now: u64) -> Option<u64> {
        let is_first = self.wanted.is_none() && self.met == 0;
        if is_first && sum == 0 {
            self.empty_first = Some(seq);
        }
        self.wanted = Some((seq, sum));
        // Beats that come faster put nothing off.
        self.ask_at.get_or_insert(now + PATIENCE);
        self.compare(held);
        self.ask_at
    }

    /// Compares what is held after a change. A sum that is met at any moment counts.
    pub(super) fn compare(&mut self, held: u64) {
        if let Some((seq, _)) = self.wanted.filter(|(_, sum)| *sum == held) {
            self.met = seq;
            self.wanted = None;
            self.ask_at = None;
            self.asks = 0;
        }
    }

    /// Notes that something that was held was dropped: the sums that were met say nothing any more.
    pub(super) fn lose(&mut self) {
        self.met = self.empty_first.unwrap_or(0);
    }

    /// Returns the Beat since which rows are to be asked for, if it is time: the last one whose sum
    /// was met, and all rows if that did not help.
    pub(super) fn due(&mut self, now: u64) -> Option<u64> {
        self.ask_at.take_if(|at| *at <= now)?;
        if is_broken(Fault::IgnoreSum) {
            return None;
        }
        self.asks = self.asks.saturating_add(1);
        Some(if self.asks == 1 { self.met } else { 0 })
    }

    /// Returns whether the sum of a Beat was ever met that says what the replica has.
    pub(super) fn was_met(&self) -> bool {
        self.met > self.empty_first.unwrap_or(0) || is_broken(Fault::ReadyUnchecked)
    }

    /// Returns when it is time to ask.
    pub(super) fn ask_at(&self) -> Option<u64> {
        self.ask_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_was_met_counts_until_something_is_dropped() {
        let mut check = SumCheck::default();
        check.beat(3, 7, 7, 0);
        assert!(check.was_met());
        check.lose();
        assert!(!check.was_met());
        check.beat(4, 7, 2, 0);
        assert!(!check.was_met());
        check.compare(7);
        assert!(check.was_met());
    }

    #[test]
    fn a_first_beat_of_nothing_says_nothing() {
        let mut check = SumCheck::default();
        check.beat(7, 0, 0, 0);
        assert!(!check.was_met());
        check.beat(8, 0, 0, 0);
        assert!(check.was_met(), "the replica is empty");
        let mut check = SumCheck::default();
        check.beat(7, 0, 0, 0);
        check.beat(8, 20, 0, 0);
        assert!(!check.was_met());
        check.compare(20);
        assert!(check.was_met());
    }

    #[test]
    fn beats_faster_than_the_patience_do_not_put_it_off() {
        let mut check = SumCheck::default();
        let pause = PATIENCE / 4;
        for seq in 1..=4 {
            assert_eq!(check.beat(seq, 20, 10, seq * pause), Some(pause + PATIENCE));
            assert_eq!(check.due(seq * pause), None);
        }
        assert_eq!(check.due(pause + PATIENCE), Some(0), "nothing was ever met");
        check.compare(20);
        assert_eq!(check.beat(5, 20, 20, 2 * PATIENCE), None);
    }

    #[test]
    fn rows_are_asked_for_once_a_beat_until_the_sum_is_met() {
        let mut check = SumCheck::default();
        assert_eq!(check.beat(1, 10, 10, 0), None);
        assert_eq!(check.due(PATIENCE), None);
        assert_eq!(check.beat(2, 20, 10, 0), Some(PATIENCE));
        assert_eq!(check.due(PATIENCE - 1), None);
        assert_eq!(check.due(PATIENCE), Some(1));
        assert_eq!(check.due(PATIENCE * 2), None);
        check.beat(3, 30, 10, PATIENCE * 2);
        assert_eq!(check.due(PATIENCE * 3), Some(0));
        check.compare(29);
        check.compare(30);
        check.compare(31);
        assert_eq!(check.beat(4, 40, 31, PATIENCE * 4), Some(PATIENCE * 5));
        assert_eq!(check.due(PATIENCE * 5), Some(3));
    }
}

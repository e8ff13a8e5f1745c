//! `GapCheck`: whether Beats of a replica were lost, and with them other frames.

use crate::fault::{Fault, is_broken};

/// The Beats of a replica that were heard without a gap. Where not everything is held, the sum of a
/// Beat says nothing; a missing Beat says that more may be missing.
#[derive(Debug, Clone, Default)]
pub(super) struct GapCheck {
    /// The last Beat before which nothing is missing; 0 before the first.
    whole: u64,
    /// The last Beat.
    last: u64,
    ask_at: Option<u64>,
}

impl GapCheck {
    /// Takes the number of a new Beat. Returns when to ask for rows, if some are missing. The first
    /// Beat has no gap: whatever is held of the replica is asked for after it.
    pub(super) fn beat(&mut self, seq: u64, now: u64) -> Option<u64> {
        self.last = self.last.max(seq);
        self.join();
        if self.whole == 0 {
            self.whole = seq;
        }
        if self.whole < self.last {
            self.ask_at = Some(now);
        }
        self.ask_at
    }

    /// Takes note of rows that changed after one Beat, up to another.
    pub(super) fn rows(&mut self, since: u64, seq: u64) {
        if since <= self.whole {
            self.whole = self.whole.max(seq);
            self.join();
        }
    }

    /// Notes that nothing is held of which something could be missing.
    pub(super) fn skip(&mut self) {
        self.whole = self.last;
        self.ask_at = None;
    }

    /// Joins the last Beat to those before, if it follows them.
    fn join(&mut self) {
        if self.last == self.whole + 1 {
            self.whole = self.last;
        }
        if self.last <= self.whole {
            self.ask_at = None;
        }
    }

    /// Returns the Beat since which rows are to be asked for, if it is time; not again before the
    /// next Beat.
    pub(super) fn due(&mut self, now: u64) -> Option<u64> {
        self.ask_at.take_if(|at| *at <= now)?;
        (!is_broken(Fault::IgnoreBeatGap)).then_some(self.whole)
    }

    /// Returns when it is time to ask.
    pub(super) fn ask_at(&self) -> Option<u64> {
        self.ask_at
    }

    /// Returns whether a Beat was heard.
    pub(super) fn has_heard(&self) -> bool {
        self.last > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_beat_has_rows_asked_for_once_a_beat_until_they_come() {
        let mut check = GapCheck::default();
        assert!(!check.has_heard());
        assert_eq!(check.beat(7, 10), None, "the first one");
        assert_eq!(check.beat(8, 20), None);
        assert_eq!(check.beat(10, 40), Some(40));
        assert_eq!(
            (check.due(39), check.due(40), check.due(41)),
            (None, Some(8), None)
        );
        assert_eq!(check.beat(11, 50), Some(50));
        assert_eq!(check.due(50), Some(8));
        check.rows(9, 11);
        assert_eq!(
            check.beat(12, 60),
            Some(60),
            "rows before Beat 9 are missing"
        );
        check.rows(8, 11);
        assert_eq!(check.due(60), None, "Beat 12 follows");
        assert_eq!(check.beat(13, 70), None);
    }

    #[test]
    fn a_node_that_holds_nothing_misses_nothing() {
        let mut check = GapCheck::default();
        check.beat(7, 10);
        check.beat(10, 20);
        check.skip();
        assert_eq!((check.due(30), check.beat(11, 30)), (None, None));
    }
}

//! `GapCheck`: whether Beats of a replica were lost, and with them other frames.

use super::message::Mark;
use super::own_index::ROW_BEATS;
use crate::fault::{Fault, is_broken};

/// The Beats of a replica that were heard without a gap. Where not everything is held, the sum of a
/// Beat says nothing; a missing Beat says that more may be missing.
#[derive(Debug, Clone, Default)]
pub(super) struct GapCheck {
    /// The last place of the history before which nothing is missing: of Beat 0 before the first.
    whole: Mark,
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
        if self.whole.seq == 0 {
            self.whole = Mark::of_beat(seq);
        }
        if self.has_lost() {
            self.ask_at = Some(now);
        }
        self.ask_at
    }

    /// Takes note of the rows from one place of the history to another.
    pub(super) fn rows(&mut self, from: Mark, to: Mark) {
        if from <= self.whole {
            self.whole = self.whole.max(to);
            self.join();
        }
    }

    /// Notes that nothing is held of which something could be missing.
    pub(super) fn skip(&mut self) {
        self.whole = Mark::of_beat(self.last);
        self.ask_at = None;
    }

    /// Joins the last Beat to those before, if it follows them.
    fn join(&mut self) {
        if self.last == self.whole.seq + 1 {
            self.whole = Mark::of_beat(self.last);
        }
        if self.last <= self.whole.seq {
            self.ask_at = None;
        }
    }

    /// Returns the Beat since which rows are to be asked for, if it is time; not again before the
    /// next Beat. With the missing Beats the rows of changes before them were lost too.
    pub(super) fn due(&mut self, now: u64) -> Option<u64> {
        self.ask_at.take_if(|at| *at <= now)?;
        let rows = if is_broken(Fault::AskWithoutRows) {
            0
        } else {
            ROW_BEATS
        };
        (!is_broken(Fault::IgnoreBeatGap)).then_some(self.whole.seq.saturating_sub(rows))
    }

    /// Returns when it is time to ask.
    pub(super) fn ask_at(&self) -> Option<u64> {
        self.ask_at
    }

    /// Returns whether Beats are missing.
    pub(super) fn has_lost(&self) -> bool {
        self.whole.seq < self.last
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
            (None, Some(6), None)
        );
        assert_eq!(check.beat(11, 50), Some(50));
        assert_eq!((check.due(50), check.has_lost()), (Some(6), true));
        check.rows(Mark::of_beat(9), Mark::of_beat(11));
        assert_eq!(
            check.beat(12, 60),
            Some(60),
            "rows before Beat 9 are missing"
        );
        check.rows(Mark::of_beat(8), Mark::of_beat(11));
        assert_eq!(check.due(60), None, "Beat 12 follows");
        assert_eq!((check.beat(13, 70), check.has_lost()), (None, false));
    }

    /// Before, the frames after the lost one were taken for all that had changed: their rows are of the
    /// same Beat.
    #[test]
    fn a_lost_frame_of_rows_is_noticed_also_where_one_beat_has_several() {
        let part = |partition| Mark { seq: 8, partition };
        let frames = [(0, 10), (10, 20), (20, 30)].map(|(from, to)| (part(from), part(to)));
        let end = (part(30), Mark::of_beat(11));
        for lost in 0..=frames.len() {
            let mut check = GapCheck::default();
            check.beat(8, 10);
            check.beat(11, 20);
            for (at, (from, to)) in frames.into_iter().chain([end]).enumerate() {
                if at != lost {
                    check.rows(from, to);
                }
            }
            assert_eq!(check.due(20), Some(6), "frame {lost} is missing");
            let (from, to) = frames.into_iter().chain([end]).nth(lost).unwrap();
            check.rows(from, to);
            let is_last = lost == frames.len();
            assert_eq!(check.due(30), None, "not again before the next Beat");
            assert_eq!(check.beat(12, 30).is_none(), is_last);
        }
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

//! The leaves of one origin that are remembered for holders that missed them.

use std::collections::VecDeque;

/// A leave that later frames still bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoggedLeave {
    pub(super) op: u64,
    pub(super) birth: u64,
    pub(super) reason: u8,
}

/// Leaves in the order of their ops. What drops some returns the newest op that was dropped: the
/// horizon of the origin, from where on a `Delta` can start.
#[derive(Debug, Clone, Default)]
pub(super) struct LeaveLog(VecDeque<LoggedLeave>);

/// The log of an origin without leaves.
pub(super) static NO_LEAVES: LeaveLog = LeaveLog(VecDeque::new());

impl LeaveLog {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a leave; beyond `len_max` the oldest is dropped.
    #[inline]
    pub(super) fn push(&mut self, leave: LoggedLeave, len_max: usize) -> Option<u64> {
        self.0.push_back(leave);
        let mut dropped = None;
        while self.0.len() > len_max {
            dropped = self.0.pop_front();
        }
        dropped.map(|leave| leave.op)
    }

    /// Drops leaves up to and including `op`.
    pub(super) fn trim(&mut self, op: u64) -> Option<u64> {
        let mut dropped = None;
        while self.0.front().is_some_and(|leave| leave.op <= op) {
            dropped = self.0.pop_front();
        }
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
        dropped.map(|leave| leave.op)
    }

    /// Drops all but the newest `len_max` leaves.
    pub(super) fn limit(&mut self, len_max: usize) -> Option<u64> {
        let cut = self.0.len().checked_sub(len_max + 1)?;
        let last = self.0.get(cut)?.op;
        self.trim(last)
    }

    /// Returns the leaves after `op`, oldest first. O(log leaves).
    pub(super) fn after(&self, op: u64) -> impl Iterator<Item = LoggedLeave> {
        let first = self.0.partition_point(|leave| leave.op <= op);
        self.0.range(first..).copied()
    }

    /// Returns the newest leave.
    pub(super) fn newest(&self) -> Option<LoggedLeave> {
        self.0.back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(ops: std::ops::RangeInclusive<u64>, len_max: usize) -> LeaveLog {
        let mut log = LeaveLog::default();
        for op in ops {
            let leave = LoggedLeave {
                op,
                birth: 1,
                reason: 0,
            };
            log.push(leave, len_max);
        }
        log
    }

    #[test]
    fn the_newest_op_that_is_dropped_is_returned() {
        let mut log = log(1..=9, 6);
        let leave = LoggedLeave {
            op: 10,
            birth: 1,
            reason: 0,
        };
        assert_eq!(log.push(leave, 6), Some(4));
        assert_eq!((log.trim(5), log.len()), (Some(5), 5));
        assert_eq!((log.trim(2), log.len()), (None, 5));
        assert_eq!((log.limit(1), log.len()), (Some(9), 1));
        assert_eq!((log.limit(1), log.len()), (None, 1));
        assert_eq!((log.limit(0), log.is_empty()), (Some(10), true));
    }

    #[test]
    fn leaves_after_an_op_come_oldest_first() {
        let log = log(1..=5, 10);
        let after: Vec<_> = log.after(3).map(|leave| leave.op).collect();
        assert_eq!(after, [4, 5]);
        assert_eq!(log.after(5).count(), 0);
        assert_eq!(log.newest().map(|leave| leave.op), Some(5));
    }
}

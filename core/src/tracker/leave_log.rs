//! The leaves of one origin that are remembered for holders that missed them.

use std::collections::VecDeque;

/// A leave that later frames still bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoggedLeave {
    pub(super) op: u64,
    pub(super) birth: u64,
    pub(super) reason: u8,
}

#[derive(Debug, Clone, Default)]
pub(super) struct LeaveLog {
    /// `None` until there is one: of other origins none are remembered where only origins answer.
    leaves: Option<Box<Leaves>>,
    /// The newest op whose leave was dropped.
    horizon: u64,
}

/// Leaves in the order of their ops.
#[derive(Debug, Clone, Default)]
struct Leaves(VecDeque<LoggedLeave>);

/// What a log without leaves has.
static NONE: Leaves = Leaves(VecDeque::new());

impl LeaveLog {
    fn list(&self) -> &VecDeque<LoggedLeave> {
        &self.leaves.as_deref().unwrap_or(&NONE).0
    }

    pub(super) fn len(&self) -> usize {
        self.list().len()
    }

    /// Returns the newest op whose leave was dropped: a `Delta` can start from there.
    #[inline]
    pub(super) fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Remembers a leave; beyond `len_max` the oldest is dropped and the horizon rises.
    #[inline]
    pub(super) fn push(&mut self, leave: LoggedLeave, len_max: usize) {
        let leaves = &mut self.leaves.get_or_insert_default().0;
        leaves.push_back(leave);
        while self.len() > len_max {
            self.drop_oldest();
        }
    }

    /// Drops leaves up to and including `op`.
    pub(super) fn trim(&mut self, op: u64) {
        while self.list().front().is_some_and(|leave| leave.op <= op) {
            self.drop_oldest();
        }
        if let Some(Leaves(leaves)) = self.leaves.as_deref_mut()
            && leaves.len() < leaves.capacity() / 4
        {
            leaves.shrink_to(leaves.len() * 2);
        }
    }

    /// Drops all but the newest `len_max` leaves.
    pub(super) fn limit(&mut self, len_max: usize) {
        let cut = self.len().checked_sub(len_max + 1);
        if let Some(last) = cut.and_then(|cut| self.list().get(cut)) {
            self.trim(last.op);
        }
    }

    /// Forgets all leaves: no `Delta` starts from below `horizon` any more.
    pub(super) fn restart(&mut self, horizon: u64) {
        self.leaves = None;
        self.horizon = horizon;
    }

    fn drop_oldest(&mut self) {
        let leaves = self.leaves.as_deref_mut();
        if let Some(leave) = leaves.and_then(|leaves| leaves.0.pop_front()) {
            self.horizon = leave.op;
        }
    }

    /// Returns the leaves after `op`, oldest first. O(log leaves).
    pub(super) fn after(&self, op: u64) -> impl Iterator<Item = LoggedLeave> {
        let first = self.list().partition_point(|leave| leave.op <= op);
        self.list().range(first..).copied()
    }

    /// Returns the newest leave.
    pub(super) fn newest(&self) -> Option<LoggedLeave> {
        self.list().back().copied()
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
    fn the_horizon_is_the_newest_op_that_was_dropped() {
        let mut log = log(1..=9, 6);
        assert_eq!((log.len(), log.horizon()), (6, 3));
        log.trim(5);
        assert_eq!((log.len(), log.horizon()), (4, 5));
        log.trim(2);
        assert_eq!((log.len(), log.horizon()), (4, 5));
        log.limit(1);
        assert_eq!((log.len(), log.horizon()), (1, 8));
        log.limit(1);
        assert_eq!((log.len(), log.horizon()), (1, 8));
        log.restart(20);
        assert_eq!((log.len(), log.horizon()), (0, 20));
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

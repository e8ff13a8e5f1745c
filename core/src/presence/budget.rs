//! One budget for the leave logs of all origins and partitions.

use std::time::Duration;

use parking_lot::RwLock;

use crate::replica::Partitions;

/// Bytes of one remembered leave.
pub(super) const LEAVE_LEN: usize = 24;

/// Time between two looks at the logs.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(super) struct LeaveBudget {
    bytes_max: usize,
    /// The time of the next look.
    due: Duration,
}

impl LeaveBudget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            due: Duration::ZERO,
        }
    }

    /// Cuts the longest leave logs in half until all fit the budget. A log that was cut costs a
    /// later holder a `Repair` instead of a `Delta`.
    pub(super) fn enforce<'a>(
        &mut self,
        now: Duration,
        shards: &(impl Iterator<Item = &'a RwLock<Partitions>> + Clone),
    ) {
        if now < self.due {
            return;
        }
        self.due = now + PERIOD;
        let logs = shards.clone().map(|shard| shard.read().leave_log_len());
        let mut total: usize = logs.sum();
        while total * LEAVE_LEN > self.bytes_max {
            let logs = shards
                .clone()
                .map(|shard| (shard.read().longest_leave_log(), shard));
            let longest = logs.max_by_key(|(len, _)| *len);
            let Some((len, shard)) = longest.filter(|(len, _)| *len > 0) else {
                return;
            };
            shard.write().limit_longest_leave_log(len / 2);
            total -= len - len / 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;
    use crate::replica::Shape;
    use crate::tracker::{Limits, NewEntry};

    fn with_leaves(leaves: usize) -> RwLock<Partitions> {
        let id = ReplicaId::new("a", 1, 0).unwrap();
        let mut shard = Partitions::new(id, Shape::default(), Limits::default());
        for _ in 0..leaves {
            shard.track(&NewEntry::new("room", "ann", "conn")).unwrap();
            shard.untrack("room", "ann".into(), b"conn");
        }
        RwLock::new(shard)
    }

    #[test]
    fn the_longest_logs_are_cut_once_a_period() {
        let shards = [with_leaves(100), with_leaves(10)];
        let lens = || shards.each_ref().map(|shard| shard.read().leave_log_len());
        let mut budget = LeaveBudget::new(50 * LEAVE_LEN);
        budget.enforce(Duration::ZERO, &shards.iter());
        assert_eq!(lens(), [25, 10]);
        for _ in 0..50 {
            let mut shard = shards[1].write();
            shard.track(&NewEntry::new("room", "ann", "conn")).unwrap();
            shard.untrack("room", "ann".into(), b"conn");
        }
        budget.enforce(PERIOD / 2, &shards.iter());
        assert_eq!(lens(), [25, 60], "it is not time yet");
        budget.enforce(PERIOD, &shards.iter());
        assert_eq!(lens(), [25, 15]);
    }
}

//! `LeaveAges`: how long own leaves are remembered.

use std::collections::VecDeque;
use std::time::Duration;

use super::output::OwnState;

/// The number of steps in which the time of leaves is told apart.
const STEPS: u32 = 16;

/// Clocks of own partitions and when these were reached: leaves up to a clock are dropped when it
/// has aged.
#[derive(Debug, Clone)]
pub(super) struct LeaveAges {
    keep: Duration,
    /// Clocks since the last step, and since when they are collected.
    fresh: Vec<(u16, u64)>,
    since: Duration,
    aging: VecDeque<(Duration, u16, u64)>,
}

impl LeaveAges {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            keep,
            fresh: Vec::new(),
            since: Duration::ZERO,
            aging: VecDeque::new(),
        }
    }

    /// Notes the clock of a partition after an operation. Clocks of one partition that follow each
    /// other are one.
    pub(super) fn note(&mut self, state: OwnState) {
        match self.fresh.last_mut() {
            Some((partition, clock)) if *partition == state.partition => *clock = state.clock,
            _ => self.fresh.push((state.partition, state.clock)),
        }
    }

    /// Returns the partitions and clocks that have aged. O(those, and those noted since the last
    /// call).
    pub(super) fn take_aged(&mut self, now: Duration) -> Vec<(u16, u64)> {
        if now >= self.since + self.keep / STEPS {
            self.since = now;
            self.fresh.sort_unstable();
            let mut newest: Vec<(u16, u64)> = Vec::new();
            for (partition, clock) in self.fresh.drain(..) {
                match newest.last_mut() {
                    Some(last) if last.0 == partition => last.1 = clock,
                    _ => newest.push((partition, clock)),
                }
            }
            let aging = newest.into_iter();
            self.aging
                .extend(aging.map(|(partition, clock)| (now, partition, clock)));
        }
        let is_aged = |(at, ..): &(Duration, u16, u64)| *at + self.keep <= now;
        let count = self.aging.iter().take_while(|mark| is_aged(mark)).count();
        let aged = self.aging.drain(..count);
        aged.map(|(_, partition, clock)| (partition, clock))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(partition: u16, clock: u64) -> OwnState {
        OwnState {
            partition,
            clock,
            entries: 1,
        }
    }

    #[test]
    fn clocks_age_together_and_the_newest_of_a_partition_counts() {
        let second = Duration::from_secs(1);
        let mut ages = LeaveAges::new(16 * second);
        for (partition, clock) in [(3, 1), (3, 2), (5, 1), (3, 4)] {
            ages.note(state(partition, clock));
        }
        assert!(ages.take_aged(second).is_empty());
        ages.note(state(3, 9));
        assert!(ages.take_aged(second * 3 / 2).is_empty());
        assert!(ages.take_aged(2 * second).is_empty());
        assert_eq!(ages.take_aged(17 * second), [(3, 4), (5, 1)]);
        assert_eq!(ages.take_aged(18 * second), [(3, 9)]);
        assert!(ages.take_aged(60 * second).is_empty());
    }
}

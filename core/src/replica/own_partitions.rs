//! `OwnPartitions`: the own entries as the trackers report them, and which of them are still to be
//! pushed.

use std::collections::{BTreeMap, BTreeSet};

/// The own part of every partition that has or had entries.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnPartitions {
    local: BTreeMap<u16, Local>,
    /// Partitions with operations that are not pushed.
    unpushed: BTreeSet<u16>,
    /// When the next push is due.
    push_at: Option<u64>,
    unpushed_bytes: usize,
    /// Pushes begun and not answered.
    open: BTreeSet<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Local {
    clock: u64,
    entries: u32,
    /// Since when there has been no entry; meaningless while there is one.
    empty_since: u64,
}

impl OwnPartitions {
    /// Notes the own state of a partition after operations; they are due to be pushed at `push_at`.
    pub(super) fn report(
        &mut self,
        partition: u16,
        clock: u64,
        entries: u32,
        now: u64,
        push_at: u64,
    ) {
        let before = self.local.get(&partition);
        if before.is_some_and(|before| before.clock == clock) {
            return;
        }
        let local = Local {
            clock,
            entries,
            empty_since: now,
        };
        self.local.insert(partition, local);
        self.unpushed.insert(partition);
        self.push_at.get_or_insert(push_at);
    }

    /// Notes that operations were written; beyond `bytes_max` they are due at once.
    pub(super) fn report_written(&mut self, bytes: usize, bytes_max: usize, now: u64) {
        self.unpushed_bytes = self.unpushed_bytes.saturating_add(bytes);
        if self.unpushed_bytes >= bytes_max
            && let Some(at) = &mut self.push_at
        {
            *at = now.min(*at);
        }
    }

    pub(super) fn push_at(&self) -> Option<u64> {
        self.push_at
    }

    /// Begins to push everything that waits. Returns the partitions.
    pub(super) fn begin_push(&mut self) -> Vec<u16> {
        self.push_at = None;
        self.unpushed_bytes = 0;
        let unpushed = std::mem::take(&mut self.unpushed);
        self.open.extend(&unpushed);
        unpushed.into_iter().collect()
    }

    /// Ends a push. Returns whether it was begun.
    pub(super) fn end_push(&mut self, partition: u16) -> bool {
        self.open.remove(&partition)
    }

    /// Has a partition pushed again, at `now`.
    pub(super) fn push_again(&mut self, partition: u16, now: u64) {
        self.unpushed.insert(partition);
        self.push_at = Some(now);
    }

    /// Returns whether no push is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns whether a partition has entries.
    pub(super) fn has_entries(&self, partition: u16) -> bool {
        let local = self.local.get(&partition);
        local.is_some_and(|local| local.entries > 0)
    }

    /// Takes out the partitions that have been empty since `since` or longer and are pushed, with
    /// their clocks.
    pub(super) fn take_empty(&mut self, since: u64) -> Vec<(u16, u64)> {
        let is_settled =
            |partition: &u16| !self.unpushed.contains(partition) && !self.open.contains(partition);
        let empty = self.local.iter().filter(|(partition, local)| {
            local.entries == 0 && local.empty_since <= since && is_settled(partition)
        });
        let empty: Vec<_> = empty
            .map(|(partition, local)| (*partition, local.clock))
            .collect();
        for (partition, _) in &empty {
            self.local.remove(partition);
        }
        empty
    }

    /// Returns since when the partition has been empty that is to be vacated next.
    pub(super) fn empty_since(&self) -> Option<u64> {
        let empty = self.local.values().filter(|local| local.entries == 0);
        empty.map(|local| local.empty_since).min()
    }

    /// Has everything pushed again, at `now`: a new identity begins with nothing. Partitions
    /// without entries are taken out and returned, with their clocks.
    pub(super) fn begin_identity(&mut self, now: u64) -> Vec<(u16, u64)> {
        self.unpushed.clear();
        self.open.clear();
        let empty = self.take_empty(u64::MAX);
        self.unpushed = self.local.keys().copied().collect();
        self.push_at = (!self.unpushed.is_empty()).then_some(now);
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_wait_together_until_the_first_is_due_or_there_is_much() {
        let mut own = OwnPartitions::default();
        own.report(3, 1, 1, 0, 5);
        own.report(1, 4, 2, 2, 7);
        own.report(3, 1, 1, 3, 8);
        assert_eq!(own.push_at(), Some(5));
        own.report_written(99, 100, 3);
        assert_eq!(own.push_at(), Some(5));
        own.report_written(1, 100, 3);
        assert_eq!(own.push_at(), Some(3));
        assert_eq!(own.begin_push(), [1, 3]);
        assert_eq!(own.push_at(), None);
        assert!(!own.is_idle() && own.end_push(1) && !own.end_push(1));
        assert!(own.end_push(3) && own.is_idle());
    }

    #[test]
    fn partitions_are_vacated_when_they_are_empty_for_long_and_pushed() {
        let mut own = OwnPartitions::default();
        own.report(3, 1, 1, 0, 0);
        own.report(4, 2, 0, 0, 0);
        assert!(own.take_empty(0).is_empty(), "it is not pushed");
        own.begin_push();
        own.end_push(3);
        assert!(own.take_empty(0).is_empty(), "its push is under way");
        own.end_push(4);
        assert_eq!(own.empty_since(), Some(0));
        assert_eq!(own.take_empty(0), [(4, 2)]);
        own.report(3, 2, 0, 10, 10);
        own.begin_push();
        own.end_push(3);
        assert!(own.take_empty(9).is_empty());
        assert!(!own.has_entries(3));
        assert_eq!(own.take_empty(10), [(3, 2)]);
        assert_eq!(own.empty_since(), None);
    }

    #[test]
    fn a_new_identity_pushes_every_entry_again() {
        let mut own = OwnPartitions::default();
        own.report(3, 1, 1, 0, 0);
        own.report(4, 2, 0, 0, 0);
        own.begin_push();
        assert_eq!(own.begin_identity(9), [(4, 2)]);
        assert_eq!((own.is_idle(), own.push_at()), (true, Some(9)));
        assert_eq!(own.begin_push(), [3]);
        assert!(own.has_entries(3) && !own.has_entries(4));
    }
}

//! `ShownChanges`: the changes in the database that an open room shows. Without a lock.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// Changes that may be shown as events tell of them before their numbers are read.
const UNNUMBERED_MAX: u32 = 256;

/// The numbers up to which a room shows all changes. Later ones may be shown too, of which other nodes told.
#[derive(Debug, Default)]
pub(crate) struct ShownChanges {
    members: AtomicI64,
    holders: AtomicI64,
    unnumbered: AtomicU32,
}

impl ShownChanges {
    /// Returns the number up to which the changes of its members are shown.
    pub(crate) fn members(&self) -> i64 {
        self.members.load(Ordering::Acquire)
    }

    /// Returns the number up to which the changes of the roles of users are shown.
    pub(crate) fn holders(&self) -> i64 {
        self.holders.load(Ordering::Acquire)
    }

    /// Notes that the changes of members up to `seq` are shown.
    pub(crate) fn note_members(&self, seq: i64) {
        self.members.fetch_max(seq, Ordering::AcqRel);
        self.unnumbered.store(0, Ordering::Relaxed);
    }

    /// Notes that the changes of the roles of users up to `seq` are shown.
    pub(crate) fn note_holders(&self, seq: i64) {
        self.holders.fetch_max(seq, Ordering::AcqRel);
    }

    /// Notes that a change of members is shown whose number is not known. Returns whether it is time to read the
    /// numbers, so that a repair reads few that are shown.
    pub(crate) fn note_unnumbered(&self) -> bool {
        self.unnumbered.fetch_add(1, Ordering::Relaxed) + 1 >= UNNUMBERED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_sink_and_are_read_now_and_then() {
        let shown = ShownChanges::default();
        shown.note_members(7);
        shown.note_members(5);
        shown.note_holders(2);
        assert_eq!((shown.members(), shown.holders()), (7, 2));
        for _ in 0..3 {
            let due = (1..=UNNUMBERED_MAX).map(|_| shown.note_unnumbered());
            let due: Vec<bool> = due.collect();
            assert_eq!(due.iter().position(|due| *due), Some(255));
            shown.note_members(8);
        }
    }
}

//! `CatchUp`: whether this node has once held all that the others showed.

use std::collections::BTreeSet;

use super::handle::Handle;
use crate::fault::{Fault, is_broken};

/// The first catching up of a node after its start.
///
/// A replica counts as caught up with once the sum of one of its Beats was met: then all that it
/// showed with that Beat was held. Replicas that are down are not waited for.
#[derive(Debug, Clone, Default)]
pub(super) struct CatchUp {
    /// From when on it may be over, and when it is reported in any case.
    times: Option<(u64, u64)>,
    open: BTreeSet<Handle>,
    reported: Option<Reported>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    /// Some replicas were missing.
    Partly,
    Wholly,
}

impl CatchUp {
    /// Begins, at the start of the node. It is not over before `from`, and reported at `until` with
    /// the replicas that are missing then.
    pub(super) fn begin(&mut self, from: u64, until: u64) {
        let from = if is_broken(Fault::ReadyAtStart) {
            0
        } else {
            from
        };
        self.times = Some((from, until));
    }

    /// Notes a replica that is up, and with which this node has not caught up.
    pub(super) fn note(&mut self, handle: Handle) {
        if !self.is_over() {
            self.open.insert(handle);
        }
    }

    /// Notes that this node has caught up with a replica, or that it is not waited for.
    pub(super) fn close(&mut self, handle: Handle) {
        self.open.remove(&handle);
    }

    /// Returns whether a replica is waited for.
    #[cfg(test)]
    pub(super) fn is_open(&self, handle: Handle) -> bool {
        self.open.contains(&handle)
    }

    /// Returns whether something is to be reported now.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let Some((from, until)) = self.times.filter(|_| !self.is_over()) else {
            return false;
        };
        now >= from && (self.open.is_empty() || now >= until && self.reported.is_none())
    }

    /// Returns the replicas that are missing, if that is to be reported now.
    pub(super) fn report(&mut self, now: u64) -> Option<Vec<Handle>> {
        if !self.is_due(now) {
            return None;
        }
        self.reported = Some(if self.open.is_empty() {
            Reported::Wholly
        } else {
            Reported::Partly
        });
        Some(self.open.iter().copied().collect())
    }

    /// Returns whether nothing is missing any more.
    pub(super) fn is_over(&self) -> bool {
        self.reported == Some(Reported::Wholly)
    }

    /// Returns when [`report`](Self::report) has something to do next.
    pub(super) fn next_at(&self, now: u64) -> Option<u64> {
        let (from, until) = self.times.filter(|_| !self.is_over())?;
        [from, until].into_iter().find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_all_that_are_up_were_caught_up_with() {
        let mut catch_up = CatchUp::default();
        catch_up.begin(20, 50);
        catch_up.note(Handle(1));
        catch_up.note(Handle(2));
        catch_up.close(Handle(1));
        assert_eq!(
            (catch_up.report(30), catch_up.next_at(30)),
            (None, Some(50))
        );
        assert_eq!(catch_up.report(50), Some(vec![Handle(2)]));
        assert_eq!(catch_up.report(60), None);
        assert!(!catch_up.is_over());
        catch_up.close(Handle(2));
        assert_eq!(catch_up.report(70), Some(Vec::new()));
        assert!(catch_up.is_over() && catch_up.report(80).is_none());
        catch_up.note(Handle(3));
        assert!(
            !catch_up.is_open(Handle(3)),
            "later ones are not waited for"
        );
    }

    #[test]
    fn a_node_alone_waits_for_others_to_speak() {
        let mut catch_up = CatchUp::default();
        catch_up.begin(20, 50);
        assert_eq!((catch_up.report(19), catch_up.next_at(0)), (None, Some(20)));
        assert_eq!(catch_up.report(20), Some(Vec::new()));
    }
}

//! `Graces`: replaced replicas whose entries are still visible.

use std::collections::VecDeque;

use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// Replaced replicas, in the order in which their grace ends. They belong to no life, position or
/// sum any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Graces {
    ends: VecDeque<(u64, ReplicaId)>,
}

impl Graces {
    /// Begins the grace of a replica, which ends no sooner than those before it.
    pub(super) fn begin(&mut self, id: ReplicaId, until: u64) {
        if !is_broken(Fault::KeepGrace) {
            self.ends.push_back((until, id));
        }
    }

    /// Takes a replica out whose grace is over.
    pub(super) fn take_over(&mut self, now: u64) -> Option<ReplicaId> {
        self.ends.front().filter(|(until, _)| *until <= now)?;
        self.ends.pop_front().map(|(_, id)| id)
    }

    /// Takes all replicas of a name out: the life that replaced them is gone too.
    pub(super) fn take_name(&mut self, name: &str) -> Vec<ReplicaId> {
        let taken = self.ends.iter().filter(|(_, id)| id.name() == name);
        let taken = taken.map(|(_, id)| id.clone()).collect();
        self.ends.retain(|(_, id)| id.name() != name);
        taken
    }

    /// Returns when the next grace ends.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.ends.front().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graces_end_in_order_or_with_their_name() {
        let id = |name: &str, incarnation| ReplicaId::new(name, incarnation, 0).unwrap();
        let mut graces = Graces::default();
        graces.begin(id("a", 1), 10);
        graces.begin(id("b", 1), 20);
        graces.begin(id("a", 2), 30);
        assert_eq!((graces.take_over(9), graces.next_at()), (None, Some(10)));
        assert_eq!(graces.take_over(10), Some(id("a", 1)));
        assert_eq!(graces.take_name("a"), [id("a", 2)]);
        assert_eq!(graces.take_over(30), Some(id("b", 1)));
        assert_eq!((graces.take_over(30), graces.next_at()), (None, None));
    }
}

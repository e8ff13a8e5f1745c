//! Counts of visible keys, kept while entries come and go.
//!
//! A topic knows how many of its keys are visible once a read has counted them. The number holds
//! until a replica is hidden or shown; until then each entry that comes or goes changes it by one at
//! most, which its neighbours in the list of the key's sessions decide.

use std::iter::successors;

use super::origins::Origins;
use super::slab::NIL;
use super::store::Store;

/// Most other sessions of a key that are looked at on either side of one that comes or goes.
const LOOKED_AT_MAX: usize = 64;

/// Notes an entry that has just come. O(1).
#[inline]
pub(super) fn note_entry(store: &mut Store, origins: &Origins, index: u32) {
    note(store, origins, index, 1);
}

/// Notes an entry that is about to go. O(1).
#[inline]
pub(super) fn note_leave(store: &mut Store, origins: &Origins, index: u32) {
    note(store, origins, index, -1);
}

#[inline]
fn note(store: &mut Store, origins: &Origins, index: u32, change: i32) {
    let row = store.row(index);
    let epoch = origins.epoch();
    let is_counted = store.topic(row.topic).knows_visible_keys(epoch);
    if is_counted && origins.is_visible(row.origin) {
        let topic = row.topic;
        let change = match is_alone(store, index, |origin| origins.is_visible(origin)) {
            Some(true) => Some(change),
            Some(false) => Some(0),
            None => None,
        };
        store.adjust_visible_keys(topic, change);
    }
}

/// Returns whether no other session of the key is of an origin that counts; `None` when too many do
/// not to say.
pub(super) fn is_alone(store: &Store, index: u32, counts: impl Fn(u16) -> bool) -> Option<bool> {
    let row = store.row(index);
    let session = |index: u32| (index != NIL).then_some(index);
    let after = successors(session(row.key_next), |&i| session(store.row(i).key_next));
    let before = successors(session(row.key_prev), |&i| session(store.row(i).key_prev));
    let mut looked_at = 0;
    for other in before.take(LOOKED_AT_MAX).chain(after.take(LOOKED_AT_MAX)) {
        if counts(store.row(other).origin) {
            return Some(false);
        }
        looked_at += 1;
    }
    (looked_at < LOOKED_AT_MAX).then_some(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use crate::id::ReplicaId;
    use crate::tracker::{NewEntry, Tracker};

    const ROOM: &str = "room";

    fn tracker(name: &str) -> Tracker {
        Tracker::new(ReplicaId::new(name, 1, 0).unwrap())
    }

    /// One tracker that reads, and others whose entries it holds.
    struct World {
        here: Tracker,
        others: [Tracker; 3],
    }

    impl World {
        fn new() -> Self {
            Self {
                here: tracker("here"),
                others: ["a", "b", "c"].map(tracker),
            }
        }

        /// Returns the tracker of this number: the fourth is the one that reads.
        fn of(&mut self, number: usize) -> &mut Tracker {
            self.others.get_mut(number).unwrap_or(&mut self.here)
        }

        fn sync(&mut self, number: usize) {
            if let Some(other) = self.others.get(number)
                && let Some(frame) = other.delta_since(other.id(), self.here.clock(other.id()))
            {
                let _ = self.here.apply(&frame);
            }
        }

        fn id(&self, number: usize) -> Option<ReplicaId> {
            Some(self.others.get(number)?.id().clone())
        }

        fn is_counted(&self) -> bool {
            let state = &self.here.state;
            let topic = state.store().find_topic(ROOM);
            topic.is_some_and(|topic| topic.knows_visible_keys(state.origins().epoch()))
        }

        #[track_caller]
        fn check(&self) {
            let visible: BTreeSet<_> = self.here.list(ROOM).map(|entry| entry.key()).collect();
            assert_eq!(self.here.count_keys(ROOM), visible.len());
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Put(usize, u8, u8),
        Leave(usize, u8, u8),
        Sync(usize),
        Hide(usize, bool),
        Forget(usize),
        Retire(usize, usize),
        Count,
    }

    fn op() -> impl Strategy<Value = Op> {
        let node = 0..4_usize;
        prop_oneof![
            12 => (node.clone(), 0..5_u8, 0..3_u8).prop_map(|(n, k, o)| Op::Put(n, k, o)),
            8 => (node.clone(), 0..5_u8, 0..3_u8).prop_map(|(n, k, o)| Op::Leave(n, k, o)),
            12 => node.clone().prop_map(Op::Sync),
            3 => (node.clone(), any::<bool>()).prop_map(|(n, hidden)| Op::Hide(n, hidden)),
            1 => node.clone().prop_map(Op::Forget),
            1 => (node, 0..9_usize).prop_map(|(n, reaped)| Op::Retire(n, reaped)),
            6 => Just(Op::Count),
        ]
    }

    impl World {
        fn apply(&mut self, op: &Op) {
            match *op {
                Op::Put(n, key, owner) => {
                    let key = key.to_string();
                    let owner = owner.to_string();
                    self.of(n)
                        .upsert(&NewEntry::new(ROOM, &key, &owner))
                        .unwrap();
                }
                Op::Leave(n, key, owner) => {
                    self.of(n)
                        .untrack(ROOM, &key.to_string(), owner.to_string());
                }
                Op::Sync(n) => self.sync(n),
                Op::Hide(n, hidden) => {
                    let id = self.id(n);
                    id.map(|id| self.here.set_hidden(&id, hidden));
                }
                Op::Forget(n) => {
                    let id = self.id(n);
                    id.map(|id| self.here.forget(&id));
                }
                Op::Retire(n, reaped) => {
                    let id = self.id(n);
                    id.map(|id| self.here.retire(&id));
                    let _ = self.here.reap(reaped, &|_| true);
                }
                Op::Count => self.check(),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// The same keys are in several replicas, some of them hidden. Reads come now and then, so
        /// counts are kept over many changes.
        #[test]
        fn kept_counts_are_those_of_the_list(ops in proptest::collection::vec(op(), 1..120)) {
            let mut world = World::new();
            for op in &ops {
                world.apply(op);
            }
            world.check();
        }
    }

    /// Without a kept count each of these reads would walk the whole topic.
    #[test]
    fn a_count_is_kept_over_changes_while_a_replica_is_hidden() {
        let mut world = World::new();
        for n in 0..4 {
            for key in 0..5 {
                world.apply(&Op::Put(n, key + n as u8, 0));
            }
            world.sync(n);
        }
        world.apply(&Op::Hide(0, true));
        assert!(!world.is_counted());
        world.check();
        for key in 0..9 {
            for n in 0..4 {
                world.apply(&Op::Put(n, key, 1));
                world.sync(n);
                assert!(world.is_counted());
                world.check();
                world.apply(&Op::Leave(n, key, 0));
                world.sync(n);
                assert!(world.is_counted());
                world.check();
            }
        }
        world.apply(&Op::Hide(0, false));
        assert!(!world.is_counted());
        world.check();
    }

    /// A key with more hidden sessions than are looked at makes the next read count again.
    #[test]
    fn a_key_of_very_many_hidden_sessions_is_counted_again() {
        let mut world = World::new();
        for owner in 0..200 {
            let owner = format!("conn {owner}");
            let put = NewEntry::new(ROOM, "0", &owner);
            world.others[0].track(&put).unwrap();
        }
        world.apply(&Op::Put(1, 1, 0));
        world.sync(0);
        world.sync(1);
        world.apply(&Op::Hide(0, true));
        world.check();
        assert!(world.is_counted());
        world.apply(&Op::Put(3, 0, 0));
        assert!(!world.is_counted());
        world.check();
        world.apply(&Op::Leave(3, 0, 0));
        world.check();
    }
}

//! Counts of own entries, kept while they come and go, for those who want no more than counts.

use std::collections::HashMap;
use std::iter::successors;
use std::sync::Arc;

use super::Tracker;
use super::origins::LOCAL;
use super::slab::NIL;
use super::store::Store;
use super::visible_keys::is_alone;
use crate::fault::{Fault, is_broken};

/// The number of entries in a topic, and of their distinct keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) entries: u32,
    pub(crate) keys: u32,
}

/// The own entries of each topic, and the topics of which they have changed.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnCounts {
    topics: HashMap<Arc<str>, Kept>,
    /// The topics whose counts were not taken since they changed, each once.
    changed: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    entries: u32,
    /// `None` once a key had too many sessions of others to be looked at.
    keys: Option<u32>,
    is_changed: bool,
}

impl OwnCounts {
    /// Notes an own entry that has just come. O(1).
    pub(super) fn note_entry(&mut self, store: &Store, index: u32) {
        self.note(store, index, 1);
    }

    /// Notes an own entry that is about to go. O(1).
    pub(super) fn note_leave(&mut self, store: &Store, index: u32) {
        if !is_broken(Fault::CountNoLeaves) {
            self.note(store, index, -1);
        }
    }

    fn note(&mut self, store: &Store, index: u32, change: i32) {
        let name = store.topic_name(index);
        let is_alone = is_alone(store, index, |origin| origin == LOCAL);
        let kept = match self.topics.get_mut(name) {
            Some(kept) => kept,
            None => self.topics.entry(name.clone()).or_insert(Kept {
                keys: Some(0),
                ..Kept::default()
            }),
        };
        kept.entries = kept.entries.saturating_add_signed(change);
        let keys = kept.keys.zip(is_alone);
        kept.keys = keys.map(|(keys, is_alone)| {
            let change = if is_alone { change } else { 0 };
            keys.saturating_add_signed(change)
        });
        if !std::mem::replace(&mut kept.is_changed, true) {
            self.changed.push(name.clone());
        }
    }

    fn count(&self, store: &Store, topic: &str) -> Count {
        let kept = self.topics.get(topic).copied().unwrap_or_default();
        let keys = kept.keys.filter(|_| kept.entries > 0);
        Count {
            entries: kept.entries,
            keys: keys.unwrap_or_else(|| count_keys(store, topic)),
        }
    }

    /// Takes the counts of the topics that have changed.
    fn take_changed(&mut self, store: &Store) -> Vec<(Arc<str>, Count)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let counts = changed.map(|topic| {
            let count = self.count(store, &topic);
            if count.entries == 0 {
                self.topics.remove(&topic);
            } else if let Some(kept) = self.topics.get_mut(&topic) {
                kept.keys = Some(count.keys);
                kept.is_changed = false;
            }
            (topic, count)
        });
        counts.collect()
    }
}

/// Counts the own keys of a topic. O(its entries).
fn count_keys(store: &Store, topic: &str) -> u32 {
    let Some(topic) = store.find_topic(topic) else {
        return 0;
    };
    let session = |index: u32| (index != NIL).then(|| store.row(index));
    let is_own = |&first: &u32| {
        let mut sessions = successors(session(first), |row| session(row.key_next));
        sessions.any(|row| row.origin == LOCAL)
    };
    topic.first_sessions().filter(is_own).count() as u32
}

impl Tracker {
    /// Has own entries counted by topic from now on: before there are any.
    pub(crate) fn counting(mut self) -> Self {
        debug_assert!(self.is_empty());
        self.state.own_counts = Some(Box::default());
        self
    }

    /// Returns the count of own entries in a topic. O(1), but for a topic with a key of more than 64
    /// sessions of others: O(its entries) once after each change. Nothing is counted before
    /// [`counting`](Self::counting).
    pub(crate) fn kept_count(&self, topic: &str) -> Count {
        let counts = self.state.own_counts.as_ref();
        counts.map_or_else(Count::default, |counts| {
            counts.count(self.state.store(), topic)
        })
    }

    /// Takes the counts of own entries in the topics in which some came or went since the last call.
    /// O(topics).
    pub(crate) fn take_changed_counts(&mut self) -> Vec<(Arc<str>, Count)> {
        let Some(mut counts) = self.state.own_counts.take() else {
            return Vec::new();
        };
        let changed = counts.take_changed(self.state.store());
        self.state.own_counts = Some(counts);
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::id::ReplicaId;
    use crate::tracker::NewEntry;

    fn tracker(name: &str) -> Tracker {
        Tracker::new(ReplicaId::new(name, 1, 0).unwrap())
    }

    /// Returns the counts that the list of all entries says.
    fn listed(tracker: &Tracker) -> BTreeMap<String, Count> {
        let mut counts = BTreeMap::new();
        for topic in tracker.topics() {
            let own = tracker.list(topic).filter(|e| e.replica() == tracker.id());
            let keys: Vec<_> = own.map(|entry| entry.key()).collect();
            let count = Count {
                entries: keys.len() as u32,
                keys: keys.iter().collect::<BTreeSet<_>>().len() as u32,
            };
            if count.entries > 0 {
                counts.insert(topic.to_owned(), count);
            }
        }
        counts
    }

    /// The topic, the key and the owner of an entry.
    #[derive(Debug, Clone)]
    struct Session([String; 3]);

    impl Session {
        fn put_in(&self, tracker: &mut Tracker) {
            let [topic, key, owner] = &self.0;
            tracker.upsert(&NewEntry::new(topic, key, owner)).unwrap();
        }

        fn leave(&self, tracker: &mut Tracker) {
            let [topic, key, owner] = &self.0;
            tracker.untrack(topic, key.as_str(), owner);
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Put(Session),
        Leave(Session),
        LeaveOwner(u8),
        Other(Session),
        OtherLeaves(u8),
        Rename,
        Take,
    }

    fn op() -> impl Strategy<Value = Op> {
        let session = || {
            let numbers = (0..4_u8, 0..4_u8, 0..3_u8);
            numbers.prop_map(|(t, k, o)| Session([t, k, o].map(|number| number.to_string())))
        };
        prop_oneof![
            8 => session().prop_map(Op::Put),
            6 => session().prop_map(Op::Leave),
            1 => (0..3_u8).prop_map(Op::LeaveOwner),
            6 => session().prop_map(Op::Other),
            1 => (0..3_u8).prop_map(Op::OtherLeaves),
            1 => Just(Op::Rename),
            3 => Just(Op::Take),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Others have sessions of the same keys. What is taken adds up to what the list says.
        #[test]
        fn kept_counts_are_those_of_the_list(ops in proptest::collection::vec(op(), 1..120)) {
            let mut here = tracker("here").counting();
            let mut other = tracker("other");
            let mut taken = BTreeMap::new();
            for (number, op) in ops.iter().chain([&Op::Take]).enumerate() {
                match op {
                    Op::Put(session) => session.put_in(&mut here),
                    Op::Leave(session) => session.leave(&mut here),
                    Op::LeaveOwner(o) => {
                        here.untrack_owner(o.to_string());
                    }
                    Op::Other(session) => session.put_in(&mut other),
                    Op::OtherLeaves(o) => {
                        other.untrack_owner(o.to_string());
                    }
                    Op::Rename => {
                        let id = ReplicaId::new("here", 2 + number as u64, 0).unwrap();
                        let _ = here.reincarnate(id);
                    }
                    Op::Take => {
                        for (topic, count) in here.take_changed_counts() {
                            taken.insert(topic.to_string(), count);
                        }
                        taken.retain(|_, count| count.entries > 0);
                        prop_assert_eq!(&taken, &listed(&here));
                    }
                }
                if let Some(frame) = other.delta_since(other.id(), here.clock(other.id())) {
                    here.apply(&frame).unwrap();
                }
                let listed = listed(&here);
                for topic in (0..4).map(|topic| topic.to_string()) {
                    let expected = listed.get(&topic).copied().unwrap_or_default();
                    prop_assert_eq!(here.kept_count(&topic), expected);
                }
            }
        }
    }

    #[test]
    fn a_key_of_very_many_sessions_of_others_is_counted_again() {
        let mut here = tracker("here").counting();
        let mut other = tracker("other");
        for owner in 0..200 {
            let owner = format!("conn {owner}");
            other.track(&NewEntry::new("room", "ann", &owner)).unwrap();
        }
        let frame = other.delta_since(other.id(), 0).unwrap();
        here.apply(&frame).unwrap();
        for owner in ["a", "b"] {
            here.track(&NewEntry::new("room", "ann", owner)).unwrap();
        }
        let two = |keys| Count { entries: 2, keys };
        assert_eq!(here.kept_count("room"), two(1));
        assert_eq!(here.take_changed_counts(), [("room".into(), two(1))]);
        assert!(here.untrack("room", "ann", "a"));
        let one = Count {
            entries: 1,
            keys: 1,
        };
        assert_eq!(here.take_changed_counts(), [("room".into(), one)]);
        assert_eq!(here.take_changed_counts(), []);
    }
}

//! What somebody believes who only reads Diffs.

use std::collections::BTreeMap;

use headcount::{Diff, Dot, EntryBuf, Presence};

/// The entries that the Diffs of one presence told of, by topic and dot.
#[derive(Default)]
pub(crate) struct Mirror {
    entries: BTreeMap<(String, Dot), EntryBuf>,
}

impl Mirror {
    /// Takes one Diff in. Joins must be new; leaves and updates must be of what is known, as it is
    /// known.
    #[track_caller]
    pub(crate) fn take(&mut self, diff: &Diff) {
        for topic in diff {
            let name = topic.topic.to_string();
            let olds = topic.updates.iter().map(|update| &update.old);
            for old in topic.leaves.iter().chain(olds) {
                let known = self.entries.remove(&(name.clone(), old.dot()));
                assert_eq!(
                    known.as_ref(),
                    Some(old),
                    "a Diff ends what it never told of"
                );
            }
            let news = topic.updates.iter().map(|update| &update.new);
            for new in topic.joins.iter().chain(news) {
                let known = self.entries.insert((name.clone(), new.dot()), new.clone());
                assert_eq!(known, None, "a Diff tells of a join twice");
            }
        }
    }

    /// Takes all Diffs that wait. Gives the number of (joins, updates, leaves).
    #[track_caller]
    pub(crate) fn take_all(&mut self, presence: &Presence) -> (usize, usize, usize) {
        let mut sum = (0, 0, 0);
        while let Some(diff) = presence.poll_diff() {
            self.take(&diff);
            for topic in &diff {
                sum.0 += topic.joins.len();
                sum.1 += topic.updates.len();
                sum.2 += topic.leaves.len();
            }
        }
        sum
    }

    /// List, sessions and counts say the same as the Diffs.
    #[track_caller]
    pub(crate) fn check(&self, presence: &Presence, topic: &str) {
        let told: BTreeMap<_, _> = self
            .entries
            .iter()
            .filter(|((t, _), _)| t == topic)
            .map(|((_, dot), entry)| (dot.clone(), entry.clone()))
            .collect();
        let listed = presence.list(topic).into_iter();
        let listed: BTreeMap<_, _> = listed.map(|entry| (entry.dot(), entry)).collect();
        assert_eq!(listed, told);
        assert_eq!(presence.count(topic), told.len());
        let mut keys: Vec<_> = told.values().map(EntryBuf::key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(presence.count_keys(topic), keys.len());
        let sessions = keys
            .iter()
            .map(|key| presence.get_by_key(topic, *key).len());
        assert_eq!(sessions.sum::<usize>(), told.len());
    }
}

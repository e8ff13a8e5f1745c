//! A reader that reads a list once and then only Diffs.

use std::collections::BTreeMap;

use headcount::id::EntryRef;
use headcount::{Diff, Entry, EntryBuf, Presence, Tracker};

/// The entries of one presence or tracker by its Diffs, by topic and reference.
#[derive(Default)]
pub(crate) struct Mirror {
    entries: BTreeMap<(String, EntryRef), EntryBuf>,
    /// True if it began with a list, which may contain entries that Diffs report later.
    is_late: bool,
}

impl Mirror {
    /// Begins with the entries listed now, even if their Diffs are still to come.
    pub(crate) fn of(presence: &Presence, topics: &[&str]) -> Self {
        let lists = topics.iter().map(|topic| {
            let list = presence.list(topic).unwrap().into_iter();
            list.map(|entry| ((topic.to_string(), entry.entry_ref()), entry))
        });
        Self {
            entries: lists.flatten().collect(),
            is_late: true,
        }
    }

    /// Begins with what one tracker lists now, as [`of`](Self::of) does.
    pub(crate) fn of_tracker(tracker: &Tracker, topics: &[&str]) -> Self {
        Self {
            entries: listed(tracker, topics, |_| true),
            is_late: true,
        }
    }

    /// Applies a Diff: joins, updates, leaves. In a mirror that has seen every Diff joins must be
    /// new and updates known; an entry that leaves or changes must be as it was shown.
    #[track_caller]
    pub(crate) fn take(&mut self, diff: &Diff) {
        assert!(!diff.is_lossy());
        for topic in diff {
            let name = |entry: &EntryBuf| (topic.topic.to_string(), entry.entry_ref());
            for join in &topic.joins {
                let known = self.entries.insert(name(join), join.clone());
                assert!(
                    self.is_late || known.is_none(),
                    "a Diff tells of a join twice: {join:?}"
                );
            }
            for update in &topic.updates {
                assert_eq!(
                    update.old.key(),
                    update.new.key(),
                    "an update is of one user"
                );
                let old = self.entries.remove(&name(&update.old));
                assert!(self.is_late || old.is_some(), "an update of nothing");
                assert!(old.is_none_or(|old| old == update.old));
                let known = self.entries.insert(name(&update.new), update.new.clone());
                assert!(self.is_late || known.is_none(), "an update that is known");
            }
            for leave in &topic.leaves {
                let known = self.entries.remove(&name(&leave.entry));
                assert!(known.is_none_or(|known| known == leave.entry));
            }
        }
    }

    /// Applies all Diffs that wait. Returns the number of (joins, updates, leaves).
    #[track_caller]
    pub(crate) fn take_all(&mut self, presence: &Presence) -> (usize, usize, usize) {
        take_all(presence, [self])
    }

    /// Checks that list, sessions and counts agree with the Diffs.
    #[track_caller]
    pub(crate) fn check(&self, presence: &Presence, topic: &str) {
        let mirrored: BTreeMap<_, _> = self
            .entries
            .iter()
            .filter(|((t, _), _)| t == topic)
            .map(|((_, entry_ref), entry)| (entry_ref.clone(), entry.clone()))
            .collect();
        let listed = presence.list(topic).unwrap().into_iter();
        let listed: BTreeMap<_, _> = listed.map(|entry| (entry.entry_ref(), entry)).collect();
        assert_eq!(listed, mirrored);
        assert_eq!(presence.count(topic).unwrap(), mirrored.len());
        let mut keys: Vec<_> = mirrored.values().map(EntryBuf::key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(
            presence.count_keys(topic).unwrap().exact(),
            Some(keys.len())
        );
        let sessions = keys
            .iter()
            .map(|key| presence.get_by_key(topic, *key).unwrap().len());
        assert_eq!(sessions.sum::<usize>(), mirrored.len());
    }

    /// Checks that a tracker lists of its own entries, or of those of others, what its Diffs
    /// contained.
    #[track_caller]
    pub(crate) fn check_tracker(&self, tracker: &Tracker, topics: &[&str], own: bool) {
        let name = tracker.id().name();
        let is_meant = |replica: &str| (replica == name) == own;
        let mirrored = self.entries.iter();
        let mirrored: BTreeMap<_, _> = mirrored
            .filter(|(_, entry)| is_meant(entry.origin().replica.name()))
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        let here = |entry: &Entry<'_>| is_meant(entry.replica().name());
        assert_eq!(listed(tracker, topics, here), mirrored);
    }
}

fn listed(
    tracker: &Tracker,
    topics: &[&str],
    is_meant: impl Fn(&Entry<'_>) -> bool,
) -> BTreeMap<(String, EntryRef), EntryBuf> {
    let entries = topics.iter().flat_map(|topic| tracker.list(topic));
    let meant = entries.filter(is_meant);
    meant
        .map(|entry| {
            (
                (entry.topic().to_owned(), entry.entry_ref()),
                entry.to_buf(),
            )
        })
        .collect()
}

/// Applies all Diffs that wait to several mirrors. Returns the number of (joins, updates, leaves).
#[track_caller]
pub(crate) fn take_all<'m>(
    presence: &Presence,
    mirrors: impl IntoIterator<Item = &'m mut Mirror>,
) -> (usize, usize, usize) {
    let mut mirrors: Vec<_> = mirrors.into_iter().collect();
    let mut sum = (0, 0, 0);
    while let Some(diff) = presence.poll_diff() {
        mirrors.iter_mut().for_each(|mirror| mirror.take(&diff));
        for topic in &diff {
            sum.0 += topic.joins.len();
            sum.1 += topic.updates.len();
            sum.2 += topic.leaves.len();
        }
    }
    sum
}

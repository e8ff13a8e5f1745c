//! What changed: joins, leaves and updates per topic.

use std::sync::Arc;

use hashbrown::HashMap;

use super::entry::EntryBuf;

/// What changed, per topic. Made from the changes only, never by comparing states.
///
/// Within one `Diff` the changes of a session (topic, key, owner) are coalesced: it appears at most
/// once, as a join, a leave or an update.
///
/// ```
/// use headcount::{Put, ReplicaId, Tracker};
/// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// tracker.track(&Put::new("room", "ann", "conn-1"))?;
/// let diff = tracker.take_diff();
/// assert_eq!(diff.topic("room").unwrap().joins[0].key_str(), Some("ann"));
/// assert!(tracker.take_diff().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Sorted by topic, each topic once, none without changes.
    topics: Vec<TopicDiff>,
}

/// What changed in one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDiff {
    /// The topic.
    pub topic: Arc<str>,
    /// Entries that are new.
    pub joins: Vec<EntryBuf>,
    /// Entries that are gone, as they were last.
    pub leaves: Vec<EntryBuf>,
    /// Entries whose content changed.
    pub updates: Vec<Update>,
}

/// An entry before and after a change. Topic, key and owner are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// As it was. Its reference is what Phoenix calls `phx_ref_prev`.
    pub old: EntryBuf,
    /// As it is now.
    pub new: EntryBuf,
}

impl Update {
    /// The key, the same before and after.
    #[must_use]
    pub fn key(&self) -> super::Key<'_> {
        self.new.key()
    }
}

impl TopicDiff {
    fn new(topic: Arc<str>) -> Self {
        Self {
            topic,
            joins: Vec::new(),
            leaves: Vec::new(),
            updates: Vec::new(),
        }
    }

    /// Number of joins, leaves and updates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.joins.len() + self.leaves.len() + self.updates.len()
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Turns a leave and a join of the same session into one update. O(changes).
    fn pair(&mut self) {
        if self.joins.is_empty() || self.leaves.is_empty() {
            return;
        }
        let mut left: HashMap<(Vec<u8>, u8, Vec<u8>), EntryBuf> = HashMap::new();
        let session = |e: &EntryBuf| {
            (
                e.key().bytes.to_vec(),
                e.encoding() as u8,
                e.owner().to_vec(),
            )
        };
        let mut leaves = Vec::with_capacity(self.leaves.len());
        for leave in self.leaves.drain(..) {
            if let Some(doubled) = left.insert(session(&leave), leave) {
                leaves.push(doubled);
            }
        }
        let mut joins = Vec::with_capacity(self.joins.len());
        for join in self.joins.drain(..) {
            match left.remove(&session(&join)) {
                Some(old) => self.updates.push(Update { old, new: join }),
                None => joins.push(join),
            }
        }
        leaves.extend(left.into_values());
        leaves.sort_by_key(EntryBuf::version);
        self.joins = joins;
        self.leaves = leaves;
    }

    /// Takes out what came and went within one frame: of an entry written twice only the first
    /// old and the last new content count. O(changes log changes).
    fn cancel(&mut self) {
        let (mut gone, mut new) = (std::mem::take(&mut self.leaves), Vec::new());
        new.append(&mut self.joins);
        for Update { old, new: written } in self.updates.drain(..) {
            gone.push(old);
            new.push(written);
        }
        let key = |entry: &EntryBuf| (entry.birth(), entry.version());
        gone.sort_by_key(key);
        let keys: Vec<_> = gone.iter().map(key).collect();
        let mut gone: Vec<_> = gone.into_iter().map(Some).collect();
        new.retain(|entry| {
            let at = keys.binary_search(&key(entry)).ok();
            let same = at.filter(|&at| gone[at].as_ref() == Some(entry));
            same.and_then(|at| gone[at].take()).is_none()
        });
        new.sort_by_key(EntryBuf::version);
        for entry in new {
            let first = keys.partition_point(|key| key.0 < entry.birth());
            let last = keys.partition_point(|key| key.0 <= entry.birth());
            match gone[first..last].iter_mut().find_map(Option::take) {
                Some(old) => self.updates.push(Update { old, new: entry }),
                None => self.joins.push(entry),
            }
        }
        let gone = gone.into_iter().flatten().collect();
        self.leaves = gone;
    }
}

impl Diff {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Number of topics with changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// The changes of one topic. O(log topics).
    #[must_use]
    pub fn topic(&self, topic: &str) -> Option<&TopicDiff> {
        let at = self
            .topics
            .binary_search_by(|t| (*t.topic).cmp(topic))
            .ok()?;
        Some(&self.topics[at])
    }

    /// The changes, one topic after the other, sorted by topic.
    pub fn iter(&self) -> std::slice::Iter<'_, TopicDiff> {
        self.topics.iter()
    }

    /// Appends the topics of another Diff that shares no topic with this one.
    pub(crate) fn append_disjoint(&mut self, other: Self) {
        self.topics.extend(other.topics);
        self.topics.sort_by(|a, b| a.topic.cmp(&b.topic));
    }
}

impl IntoIterator for Diff {
    type Item = TopicDiff;
    type IntoIter = std::vec::IntoIter<TopicDiff>;

    fn into_iter(self) -> Self::IntoIter {
        self.topics.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diff {
    type Item = &'a TopicDiff;
    type IntoIter = std::slice::Iter<'a, TopicDiff>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Collects changes and groups them by topic.
#[derive(Debug, Default)]
pub(super) struct DiffBuilder {
    by_topic: HashMap<Arc<str>, usize>,
    topics: Vec<TopicDiff>,
    last: usize,
    /// The least version written, and whether one from there on ended again: sound frames write an
    /// entry once.
    least: Option<u64>,
    rewrites: bool,
}

impl DiffBuilder {
    fn wrote(&mut self, version: u64) {
        self.least = Some(self.least.map_or(version, |least| least.min(version)));
    }

    fn ended(&mut self, version: u64) {
        self.rewrites |= self.least.is_some_and(|least| version >= least);
    }

    fn topic(&mut self, topic: &Arc<str>) -> &mut TopicDiff {
        if self
            .topics
            .get(self.last)
            .is_none_or(|t| !Arc::ptr_eq(&t.topic, topic))
        {
            self.last = *self.by_topic.entry(Arc::clone(topic)).or_insert_with(|| {
                self.topics.push(TopicDiff::new(Arc::clone(topic)));
                self.topics.len() - 1
            });
        }
        &mut self.topics[self.last]
    }

    pub(super) fn join(&mut self, topic: &Arc<str>, entry: EntryBuf) {
        self.wrote(entry.version());
        self.topic(topic).joins.push(entry);
    }

    pub(super) fn leave(&mut self, topic: &Arc<str>, entry: EntryBuf) {
        self.ended(entry.version());
        self.topic(topic).leaves.push(entry);
    }

    pub(super) fn update(&mut self, topic: &Arc<str>, old: EntryBuf, new: EntryBuf) {
        self.ended(old.version());
        self.wrote(new.version());
        self.topic(topic).updates.push(Update { old, new });
    }

    pub(super) fn finish(self) -> Diff {
        let mut topics = self.topics;
        if self.rewrites {
            topics.iter_mut().for_each(TopicDiff::cancel);
            topics.retain(|t| !t.joins.is_empty() || !t.leaves.is_empty() || !t.updates.is_empty());
        }
        topics.iter_mut().for_each(TopicDiff::pair);
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        Diff { topics }
    }
}

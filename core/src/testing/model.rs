//! `Model`: what the program on a node tracks, kept beside the implementation and without it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::own_entries::Session;
use super::plan::Plan;

/// The content of an entry: the number of the operation that wrote it, and its meta.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) version: u64,
    pub(super) meta: Arc<[u8]>,
}

/// Stands for the number of the operation that wrote a count, which is not checked.
pub(super) const COUNT_VERSION: u64 = 0;

/// Returns the session of the count of a topic.
pub(super) fn count_of(topic: u8) -> Session {
    (topic, u8::MAX, u8::MAX)
}

impl fmt::Debug for Content {
    /// Writes the beginning of the meta, which some schedules make long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.meta[..self.meta.len().min(4)];
        write!(f, "{}: {start:x?}", self.version)
    }
}

/// The live entries of one origin.
pub(super) type Entries = BTreeMap<Session, Content>;

/// The own entries of a node, by partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    partitions: BTreeMap<u16, Arc<Entries>>,
}

impl Model {
    pub(super) fn entries(&self, partition: u16) -> Arc<Entries> {
        self.partitions.get(&partition).cloned().unwrap_or_default()
    }

    pub(super) fn put(&mut self, session: Session, content: Content) {
        let partition = Plan::partition_of(session);
        let entries = self.partitions.entry(partition).or_default();
        Arc::make_mut(entries).insert(session, content);
    }

    /// Drops all entries but those of some sessions.
    pub(super) fn retain(&mut self, sessions: &[Session]) {
        if self.len() == sessions.len() {
            return;
        }
        for entries in self.partitions.values_mut() {
            Arc::make_mut(entries).retain(|session, _| sessions.contains(session));
        }
    }

    /// Returns the counts of the topics of a partition, as the entries that tell of them.
    pub(super) fn counts(&self, partition: u16) -> Entries {
        let mut keys: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (topic, key, _) in self.sessions(partition) {
            keys.entry(topic).or_default().push(key);
        }
        let counts = keys.into_iter().map(|(topic, mut keys)| {
            let entries = keys.len();
            keys.dedup();
            let content = Content {
                version: COUNT_VERSION,
                meta: [entries as u8, keys.len() as u8].into(),
            };
            (count_of(topic), content)
        });
        counts.collect()
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        let entries = self.partitions.values();
        entries.map(|entries| entries.len()).sum()
    }

    /// Returns the sessions of a partition.
    pub(super) fn sessions(&self, partition: u16) -> Vec<Session> {
        let entries = self.partitions.get(&partition).into_iter();
        entries
            .flat_map(|entries| entries.keys().copied())
            .collect()
    }

    /// Returns the metas of all sessions.
    pub(super) fn metas(&self) -> BTreeMap<Session, Arc<[u8]>> {
        let entries = self.partitions.values().flat_map(|entries| entries.iter());
        entries
            .map(|(session, content)| (*session, content.meta.clone()))
            .collect()
    }

    /// Returns the partitions with entries.
    pub(super) fn occupied(&self) -> Vec<u16> {
        let partitions = self.partitions.iter();
        let occupied = partitions.filter(|(_, entries)| !entries.is_empty());
        occupied.map(|(partition, _)| *partition).collect()
    }
}

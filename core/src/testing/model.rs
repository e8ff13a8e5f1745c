//! `Model`: what the program on a node tracks, kept beside the implementation and without it.

use std::collections::BTreeMap;
use std::fmt;

use super::own_entries::Session;
use super::plan::Plan;

/// The content of an entry: the number of the operation that wrote it, and its meta.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) version: u64,
    pub(super) meta: Vec<u8>,
}

/// Returns the session of the count of a topic.
pub(super) fn count_of(topic: u8) -> Session {
    (topic, u8::MAX, u8::MAX)
}

impl Content {
    /// Returns the content of a count, of which the number of the operation is not checked.
    pub(super) fn of_count(meta: Vec<u8>) -> Self {
        Self { version: 0, meta }
    }
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
    partitions: BTreeMap<u16, Entries>,
}

impl Model {
    pub(super) fn entries(&self, partition: u16) -> Entries {
        self.partitions.get(&partition).cloned().unwrap_or_default()
    }

    pub(super) fn put(&mut self, session: Session, content: Content) {
        let partition = Plan::partition_of(session);
        let entries = self.partitions.entry(partition).or_default();
        entries.insert(session, content);
    }

    /// Drops all entries but those of some sessions.
    pub(super) fn retain(&mut self, sessions: &[Session]) {
        if self.len() == sessions.len() {
            return;
        }
        for entries in self.partitions.values_mut() {
            entries.retain(|session, _| sessions.contains(session));
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
            (
                count_of(topic),
                Content::of_count(vec![entries as u8, keys.len() as u8]),
            )
        });
        counts.collect()
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.partitions.values().map(Entries::len).sum()
    }

    /// Returns the sessions of a partition.
    pub(super) fn sessions(&self, partition: u16) -> Vec<Session> {
        self.entries(partition).into_keys().collect()
    }

    /// Returns the metas of all sessions.
    pub(super) fn metas(&self) -> BTreeMap<Session, Vec<u8>> {
        let entries = self.partitions.values().flatten();
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

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

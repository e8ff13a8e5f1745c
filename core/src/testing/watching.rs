//! `Watching`: a model of the topics, or of their counts, that the program on a node watches.

use std::collections::BTreeMap;

use super::plan::{BEAT_MS, Plan};
use super::truth::BeatName;
use crate::id::ReplicaId;
use crate::replica::Access;

/// The Beats that were heard before a watch began, one of each replica.
pub(super) type Beats = Vec<HeardBeat>;

/// A Beat that was heard before a watch began.
#[derive(Clone)]
pub(super) struct HeardBeat {
    pub(super) id: ReplicaId,
    pub(super) beat: BeatName,
    /// False if something of the partition may have been held then: single operations may be missing,
    /// which only the next row shows. Lives are known by the index.
    pub(super) is_exact: bool,
}

/// The topics that a program watches, or those whose counts it does.
#[derive(Clone)]
pub(super) struct Watching {
    /// Returns the partition of a topic, or of its counts.
    partition_of: fn(&str) -> u16,
    topics: BTreeMap<&'static str, Watched>,
    /// When the last watch of a partition ended, by the clock of the node.
    ended_ms: BTreeMap<u16, u64>,
    /// When the node first looked at its deadlines while it spoke.
    first_ms: Option<u64>,
}

#[derive(Clone)]
struct Watched {
    partition: u16,
    watches: u32,
    begun_ms: u64,
    is_ready: bool,
    /// True if it was ready with replicas missing.
    is_partly: bool,
    /// The last Beat of each replica that was up, heard before the watch; the first one of those that
    /// were first heard while the node started.
    beats: Beats,
}

impl Watching {
    /// Makes the topics of a program that watches none yet.
    pub(super) fn entries() -> Self {
        Self::new(|topic| Plan::shape().partition_of(topic))
    }

    /// Makes the counts of a program that watches none yet.
    pub(super) fn counts() -> Self {
        Self::new(Plan::count_partition_of)
    }

    fn new(partition_of: fn(&str) -> u16) -> Self {
        Self {
            partition_of,
            topics: BTreeMap::new(),
            ended_ms: BTreeMap::new(),
            first_ms: None,
        }
    }

    pub(super) fn partition_of(&self, topic: &str) -> u16 {
        (self.partition_of)(topic)
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn contains_partition(&self, partition: u16) -> bool {
        let mut topics = self.topics.values();
        topics.any(|watched| watched.partition == partition)
    }

    /// Returns whether others may be held in a partition: it is watched, or was a moment ago.
    pub(super) fn wants(&self, partition: u16) -> bool {
        self.contains_partition(partition) || self.ended_ms.contains_key(&partition)
    }

    /// Returns whether a topic may be read.
    pub(super) fn access(&self, topic: &str) -> Access {
        match self.topics.get(topic) {
            None => Access::NotWatched,
            Some(watched) if watched.is_ready => Access::Ready,
            Some(_) => Access::NotReady,
        }
    }

    /// Begins another watch of a topic. Returns whether it is watched.
    pub(super) fn begin_again(&mut self, topic: &str) -> bool {
        let watched = self.topics.get_mut(topic);
        watched.map(|watched| watched.watches += 1).is_some()
    }

    /// Begins the first watch of a topic, when these Beats were the last ones.
    pub(super) fn begin(&mut self, topic: &'static str, now_ms: u64, beats: Beats) {
        let watched = Watched {
            partition: self.partition_of(topic),
            watches: 1,
            begun_ms: now_ms,
            is_ready: false,
            is_partly: false,
            beats,
        };
        self.topics.insert(topic, watched);
        self.ended_ms.remove(&self.partition_of(topic));
    }

    /// Ends a watch of a topic. Returns whether it was the last one.
    pub(super) fn end(&mut self, topic: &str, now_ms: u64) -> bool {
        let Some(watched) = self.topics.get_mut(topic) else {
            return false;
        };
        watched.watches -= 1;
        if watched.watches > 0 {
            return false;
        }
        self.topics.remove(topic);
        let partition = self.partition_of(topic);
        if !self.contains_partition(partition) {
            self.ended_ms.insert(partition, now_ms);
        }
        true
    }

    /// Takes the news that a topic is ready, but for the replicas that are missing. Returns the Beats
    /// before its watch.
    ///
    /// # Errors
    /// It is not watched, or that was said before.
    pub(super) fn take_ready(
        &mut self,
        topic: &str,
        missing: &[ReplicaId],
    ) -> Result<Beats, String> {
        let Some(watched) = self.topics.get_mut(topic) else {
            return Err(format!("is ready to read {topic}, which it does not watch"));
        };
        if watched.is_ready && !watched.is_partly {
            return Err(format!("is ready to read {topic} again"));
        }
        if watched.is_partly && !missing.is_empty() {
            return Err(format!("is partly ready to read {topic} again"));
        }
        watched.is_ready = true;
        watched.is_partly = !missing.is_empty();
        Ok(watched.beats.clone())
    }

    /// Returns whether the news that each topic is ready has come.
    pub(super) fn is_ready(&self) -> bool {
        let mut topics = self.topics.values();
        topics.all(|watched| watched.is_ready && !watched.is_partly)
    }

    /// Notes that the node looked at its deadlines while it spoke.
    pub(super) fn note_speaking(&mut self, own_ms: u64) {
        self.first_ms.get_or_insert(own_ms);
    }

    /// Notes a Beat that reaches the node. Until two beats after the start of the node, it counts as
    /// heard before its watches.
    pub(super) fn hear_beat(&mut self, id: &ReplicaId, beat: BeatName, own_ms: u64) {
        let starts_until = self.first_ms.map(|first_ms| first_ms + 2 * BEAT_MS);
        if starts_until.is_some_and(|until| own_ms >= until) {
            return;
        }
        for watched in self.topics.values_mut() {
            if watched.beats.iter().all(|heard| heard.id != *id) {
                watched.beats.push(HeardBeat {
                    id: id.clone(),
                    beat,
                    is_exact: false,
                });
            }
        }
    }

    /// Takes out the partitions that have not been watched for `unwatch_ms`.
    pub(super) fn take_over(&mut self, own_ms: u64, unwatch_ms: u64) -> Vec<u16> {
        let ended = self.ended_ms.iter();
        let over = ended.filter(|(_, ended_ms)| own_ms >= *ended_ms + unwatch_ms);
        let over: Vec<_> = over.map(|(partition, _)| *partition).collect();
        for partition in &over {
            self.ended_ms.remove(partition);
        }
        over
    }

    /// Returns a topic that should be ready by now.
    pub(super) fn late(&self, own_ms: u64, ready_ms: u64) -> Option<&'static str> {
        let first_ms = self.first_ms?;
        let is_late = |watched: &Watched| {
            let begun_ms = watched.begun_ms.max(first_ms + 2 * BEAT_MS);
            !watched.is_ready && own_ms >= begun_ms + ready_ms + BEAT_MS
        };
        let late = self.topics.iter().find(|(_, watched)| is_late(watched));
        late.map(|(topic, _)| *topic)
    }
}

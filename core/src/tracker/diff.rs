//! Changes: joins, leaves and updates per topic.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::entry::EntryBuf;
use super::leave::{Leave, LeaveReason};
use crate::id::EntryRef;

/// The changes of each topic. A tracker makes it from operations, never by comparing states.
///
/// The changes of a session (topic, key, owner) since the last Diff become one join, leave or
/// update. Every version that a read could have shown and that is over has a leave, or is the `old`
/// of an update. So a mirror may start from any `list`, read at any moment, and apply every Diff
/// that comes after it: first the joins, then the updates, then the leaves, by key and
/// [`entry_ref`](EntryBuf::entry_ref). It ignores leaves of versions that it does not have. After
/// each Diff of own entries it equals `list`.
///
/// | since the last Diff | in the Diff |
/// |---|---|
/// | join, leave | both |
/// | join, update | a join of the newest version, a leave of the older one |
/// | update, update | one update, a leave of the version in between |
/// | update, leave | a leave of the version reported before, one of that in between |
/// | leave, join | an update |
///
/// Each leave has a [`LeaveReason`]. That of an entry that was updated and then left is the reason
/// for which it left.
///
/// ```
/// use headcount::tracker::LeaveReason;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// tracker.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// let diff = tracker.take_diff();
/// assert_eq!(diff.topic("room").unwrap().joins[0].key_str(), Some("ann"));
/// assert!(tracker.take_diff().is_empty());
/// tracker.untrack_owner("conn-1");
/// let diff = tracker.take_diff();
/// assert_eq!(diff.topic("room").unwrap().leaves[0].reason, LeaveReason::OwnerGone);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Sorted by topic, each topic once, none without changes.
    pub(super) topics: Vec<TopicDiff>,
    pub(super) is_lossy: bool,
}

/// The changes of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TopicDiff {
    /// The topic.
    pub topic: Arc<str>,
    /// Entries that are new, including those that have left again.
    pub joins: Vec<EntryBuf>,
    /// Versions of entries that are over, each as it was: of an entry that an earlier Diff
    /// reported, of one among the joins, or a version in between that only a read can have shown.
    /// When several changes of an entry became one leave, its reason is that of the last of them.
    pub leaves: Vec<Leave>,
    /// Entries whose content changed.
    pub updates: Vec<Update>,
}

/// An entry before and after a change. Topic and key are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Update {
    /// The entry as a Diff last reported it. There may have been versions in between: each has a
    /// leave.
    pub old: EntryBuf,
    /// The entry as it is now.
    pub new: EntryBuf,
}

impl Update {
    /// Returns the key, which is the same before and after.
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

    /// Returns the number of joins, leaves and updates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.joins.len() + self.leaves.len() + self.updates.len()
    }

    /// Returns whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes on the heap. O(changes).
    pub(crate) fn memory(&self) -> usize {
        let joins = self.joins.iter();
        let leaves = self.leaves.iter().map(|leave| &leave.entry);
        let updates = self.updates.iter();
        let updates = updates.flat_map(|update| [&update.old, &update.new]);
        let contents = joins.chain(leaves).chain(updates);
        let contents: usize = contents.map(EntryBuf::bytes_len).sum();
        self.topic.len()
            + self.joins.capacity() * size_of::<EntryBuf>()
            + self.leaves.capacity() * size_of::<Leave>()
            + self.updates.capacity() * size_of::<Update>()
            + contents
    }

    /// Turns a leave and a join of the same session into one update. O(changes).
    fn pair(&mut self) {
        if self.joins.is_empty() || self.leaves.is_empty() {
            return;
        }
        let mut left: HashMap<SessionKey, Leave> = HashMap::new();
        let mut leaves = Vec::with_capacity(self.leaves.len());
        for leave in self.leaves.drain(..) {
            if let Some(doubled) = left.insert(session(&leave.entry), leave) {
                leaves.push(doubled);
            }
        }
        let mut joins = Vec::with_capacity(self.joins.len());
        for join in self.joins.drain(..) {
            match left.remove(&session(&join)) {
                Some(leave) => self.updates.push(Update {
                    old: leave.entry,
                    new: join,
                }),
                None => joins.push(join),
            }
        }
        leaves.extend(left.into_values());
        leaves.sort_by_key(version);
        self.joins = joins;
        self.leaves = leaves;
    }

    /// Removes versions that came and went within one frame, where no read could see them: of an
    /// entry written twice only the first old and the last new content count. Entries of two lives
    /// of a replica are kept apart, though their births and versions may be the same numbers.
    /// O(changes log changes).
    fn cancel(&mut self) {
        let mut gone = std::mem::take(&mut self.leaves);
        let mut new = Vec::new();
        new.append(&mut self.joins);
        for Update { old, new: written } in self.updates.drain(..) {
            gone.push(Leave {
                entry: old,
                reason: LeaveReason::Updated,
            });
            new.push(written);
        }
        let life = |entry: &EntryBuf| (entry.origin().clone(), entry.birth());
        let written = |entry: &EntryBuf| (life(entry), entry.version());
        gone.sort_by_cached_key(|leave| written(&leave.entry));
        let keys: Vec<_> = gone.iter().map(|leave| written(&leave.entry)).collect();
        // A version that stays in the Diff for its life takes the reason of the last one.
        for at in (1..gone.len()).rev() {
            if keys[at - 1].0 == keys[at].0 {
                gone[at - 1].reason = gone[at].reason;
            }
        }
        let mut gone: Vec<_> = gone.into_iter().map(Some).collect();
        new.retain(|entry| {
            let at = keys.binary_search(&written(entry)).ok();
            let is_same = |leave: &Leave| leave.entry == *entry;
            let same = at.filter(|&at| gone[at].as_ref().is_some_and(is_same));
            same.and_then(|at| gone[at].take()).is_none()
        });
        new.sort_by_key(EntryBuf::version);
        for entry in new {
            let life = life(&entry);
            let first = keys.partition_point(|key| key.0 < life);
            let last = keys.partition_point(|key| key.0 <= life);
            // What an origin once told wrong may have the births of other keys.
            let has_key = |leave: &Option<Leave>| {
                let leave = leave.as_ref();
                leave.is_some_and(|leave| leave.entry.key() == entry.key())
            };
            let old = gone[first..last].iter_mut().find(|leave| has_key(leave));
            match old.and_then(Option::take) {
                Some(leave) => self.updates.push(Update {
                    old: leave.entry,
                    new: entry,
                }),
                None => self.joins.push(entry),
            }
        }
        self.leaves = gone.into_iter().flatten().collect();
    }

    /// Adds versions that came and went since the last Diff. `brief` are the last versions of
    /// entries that no Diff has reported: one whose session appears nowhere else joins and leaves.
    /// O(changes).
    fn add_ended(&mut self, brief: Vec<Leave>, between: Vec<Leave>) {
        if !brief.is_empty() {
            let updates = self.updates.iter();
            let updated = updates.flat_map(|update| [&update.old, &update.new]);
            let left = self.leaves.iter().map(|leave| &leave.entry);
            let reported = self.joins.iter().chain(left).chain(updated);
            let mut reported: HashSet<_> = reported.map(session).collect();
            let newest_first = brief.iter().rev().map(|leave| &leave.entry);
            let joins = newest_first.filter(|entry| reported.insert(session(entry)));
            self.joins.extend(joins.cloned());
            self.joins.sort_by_key(EntryBuf::version);
        }
        if !brief.is_empty() || !between.is_empty() {
            self.leaves.extend(brief.into_iter().chain(between));
            self.leaves.sort_by_key(version);
        }
    }
}

fn version(leave: &Leave) -> u64 {
    leave.entry.version()
}

/// Names a session within a topic: key, encoding, owner.
type SessionKey = (Box<[u8]>, u8, Box<[u8]>);

fn session(entry: &EntryBuf) -> SessionKey {
    let key = entry.key();
    (key.bytes.into(), key.encoding as u8, entry.owner().into())
}

impl Diff {
    /// Returns whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Returns the number of topics with changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Returns the changes of one topic. O(log topics).
    #[must_use]
    pub fn topic(&self, topic: &str) -> Option<&TopicDiff> {
        let at = self
            .topics
            .binary_search_by(|t| (*t.topic).cmp(topic))
            .ok()?;
        Some(&self.topics[at])
    }

    /// Returns the changes of each topic, sorted by topic.
    pub fn iter(&self) -> std::slice::Iter<'_, TopicDiff> {
        self.topics.iter()
    }

    /// Returns whether versions that came and went since the last Diff are missing among the
    /// leaves, because there were more than the 4 MiB that a tracker keeps. A mirror that has read
    /// `list` since the last Diff must read it again.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    pub(super) fn set_lossy(&mut self) {
        self.is_lossy = true;
    }

    /// Returns the approximate bytes that it takes: those of its topics, and of their changes with
    /// key, owner and meta. O(changes).
    pub(crate) fn memory(&self) -> usize {
        let topics = self.topics.capacity() * size_of::<TopicDiff>();
        topics + self.topics.iter().map(TopicDiff::memory).sum::<usize>()
    }

    /// Gives back memory that it took while it was made. O(topics + changes).
    pub(crate) fn shrink(&mut self) {
        self.topics.shrink_to_fit();
        for topic in &mut self.topics {
            topic.joins.shrink_to_fit();
            topic.leaves.shrink_to_fit();
            topic.updates.shrink_to_fit();
        }
    }

    /// Drops the topics that are not wanted.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.topics.retain(|diff| is_wanted(&diff.topic));
    }

    /// Appends the topics of another Diff that shares no topic with this one.
    pub(crate) fn append_disjoint(&mut self, other: Self) {
        self.is_lossy |= other.is_lossy;
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

/// The changes of one topic while they are collected.
#[derive(Debug, Clone)]
struct Changes {
    diff: TopicDiff,
    brief: Vec<Leave>,
    between: Vec<Leave>,
}

/// Collects changes and groups them by topic.
#[derive(Debug, Clone, Default)]
pub(super) struct DiffBuilder {
    /// The places of all topics but the first: most frames are about one.
    by_topic: HashMap<Arc<str>, usize>,
    topics: Vec<Changes>,
    last: usize,
    /// The first version written, with its life: all versions written are of one life, and ascend.
    first: Option<EntryRef>,
    /// The last version ended, with its life.
    last_ended: Option<EntryRef>,
    /// True if a version that was written ended again, or one that had ended was written again:
    /// frames of one process never do that, those of two with one identity may.
    rewrites: bool,
}

impl DiffBuilder {
    fn wrote(&mut self, entry: &EntryBuf) {
        let version = entry.version();
        self.rewrites |= self
            .last_ended
            .as_ref()
            .is_some_and(|ended| version <= ended.version && *entry.origin() == ended.origin);
        match &mut self.first {
            Some(first) => first.version = first.version.min(version),
            None => self.first = Some(entry.entry_ref()),
        }
    }

    fn ended(&mut self, entry: &EntryBuf) {
        self.rewrites |= self.first.as_ref().is_some_and(|first| {
            entry.version() >= first.version && *entry.origin() == first.origin
        });
        let version = entry.version();
        match &mut self.last_ended {
            Some(ended) if ended.origin == *entry.origin() => {
                ended.version = ended.version.max(version);
            }
            ended => *ended = Some(entry.entry_ref()),
        }
    }

    fn topic(&mut self, topic: &Arc<str>) -> &mut Changes {
        if self
            .topics
            .get(self.last)
            .is_none_or(|t| !Arc::ptr_eq(&t.diff.topic, topic))
        {
            self.last = self.place(topic);
        }
        &mut self.topics[self.last]
    }

    /// Returns the place of a topic, a new one if need be.
    fn place(&mut self, topic: &Arc<str>) -> usize {
        let next = self.topics.len();
        let place = match self.topics.first() {
            None => {
                self.topics.reserve_exact(1);
                0
            }
            Some(first) if first.diff.topic == *topic => 0,
            Some(_) => *self.by_topic.entry(Arc::clone(topic)).or_insert(next),
        };
        if place == next {
            self.topics.push(Changes {
                diff: TopicDiff::new(Arc::clone(topic)),
                brief: Vec::new(),
                between: Vec::new(),
            });
        }
        place
    }

    pub(super) fn join(&mut self, topic: &Arc<str>, entry: EntryBuf) {
        self.wrote(&entry);
        let joins = &mut self.topic(topic).diff.joins;
        if joins.is_empty() {
            joins.reserve_exact(1);
        }
        joins.push(entry);
    }

    pub(super) fn leave(&mut self, topic: &Arc<str>, leave: Leave) {
        self.ended(&leave.entry);
        self.topic(topic).diff.leaves.push(leave);
    }

    pub(super) fn update(&mut self, topic: &Arc<str>, old: EntryBuf, new: EntryBuf) {
        self.ended(&old);
        self.wrote(&new);
        self.topic(topic).diff.updates.push(Update { old, new });
    }

    /// Adds the last version of an entry that came and went since the last Diff.
    pub(super) fn brief(&mut self, topic: &Arc<str>, leave: Leave) {
        self.topic(topic).brief.push(leave);
    }

    /// Adds a version that came since the last Diff and is followed by another one.
    pub(super) fn between(&mut self, topic: &Arc<str>, leave: Leave) {
        self.topic(topic).between.push(leave);
    }

    pub(super) fn finish(self) -> Diff {
        let finished = self.topics.into_iter().map(|changes| {
            let mut diff = changes.diff;
            if self.rewrites {
                diff.cancel();
            }
            diff.pair();
            diff.add_ended(changes.brief, changes.between);
            diff
        });
        let mut topics: Vec<_> = finished.filter(|diff| !diff.is_empty()).collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        let is_lossy = false;
        Diff { topics, is_lossy }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NewEntry, Tracker};
    use super::*;
    use crate::id::ReplicaId;

    /// Returns three versions of one entry.
    fn versions() -> [EntryBuf; 3] {
        let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).unwrap());
        let put = NewEntry::new("room", "ann", "conn");
        [(); 3].map(|()| {
            tracker.upsert(&put).unwrap();
            tracker.list("room").next().unwrap().to_buf()
        })
    }

    #[test]
    fn a_version_that_a_frame_wrote_and_ended_hands_its_reason_to_the_one_before() {
        let [first, second, third] = versions();
        let topic: Arc<str> = "room".into();
        let mut diff = DiffBuilder::default();
        diff.update(&topic, first.clone(), second.clone());
        diff.update(&topic, second, third.clone());
        let reason = LeaveReason::Expired;
        let entry = third;
        diff.leave(&topic, Leave { entry, reason });
        let diff = diff.finish();
        let entry = first;
        let expected = TopicDiff {
            leaves: vec![Leave { entry, reason }],
            ..TopicDiff::new(topic)
        };
        assert_eq!(diff.topics, [expected]);
    }
}

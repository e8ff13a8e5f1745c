//! `Reader`: a user of a node that reads its Diffs only. It must hold what the node lists.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use hashbrown::{Equivalent, HashMap, HashSet};

use super::plan;
use super::process::Process;
use super::rosters::Rosters;
use crate::id::{EntryRef, ReplicaId};
use crate::tracker::{Diff, Encoding, Entry, EntryBuf, Key, LeaveReason, TopicDiff};

/// An entry of a topic, with all its content: twins, and nodes that alter what they send, give the
/// same version to two entries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    topic: String,
    entry: EntryRef,
    encoding: Encoding,
    key: Box<[u8]>,
    owner: Box<[u8]>,
    meta: Box<[u8]>,
}

/// An entry that a node lists in a topic.
struct Listed<'a>(&'a str, &'a Entry<'a>);

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.entry.version, &*self.key).hash(state);
    }
}

impl Hash for Listed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.1.version(), self.1.key().bytes).hash(state);
    }
}

impl Equivalent<Shown> for Listed<'_> {
    fn equivalent(&self, shown: &Shown) -> bool {
        let Self(topic, entry) = self;
        let content = (entry.key().bytes, entry.owner(), entry.meta());
        *topic == shown.topic
            && entry.version() == shown.entry.version
            && entry.key().encoding == shown.encoding
            && content == (&*shown.key, &*shown.owner, &*shown.meta)
            && entry.entry_ref() == shown.entry
    }
}

/// All that the Diffs of a node have shown.
#[derive(Clone, Default)]
pub(super) struct Reader {
    /// The entries, each with the last comparison in which it was listed.
    shown: HashMap<Shown, u64>,
    comparisons: u64,
    /// Replicas that are gone, and until when their entries may be seen.
    gone: HashMap<ReplicaId, u64>,
    /// The topics that are watched, where not everything is.
    topics: HashSet<String>,
    pub(super) is_interest: bool,
    /// The topics of which the Diffs of a whole replica are wanted, where not those of all are.
    pub(super) diff_topics: Option<HashSet<String>>,
    /// The rosters of the topics, in some schedules.
    pub(super) rosters: Option<Rosters>,
}

impl Reader {
    /// Notes that a replica is gone, but for what may be seen of it until a time.
    pub(super) fn note_gone(&mut self, id: ReplicaId, until_ms: u64) {
        self.gone.insert(id, until_ms);
    }

    /// Begins to follow a topic by its list, after the Diffs so far.
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    pub(super) fn begin(
        &mut self,
        name: &str,
        topic: &str,
        entries: &[EntryBuf],
        diffs: &[Diff],
    ) -> Result<(), String> {
        self.topics.insert(topic.to_owned());
        for diff in diffs {
            let others = diff.iter().filter(|diff| &*diff.topic != topic);
            others
                .into_iter()
                .try_for_each(|diff| self.apply_topic(diff, name))?;
        }
        if let Some(rosters) = &mut self.rosters {
            rosters.begin(topic, entries)?;
        }
        let entries = entries.iter().map(|entry| (shown(topic, entry), 0));
        self.shown.extend(entries);
        Ok(())
    }

    /// Ends to follow a topic.
    pub(super) fn end(&mut self, topic: &str) {
        self.topics.remove(topic);
        if let Some(rosters) = &mut self.rosters {
            rosters.end(topic);
        }
        self.shown.retain(|shown, _| shown.topic != topic);
    }

    /// Applies the Diffs that wait in a node, and compares with its lists once no work is under
    /// way.
    ///
    /// # Errors
    /// A Diff contradicts those before it, or the lists.
    pub(super) fn follow(&mut self, process: &Process, own_ms: u64) -> Result<(), String> {
        let diffs = process.take_diffs();
        let name = process.presence.id().name().to_owned();
        for diff in &diffs {
            self.apply(diff, &name)?;
        }
        if diffs.is_empty() || process.presence.is_working() {
            return Ok(());
        }
        self.compare(process)?;
        let now = Duration::from_millis(own_ms);
        if process.is_due(now) {
            return Ok(());
        }
        let replicas = process.presence.replicas();
        for shown in self.shown.keys() {
            let id = &shown.entry.origin.replica;
            let mut known = replicas.iter();
            let is_up = id.name() == name || known.any(|(known, is_up)| *is_up && known == id);
            let is_in_grace = self.gone.get(id).is_some_and(|until_ms| own_ms < *until_ms);
            if !is_up && !is_in_grace {
                return Err(format!("lists entries of {id}, which is gone"));
            }
        }
        Ok(())
    }

    /// Compares what the Diffs have shown with what a node lists.
    fn compare(&mut self, process: &Process) -> Result<(), String> {
        self.comparisons += 1;
        let mut more = Vec::new();
        let mut listed = 0;
        let mut topics = process.presence.topics();
        topics.retain(|topic| self.is_followed(topic));
        for topic in topics {
            process.presence.for_each_held(&topic, |entry| {
                match self.shown.get_mut(&Listed(&topic, &entry)) {
                    Some(last) if *last < self.comparisons => {
                        *last = self.comparisons;
                        listed += 1;
                    }
                    // Without a Diff, or listed twice.
                    _ => more.push(shown(&topic, &entry.to_buf())),
                }
            });
        }
        if more.is_empty() && listed == self.shown.len() {
            self.compare_keys(process)?;
            return self.compare_rosters(process);
        }
        let less = self.shown.iter();
        let less = less.filter(|(_, last)| **last < self.comparisons);
        let less: Vec<_> = less.map(|(shown, _)| shown).collect();
        Err(format!("lists {more:?} without a Diff, and not {less:?}"))
    }

    /// Compares what the Diffs have shown of each key with what a node reads of it, in a few of the
    /// comparisons.
    fn compare_keys(&self, process: &Process) -> Result<(), String> {
        if !self.comparisons.is_multiple_of(4) {
            return Ok(());
        }
        let mut keys: HashMap<(&str, Key<'_>), usize> = HashMap::new();
        for shown in self.shown.keys() {
            let encoding = shown.encoding;
            let bytes = &*shown.key;
            let key = (&*shown.topic, Key { encoding, bytes });
            *keys.entry(key).or_default() += 1;
        }
        for ((topic, key), sessions) in keys {
            // A topic that is not ready is not read.
            let Ok(entries) = process.presence.get_by_key(topic, key) else {
                continue;
            };
            let is_shown = |entry: &&EntryBuf| self.shown.contains_key(&shown(topic, entry));
            if entries.len() != sessions || entries.iter().filter(is_shown).count() != sessions {
                return Err(format!(
                    "has {entries:?} of {topic}/{key:?}, not {sessions}"
                ));
            }
        }
        Ok(())
    }

    fn compare_rosters(&mut self, process: &Process) -> Result<(), String> {
        let Some(mut rosters) = self.rosters.take() else {
            return Ok(());
        };
        let followed = plan::topics().filter(|topic| self.is_followed(topic));
        let compared = rosters.compare(&process.presence, followed.map(str::to_owned));
        self.rosters = Some(rosters);
        compared
    }

    fn is_followed(&self, topic: &str) -> bool {
        let wanted = self.diff_topics.as_ref();
        wanted.is_none_or(|wanted| wanted.contains(topic))
            && (!self.is_interest || self.topics.contains(topic))
    }

    fn apply(&mut self, diff: &Diff, name: &str) -> Result<(), String> {
        diff.iter()
            .try_for_each(|topic| self.apply_topic(topic, name))
    }

    fn apply_topic(&mut self, topic: &TopicDiff, name: &str) -> Result<(), String> {
        if self.is_interest && !self.topics.contains(&*topic.topic) {
            return Err(format!("reports a change of an unwatched topic: {topic:?}"));
        }
        if !self.is_followed(&topic.topic) {
            let mut leaves = topic.leaves.iter();
            return if leaves.any(|leave| leave.reason == LeaveReason::ReplicaDown) {
                Err(format!("reports a hide in an unwanted topic: {topic:?}"))
            } else {
                Ok(())
            };
        }
        let shown = |entry: &EntryBuf| shown(&topic.topic, entry);
        for join in &topic.joins {
            if self.shown.insert(shown(join), 0).is_some() {
                return Err(format!("reports a join twice: {join:?} in {topic:?}"));
            }
        }
        for update in &topic.updates {
            let name = |entry: &EntryBuf| entry.origin().replica.name().to_owned();
            if name(&update.old) != name(&update.new) {
                return Err(format!("reports an update of another name: {update:?}"));
            }
            if self.shown.remove(&shown(&update.old)).is_none() {
                return Err(format!("reports an update of nothing: {update:?}"));
            }
            if self.shown.insert(shown(&update.new), 0).is_some() {
                return Err(format!("reports an update twice: {update:?}"));
            }
        }
        for leave in &topic.leaves {
            let is_own = leave.entry.origin().replica.name() == name;
            if self.shown.remove(&shown(&leave.entry)).is_none() && !is_own {
                return Err(format!("reports a leave of nothing: {leave:?}"));
            }
        }
        self.rosters
            .as_mut()
            .map_or(Ok(()), |rosters| rosters.apply(topic))
    }
}

fn shown(topic: &str, entry: &EntryBuf) -> Shown {
    let key = entry.key();
    Shown {
        topic: topic.to_owned(),
        entry: entry.entry_ref(),
        encoding: key.encoding,
        key: key.bytes.into(),
        owner: entry.owner().into(),
        meta: entry.meta().into(),
    }
}

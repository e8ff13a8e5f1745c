//! `Reader`: a user of a node that reads its Diffs only. It must hold what the node lists.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{Equivalent, HashMap, HashSet};

use super::plan;
use super::process::Process;
use super::rosters::Rosters;
use crate::id::ReplicaId;
use crate::tracker::{Diff, Encoding, Entry, EntryBuf, Key, LeaveReason, TopicDiff};

/// An entry of a topic, with all its content: twins, and nodes that alter what they send, give the
/// same version to two entries.
#[derive(Debug, Clone)]
struct Shown {
    topic: Arc<str>,
    entry: EntryBuf,
}

/// The content of an entry in a topic.
#[derive(PartialEq)]
struct Content<'a> {
    version: u64,
    encoding: Encoding,
    key: &'a [u8],
    owner: &'a [u8],
    meta: &'a [u8],
    topic: &'a str,
}

/// An entry that a node lists in a topic.
struct Listed<'a>(&'a str, &'a Entry<'a>);

/// An entry that a Diff of a topic names.
struct Named<'a>(&'a str, &'a EntryBuf);

impl Hash for Content<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.version, self.key).hash(state);
    }
}

impl Listed<'_> {
    fn content(&self) -> Content<'_> {
        let Self(topic, entry) = *self;
        Content {
            version: entry.version(),
            encoding: entry.encoding(),
            key: entry.key().bytes,
            owner: entry.owner(),
            meta: entry.meta(),
            topic,
        }
    }
}

impl Named<'_> {
    fn content(&self) -> Content<'_> {
        let Self(topic, entry) = *self;
        Content {
            version: entry.version(),
            encoding: entry.encoding(),
            key: entry.key().bytes,
            owner: entry.owner(),
            meta: entry.meta(),
            topic,
        }
    }
}

impl Shown {
    fn new(topic: &Arc<str>, entry: &EntryBuf) -> Self {
        Self {
            topic: Arc::clone(topic),
            entry: entry.clone(),
        }
    }

    fn named(&self) -> Named<'_> {
        Named(&self.topic, &self.entry)
    }
}

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.named().content().hash(state);
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.named().equivalent(other)
    }
}

impl Eq for Shown {}

impl Hash for Listed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.content().hash(state);
    }
}

impl Equivalent<Shown> for Listed<'_> {
    fn equivalent(&self, shown: &Shown) -> bool {
        self.content() == shown.named().content() && self.1.entry_ref() == shown.entry.entry_ref()
    }
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.content().hash(state);
    }
}

impl Equivalent<Shown> for Named<'_> {
    fn equivalent(&self, shown: &Shown) -> bool {
        self.content() == shown.named().content() && self.1.origin() == shown.entry.origin()
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
        let topic = topic.into();
        let entries = entries.iter().map(|entry| (Shown::new(&topic, entry), 0));
        self.shown.extend(entries);
        Ok(())
    }

    /// Ends to follow a topic.
    pub(super) fn end(&mut self, topic: &str) {
        self.topics.remove(topic);
        if let Some(rosters) = &mut self.rosters {
            rosters.end(topic);
        }
        self.shown.retain(|shown, _| *shown.topic != *topic);
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
        let mut seen: Vec<&ReplicaId> = Vec::new();
        for shown in self.shown.keys() {
            let id = &shown.entry.origin().replica;
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
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
        let mut all = std::mem::take(&mut self.shown);
        let is_followed = |topic: &str| self.is_followed(topic);
        let each = |entry: Entry<'_>| match all.get_mut(&Listed(entry.topic(), &entry)) {
            Some(last) if *last < self.comparisons => {
                *last = self.comparisons;
                listed += 1;
            }
            // Without a Diff, or listed twice.
            _ => more.push(Shown::new(&entry.topic().into(), &entry.to_buf())),
        };
        process.presence.for_each_held_in(is_followed, each);
        self.shown = all;
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
            let key = (&*shown.topic, shown.entry.key());
            *keys.entry(key).or_default() += 1;
        }
        for ((topic, key), sessions) in keys {
            // A topic that is not ready is not read.
            let Ok(entries) = process.presence.get_by_key(topic, key) else {
                continue;
            };
            let is_shown = |entry: &&EntryBuf| self.shown.contains_key(&Named(topic, entry));
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
        let compared = rosters.compare(&process.presence, followed);
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
        let shown = |entry| Shown::new(&topic.topic, entry);
        let name_of = |entry| Named(&topic.topic, entry);
        for join in &topic.joins {
            if self.shown.insert(shown(join), 0).is_some() {
                return Err(format!("reports a join twice: {join:?} in {topic:?}"));
            }
        }
        for update in &topic.updates {
            let names = [&update.old, &update.new].map(|entry| entry.origin().replica.name());
            if names[0] != names[1] {
                return Err(format!("reports an update of another name: {update:?}"));
            }
            if self.shown.remove(&name_of(&update.old)).is_none() {
                return Err(format!("reports an update of nothing: {update:?}"));
            }
            if self.shown.insert(shown(&update.new), 0).is_some() {
                return Err(format!("reports an update twice: {update:?}"));
            }
        }
        for leave in &topic.leaves {
            let is_own = leave.entry.origin().replica.name() == name;
            if self.shown.remove(&name_of(&leave.entry)).is_none() && !is_own {
                return Err(format!("reports a leave of nothing: {leave:?}"));
            }
        }
        self.rosters
            .as_mut()
            .map_or(Ok(()), |rosters| rosters.apply(topic))
    }
}

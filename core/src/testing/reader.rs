//! `Reader`: a user of a node that reads its Diffs only. It must hold what the node lists.

use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::process::Process;
use crate::id::{EntryRef, ReplicaId};
use crate::tracker::{Diff, Encoding, EntryBuf, TopicDiff};

/// A topic, and an entry with all its content: twins, and nodes that alter what they send, give the
/// same version to two entries.
type Shown = (String, EntryRef, Content);

/// The key, the owner and the meta of an entry.
type Content = (Encoding, Box<[u8]>, Box<[u8]>, Box<[u8]>);

/// All that the Diffs of a node have shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    shown: HashSet<Shown>,
    /// Replicas that are gone, and until when their entries may be seen.
    gone: HashMap<ReplicaId, u64>,
    /// The topics that are watched, where not everything is.
    topics: HashSet<String>,
    pub(super) is_interest: bool,
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
        let entries = entries.iter().map(|entry| shown(topic, entry));
        self.shown.extend(entries);
        Ok(())
    }

    /// Ends to follow a topic.
    pub(super) fn end(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.shown.retain(|(shown, ..)| shown != topic);
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
        let mut listed = HashSet::new();
        for topic in process.presence.topics() {
            if self.is_interest && !self.topics.contains(&topic) {
                continue;
            }
            process.presence.for_each_held(&topic, |entry| {
                listed.insert(shown(&topic, &entry.to_buf()));
            });
        }
        if listed != self.shown {
            let more: Vec<_> = listed.difference(&self.shown).collect();
            let less: Vec<_> = self.shown.difference(&listed).collect();
            return Err(format!("lists {more:?} without a Diff, and not {less:?}"));
        }
        let now = Duration::from_millis(own_ms);
        let is_overdue = process.is_due(now);
        let replicas = process.presence.replicas();
        for (_, entry, _) in listed.iter().filter(|_| !is_overdue) {
            let id = &entry.origin.replica;
            let mut known = replicas.iter();
            let is_up = id.name() == name || known.any(|(known, is_up)| *is_up && known == id);
            let is_in_grace = self.gone.get(id).is_some_and(|until_ms| own_ms < *until_ms);
            if !is_up && !is_in_grace {
                return Err(format!("lists entries of {id}, which is gone"));
            }
        }
        Ok(())
    }

    fn apply(&mut self, diff: &Diff, name: &str) -> Result<(), String> {
        diff.iter()
            .try_for_each(|topic| self.apply_topic(topic, name))
    }

    fn apply_topic(&mut self, topic: &TopicDiff, name: &str) -> Result<(), String> {
        if self.is_interest && !self.topics.contains(&*topic.topic) {
            return Err(format!("reports a change of an unwatched topic: {topic:?}"));
        }
        let shown = |entry: &EntryBuf| shown(&topic.topic, entry);
        for join in &topic.joins {
            if !self.shown.insert(shown(join)) {
                return Err(format!("reports a join twice: {join:?} in {topic:?}"));
            }
        }
        for update in &topic.updates {
            if !self.shown.remove(&shown(&update.old)) {
                return Err(format!("reports an update of nothing: {update:?}"));
            }
            if !self.shown.insert(shown(&update.new)) {
                return Err(format!("reports an update twice: {update:?}"));
            }
        }
        for leave in &topic.leaves {
            let is_own = leave.entry.origin().replica.name() == name;
            if !self.shown.remove(&shown(&leave.entry)) && !is_own {
                return Err(format!("reports a leave of nothing: {leave:?}"));
            }
        }
        Ok(())
    }
}

fn shown(topic: &str, entry: &EntryBuf) -> Shown {
    let key = entry.key();
    let content = (
        key.encoding,
        key.bytes.into(),
        entry.owner().into(),
        entry.meta().into(),
    );
    (topic.to_owned(), entry.entry_ref(), content)
}

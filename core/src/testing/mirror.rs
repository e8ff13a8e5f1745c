//! `Readers`: readers of a node that read a list once and then only Diffs. They must be right,
//! whenever they began.

use std::collections::HashSet;

use super::plan::TOPICS;
use crate::id::EntryRef;
use crate::presence::Presence;
use crate::tracker::{Diff, Encoding, EntryBuf};

/// Topic, key and version of an entry: twins, and holders that alter content, give the same version
/// to entries of two keys.
type Shown = (String, Encoding, Box<[u8]>, EntryRef);

/// One reader that has seen every Diff, and two that began later: one long ago and one lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers {
    first: HashSet<Shown>,
    late: Vec<HashSet<Shown>>,
}

impl Readers {
    /// Lets another reader begin with the list as it is now.
    pub(super) fn begin(&mut self, presence: &Presence) {
        self.late.truncate(1);
        self.late.push(listed(presence));
    }

    /// Hands the Diffs that wait in a node of this name to all readers.
    ///
    /// # Errors
    /// A Diff contradicts what the first reader has seen.
    pub(super) fn follow(&mut self, presence: &Presence, name: &str) -> Result<(), String> {
        while let Some(diff) = presence.poll_diff() {
            self.apply(&diff, name)?;
        }
        Ok(())
    }

    /// Returns an error unless all readers hold what a node lists, its own entries included.
    pub(super) fn check(&self, presence: &Presence) -> Result<(), String> {
        let listed = listed(presence);
        for (number, reader) in std::iter::once(&self.first).chain(&self.late).enumerate() {
            if *reader != listed {
                let held = reader.len();
                let lists = listed.len();
                return Err(format!(
                    "lists {lists} entries; by its Diffs reader {number} holds {held}"
                ));
            }
        }
        Ok(())
    }

    /// Applies joins, updates, leaves. To the first reader joins must be new, updates and leaves
    /// known. Only the leave of an own entry may be unknown: a read may have shown it before its
    /// Diff.
    fn apply(&mut self, diff: &Diff, name: &str) -> Result<(), String> {
        for topic in diff {
            let shown = |entry: &EntryBuf| shown(&topic.topic, entry);
            for join in &topic.joins {
                if !self.add(&shown(join)) {
                    return Err(format!("reports a join twice: {join:?}"));
                }
            }
            for update in &topic.updates {
                if !self.remove(&shown(&update.old)) {
                    return Err(format!("reports an update of nothing: {update:?}"));
                }
                if !self.add(&shown(&update.new)) {
                    return Err(format!("reports an update twice: {update:?}"));
                }
            }
            for leave in &topic.leaves {
                if !self.remove(&shown(leave)) && leave.origin().replica.name() != name {
                    return Err(format!("reports a leave of nothing: {leave:?}"));
                }
            }
        }
        Ok(())
    }

    /// Returns whether the entry was new to the first reader.
    fn add(&mut self, shown: &Shown) -> bool {
        for late in &mut self.late {
            late.insert(shown.clone());
        }
        self.first.insert(shown.clone())
    }

    /// Returns whether the first reader knew the entry.
    fn remove(&mut self, shown: &Shown) -> bool {
        for late in &mut self.late {
            late.remove(shown);
        }
        self.first.remove(shown)
    }
}

fn listed(presence: &Presence) -> HashSet<Shown> {
    let mut all = HashSet::new();
    for topic in TOPICS {
        presence.for_each(topic, |entry| {
            all.insert(shown(topic, &entry.to_buf()));
        });
    }
    all
}

fn shown(topic: &str, entry: &EntryBuf) -> Shown {
    let key = entry.key();
    let topic = topic.to_owned();
    let bytes = key.bytes.into();
    (topic, key.encoding, bytes, entry.entry_ref())
}

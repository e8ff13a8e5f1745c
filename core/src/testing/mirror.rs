//! Readers of a node, who read a list once and then only Diffs: they must be right, whenever they
//! began.

use std::collections::HashSet;

use super::world::{TOPICS, World};
use crate::id::EntryRef;
use crate::presence::Presence;
use crate::tracker::{Diff, Encoding, EntryBuf};

/// Local operations between two readers that begin with a list.
const LATE_EVERY: u64 = 8;

/// Topic, key and version of an entry: twins, and holders that alter content, give the same version
/// to entries of two keys.
type Shown = (String, Encoding, Box<[u8]>, EntryRef);

/// One that has seen every Diff, and two that began later: one long ago and one lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers {
    first: HashSet<Shown>,
    late: Vec<HashSet<Shown>>,
}

impl Readers {
    /// Takes one Diff in: joins, updates, leaves. To the first reader joins must be new, updates
    /// known; so must leaves be, unless a read may have shown what left: that is an own entry.
    fn take(&mut self, diff: &Diff, name: &str) -> Result<(), String> {
        for topic in diff {
            let shown = |entry: &EntryBuf| shown(&topic.topic, entry);
            for join in &topic.joins {
                if !self.add(&shown(join)) {
                    return Err(format!("tells of a join twice: {join:?}"));
                }
            }
            for update in &topic.updates {
                if !self.remove(&shown(&update.old)) {
                    return Err(format!("tells of the end of nothing: {update:?}"));
                }
                if !self.add(&shown(&update.new)) {
                    return Err(format!("tells of an update twice: {update:?}"));
                }
            }
            for leave in &topic.leaves {
                if !self.remove(&shown(leave)) && leave.origin().replica.name() != name {
                    return Err(format!("tells of the end of nothing: {leave:?}"));
                }
            }
        }
        Ok(())
    }

    /// Returns whether it was new to the first reader.
    fn add(&mut self, shown: &Shown) -> bool {
        for late in &mut self.late {
            late.insert(shown.clone());
        }
        self.first.insert(shown.clone())
    }

    /// Returns whether the first reader knew it.
    fn remove(&mut self, shown: &Shown) -> bool {
        for late in &mut self.late {
            late.remove(shown);
        }
        self.first.remove(shown)
    }
}

impl World<'_> {
    /// Another reader of a node begins, in the middle of what was not told of yet.
    pub(super) fn begin_reader(&mut self, place: usize) {
        if self.stats.operations.is_multiple_of(LATE_EVERY)
            && let Some(node) = &mut self.nodes[place]
        {
            let late = &mut node.readers.late;
            late.truncate(1);
            late.push(listed(&node.presence));
        }
    }

    /// Hands the Diffs of a node to its readers.
    pub(super) fn mirror(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        while let Some(diff) = node.presence.poll_diff() {
            let taken = node.readers.take(&diff, node.id.name());
            taken.map_err(|what| format!("{place} {what}"))?;
        }
        Ok(())
    }

    /// Returns whether what a node lists, its own entries included, is what its Diffs said, to all readers.
    pub(super) fn equal_mirror(&self, place: usize) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        let listed = listed(&node.presence);
        let Readers { first, late } = &node.readers;
        for (number, reader) in std::iter::once(first).chain(late).enumerate() {
            if *reader != listed {
                let told = reader.len();
                let lists = listed.len();
                return Err(format!(
                    "{place} lists {lists} entries, its Diffs tell reader {number} of {told}"
                ));
            }
        }
        Ok(())
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

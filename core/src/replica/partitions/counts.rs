//! Counts: what each origin has in a topic, as an entry of its own in another partition.

use std::sync::Arc;

use super::Partitions;
use crate::codec::{Reader, Writer};
use crate::error::TrackError;
use crate::fault::{Fault, is_broken};
use crate::tracker::{Count, Entry, Limits, NewEntry};

/// The key and the owner of every count.
const NOBODY: &str = "";

/// The partitions of entries.
impl Partitions {
    /// Takes the counts of own entries in the topics in which some came or went since the last call.
    /// O(topics).
    pub(crate) fn take_changed_counts(&mut self) -> Vec<(Arc<str>, Count)> {
        let mut counts = Vec::new();
        for partition in std::mem::take(&mut self.uncounted) {
            if let Some(part) = self.parts.get_mut(&partition) {
                counts.extend(part.tracker.take_changed_counts());
            }
            self.tidy(partition);
        }
        counts
    }
}

/// The partitions of counts.
impl Partitions {
    /// Makes these the partitions of counts.
    pub(crate) fn of_counts(mut self) -> Self {
        self.is_of_counts = true;
        self.limits = Limits::clone(&self.limits).of_counts().shared();
        // All counts have one owner, which never leaves.
        self.owners = None;
        self
    }

    /// Replaces the own count of a topic.
    ///
    /// # Errors
    /// Those of [`upsert`](Self::upsert); nothing has changed then.
    pub(crate) fn put_count(&mut self, topic: &str, count: Count) -> Result<(), TrackError> {
        if count.entries == 0 {
            if !is_broken(Fault::KeepCounts) {
                self.untrack(topic, NOBODY.into(), NOBODY.as_bytes());
            }
            return Ok(());
        }
        let tracker = self.tracker(topic);
        if is_broken(Fault::CountOnce) && tracker.get_own(topic, NOBODY, NOBODY).is_some() {
            return Ok(());
        }
        let mut meta = Writer::new();
        meta.u64(u64::from(count.entries));
        meta.u64(u64::from(count.keys));
        let entry = NewEntry::new(topic, NOBODY, NOBODY).meta(meta.as_slice());
        self.upsert(&entry).map(drop)
    }

    /// Returns the counts of a topic at all other origins that are visible. O(origins).
    pub(crate) fn counts_of_others(&self, topic: &str) -> impl Iterator<Item = Count> {
        let entries = self.tracker(topic).list(topic);
        let others = entries.filter(|entry| *entry.replica() != self.id);
        others.filter_map(|entry| read(&entry))
    }
}

/// Reads a count; `None` if the origin wrote something else, which no origin of this version does.
fn read(entry: &Entry<'_>) -> Option<Count> {
    let mut reader = Reader::new(entry.meta());
    let entries = reader.u32().ok()?;
    let keys = reader.u32().ok()?;
    reader.finish().ok()?;
    Some(Count { entries, keys })
}

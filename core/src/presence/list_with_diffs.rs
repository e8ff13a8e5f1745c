//! A list between two Diffs.

use super::Presence;
use crate::error::ReadError;
use crate::tracker::{Diff, EntryBuf};

impl Presence {
    /// Takes all Diffs so far and returns the visible entries of a topic as they are after these:
    /// what the list has is in no later Diff, and every change after it is. For that the own
    /// changes of the topic's partition are flushed, and the Diffs after a hide or a show completed.
    /// O(entries of the topic + changes), while writers of the partition and frames wait.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let (entries, diffs) = presence.list_with_diffs("room")?;
    /// assert_eq!((entries.len(), diffs[0].topic("room").unwrap().joins.len()), (1, 1));
    /// presence.untrack("room", "ann", "conn-1");
    /// let leave = presence.take_diff();
    /// assert_eq!(leave.topic("room").unwrap().leaves[0].entry, entries[0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not watched, or not ready; no Diff was taken then.
    pub fn list_with_diffs(&self, topic: &str) -> Result<(Vec<EntryBuf>, Vec<Diff>), ReadError> {
        self.check_readable(topic)?;
        Ok(self.take_list_with_diffs(topic))
    }

    /// Does what [`list_with_diffs`](Self::list_with_diffs) does, of any topic.
    pub(crate) fn take_list_with_diffs(&self, topic: &str) -> (Vec<EntryBuf>, Vec<Diff>) {
        let control = &mut *self.control.lock();
        self.finish_visibility(control, topic);
        let mut shard = self.shard(topic).write();
        let own = shard.take_diff();
        let entries = shard.tracker(topic).list(topic);
        let entries = entries.map(|entry| entry.to_buf()).collect();
        // While the shard is locked: what the list shows is in the Diffs, and nothing after it.
        self.settle(control);
        drop(shard);
        control.note(own);
        (
            entries,
            std::iter::from_fn(|| control.diffs.pop()).collect(),
        )
    }
}

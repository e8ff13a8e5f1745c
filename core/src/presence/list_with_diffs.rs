//! A list between two Diffs.

use super::Presence;
use crate::id::slot_of;
use crate::tracker::{Diff, EntryBuf};

impl Presence {
    /// Takes all Diffs so far and returns the visible entries of a topic as they are after these:
    /// what the list has is in no later Diff, and every change after it is. For that the own
    /// changes of the topic's slot are flushed, and the Diffs after a hide or a show completed.
    /// O(entries of the topic + changes), while writers of the slot and frames wait.
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let (entries, diffs) = presence.list_with_diffs("room");
    /// assert_eq!((entries.len(), diffs[0].topic("room").unwrap().joins.len()), (1, 1));
    /// presence.untrack("room", "ann", "conn-1");
    /// let leave = presence.take_diff();
    /// assert_eq!(leave.topic("room").unwrap().leaves, entries);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the Diffs are handed out once"]
    pub fn list_with_diffs(&self, topic: &str) -> (Vec<EntryBuf>, Vec<Diff>) {
        let control = &mut *self.control.lock();
        let slot = slot_of(topic);
        self.finish_jobs(control, |job| job.changes_visibility_in(slot));
        let mut tracker = self.slot(topic).write();
        let own = tracker.take_diff();
        let entries = tracker.list(topic).map(|entry| entry.to_buf()).collect();
        drop(tracker);
        control.note(own);
        (entries, control.diffs.drain(..).collect())
    }
}

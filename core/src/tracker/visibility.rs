//! The Diffs that follow when a whole replica appears or disappears.

use super::Tracker;
use super::diff::DiffBuilder;
use super::leave::{Leave, LeaveReason};
use super::slab::NIL;
use super::slice::Slice;
use crate::id::ReplicaId;

/// The Diffs that follow a hide or a show, made in slices for the topics that are watched. See
/// [`Slice`].
///
/// [`Tracker::set_hidden`] is the change itself, one flag. Until the last step the origin is
/// claimed, so that no other change overtakes these Diffs.
///
/// ```
/// use headcount::tracker::VisibilityChange;
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
/// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
/// a.track(&NewEntry::new("room", "ann", "conn"))?;
/// b.apply(&a.delta_since(a.id(), 0).unwrap())?;
/// b.set_hidden(a.id(), true);
/// let mut change = VisibilityChange::begin(&mut b, a.id()).expect("one entry is hidden now");
/// let slice = change.step(&mut b, 1_024, &|topic| topic == "room");
/// assert_eq!(slice.diff.topic("room").unwrap().leaves.len(), 1);
/// assert!(slice.done);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct VisibilityChange {
    replica: ReplicaId,
    /// True if the entries are joins, false if they are leaves.
    joined: bool,
    /// The next entry, or `NIL`.
    entry: u32,
    token: u64,
}

impl VisibilityChange {
    /// Starts to make the Diffs for what has just become visible or hidden, by
    /// [`Tracker::set_hidden`] or by the end of a first load. `None` when there is
    /// nothing to report, or when the origin is claimed. O(1).
    #[must_use = "the origin is claimed until the last step"]
    pub fn begin(tracker: &mut Tracker, replica: &ReplicaId) -> Option<Self> {
        let state = &mut tracker.state;
        let number = state.origins().find_remote(replica)?;
        let origin = state.origin(number);
        if origin.is_claimed() || origin.len() == 0 {
            return None;
        }
        Some(Self {
            replica: replica.clone(),
            joined: state.origins().is_visible(number),
            entry: origin.order().oldest(),
            token: state.claim(number),
        })
    }

    /// Makes the Diff of the next `entries_max` entries at most, for the topics for which `watched`
    /// holds. O(`entries_max`).
    pub fn step(
        &mut self,
        tracker: &mut Tracker,
        entries_max: usize,
        watched: &dyn Fn(&str) -> bool,
    ) -> Slice {
        let state = &mut tracker.state;
        let Some(number) = state.claimed(&self.replica, self.token) else {
            return Slice::silent(true);
        };
        let mut diff = DiffBuilder::default();
        for _ in 0..entries_max.max(1) {
            if self.entry == NIL {
                break;
            }
            let index = self.entry;
            let former = self.joined.then(|| state.take_former(index)).flatten();
            let topic = state.topic_name(index);
            if watched(topic) {
                let entry = state.entry(index).to_buf();
                let reason = LeaveReason::ReplicaDown;
                match former {
                    Some(former) => diff.update(topic, former, entry),
                    None if self.joined => diff.join(topic, entry),
                    None => diff.leave(topic, Leave { entry, reason }),
                }
            }
            self.entry = state.row(index).newer;
        }
        let done = self.entry == NIL;
        if done {
            state.end_claim(number);
        }
        Slice {
            diff: diff.finish(),
            done,
        }
    }

    /// Gives up the Diffs that are still to come. The entries stay as visible as they are.
    pub fn cancel(self, tracker: &mut Tracker) {
        if let Some(number) = tracker.state.claimed(&self.replica, self.token) {
            tracker.state.end_claim(number);
        }
    }
}

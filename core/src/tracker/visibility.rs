//! Hiding, showing and dropping whole replicas: one flag at once, the consequences in slices.

use std::sync::Arc;

use super::diff::{Diff, DiffBuilder};
use super::repair::Slice;
use super::slab::NIL;
use super::{LOCAL, Tracker};
use crate::id::ReplicaId;

/// The Diffs that follow a hide or a show, made in slices for the topics that somebody watches.
///
/// Until the last slice the origin is `applying`, so that no change overtakes them.
#[derive(Debug)]
pub struct VisibilityChange {
    replica: ReplicaId,
    joined: bool,
    at: u32,
    token: u64,
}

impl Tracker {
    /// Hides all entries of another replica, or shows them again. Says whether that changed
    /// anything. One flag: O(1). No Diff is made.
    pub fn set_hidden(&mut self, replica: &ReplicaId, hidden: bool) -> bool {
        let number = self.origins.find(replica).filter(|&n| n != LOCAL);
        number.is_some_and(|number| self.origins.set_hidden(number, hidden))
    }

    /// Starts to make the Diffs for what has just become visible or hidden, by
    /// [`set_hidden`](Self::set_hidden) or by the end of a first load. `None` when there is
    /// nothing to tell, or when the origin is `applying`. O(1).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
    /// a.track(&NewEntry::new("room", "ann", "conn"))?;
    /// b.apply(&a.delta_since(a.id(), 0).unwrap())?;
    /// b.set_hidden(a.id(), true);
    /// let mut shift = b.begin_visibility_change(a.id()).expect("one entry is hidden now");
    /// let slice = b.shift_slice(&mut shift, 1_024, &|topic| topic == "room");
    /// assert_eq!(slice.diff.topic("room").unwrap().leaves.len(), 1);
    /// assert!(slice.done);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_visibility_change(&mut self, replica: &ReplicaId) -> Option<VisibilityChange> {
        let number = self.origins.find(replica).filter(|&n| n != LOCAL)?;
        self.tokens += 1;
        let token = self.tokens;
        let joined = self.origins.is_visible(number);
        let origin = self.origins.get_mut(number);
        if origin.applying.is_some() || origin.len == 0 {
            return None;
        }
        origin.applying = Some(token);
        Some(VisibilityChange {
            replica: replica.clone(),
            joined,
            at: origin.oldest,
            token,
        })
    }

    /// The Diff of the next `entries_max` entries, for the topics that `watched` names.
    /// O(`entries_max`).
    pub fn shift_slice(
        &mut self,
        shift: &mut VisibilityChange,
        entries_max: usize,
        watched: &dyn Fn(&str) -> bool,
    ) -> Slice {
        let number = self.origins.find(&shift.replica);
        let Some(number) = number.filter(|&n| self.origins.get(n).applying == Some(shift.token))
        else {
            return Slice {
                diff: Diff::default(),
                done: true,
            };
        };
        let mut diff = DiffBuilder::default();
        for _ in 0..entries_max.max(1) {
            if shift.at == NIL {
                break;
            }
            let at = shift.at;
            let topic = Arc::clone(&self.store.topic(self.store.slab[at].topic).name);
            let before = shift.joined.then(|| self.take_former(at)).flatten();
            if watched(&topic) {
                let entry = self.entry(at).to_buf();
                match before {
                    Some(before) => diff.update(&topic, before, entry),
                    None if shift.joined => diff.join(&topic, entry),
                    None => diff.leave(&topic, entry),
                }
            }
            shift.at = self.store.slab[at].newer;
        }
        let done = shift.at == NIL;
        if done {
            self.origins.get_mut(number).applying = None;
        }
        Slice {
            diff: diff.finish(),
            done,
        }
    }

    /// Drops another replica with all its entries at once. The Diff has the leaves of those that
    /// were visible. O(its entries).
    pub fn forget(&mut self, replica: &ReplicaId) -> Diff {
        let mut diff = DiffBuilder::default();
        if let Some(number) = self.origins.find(replica).filter(|&n| n != LOCAL) {
            self.drop_origin(number, &mut diff);
        }
        diff.finish()
    }

    /// Drops another replica: its entries are unseen and its name is free at once; they are removed
    /// by [`reap`](Self::reap). Says whether the replica was known. O(1).
    pub fn retire(&mut self, replica: &ReplicaId) -> bool {
        match self.origins.find(replica).filter(|&n| n != LOCAL) {
            Some(number) => {
                self.origins.retire(number);
                true
            }
            None => false,
        }
    }

    /// Removes up to `entries_max` entries of retired replicas. The Diff has the leaves of those
    /// that were visible, for the topics that `watched` names. O(`entries_max`).
    pub fn reap(&mut self, entries_max: usize, watched: &dyn Fn(&str) -> bool) -> Slice {
        let mut diff = DiffBuilder::default();
        let mut budget = entries_max.max(1);
        while let Some((number, seen)) = self.origins.next_retired() {
            let newest = self.origins.get(number).newest;
            if newest == NIL {
                self.origins.remove(number);
                continue;
            }
            if budget == 0 {
                return Slice {
                    diff: diff.finish(),
                    done: false,
                };
            }
            budget -= 1;
            let topic = &self.store.topic(self.store.slab[newest].topic).name;
            if seen && watched(topic) {
                diff.leave(topic, self.entry(newest).to_buf());
            }
            self.remove_remote(number, newest, &mut diff);
        }
        Slice {
            diff: diff.finish(),
            done: true,
        }
    }
}

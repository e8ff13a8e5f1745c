//! The times at which users were last seen.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::member_list::Id;

/// A bounded map of the newest times.
#[derive(Debug)]
pub(super) struct LastSeen<I> {
    times: HashMap<I, u64>,
    oldest: BTreeSet<(u64, I)>,
    /// The number of times kept, the newest.
    max: usize,
}

impl<I: Id> LastSeen<I> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            times: HashMap::new(),
            oldest: BTreeSet::new(),
            max,
        }
    }

    pub(super) fn of(&self, id: &I) -> Option<u64> {
        self.times.get(id).copied()
    }

    pub(super) fn forget(&mut self, id: &I) {
        if let Some(time) = self.times.remove(id) {
            self.oldest.remove(&(time, id.clone()));
        }
    }

    pub(super) fn note(&mut self, id: I, wall_s: u64) {
        match self.times.get_mut(&id) {
            Some(time) if *time >= wall_s => return,
            Some(time) => {
                self.oldest.remove(&(*time, id.clone()));
                *time = wall_s;
            }
            None => {
                self.times.insert(id.clone(), wall_s);
            }
        }
        self.oldest.insert((wall_s, id));
        if self.times.len() > self.max
            && let Some((_, id)) = self.oldest.pop_first()
        {
            self.times.remove(&id);
        }
    }
}

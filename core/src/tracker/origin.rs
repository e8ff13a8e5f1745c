//! The state of one origin: clock, version order, leave log, fingerprint.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::slab::{NIL, Slab};
use crate::id::ReplicaId;

/// A leave that later frames still tell about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    pub(super) op: u64,
    pub(super) birth: u64,
    pub(super) reason: u8,
}

#[derive(Debug, Clone)]
pub(super) struct OriginState {
    pub(super) id: ReplicaId,
    pub(super) clock: u64,
    /// Newest op ever dropped from the leave log.
    pub(super) horizon: u64,
    /// Wrapping sum of the fingerprints of all live entries.
    pub(super) fingerprint: u64,
    pub(super) len: u32,
    /// Ends of the version order.
    pub(super) oldest: u32,
    pub(super) newest: u32,
    pub(super) leaves: VecDeque<Leave>,
    /// Entries by birth. Empty for the local origin, which never needs it.
    births: HashTable<u32>,
    pub(super) hidden: bool,
    /// A first load in slices: not to be seen before its end.
    pub(super) loading: bool,
    /// The repair that is being applied in slices.
    pub(super) applying: Option<u64>,
    /// Taken out: its name is free, its entries go bit by bit. Whether they were seen until then.
    pub(super) retired: Option<bool>,
    /// Places of extractions under way: (token, entry, towards newer ones).
    pub(super) cursors: Vec<(u64, u32, bool)>,
}

impl OriginState {
    pub(super) fn new(id: ReplicaId) -> Self {
        Self {
            id,
            clock: 0,
            horizon: 0,
            fingerprint: 0,
            len: 0,
            oldest: NIL,
            newest: NIL,
            leaves: VecDeque::new(),
            births: HashTable::new(),
            hidden: false,
            loading: false,
            applying: None,
            retired: None,
            cursors: Vec::new(),
        }
    }

    /// Makes room for that many entries in an origin without any, so that a load does not look at
    /// all of them again whenever it has doubled. O(1).
    pub(super) fn expect(&mut self, entries: u32) {
        self.births.reserve(entries as usize, |_| 0);
    }

    /// Puts an entry at the newest end of the version order. O(1).
    pub(super) fn append(&mut self, slab: &mut Slab, index: u32) {
        let slot = &mut slab[index];
        slot.older = self.newest;
        slot.newer = NIL;
        if self.newest == NIL {
            self.oldest = index;
        } else {
            slab[self.newest].newer = index;
        }
        self.newest = index;
    }

    /// Takes an entry out of the version order. O(1).
    pub(super) fn unlink(&mut self, slab: &mut Slab, index: u32) {
        let older = slab[index].older;
        let newer = slab[index].newer;
        for (_, at, forward) in &mut self.cursors {
            if *at == index {
                *at = if *forward { newer } else { older };
            }
        }
        if older == NIL {
            self.oldest = newer;
        } else {
            slab[older].newer = newer;
        }
        if newer == NIL {
            self.newest = older;
        } else {
            slab[newer].older = older;
        }
    }

    pub(super) fn cursor(&self, token: u64) -> Option<u32> {
        self.cursors
            .iter()
            .find(|(t, ..)| *t == token)
            .map(|(_, at, _)| *at)
    }

    pub(super) fn set_cursor(&mut self, token: u64, to: u32) {
        if let Some((_, at, _)) = self.cursors.iter_mut().find(|(t, ..)| *t == token) {
            *at = to;
        }
    }

    pub(super) fn end_cursor(&mut self, token: u64) {
        self.cursors.retain(|(t, ..)| *t != token);
    }

    #[inline]
    pub(super) fn by_birth(&self, slab: &Slab, birth: u64) -> Option<u32> {
        self.births
            .find(birth_hash(birth), |&i| slab[i].birth == birth)
            .copied()
    }

    pub(super) fn add_birth(&mut self, slab: &Slab, index: u32) {
        let hash = birth_hash(slab[index].birth);
        self.births
            .insert_unique(hash, index, |&i| birth_hash(slab[i].birth));
    }

    pub(super) fn remove_birth(&mut self, slab: &Slab, index: u32) {
        let hash = birth_hash(slab[index].birth);
        if let Ok(entry) = self.births.find_entry(hash, |&i| i == index) {
            entry.remove();
        }
        let births = &mut self.births;
        if births.capacity() > 1_024 && births.len() < births.capacity() / 8 {
            births.shrink_to(births.len() * 2, |&i| birth_hash(slab[i].birth));
        }
    }

    /// Remembers a leave; beyond `len_max` the oldest is dropped and the horizon rises.
    pub(super) fn log_leave(&mut self, leave: Leave, len_max: usize) {
        self.leaves.push_back(leave);
        while self.leaves.len() > len_max {
            self.drop_oldest_leave();
        }
    }

    /// Drops leaves up to and including `op`.
    pub(super) fn trim_leaves(&mut self, op: u64) {
        while self.leaves.front().is_some_and(|k| k.op <= op) {
            self.drop_oldest_leave();
        }
        if self.leaves.len() < self.leaves.capacity() / 4 {
            self.leaves.shrink_to(self.leaves.len() * 2);
        }
    }

    fn drop_oldest_leave(&mut self) {
        if let Some(leave) = self.leaves.pop_front() {
            self.horizon = leave.op;
        }
    }

    /// Number of the first remembered leave after `op`. O(log leaves).
    pub(super) fn leaves_after(&self, op: u64) -> usize {
        self.leaves.partition_point(|k| k.op <= op)
    }

    /// Entries with a version above `after`, oldest first. O(entries found).
    pub(super) fn newer_than(&self, slab: &Slab, after: u64) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = self.newest;
        while at != NIL && slab[at].version > after {
            found.push(at);
            at = slab[at].older;
        }
        found.reverse();
        found
    }
}

/// Births of one origin ascend, so any spreading of their bits will do.
#[inline]
fn birth_hash(birth: u64) -> u64 {
    let mixed = u128::from(birth) * 0x9E37_79B9_7F4A_7C15;
    (mixed >> 64) as u64 ^ (mixed as u64).rotate_left(32)
}

//! Entries of a replaced life that are seen until the grace ends: a view, no part of the state.
//!
//! Their origin has given up its name, so nothing of them is advertised, served or saved, and no
//! frame reaches them. They end in one of two ways: the later life puts an entry of the same topic
//! and key, which is an update, or the grace ends, which is a leave.

use std::iter::successors;

use super::diff::DiffBuilder;
use super::entry::EntryBuf;
use super::slab::NIL;
use super::{LOCAL, Tracker};
use crate::id::ReplicaId;

/// Replaced lives seen at once; those beyond it go without grace.
const LINGERING_MAX: usize = 64;

/// Sessions of a key looked at on either side of a new one for a former one.
const LOOKED_AT_MAX: usize = 256;

impl Tracker {
    /// As [`retire`](Self::retire), but the entries are seen until [`end_linger`](Self::end_linger)
    /// or until the later life puts them again. `false`, and nothing done, when none is seen now or
    /// when there is no room for them beside those to come. O(1).
    pub(crate) fn linger(&mut self, replica: &ReplicaId) -> bool {
        let Some(number) = self.origins.find(replica).filter(|&n| n != LOCAL) else {
            return false;
        };
        let len = self.origins.get(number).len;
        let entries = self.store.slab.len().saturating_add(len);
        let has_room = entries <= self.limits.entries_max
            && self.origins.len() < usize::from(self.limits.origins_max)
            && self.origins.lingering().len() < LINGERING_MAX;
        let lingers = len > 0 && has_room && self.origins.is_visible(number);
        if lingers {
            self.origins.linger(number);
        }
        lingers
    }

    /// Ends the lingering of a replaced life: its entries are unseen, and [`reap`](Self::reap)
    /// removes them. Says whether there was one. O(1).
    pub(crate) fn end_linger(&mut self, replica: &ReplicaId) -> bool {
        let lingering = self.origins.lingering().iter().copied();
        let number = lingering
            .rev()
            .find(|&n| self.origins.get(n).id == *replica);
        number.inspect(|&n| self.origins.end(n)).is_some()
    }

    /// Tells of an entry that has just become visible.
    pub(super) fn tell_join(&mut self, index: u32, diff: &mut DiffBuilder) {
        let former = self.take_former(index);
        let topic = &self.store.topic(self.store.slab[index].topic).name;
        let entry = self.entry(index).to_buf();
        match former {
            Some(former) => diff.update(topic, former, entry),
            None => diff.join(topic, entry),
        }
    }

    /// Takes away the lingering entry that this one replaces: of an earlier life of the same name,
    /// with the same topic and key, and the same owner if there is one. O(1) while none lingers,
    /// else O(sessions of the key), 512 at most.
    pub(super) fn take_former(&mut self, index: u32) -> Option<EntryBuf> {
        if self.origins.lingering().is_empty() {
            return None;
        }
        let slab = &self.store.slab;
        let name = self.origins.get(slab[index].origin).id.name();
        let some = |at: u32| (at != NIL).then_some(at);
        let after = successors(some(slab[index].key_next), |&at| some(slab[at].key_next));
        let before = successors(some(slab[index].key_prev), |&at| some(slab[at].key_prev));
        let looked_at = before.take(LOOKED_AT_MAX).chain(after.take(LOOKED_AT_MAX));
        let owner = self.store.parts(index).owner;
        let mut former = None;
        for at in looked_at {
            let origin = slab[at].origin;
            if self.origins.is_lingering(origin) && self.origins.get(origin).id.name() == name {
                former = Some(at);
                if self.store.parts(at).owner == owner {
                    break;
                }
            }
        }
        let former = former?;
        let entry = self.entry(former).to_buf();
        let number = slab[former].origin;
        self.unlink_remote(number, former);
        if self.origins.get(number).len == 0 {
            self.origins.remove(number);
        }
        Some(entry)
    }
}

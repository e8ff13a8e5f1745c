//! Frames that this node's trackers refuse: told once, and asked for again with growing pauses.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Address, Event, Replica};
use crate::error::ApplyError;
use crate::id::ReplicaId;

/// Longest pause while the origin stands still, in beats.
const PAUSE_MAX: u64 = 512;
/// Longest pause while the origin moves on, in beats.
const MOVING_PAUSE_MAX: u64 = 16;

/// The refused frames of one slot of an origin, up to the last one.
#[derive(Clone, Debug)]
struct Refusal {
    /// The clock that the last one led to.
    clock: u64,
    error: ApplyError,
    /// When it was refused.
    at: u64,
    /// For how many beats it is not asked for again.
    pause: u64,
}

/// Where frames are refused, by name and slot: part of what is known of a replica, gone with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(BTreeMap<(Arc<str>, u8), Refusal>);

impl Refusals {
    /// Notes a refused frame. Returns whether it is the first one since a frame was taken.
    ///
    /// A frame may have been damaged on its way, so the next try comes soon. Equal refusals speak
    /// of the content: they wait eight times as long each, or twice as long when the origin has
    /// moved on.
    fn note(
        &mut self,
        key: (Arc<str>, u8),
        (now, beat): (u64, u64),
        clock: u64,
        error: ApplyError,
    ) -> bool {
        let last = self.0.get(&key);
        if last.is_some_and(|last| now < last.at + last.pause * beat) {
            // Nobody asked for it: the network doubled a frame, or it was pushed.
            return false;
        }
        let pause = match last {
            Some(last) if last.clock == clock && last.error == error => {
                (last.pause * 8).min(PAUSE_MAX)
            }
            Some(last) if last.error.is_alike(&error) => (last.pause * 2).min(MOVING_PAUSE_MAX),
            _ => 1,
        };
        let is_first = last.is_none();
        let refusal = Refusal {
            clock,
            error,
            at: now,
            pause,
        };
        self.0.insert(key, refusal);
        is_first
    }

    pub(super) fn contains(&self, key: &(Arc<str>, u8)) -> bool {
        self.0.contains_key(key)
    }

    /// When to ask for what a peer shows at `clock`; 0 where nothing was refused.
    pub(super) fn ask_at(&self, key: &(Arc<str>, u8), clock: u64, beat: u64) -> u64 {
        self.0.get(key).map_or(0, |refusal| {
            let has_moved = clock > refusal.clock;
            let pause = if has_moved {
                refusal.pause.min(MOVING_PAUSE_MAX)
            } else {
                refusal.pause
            };
            refusal.at + pause * beat
        })
    }

    /// A frame was taken, or the replica is gone.
    pub(super) fn remove(&mut self, key: &(Arc<str>, u8)) {
        self.0.remove(key);
    }

    pub(super) fn remove_all(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.retain(|(refused, _), _| **refused != *name);
        }
    }
}

impl Replica {
    /// A frame of an origin was refused: tell it once, and ask for it again after a pause. `full`:
    /// it had been asked for because the content here is wrong, which it still is.
    pub(super) fn refused(
        &mut self,
        from: &Address,
        (origin, slot): (&ReplicaId, u8),
        clock: u64,
        full: bool,
        error: &ApplyError,
    ) {
        let key = (Arc::from(origin.name()), slot);
        let now = self.now;
        let beat = self.timing.beat;
        if self
            .refusals
            .note(key.clone(), (now, beat), clock, error.clone())
        {
            self.tell(Event::Refused {
                from: from.clone(),
                origin: origin.clone(),
                slot,
                error: error.clone(),
            });
        }
        if full && let Some(known) = self.known.get_mut(origin.name()) {
            known.doubt |= 1 << slot;
            known.dirty |= 1 << slot;
        }
        let at = self.refusals.ask_at(&key, clock, beat);
        if let Some(want) = self.wants.get_mut(&key) {
            want.full |= full;
            (want.waiting, want.at) = (false, at);
            self.due(at);
        }
        self.note_synced();
    }
}

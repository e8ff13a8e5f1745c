//! `Truth`: the real course of a schedule, as the checks need it: the states of every origin, the
//! lives of every name, the beats, and which identities have a double. The `World` writes it from
//! what nodes do, never from what they believe.

use std::collections::{HashMap, HashSet};

use super::plan::TOPICS;
use crate::id::{ReplicaId, slot_of};
use crate::presence::Presence;
use crate::tracker::OriginInfo;

/// A slot of a replica.
pub(super) type Slot = (ReplicaId, u8);

/// An origin at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) clock: u64,
    pub(super) fingerprint: u64,
    pub(super) entries: u32,
}

impl State {
    pub(super) fn of(info: &OriginInfo) -> Self {
        Self {
            clock: info.clock,
            fingerprint: info.fingerprint,
            entries: info.entries,
        }
    }
}

/// An identity that a name had, and when a process last bore it.
struct Life {
    id: ReplicaId,
    last_ms: u64,
}

/// The real course of a schedule.
pub(super) struct Truth {
    /// The slots that topics lie in.
    slots: Vec<u8>,
    /// The states of each origin, by rising clock.
    histories: HashMap<Slot, Vec<State>>,
    /// The place that first wrote under an identity.
    writers: HashMap<ReplicaId, usize>,
    /// Identities with more than one writer.
    forked: HashSet<ReplicaId>,
    /// Origins of which altered entries were sent.
    tainted: HashSet<Slot>,
    /// The lives of each name, in order.
    lives: Vec<Vec<Life>>,
    /// When each heartbeat of each replica was made.
    beats: HashMap<(ReplicaId, u64), u64>,
}

impl Truth {
    pub(super) fn new(names: usize) -> Self {
        let mut slots: Vec<u8> = TOPICS.iter().map(|topic| slot_of(topic)).collect();
        slots.sort_unstable();
        slots.dedup();
        Self {
            slots,
            histories: HashMap::new(),
            writers: HashMap::new(),
            forked: HashSet::new(),
            tainted: HashSet::new(),
            lives: (0..names).map(|_| Vec::new()).collect(),
            beats: HashMap::new(),
        }
    }

    pub(super) fn begin_life(&mut self, name: usize, id: ReplicaId, now_ms: u64) {
        let last_ms = now_ms;
        self.lives[name].push(Life { id, last_ms });
    }

    /// Records the states of a node's own origins, and that the process at `place` bears `id`.
    pub(super) fn record(&mut self, place: usize, name: usize, presence: &Presence, now_ms: u64) {
        let id = presence.id();
        if let Some(life) = self.lives[name].iter_mut().find(|life| life.id == id) {
            life.last_ms = now_ms;
        }
        // Twins with the same memory and the same input may take the same new identity once more.
        if *self.writers.entry(id.clone()).or_insert(place) != place {
            self.forked.insert(id.clone());
        }
        if self.forked.contains(&id) {
            return;
        }
        for &slot in &self.slots {
            let Some(info) = presence.origin_info(&id, slot) else {
                continue;
            };
            let history = self.histories.entry((id.clone(), slot)).or_default();
            if history.last().is_none_or(|last| last.clock < info.clock) {
                history.push(State::of(&info));
            }
        }
    }

    /// Notes that two processes write under one identity.
    pub(super) fn fork(&mut self, id: ReplicaId) {
        self.forked.insert(id);
    }

    /// Notes that altered entries of an origin were sent.
    pub(super) fn taint(&mut self, origin: Slot) {
        self.tainted.insert(origin);
    }

    /// Notes a heartbeat, the first time that it is sent.
    pub(super) fn make_beat(&mut self, id: ReplicaId, heartbeat: u64, now_ms: u64) {
        self.beats.entry((id, heartbeat)).or_insert(now_ms);
    }

    pub(super) fn slots(&self) -> &[u8] {
        &self.slots
    }

    pub(super) fn is_forked(&self, id: &ReplicaId) -> bool {
        self.forked.contains(id)
    }

    pub(super) fn is_tainted(&self, origin: &Slot) -> bool {
        self.tainted.contains(origin)
    }

    /// Returns the state that an origin had at a clock, or `None` if its history has no such clock.
    pub(super) fn state(&self, origin: &Slot, clock: u64) -> Option<State> {
        let history = self.histories.get(origin)?;
        let index = history.binary_search_by_key(&clock, |state| state.clock);
        Some(history[index.ok()?])
    }

    /// Returns when a heartbeat was made; `None` if it never was.
    pub(super) fn beat_ms(&self, id: &ReplicaId, heartbeat: u64) -> Option<u64> {
        self.beats.get(&(id.clone(), heartbeat)).copied()
    }

    /// Returns when a process last bore an identity; 0 if none did.
    pub(super) fn end_ms(&self, id: &ReplicaId) -> u64 {
        let mut lives = self.lives.iter().flatten();
        lives
            .find(|life| life.id == *id)
            .map_or(0, |life| life.last_ms)
    }

    pub(super) fn has_lived(&self, name: usize) -> bool {
        !self.lives[name].is_empty()
    }

    /// Returns whether a name has borne an identity.
    pub(super) fn has_borne(&self, name: usize, id: &ReplicaId) -> bool {
        self.lives[name].iter().any(|life| life.id == *id)
    }

    /// Returns whether no life of a name began after the one with this identity.
    pub(super) fn is_last_life(&self, name: usize, id: &ReplicaId) -> bool {
        self.lives[name].last().is_none_or(|life| life.id == *id)
    }

    /// Returns whether a node may take a new identity: its own has a double, or its name has a
    /// later life.
    pub(super) fn may_be_reborn(&self, name: usize, id: &ReplicaId) -> bool {
        self.is_forked(id) || self.lives[name].iter().any(|life| life.id > *id)
    }
}

//! `Truth`: the course of every origin, from the models of those that wrote it, and the lives of
//! every name.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::model::Entries;
use crate::id::ReplicaId;
use crate::replica::Position;

/// A partition of a replica.
pub(super) type Origin = (ReplicaId, u16);

/// An identity that a name had, and when a process last bore it.
struct Life {
    id: ReplicaId,
    last_ms: u64,
}

/// The name of a Beat among those of its sender, which says the last one again, with more, to those
/// that come later. A receiver takes the first of one heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct BeatName {
    pub(super) heartbeat: u64,
    /// The sum of all positions.
    pub(super) sum: u64,
}

/// The real course of a schedule.
pub(super) struct Truth {
    /// The entries of each origin at each of its clocks.
    histories: HashMap<Origin, BTreeMap<u64, Arc<Entries>>>,
    /// The first clock that others were shown of each life.
    starts: HashMap<Origin, BTreeMap<u64, u64>>,
    /// The place that first wrote under an identity.
    writers: HashMap<ReplicaId, usize>,
    /// Identities with more than one writer.
    forked: HashSet<ReplicaId>,
    /// Origins of which altered entries were sent.
    tainted: HashSet<Origin>,
    lives: Vec<Vec<Life>>,
    /// The positions that an origin showed with a Beat.
    beats: HashMap<(ReplicaId, BeatName), Vec<(u16, Position)>>,
}

impl Truth {
    pub(super) fn new(names: usize) -> Self {
        Self {
            histories: HashMap::new(),
            starts: HashMap::new(),
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

    /// Notes that the process at `place` bears an identity.
    pub(super) fn bear(&mut self, place: usize, name: usize, id: &ReplicaId, now_ms: u64) {
        if let Some(life) = self.lives[name].iter_mut().find(|life| life.id == *id) {
            life.last_ms = now_ms;
        }
        // Twins with the same memory and the same input may take the same new identity once more.
        if *self.writers.entry(id.clone()).or_insert(place) != place {
            self.forked.insert(id.clone());
        }
    }

    pub(super) fn fork(&mut self, id: &ReplicaId) {
        self.forked.insert(id.clone());
    }

    /// Notes that altered entries of an origin were sent.
    pub(super) fn taint(&mut self, origin: Origin) {
        self.tainted.insert(origin);
    }

    /// Returns whether holders of an origin may have other content than it had: altered entries of
    /// it were sent, or it has more than one writer.
    pub(super) fn may_differ(&self, id: &ReplicaId, partition: u16) -> bool {
        self.is_forked(id) || self.tainted.contains(&(id.clone(), partition))
    }

    /// Notes the entries of an origin after an operation of its program.
    ///
    /// # Errors
    /// The clock was that of other entries before.
    pub(super) fn record(
        &mut self,
        id: &ReplicaId,
        partition: u16,
        clock: u64,
        entries: Arc<Entries>,
    ) -> Result<(), String> {
        if self.forked.contains(id) {
            return Ok(());
        }
        let history = self.histories.entry((id.clone(), partition)).or_default();
        let last = history.last_key_value().map(|(clock, _)| *clock);
        let is_new = last.is_none_or(|last| last < clock);
        if !is_new && history.get(&clock) != Some(&entries) {
            return Err(format!(
                "{id} numbers an operation in {partition} {clock} again, after {last:?}"
            ));
        }
        history.insert(clock, entries);
        Ok(())
    }

    /// Notes a life of an origin that others are shown at a clock.
    pub(super) fn show(&mut self, id: &ReplicaId, partition: u16, life: u64, clock: u64) {
        let starts = self.starts.entry((id.clone(), partition)).or_default();
        starts.entry(life).or_insert(clock);
    }

    /// Notes what an origin shows with a Beat.
    pub(super) fn beat(&mut self, id: &ReplicaId, beat: BeatName, shown: Vec<(u16, Position)>) {
        self.beats.insert((id.clone(), beat), shown);
    }

    /// Returns what an origin showed with a Beat.
    pub(super) fn shown_with(&self, id: &ReplicaId, beat: BeatName) -> &[(u16, Position)] {
        let shown = self.beats.get(&(id.clone(), beat));
        shown.map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_forked(&self, id: &ReplicaId) -> bool {
        self.forked.contains(id)
    }

    /// Returns the entries that an origin had at a clock; `None` if it never was at that clock.
    pub(super) fn entries(&self, id: &ReplicaId, partition: u16, clock: u64) -> Option<&Entries> {
        let history = self.histories.get(&(id.clone(), partition))?;
        history.get(&clock).map(Arc::as_ref)
    }

    /// Returns the life of an origin at a clock.
    pub(super) fn life_at(&self, id: &ReplicaId, partition: u16, clock: u64) -> Option<u64> {
        let starts = self.starts.get(&(id.clone(), partition))?;
        let begun = starts.iter().filter(|(_, start)| **start <= clock);
        begun.map(|(life, _)| *life).max()
    }

    /// Returns when a process last bore an identity; 0 if none did.
    pub(super) fn end_ms(&self, id: &ReplicaId) -> u64 {
        let mut lives = self.lives.iter().flatten();
        let life = lives.find(|life| life.id == *id);
        life.map_or(0, |life| life.last_ms)
    }

    pub(super) fn has_lived(&self, name: usize) -> bool {
        !self.lives[name].is_empty()
    }

    /// Returns whether a name has borne an identity.
    pub(super) fn has_borne(&self, name: usize, id: &ReplicaId) -> bool {
        self.lives[name].iter().any(|life| life.id == *id)
    }

    /// Returns whether a node may take a new identity: its own has a double, or its name has a
    /// later life.
    pub(super) fn may_be_reborn(&self, name: usize, id: &ReplicaId) -> bool {
        self.is_forked(id) || self.lives[name].iter().any(|life| life.id > *id)
    }
}

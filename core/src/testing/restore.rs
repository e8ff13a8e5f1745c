//! Snapshots, and processes that start from them.

use super::incident::Incident;
use super::world::{PLACES, TOPICS, World};
use crate::id::ReplicaId;
use crate::presence::Presence;

/// Snapshots kept at once.
const KEPT_MAX: usize = 8;

/// A snapshot.
pub(super) struct Kept {
    name: usize,
    /// Who it was.
    id: ReplicaId,
    bytes: Vec<u8>,
}

impl World<'_> {
    pub(super) fn snapshot(&mut self) {
        let Some(place) = self.pick_alive() else {
            return;
        };
        let Some(node) = &self.nodes[place] else {
            return;
        };
        let name = node.name;
        let id = node.id.clone();
        let bytes = node.presence.snapshot();
        self.snapshots.push_back(Kept { name, id, bytes });
        if self.snapshots.len() > KEPT_MAX {
            self.snapshots.pop_front();
        }
        self.count(Incident::Snapshot);
        self.note(|| format!("snapshot of {place}"));
    }

    /// Starts what had ended at a place, from a snapshot of its name if there is one; now and then
    /// twice.
    pub(super) fn restart_at(&mut self, place: usize) -> Result<(), String> {
        self.count(Incident::Restart);
        let name = self.homes[place];
        let kept = (0..self.snapshots.len()).filter(|&at| self.snapshots[at].name == name);
        let kept: Vec<_> = kept.collect();
        if kept.is_empty() || self.rng.below(4) == 0 {
            self.start(place);
            return Ok(());
        }
        let at = kept[self.rng.below(kept.len() as u64) as usize];
        let id = self.next_id(place);
        self.restore(place, at, id.clone())?;
        if self.rng.below(3) == 0 && self.nodes.len() < PLACES {
            let same = self.rng.below(2) == 0;
            let id = if same { id } else { self.next_id(place) };
            self.nodes.push(None);
            self.homes.push(name);
            self.restore(self.nodes.len() - 1, at, id)?;
            self.count(Incident::RestoreTwice);
        }
        Ok(())
    }

    /// Starts a process from a snapshot: it has no entries of its own, shows none of others, and
    /// is someone new.
    fn restore(&mut self, place: usize, at: usize, id: ReplicaId) -> Result<(), String> {
        let config = self.config();
        let now = self.now(place);
        let kept = &self.snapshots[at];
        let presence = Presence::restore(id, config, now, &kept.bytes)
            .map_err(|error| format!("the snapshot of {} is refused: {error}", kept.id))?;
        let new = presence.id();
        if new <= kept.id {
            return Err(format!("{new} started from the snapshot of {}", kept.id));
        }
        let own = |origin: &crate::id::Origin| origin.replica.name() == new.name();
        if presence.clocks().iter().any(|(origin, _)| own(origin)) {
            return Err(format!("{new} kept own entries of a snapshot"));
        }
        if TOPICS.iter().any(|topic| presence.count(topic) > 0) {
            return Err(format!(
                "{new} shows entries of a snapshot before anyone is heard"
            ));
        }
        let lives = &self.lives[kept.name];
        let is_old = lives.last().is_some_and(|(last, _)| *last != kept.id);
        self.count(Incident::Restore);
        if is_old {
            self.count(Incident::RestoreOld);
        }
        // The same id twice: whoever writes under it first is not alone.
        if self.lives[self.homes[place]]
            .iter()
            .any(|(id, _)| *id == new)
        {
            self.forked.insert(new);
        }
        self.run_at(place, presence);
        if let Some(node) = &mut self.nodes[place] {
            node.hearing.advance(now);
        }
        self.record(place)
    }
}

//! `Snapshots`: the latest snapshots that nodes took, and processes that start from them.

use std::collections::VecDeque;
use std::time::Duration;

use super::plan::TOPICS;
use crate::id::{Origin, ReplicaId};
use crate::presence::{Presence, PresenceConfig};

/// Snapshots held at once.
const SNAPSHOTS_MAX: usize = 8;

/// A snapshot, of the identity `id` of a name.
struct Snapshot {
    name: usize,
    id: ReplicaId,
    bytes: Vec<u8>,
}

/// The latest snapshots, the oldest first.
#[derive(Default)]
pub(super) struct Snapshots(VecDeque<Snapshot>);

impl Snapshots {
    /// Adds a snapshot; the oldest goes if there are too many.
    pub(super) fn push(&mut self, name: usize, id: ReplicaId, bytes: Vec<u8>) {
        self.0.push_back(Snapshot { name, id, bytes });
        if self.0.len() > SNAPSHOTS_MAX {
            self.0.pop_front();
        }
    }

    /// Returns the indexes of the snapshots of a name.
    pub(super) fn of(&self, name: usize) -> Vec<usize> {
        let all = 0..self.0.len();
        all.filter(|&index| self.0[index].name == name).collect()
    }

    /// Returns the identity that the snapshot at an index was taken of.
    pub(super) fn id(&self, index: usize) -> &ReplicaId {
        &self.0[index].id
    }

    /// Starts a process from a snapshot.
    ///
    /// # Errors
    /// The process has entries of its own, shows some of others, or bears an identity that is not
    /// later.
    pub(super) fn restore(
        &self,
        index: usize,
        id: ReplicaId,
        config: PresenceConfig,
        now: Duration,
    ) -> Result<Presence, String> {
        let snapshot = &self.0[index];
        let presence = Presence::restore(id, config, now, &snapshot.bytes)
            .map_err(|error| format!("the snapshot of {} is refused: {error}", snapshot.id))?;
        let new = presence.id();
        if new <= snapshot.id {
            let old = &snapshot.id;
            return Err(format!("{new} started from the snapshot of {old}"));
        }
        let is_own = |origin: &Origin| origin.replica.name() == new.name();
        if presence.clocks().iter().any(|(origin, _)| is_own(origin)) {
            return Err(format!("{new} kept own entries of a snapshot"));
        }
        if TOPICS.iter().any(|topic| presence.count(topic) > 0) {
            return Err(format!(
                "{new} shows entries of a snapshot before it hears any node"
            ));
        }
        Ok(presence)
    }
}

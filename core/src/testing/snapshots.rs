//! `Snapshots`: the latest snapshots that nodes took, and what a start from one hands back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::node::Node;
use super::own_entries::{OWNERS, Session};
use super::plan;
use crate::id::ReplicaId;
use crate::presence::read_snapshot;
use crate::tracker::{EntryBuf, Limits};

/// Snapshots held at once.
const SNAPSHOTS_MAX: usize = 8;

/// A snapshot, and what its writer tracked then.
struct Snapshot {
    name: usize,
    id: ReplicaId,
    bytes: Vec<u8>,
    metas: Metas,
}

/// The metas of entries.
type Metas = BTreeMap<Session, Arc<[u8]>>;

/// The latest snapshots, the oldest first.
#[derive(Default)]
pub(super) struct Snapshots(VecDeque<Snapshot>);

impl Snapshots {
    /// Takes a snapshot of a node; the oldest one goes if there are too many.
    pub(super) fn take(&mut self, node: &Node) {
        self.0.push_back(Snapshot {
            name: node.name,
            id: node.id.clone(),
            bytes: node.process.presence.snapshot(),
            metas: node.model.metas(),
        });
        if self.0.len() > SNAPSHOTS_MAX {
            self.0.pop_front();
        }
    }

    /// Returns the indexes of the snapshots of a name.
    pub(super) fn of(&self, name: usize) -> Vec<usize> {
        let all = 0..self.0.len();
        all.filter(|&index| self.0[index].name == name).collect()
    }

    /// Returns the identity of a start from a snapshot, and the entries that it hands back.
    ///
    /// # Errors
    /// The identity is not later, or the entries are others than its writer tracked.
    pub(super) fn read(
        &self,
        index: usize,
        id: ReplicaId,
        limits: &Limits,
    ) -> Result<(ReplicaId, Metas), String> {
        let snapshot = &self.0[index];
        let old = &snapshot.id;
        let (id, diff) = read_snapshot(id, limits, &snapshot.bytes)
            .map_err(|error| format!("the snapshot of {old} is refused: {error}"))?;
        if id <= *old {
            return Err(format!("{id} starts from the snapshot of {old}"));
        }
        let mut metas = Metas::new();
        for topic in &diff {
            let number = plan::topics().position(|name| *name == *topic.topic);
            let entries = topic.joins.iter();
            metas.extend(entries.map(|entry| (session(number, entry), entry.meta().into())));
        }
        if metas != snapshot.metas {
            let expected = &snapshot.metas;
            return Err(format!(
                "the snapshot of {old} has {metas:?}, not {expected:?}"
            ));
        }
        Ok((id, metas))
    }
}

fn session(topic: Option<usize>, entry: &EntryBuf) -> Session {
    let key = entry.key_str().and_then(|key| key.strip_prefix('k'));
    let key = key.and_then(|key| key.parse().ok()).unwrap_or(u8::MAX);
    let owner = OWNERS
        .iter()
        .position(|owner| owner.as_bytes() == entry.owner());
    let number = |index: Option<usize>| index.map_or(u8::MAX, |index| index as u8);
    (number(topic), key, number(owner))
}

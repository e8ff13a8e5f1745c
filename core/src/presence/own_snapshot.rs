//! Snapshots on wire 2: the own entries, which the program tracks again after a start.

use super::snapshot::{self, Layout, SavedOwn, SnapshotReader};
use super::wire::Wire;
use super::wire2::Wire2;
use super::{Presence, PresenceConfig, RestoreError};
use crate::codec::DecodeError;
use crate::error::ApplyError;
use crate::id::{OP_MAX, ReplicaId};
use crate::tracker::{Content, Diff, Limits, TopicShare, Tracker};
use crate::wire2::PARTITIONS_MAX;

impl Presence<Wire2> {
    /// Returns the own entries as bytes, versioned and checksummed. It locks one shard at a time,
    /// so other threads may change the presence meanwhile. O(own entries).
    #[must_use]
    pub fn snapshot_own(&self) -> Vec<u8> {
        let id = self.id();
        let bits = self.control.lock().plane.replica.shape().bits();
        let mut body = snapshot::begin_own(&id, bits);
        let mut states = Vec::new();
        for shard in &self.shards {
            for (partition, tracker) in shard.read().trackers() {
                let own = tracker.origin_info(tracker.id());
                if let Some(own) = own.filter(|own| own.entries > 0) {
                    states.push((partition, own.clock, tracker.repair_since(0)));
                }
            }
        }
        states.sort_unstable_by_key(|(partition, ..)| *partition);
        for (partition, clock, content) in states {
            snapshot::add_own(&mut body, partition, clock, &content);
        }
        snapshot::end_own(&body)
    }

    /// Creates a presence, and returns with it the entries in a snapshot of an earlier start, as
    /// the joins of a Diff. It offers none of them: their connections are closed, unless the
    /// program tracks them again, with a lease. The incarnation of `id` is raised above that of the
    /// snapshot if necessary. O(entries).
    ///
    /// # Errors
    /// When the bytes are not a snapshot, or contradict themselves.
    pub fn restore_own(
        id: ReplicaId,
        config: PresenceConfig,
        snapshot: &[u8],
    ) -> Result<(Self, Diff), RestoreError> {
        let (id, entries) = read_own(id, &config.limits, snapshot)?;
        Ok((Wire2::presence(id, config), entries))
    }
}

/// Returns the identity for a start after that of a snapshot, and the entries in it as joins.
///
/// # Errors
/// When the bytes are not a snapshot, or contradict themselves.
pub(crate) fn read_own(
    id: ReplicaId,
    limits: &Limits,
    snapshot: &[u8],
) -> Result<(ReplicaId, Diff), RestoreError> {
    let mut reader = SnapshotReader::new(snapshot, Layout::Own)?;
    let id = reader.later_life(id)?;
    let writer = reader.writer()?;
    let bits = reader.bits()?;
    if 1 << u32::from(bits.min(31)) > PARTITIONS_MAX {
        return Err(DecodeError::invalid(0, "too many partitions").into());
    }
    let mut entries = Diff::default();
    let mut next = 0;
    while let Some(saved) = reader.next_own()? {
        if saved.partition < next || saved.partition >= 1 << bits {
            return Err(DecodeError::invalid(saved.offset, "not the next partition").into());
        }
        next = saved.partition + 1;
        let share = TopicShare::new(bits, saved.partition as u16);
        entries.append_disjoint(entries_of(&writer, share, limits, &saved)?);
    }
    Ok((id, entries))
}

/// Returns the entries of a state as joins.
fn entries_of(
    writer: &ReplicaId,
    share: TopicShare,
    limits: &Limits,
    saved: &SavedOwn<'_>,
) -> Result<Diff, RestoreError> {
    if saved.clock == 0 || saved.clock > OP_MAX {
        return Err(DecodeError::invalid(saved.offset, "not the clock of an entry").into());
    }
    // A reader of another name than the writer has.
    let name = if writer.name() == "reader" {
        "other"
    } else {
        "reader"
    };
    let reader = ReplicaId::new(name, 0, 0).expect("the name is short");
    let mut tracker = Tracker::with_share(reader, share, limits.clone());
    let content = Content {
        from: 0,
        to: saved.clock,
        bytes: saved.content,
    };
    let applied = tracker.apply_content(writer, content, true);
    applied.map_err(|error| match error {
        ApplyError::Decode(error) => error.shifted(saved.offset).into(),
        other => RestoreError::Apply(other),
    })
}

//! Snapshots: the own entries, which the program tracks again after a start.

use super::snapshot::{self, SavedPartition, SnapshotReader};
use super::{Presence, PresenceConfig, RestoreError};
use crate::codec::{DecodeError, Mode, Shape};
use crate::error::ApplyError;
use crate::id::{OP_MAX, ReplicaId};
use crate::tracker::{Content, Diff, Limits, TopicShare, Tracker};

impl Presence {
    /// Returns the entries of this replica as bytes, versioned and checksummed, for
    /// [`restore`](Self::restore). It locks one shard at a time, so other threads may change the
    /// presence meanwhile. O(own entries).
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let id = self.id();
        let bits = self.shape.bits();
        let mut body = snapshot::begin(&id, bits);
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
            snapshot::add(&mut body, partition, clock, &content);
        }
        snapshot::end(&body)
    }

    /// Creates a presence, and returns with it the entries in a snapshot of an earlier start, as
    /// the joins of a Diff.
    ///
    /// It tracks none of them: their connections are closed, unless the program finds that they are
    /// not, and tracks them again with a [`lease`](Self::lease). The entries of other replicas are
    /// not in a snapshot: these are asked for them, which takes one round trip. The incarnation of
    /// `id` is raised above that of the snapshot if necessary. O(entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    ///
    /// let before = Presence::new(ReplicaId::new("a", 7, 0)?, PresenceConfig::default());
    /// before.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let bytes = before.snapshot();
    /// let id = ReplicaId::new("a", 7, 0)?;
    /// let (after, entries) = Presence::restore(id, PresenceConfig::default(), &bytes)?;
    /// assert!(after.id().supersedes(&before.id()) && after.is_empty());
    /// assert_eq!(entries.topic("room").unwrap().joins[0].key_str(), Some("ann"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes are not a snapshot, or contradict themselves.
    pub fn restore(
        id: ReplicaId,
        config: PresenceConfig,
        snapshot: &[u8],
    ) -> Result<(Self, Diff), RestoreError> {
        let (id, entries) = read_snapshot(id, &config.limits, snapshot)?;
        Ok((Self::new(id, config), entries))
    }
}

/// Returns the identity for a start after that of a snapshot, and the entries in it as joins.
///
/// # Errors
/// When the bytes are not a snapshot, or contradict themselves.
pub(crate) fn read_snapshot(
    id: ReplicaId,
    limits: &Limits,
    snapshot: &[u8],
) -> Result<(ReplicaId, Diff), RestoreError> {
    let mut reader = SnapshotReader::new(snapshot)?;
    let id = reader.later_life(id)?;
    let writer = reader.writer()?;
    let bits = reader.bits()?;
    let shape = Shape::from_bits(bits, Mode::All);
    let shape = shape.ok_or_else(|| DecodeError::invalid(0, "too many partitions"))?;
    let mut entries = Diff::default();
    let mut next = 0;
    while let Some(saved) = reader.next()? {
        let partition = shape
            .partition(saved.partition)
            .filter(|_| saved.partition >= next);
        let Some(partition) = partition else {
            return Err(DecodeError::invalid(saved.offset, "not the next partition").into());
        };
        next = saved.partition + 1;
        let share = TopicShare::new(bits, partition);
        entries.append_disjoint(entries_of(&writer, share, limits, &saved)?);
    }
    Ok((id, entries))
}

/// Returns the entries of a state as joins.
fn entries_of(
    writer: &ReplicaId,
    share: TopicShare,
    limits: &Limits,
    saved: &SavedPartition<'_>,
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
    let mut tracker = Tracker::with_share(reader, share, limits.clone().shared());
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

//! The amounts that a presence holds.

use super::Presence;
use super::budget::LEAVE_LEN;
use crate::replica::PeerStats;

/// What a presence holds now, what waits in it, and how far it is behind the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceStats {
    /// The entries, hidden ones included.
    pub entries: usize,
    /// The topics with entries.
    pub topics: usize,
    /// The other replicas that are known.
    pub peers: Vec<PeerStats>,
    /// The bytes of the leaves that are remembered for those that missed them.
    pub leave_log_bytes: usize,
    /// The bytes of the Diffs that were not polled.
    pub diffs_bytes: usize,
    /// The frames that were not polled.
    pub frames: usize,
    /// The frames that were dropped since the start: 8,192 of them or 64 MiB waited to be polled.
    pub frames_dropped: u64,
}

impl Presence {
    /// Returns what this presence holds now, as of the time of the last call. O(partitions +
    /// replicas).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let presence = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let stats = presence.stats();
    /// assert_eq!((stats.entries, stats.topics, stats.peers.len()), (1, 1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PresenceStats {
        let mut stats = {
            let control = self.control.lock();
            PresenceStats {
                peers: control.replica.peer_stats(),
                diffs_bytes: control.diffs.bytes(),
                frames: control.replica.frames_waiting(),
                frames_dropped: control.replica.frames_dropped(),
                ..PresenceStats::default()
            }
        };
        for shard in &self.shards {
            for (_, tracker) in shard.read().trackers() {
                stats.entries += tracker.len();
                stats.topics += tracker.topics().count();
            }
        }
        let leaves = self.all_shards().map(|shard| shard.read().leave_log_len());
        stats.leave_log_bytes = leaves.sum::<usize>() * LEAVE_LEN;
        stats
    }
}

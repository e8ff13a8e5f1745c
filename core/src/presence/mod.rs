//! Presence for many threads and many nodes: trackers behind up to 32 locks, and the control plane
//! of replication.
//!
//! A [`Presence`] has the verbs of a [`Tracker`](crate::Tracker), and replicates without I/O: the
//! caller moves frames and passes the time in. The module `runtime` (feature `tokio`) does both
//! over a transport.
//!
//! ```
//! use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
//! use std::time::Duration;
//!
//! let a = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default().seed(1));
//! let b = Presence::new(ReplicaId::new("b", 1, 0)?, PresenceConfig::default().seed(2));
//! a.track(&NewEntry::new("room", "ann", "conn-1"))?;
//!
//! for ms in (0..3_000).step_by(10) {
//!     let now = Duration::from_millis(ms);
//!     for (name, from, to) in [("a", &a, &b), ("b", &b, &a)] {
//!         from.handle_timeout(now);
//!         while let Some(transmit) = from.poll_transmit() {
//!             to.handle_message(now, name, &transmit.frame)?;
//!         }
//!     }
//! }
//! let diff = b.poll_diff().expect("ann has joined");
//! assert_eq!(diff.topic("room").expect("it changed").joins[0].key_str(), Some("ann"));
//! assert_eq!(b.count("room")?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;
mod cluster;
mod config;
mod control;
mod counts;
#[cfg(feature = "testing")]
mod inspect;
mod list_with_diffs;
mod local;
mod reads;
mod restore;
mod shards;
mod snapshot;
mod stats;
#[cfg(test)]
mod tests;
mod timers;
mod waiting_diffs;
mod watching;

use parking_lot::{Mutex, RwLock};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::codec::Shape;
use crate::id::{Origin, ReplicaId, topic_hash};
use crate::replica::{FrameReader, Partitions, Replica};

pub use self::config::PresenceConfig;
pub use self::counts::Keys;
#[cfg(feature = "testing")]
pub(crate) use self::inspect::Held;
#[cfg(feature = "testing")]
pub(crate) use self::restore::read_snapshot;
pub use self::snapshot::RestoreError;
pub use self::stats::PresenceStats;
pub use crate::error::ReadError;

use self::budget::LeaveBudget;
use self::control::Control;
use self::shards::Done;
use self::timers::Timers;
use self::waiting_diffs::WaitingDiffs;

/// The most locks of a presence.
const SHARDS_MAX: u32 = 32;

/// The approximate number of bytes of a leave on the wire.
const LEAVE_WIRE_LEN: usize = 8;

/// The presence of a cluster as this node knows it: one object for many threads.
///
/// Topics are spread over partitions, and these over up to 32 locks, so an operation waits only for
/// operations on topics behind the same lock. Reads do not queue behind waiting writers:
/// they wait at most for the present write, which is one operation or one slice.
///
/// ```
/// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
/// let presence = Presence::new(ReplicaId::new("node-1", 1, 0)?, PresenceConfig::default());
/// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// std::thread::scope(|s| {
///     s.spawn(|| presence.track(&NewEntry::new("other room", "bob", "conn-2")));
/// });
/// assert_eq!(presence.list("room")?.len(), 1);
/// assert_eq!(presence.count("other room")?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Presence {
    id: RwLock<ReplicaId>,
    shape: Shape,
    frame_reader: FrameReader,
    /// As many as there are locks: a power of two, at most 32.
    shards: Box<[RwLock<Partitions>]>,
    /// As many again, for counts; none in a cluster without.
    count_shards: Box<[RwLock<Partitions>]>,
    /// Shards with local changes since the last `take_diff`, one bit each.
    changed: AtomicU32,
    /// Shards with local changes that were not reported to the control plane.
    unreported: AtomicU32,
    /// Approximate bytes of those changes on the wire.
    written: AtomicUsize,
    control: Mutex<Control>,
    /// What shards have done and the control plane was not told, in the order of each shard.
    done: Mutex<VecDeque<Done>>,
    timers: Timers,
    flush: Duration,
    grace: Duration,
}

impl Presence {
    /// Creates an empty presence.
    #[must_use]
    pub fn new(replica: ReplicaId, config: PresenceConfig) -> Self {
        Self::with_shards(replica, config, SHARDS_MAX)
    }

    /// Creates an empty presence with as many locks as there are partitions, or fewer.
    pub(crate) fn with_shards(replica: ReplicaId, config: PresenceConfig, shards_max: u32) -> Self {
        let mut replication = config.replication;
        replication.grace = config.grace;
        let leaves_kept = replication.leaves_kept;
        let partitions = replication.shape.partitions();
        let shards = partitions.min(shards_max).min(SHARDS_MAX);
        let timers = Timers::new(config.limits.get_owner_len_max());
        let slice_entries_max = config.slice_entries_max.max(1);
        let shard = Partitions::new(replica.clone(), replication.shape, config.limits)
            .slice_max(slice_entries_max)
            .leaves_kept(leaves_kept);
        let shard = if partitions == shards {
            shard.with_one_partition()
        } else {
            shard
        };
        let shape = replication.shape;
        let count_shards = if shape.has_counts() { shards } else { 0 };
        let count_shard = shard.clone().of_counts();
        let plane = Replica::new(replica.clone(), replication, config.seed);
        let leave_budget = LeaveBudget::new(config.leave_log_bytes_max);
        let diffs = WaitingDiffs::new(config.diffs_bytes_max);
        Self {
            id: RwLock::new(replica),
            shape,
            frame_reader: plane.frame_reader(),
            shards: (0..shards).map(|_| RwLock::new(shard.clone())).collect(),
            count_shards: (0..count_shards)
                .map(|_| RwLock::new(count_shard.clone()))
                .collect(),
            changed: AtomicU32::new(0),
            unreported: AtomicU32::new(0),
            written: AtomicUsize::new(0),
            control: Mutex::new(Control::new(plane, leave_budget, diffs, leaves_kept)),
            done: Mutex::default(),
            timers,
            flush: config.flush,
            grace: config.grace,
        }
    }

    /// Returns the number of the shard of a topic.
    fn number_of(&self, topic: &str) -> u8 {
        (topic_hash(topic) % self.shards.len() as u64) as u8
    }

    fn shard(&self, topic: &str) -> &RwLock<Partitions> {
        &self.shards[usize::from(self.number_of(topic))]
    }

    /// Returns all shards, in the order of their numbers: those of entries, then those of counts.
    fn all_shards(&self) -> impl Iterator<Item = &RwLock<Partitions>> + Clone {
        self.shards.iter().chain(&self.count_shards)
    }

    /// Returns the number of the shard of a partition.
    fn number_of_partition(&self, partition: u16) -> u8 {
        let number = usize::from(partition) % self.shards.len();
        let first = if self.shape.is_of_counts(partition) {
            self.shards.len()
        } else {
            0
        };
        (first + number) as u8
    }

    /// Returns the shard with a number.
    fn numbered(&self, number: u8) -> &RwLock<Partitions> {
        let number = usize::from(number);
        let count_shard = || &self.count_shards[number - self.shards.len()];
        self.shards.get(number).unwrap_or_else(count_shard)
    }

    /// Notes operations on a shard that take approximately that many bytes on the wire.
    fn mark_changed(&self, number: u8, bytes: usize) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.changed.fetch_or(1 << number, Ordering::Release);
        self.unreported.fetch_or(1 << number, Ordering::Release);
    }

    /// Returns this replica.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id.read().clone()
    }

    /// Returns every origin with a clock above 0, with that clock.
    #[must_use]
    pub fn clocks(&self) -> Vec<(Origin, u64)> {
        let mut clocks = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            for (partition, tracker) in shard.trackers() {
                let known = tracker.origins().filter(|info| info.clock > 0);
                clocks.extend(known.map(|info| {
                    let replica = info.replica;
                    (Origin { replica, partition }, info.clock)
                }));
            }
        }
        clocks
    }
}

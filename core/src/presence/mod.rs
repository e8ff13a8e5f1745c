//! Presence for many threads and many nodes: a tracker for each slot behind a lock of its own, and
//! one [`Replica`](crate::replica::Replica).
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
//! assert_eq!(b.count("room"), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;
mod cluster;
mod config;
#[allow(unnameable_types, reason = "behind the parameter of `Presence`")]
mod control;
#[cfg(feature = "testing")]
mod inspect;
#[allow(unnameable_types, reason = "behind the parameter of `Presence`")]
mod jobs;
mod list_with_diffs;
mod local;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod own_snapshot;
#[allow(
    unnameable_types,
    private_interfaces,
    reason = "behind the parameter of `Presence`"
)]
mod plane;
mod reads;
mod snapshot;
mod timers;
#[allow(unnameable_types, reason = "there is one wire to choose")]
pub(crate) mod wire;
#[allow(
    unnameable_types,
    private_interfaces,
    reason = "behind the parameter of `Presence`"
)]
pub(crate) mod wire1;
#[cfg(any(test, feature = "testing"))]
#[allow(
    private_interfaces,
    unnameable_types,
    reason = "it has no public name yet"
)]
pub(crate) mod wire2;

use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::id::{Origin, ReplicaId, topic_hash};

pub use self::config::PresenceConfig;
pub use self::snapshot::RestoreError;
#[cfg(feature = "tokio")]
pub(crate) use crate::replica::{Address, Destination, Signal, Transmit};

use self::budget::LeaveBudget;
use self::control::Control;
use self::plane::Shard;
use self::timers::Timers;
use self::wire::Wire;
use self::wire1::Wire1;

/// The approximate number of bytes of a leave on the wire.
const LEAVE_WIRE_LEN: usize = 8;

/// The presence of a cluster as this node knows it: one object for many threads.
///
/// Topics are spread over 32 slots, each with a tracker behind a lock of its own, so an operation
/// waits only for operations on topics of the same slot. Reads do not queue behind waiting writers:
/// they wait at most for the present write, which is one operation or one slice.
///
/// ```
/// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
/// let presence = Presence::new(ReplicaId::new("node-1", 1, 0)?, PresenceConfig::default());
/// presence.track(&NewEntry::new("room", "ann", "conn-1"))?;
/// std::thread::scope(|s| {
///     s.spawn(|| presence.track(&NewEntry::new("other room", "bob", "conn-2")));
/// });
/// assert_eq!(presence.list("room").len(), 1);
/// assert_eq!(presence.count("other room"), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Presence<W: Wire = Wire1> {
    id: RwLock<ReplicaId>,
    /// As many as there are locks: a power of two, at most 32.
    shards: Box<[RwLock<W::Shard>]>,
    /// Shards with local changes since the last `take_diff`, one bit each.
    changed: AtomicU32,
    /// Shards with local changes that were not reported to the control plane.
    unreported: AtomicU32,
    /// Approximate bytes of those changes on the wire.
    written: AtomicUsize,
    control: Mutex<Control<W::Plane>>,
    timers: Timers,
    flush: Duration,
    grace: Duration,
    slice_entries_max: usize,
}

impl Presence {
    /// Creates an empty presence.
    #[must_use]
    pub fn new(replica: ReplicaId, config: PresenceConfig) -> Self {
        Wire1::presence(replica, config)
    }
}

/// The settings of a presence that do not depend on its wire.
#[derive(Debug, Clone, Copy)]
struct Settings {
    owner_len_max: usize,
    flush: Duration,
    grace: Duration,
    slice_entries_max: usize,
    leave_log_bytes_max: usize,
}

impl Settings {
    fn of(config: &PresenceConfig) -> Self {
        Self {
            owner_len_max: config.limits.get_owner_len_max(),
            flush: config.flush,
            grace: config.grace,
            slice_entries_max: config.slice_entries_max.max(1),
            leave_log_bytes_max: config.leave_log_bytes_max,
        }
    }
}

impl<W: Wire> Presence<W> {
    /// Makes an empty presence of a control plane and its shards.
    fn assemble(
        replica: ReplicaId,
        settings: Settings,
        plane: W::Plane,
        shards: impl Iterator<Item = W::Shard>,
    ) -> Self {
        let leave_budget = LeaveBudget::new(settings.leave_log_bytes_max);
        Self {
            id: RwLock::new(replica),
            shards: shards.map(RwLock::new).collect(),
            changed: AtomicU32::new(0),
            unreported: AtomicU32::new(0),
            written: AtomicUsize::new(0),
            control: Mutex::new(Control::new(plane, leave_budget)),
            timers: Timers::new(settings.owner_len_max),
            flush: settings.flush,
            grace: settings.grace,
            slice_entries_max: settings.slice_entries_max,
        }
    }

    /// Returns the number of the shard of a topic.
    fn number_of(&self, topic: &str) -> u8 {
        (topic_hash(topic) % self.shards.len() as u64) as u8
    }

    fn shard(&self, topic: &str) -> &RwLock<W::Shard> {
        &self.shards[usize::from(self.number_of(topic))]
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
            for tracker in shard.trackers() {
                let known = tracker.origins().filter(|info| info.clock > 0);
                clocks.extend(known.map(|info| {
                    let slot = tracker.slot();
                    let replica = info.replica;
                    (Origin { replica, slot }, info.clock)
                }));
            }
        }
        clocks
    }
}

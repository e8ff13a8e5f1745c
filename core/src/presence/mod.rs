//! Presence for many threads and many nodes: a tracker for each slot behind a lock of its own, and
//! one [`Replica`].
//!
//! A [`Presence`] has the verbs of a [`Tracker`], and replicates without I/O: the caller moves
//! frames and passes the time in. The module `runtime` (feature `tokio`) does both over a
//! transport.
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
#[cfg(feature = "testing")]
mod inspect;
mod jobs;
mod list_with_diffs;
mod local;
mod reads;
mod snapshot;
mod timers;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::codec::DecodeError;
use crate::error::ApplyError;
use crate::id::{Origin, ReplicaId, SLOTS, slot_of};
use crate::replica::Replica;
use crate::tracker::{Diff, StagedRepair, Tracker};

pub use self::config::PresenceConfig;
pub use self::snapshot::RestoreError;
#[cfg(feature = "tokio")]
pub(crate) use crate::replica::{Address, Destination, Event, Signal, Transmit};

use self::budget::LeaveBudget;
use self::cluster::Control;
use self::snapshot::{SavedOrigin, SnapshotReader};
use self::timers::Timers;

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
pub struct Presence {
    id: RwLock<ReplicaId>,
    slots: Box<[RwLock<Tracker>]>,
    /// Slots with local changes since the last `take_diff`, one bit each.
    changed: AtomicU32,
    /// Slots with local changes that were not reported to the control plane.
    unreported: AtomicU32,
    /// Approximate bytes of those changes on the wire.
    written: AtomicUsize,
    control: Mutex<Control>,
    timers: Timers,
    flush: Duration,
    grace: Duration,
    slice_entries_max: usize,
}

impl Presence {
    /// Creates an empty presence.
    #[must_use]
    pub fn new(replica: ReplicaId, config: PresenceConfig) -> Self {
        let PresenceConfig {
            limits,
            replication,
            seed,
            flush,
            grace,
            slice_entries_max,
            leave_log_bytes_max,
        } = config;
        let timers = Timers::new(limits.get_owner_len_max());
        let replica_plane = Replica::new(replica.clone(), replication, seed);
        let control = Control::new(replica_plane, LeaveBudget::new(leave_log_bytes_max));
        let slot = |slot| RwLock::new(Tracker::with_slot(replica.clone(), slot, limits.clone()));
        let slots = (0..SLOTS).map(slot).collect();
        Self {
            id: RwLock::new(replica),
            slots,
            changed: AtomicU32::new(0),
            unreported: AtomicU32::new(0),
            written: AtomicUsize::new(0),
            control: Mutex::new(control),
            timers,
            flush,
            grace,
            slice_entries_max: slice_entries_max.max(1),
        }
    }

    fn slot(&self, topic: &str) -> &RwLock<Tracker> {
        &self.slots[usize::from(slot_of(topic))]
    }

    /// Notes operations on a slot that take approximately that many bytes on the wire.
    fn mark_changed(&self, slot: u8, bytes: usize) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.changed.fetch_or(1 << slot, Ordering::Release);
        self.unreported.fetch_or(1 << slot, Ordering::Release);
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
        for (slot, tracker) in (0..).zip(&self.slots) {
            let tracker = tracker.read();
            let known = tracker.origins().filter(|info| info.clock > 0);
            clocks.extend(known.map(|o| {
                (
                    Origin {
                        replica: o.replica,
                        slot,
                    },
                    o.clock,
                )
            }));
        }
        clocks
    }

    /// Returns the operations that a holder of `origin` at `clock` misses. See
    /// [`Tracker::delta_since`].
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// let a = Presence::new(ReplicaId::new("a", 1, 0)?, PresenceConfig::default());
    /// let b = Presence::new(ReplicaId::new("b", 1, 0)?, PresenceConfig::default());
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// for (origin, _) in a.clocks() {
    ///     if let Some(frame) = a.delta_since(&origin, b.clock(&origin)) {
    ///         b.apply(&frame)?;
    ///     }
    /// }
    /// assert_eq!(b.count("room"), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn delta_since(&self, origin: &Origin, clock: u64) -> Option<Vec<u8>> {
        self.slots
            .get(usize::from(origin.slot))?
            .read()
            .delta_since(&origin.replica, clock)
    }

    /// Returns the clock of an origin here; 0 when it is unknown.
    #[must_use]
    pub fn clock(&self, origin: &Origin) -> u64 {
        let tracker = self.slots.get(usize::from(origin.slot));
        tracker.map_or(0, |tracker| tracker.read().clock(&origin.replica))
    }

    /// Applies a frame of another presence and returns what changed. See [`Tracker::apply`].
    ///
    /// # Errors
    /// As [`Tracker::apply`].
    pub fn apply(&self, frame: &[u8]) -> Result<Diff, ApplyError> {
        let slot = Tracker::frame_slot(frame)?;
        let Some(tracker) = self.slots.get(usize::from(slot)) else {
            return Err(ApplyError::WrongSlot {
                frame_slot: slot,
                tracker_slot: 0,
            });
        };
        tracker.write().apply(frame)
    }

    /// Returns the state of all origins as bytes, versioned and checksummed. It locks one slot at a
    /// time, so other threads may change the presence meanwhile. O(entries).
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(&self.id(), &self.slots)
    }

    /// Creates a presence that starts with the entries of the other replicas in a snapshot, so that
    /// only later changes have to travel. A replica stays hidden until its first frame arrives. The
    /// own entries of the snapshot are not restored, as their connections are closed. The
    /// incarnation of `id` is raised above that of the snapshot if necessary. O(entries).
    ///
    /// ```
    /// use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};
    /// use std::time::Duration;
    ///
    /// let before = Presence::new(ReplicaId::new("a", 7, 0)?, PresenceConfig::default());
    /// before.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let bytes = before.snapshot();
    /// let id = ReplicaId::new("a", 7, 0)?;
    /// let after = Presence::restore(id, PresenceConfig::default(), Duration::ZERO, &bytes)?;
    /// assert!(after.id().supersedes(&before.id()));
    /// assert!(after.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes are not a snapshot, or contradict themselves.
    pub fn restore(
        id: ReplicaId,
        config: PresenceConfig,
        now: Duration,
        snapshot: &[u8],
    ) -> Result<Self, RestoreError> {
        let mut reader = SnapshotReader::new(snapshot)?;
        let presence = Self::new(reader.later_life(id)?, config);
        while let Some(SavedOrigin { offset, body }) = reader.next()? {
            let restored = presence.restore_origin(now, body);
            restored.map_err(|error| match error {
                RestoreError::Decode(error) => error.shifted(offset).into(),
                other => other,
            })?;
        }
        Ok(presence)
    }

    fn restore_origin(&self, now: Duration, state: &[u8]) -> Result<(), RestoreError> {
        let limits = self.slots[0].read().limits().clone();
        let mut staged = StagedRepair::new(Bytes::copy_from_slice(state), &limits)?;
        let origin = staged.head().origin.clone();
        if origin.slot >= SLOTS {
            return Err(DecodeError::invalid(0, "not a slot of a presence").into());
        }
        if origin.replica.name() == self.id().name() {
            return Ok(());
        }
        let mut tracker = self.slots[usize::from(origin.slot)].write();
        let begun = staged
            .begin(&mut tracker, false)
            .map_err(RestoreError::Apply)?;
        tracker.set_hidden(&origin.replica, true);
        if begun {
            let restored = staged.step(&mut tracker, usize::MAX);
            drop(restored.map_err(RestoreError::Apply)?);
        }
        let info = tracker.origin_info(&origin.replica);
        drop(tracker);
        if let Some(info) = info {
            let control = &mut *self.control.lock();
            let view = (origin.slot, info.clock, info.fingerprint);
            control.replica.remember(now, &origin.replica, view);
            self.run(control);
        }
        Ok(())
    }
}

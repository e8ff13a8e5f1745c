//! Presence for many threads: the trackers of all slots behind locks of their own.

mod budget;
mod cluster;
#[cfg(feature = "testing")]
mod inspect;
mod jobs;
mod local;
mod reads;
mod snapshot;
mod timers;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{ApplyError, DecodeError};
use crate::id::{Origin, ReplicaId, SLOTS, slot_of};
use crate::replica::{self, Replica};
use crate::tracker::{Diff, Limits, StagedRepair, Tracker};

pub use self::snapshot::RestoreError;
#[cfg(feature = "tokio")]
pub(crate) use crate::replica::{Address, Destination, Event, Transmit};

use self::budget::LeaveBudget;
use self::cluster::Control;
use self::snapshot::{SavedOrigin, SnapshotReader};
use self::timers::Timers;

/// The approximate number of bytes of a leave on the wire.
const LEAVE_WIRE_LEN: usize = 8;

/// Bounds and times of a [`Presence`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PresenceConfig {
    /// Bounds of entries.
    pub limits: Limits,
    /// Times and bounds of replication.
    pub cluster: replica::Config,
    /// Seed of jitter and nonces: random, and different on every node.
    pub seed: u64,
    /// The time that changes of this replica's own entries wait to become one Diff, from the first
    /// call that sees them. With 0 that call makes the Diff; with [`Duration::MAX`] only
    /// [`Presence::take_diff`] does. Default 5 ms.
    pub flush: Duration,
    /// The time that the entries of a lost owner stay, see [`Presence::owner_lost`], and those of a
    /// replica that starts again under its name: they are listed and counted here until it puts
    /// them again, which is an update, or until this time is over, which is a leave. Entries of a
    /// replica that leaves with a Goodbye leave at once. Default 0.
    pub grace: Duration,
    /// Most entries handled while the lock of a slot is held, in work on many entries: a
    /// load, a large answer, a replica that appears or disappears. Default 1,024.
    pub slice_records: usize,
    /// Bytes of leaves remembered for replicas that missed them, over all origins; beyond it the
    /// longest logs are cut. A tuning value, not a correctness value. Default 64 MiB.
    pub leave_log_budget: usize,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cluster: replica::Config::default(),
            seed: 0,
            flush: Duration::from_millis(5),
            grace: Duration::ZERO,
            slice_records: 1_024,
            leave_log_budget: 64 << 20,
        }
    }
}

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
    slice_records: usize,
}

impl Presence {
    /// Creates an empty presence.
    #[must_use]
    pub fn new(replica: ReplicaId, config: PresenceConfig) -> Self {
        let PresenceConfig {
            limits,
            cluster,
            seed,
            flush,
            grace,
            slice_records,
            leave_log_budget,
        } = config;
        let replica_plane = Replica::new(replica.clone(), cluster, seed);
        let control = Control::new(replica_plane, LeaveBudget::new(leave_log_budget));
        let slot = |slot| RwLock::new(Tracker::with_slot(replica.clone(), slot, limits.clone()));
        let slots = (0..SLOTS).map(slot).collect();
        Self {
            id: RwLock::new(replica),
            slots,
            changed: AtomicU32::new(0),
            unreported: AtomicU32::new(0),
            written: AtomicUsize::new(0),
            control: Mutex::new(control),
            timers: Timers::default(),
            flush,
            grace,
            slice_records: slice_records.max(1),
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

    /// Returns what a holder of `origin` at `clock` misses. See [`Tracker::delta_since`].
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

    /// Returns the state of all origins as bytes, versioned and checksummed. It locks one slot at a time, so
    /// other threads may change the presence meanwhile. O(entries).
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(&self.id(), &self.slots)
    }

    /// Creates a presence that starts with the entries of the other replicas in a snapshot, so that only later
    /// changes have to travel. A replica stays hidden until its first frame arrives. The own entries of the
    /// snapshot are not restored, as their connections are closed. The incarnation of `id` is raised above that of
    /// the snapshot if necessary. O(entries).
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

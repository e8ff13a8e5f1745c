//! Presence for many threads and many nodes: a tracker for each slot behind a lock of its own, and one
//! [`Replica`].
//!
//! A [`Presence`] has the verbs of a [`Tracker`], and replicates without I/O: the caller moves frames and
//! says what time it is. The module `runtime` (feature `tokio`) does that over a transport.
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
mod reads;
mod snapshot;
mod timers;

use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{ApplyError, TrackError};
use crate::id::{EntryRef, Origin, ReplicaId, SLOTS, slot_of};
use crate::replica::Replica;
use crate::tracker::{Diff, Entry, EntryBuf, Key, NewEntry, Tracker};

pub use self::config::PresenceConfig;
pub use self::snapshot::RestoreError;
#[cfg(feature = "tokio")]
pub(crate) use crate::replica::{Address, Destination, Event, Transmit};

use self::cluster::Control;
use self::timers::Timers;

/// Bytes of a leave on the wire, about.
const LEAVE_WIRE_LEN: usize = 8;

/// Who is here: one object for many threads.
///
/// Topics are spread over 32 slots, each with a tracker behind a lock of its own, so an operation
/// waits only for operations on topics of the same slot. Reads do not queue behind waiting writers:
/// they wait at most for the write under way, which is one operation or one slice.
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
    /// Slots with local changes that the control plane was not told of.
    unreported: AtomicU32,
    /// Bytes of those changes.
    written: AtomicUsize,
    control: Mutex<Control>,
    timers: Timers,
    flush: Duration,
    grace: Duration,
    slice_entries_max: usize,
    leave_log_bytes_max: usize,
}

impl Presence {
    /// An empty presence.
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
        let control = Control::new(Replica::new(replica.clone(), replication, seed));
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
            slice_entries_max: slice_entries_max.max(1),
            leave_log_bytes_max,
        }
    }

    fn slot(&self, topic: &str) -> &RwLock<Tracker> {
        &self.slots[usize::from(slot_of(topic))]
    }

    /// Notes operations on a slot that take about so many bytes on the wire.
    fn mark_changed(&self, slot: u8, bytes: usize) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.changed.fetch_or(1 << slot, Ordering::Release);
        self.unreported.fetch_or(1 << slot, Ordering::Release);
    }

    /// Tracks an entry. See [`Tracker::track`]. O(1).
    ///
    /// # Errors
    /// When it is tracked already or a bound is broken.
    pub fn track(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.track_in(self.slot(put.topic).write(), put)
    }

    /// Gives a tracked entry a new meta and status. See [`Tracker::update`]. O(1).
    ///
    /// # Errors
    /// When it is not tracked or a bound is broken.
    pub fn update(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.update_in(self.slot(put.topic).write(), put)
    }

    /// Tracks or updates. See [`Tracker::upsert`]. O(1).
    ///
    /// # Errors
    /// When a bound is broken.
    pub fn upsert(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        let mut tracker = self.slot(put.topic).write();
        let written = self
            .adopt(&mut tracker, put)
            .unwrap_or_else(|| tracker.upsert(put))?;
        drop(tracker);
        self.mark_changed(written.origin.slot, put.wire_len());
        Ok(written)
    }

    /// Removes one entry of this replica. Says whether there was one. O(1).
    pub fn untrack<'a>(
        &self,
        topic: &str,
        key: impl Into<Key<'a>>,
        owner: impl AsRef<[u8]>,
    ) -> bool {
        self.untrack_in(self.slot(topic).write(), topic, key.into(), owner.as_ref())
    }

    /// Removes all entries of an owner, in all topics. Says how many. O(its entries).
    pub fn untrack_owner(&self, owner: impl AsRef<[u8]>) -> usize {
        self.untrack_owners(&[owner])
    }

    /// The visible entries of a topic, copied. O(entries of the topic).
    #[must_use]
    pub fn list(&self, topic: &str) -> Vec<EntryBuf> {
        self.slot(topic)
            .read_recursive()
            .list(topic)
            .map(|entry| entry.to_buf())
            .collect()
    }

    /// Calls `each` for the visible entries of a topic, without copying. Writers to topics of the
    /// same slot wait meanwhile; do not call back into the presence. O(entries of the topic).
    pub fn for_each(&self, topic: &str, each: impl FnMut(Entry<'_>)) {
        self.slot(topic).read_recursive().list(topic).for_each(each);
    }

    /// The visible sessions of a key. O(sessions of the key).
    #[must_use]
    pub fn get_by_key<'k>(&self, topic: &str, key: impl Into<Key<'k>>) -> Vec<EntryBuf> {
        let tracker = self.slot(topic).read_recursive();
        tracker
            .get_by_key(topic, key)
            .map(|entry| entry.to_buf())
            .collect()
    }

    /// Number of visible entries in a topic. O(origins of the topic).
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        self.slot(topic).read_recursive().count(topic)
    }

    /// Number of distinct visible keys in a topic. See [`Tracker::count_keys`].
    #[must_use]
    pub fn count_keys(&self, topic: &str) -> usize {
        self.slot(topic).read_recursive().count_keys(topic)
    }

    /// Number of entries, hidden ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.iter().map(|tracker| tracker.read().len()).sum()
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This replica.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id.read().clone()
    }

    /// Flushes now: the changes of this replica's own entries since the last flush, coalesced. See
    /// [`Tracker::take_diff`]. O(changes).
    ///
    /// For programs without replication, or with a beat of their own (then set
    /// [`flush`](PresenceConfig::flush) to [`Duration::MAX`]). Others get these changes from
    /// [`poll_diff`](Self::poll_diff). Every change comes out once, here or there; what `poll_diff`
    /// still holds is older than what this call gives.
    #[must_use = "it is handed out once"]
    pub fn take_diff(&self) -> Diff {
        let mut diff = Diff::default();
        let mut changed = self.changed.swap(0, Ordering::Acquire);
        while changed != 0 {
            let slot = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            diff.append_disjoint(self.slots[slot].write().take_diff());
        }
        diff
    }

    /// Every origin with a clock above 0: what this presence knows.
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

    /// The clock of an origin here; 0 when it is unknown.
    #[must_use]
    pub fn clock(&self, origin: &Origin) -> u64 {
        let tracker = self.slots.get(usize::from(origin.slot));
        tracker.map_or(0, |tracker| tracker.read().clock(&origin.replica))
    }

    /// Applies a frame of another presence and tells what changed. See [`Tracker::apply`].
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
}

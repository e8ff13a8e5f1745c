//! The delta-CRDT of presence entries: the entries tracked here, and those that other replicas track.
//!
//! A [`Tracker`] is a data structure without locks, I/O or a clock; [`Presence`](crate::Presence) is the same for many
//! threads and many nodes. A [`NewEntry`] goes in, [`Entry`] and [`EntryBuf`] come out, and a [`Diff`] says what changed.
//! Trackers exchange frames: a Delta has the operations between two clocks, a Repair the state at a clock.
//!
//! ```
//! use headcount::{NewEntry, ReplicaId, Tracker};
//!
//! let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
//! let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
//! a.track(&NewEntry::new("room", "ann", "conn-1").meta(b"phone"))?;
//! a.track(&NewEntry::new("room", "bob", "conn-2"))?;
//!
//! let frame = a.delta_since(a.id(), b.clock(a.id())).expect("b misses two operations");
//! let diff = b.apply(&frame)?;
//! assert_eq!(diff.topic("room").expect("it changed").joins.len(), 2);
//!
//! a.untrack_owner("conn-2"); // the connection broke
//! let frame = a.delta_since(a.id(), b.clock(a.id())).expect("b misses one operation");
//! b.apply(&frame)?;
//! let keys: Vec<_> = b.list("room").map(|entry| entry.key_str()).collect();
//! assert_eq!(keys, [Some("ann")]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only one replica writes an entry: the one that holds the connection. So the state of an origin is a function of its
//! clock: a frame takes a holder from one exact state to the next or changes nothing, and no tombstones are kept.
//!
//! Large work can go in slices, so that a lock is never held for long: [`StagedDelta`] and [`StagedRepair`] apply, [`Extract`]
//! encodes, [`VisibilityChange`] shows and hides, [`Pages`] list.

mod apply;
mod blobs;
#[cfg(feature = "crdts")]
mod crdt;
mod delta;
mod diff;
mod encoding;
mod entry;
mod extract;
mod limits;
mod linger;
mod local;
mod origin;
mod origins;
mod owners;
mod pages;
mod read;
mod repair;
#[cfg(feature = "serde")]
mod serde_impls;
mod session;
mod slab;
mod store;
mod version_vector;
mod visibility;
mod wire;

use std::fmt;

#[cfg(feature = "crdts")]
pub use crdt::Delta;
pub use delta::StagedDelta;
pub use diff::{Diff, TopicDiff, Update};
pub use encoding::Encoding;
pub use entry::{Entry, EntryBuf, Key, NewEntry};
pub use extract::{Extract, Extracted};
pub use limits::Limits;
pub use pages::Pages;
pub use read::{Entries, Sessions};
pub use repair::{Slice, StagedRepair};
pub(crate) use session::{Session, Since};
pub use version_vector::VersionVector;
pub use visibility::VisibilityChange;
pub use wire::{DeltaHead, RepairHead};

pub use crate::error::{ApplyError, TrackError};

use self::local::Pending;
use self::origins::Origins;
use self::owners::Owners;
use self::store::Store;
use crate::codec::{Envelope, Kind};
use crate::fault::{Fault, is_broken};
use crate::id::{ALL_TOPICS, Origin, ReplicaId};

/// Number of the local origin.
const LOCAL: u16 = 0;

/// Why an entry left. Travels with the leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LeaveReason {
    /// It was untracked.
    Untracked = 0,
    /// Its owner was untracked: the connection closed, the process ended.
    OwnerGone = 1,
    /// Its lease ran out.
    Expired = 2,
}

/// Where an origin stands at this holder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OriginInfo {
    /// The replica.
    pub replica: ReplicaId,
    /// The op up to which its operations are known, exactly.
    pub clock: u64,
    /// The rolling fingerprint H: equal clocks must mean equal fingerprints.
    pub fingerprint: u64,
    /// Newest op whose leave was dropped from the leave log: a `Delta` can start from here.
    pub horizon: u64,
    /// Live entries, hidden ones too.
    pub entries: u32,
    /// True if its entries are hidden.
    pub hidden: bool,
    /// True if a repair of it is being applied in slices: do not advertise, do not serve.
    pub applying: bool,
}

/// Presence entries by topic, key and owner, replicated by frames.
///
/// One tracker holds the entries of all replicas it heard of. Local operations give
/// [`take_diff`](Self::take_diff), frames of others go through [`apply`](Self::apply).
///
/// ```
/// use headcount::{NewEntry, ReplicaId, Tracker};
/// let mut tracker = Tracker::new(ReplicaId::new("node-1", 1, 0)?);
/// tracker.track(&NewEntry::new("room", "ann", "phone").meta(b"away"))?;
/// tracker.track(&NewEntry::new("room", "ann", "laptop"))?;
/// tracker.track(&NewEntry::new("room", "bob", "laptop-2"))?;
/// assert_eq!(tracker.count("room"), 3);
/// assert_eq!(tracker.count_keys("room"), 2);
/// assert_eq!(tracker.get_by_key("room", "ann").count(), 2);
/// assert_eq!(tracker.untrack_owner("phone"), 1);
/// assert_eq!(tracker.count("room"), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tracker {
    slot: u8,
    limits: Limits,
    store: Store,
    origins: Origins,
    owners: Owners,
    pending: Pending,
    /// Number of repairs started.
    tokens: u64,
}

impl Tracker {
    /// An empty tracker of all topics, with default limits.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        Self::with_slot(replica, ALL_TOPICS, Limits::default())
    }

    /// An empty tracker of one slot of topics, or of all ([`ALL_TOPICS`]).
    ///
    /// # Panics
    /// If `slot` is neither below [`SLOTS`](crate::id::SLOTS) nor [`ALL_TOPICS`].
    #[must_use]
    pub fn with_slot(replica: ReplicaId, slot: u8, limits: Limits) -> Self {
        assert!(
            slot < crate::id::SLOTS || slot == ALL_TOPICS,
            "no such slot: {slot}"
        );
        Self {
            slot,
            limits: limits.clamped(),
            store: Store::new(),
            origins: Origins::new(replica),
            owners: Owners::default(),
            pending: Pending::default(),
            tokens: 0,
        }
    }

    /// Returns what another holder of `replica`'s state misses if its clock is `clock`: a sealed frame for
    /// [`apply`](Self::apply), or `None` when it misses nothing or the replica is unknown.
    ///
    /// O(what is missing), or O(entries of the replica) when its leave log was cut.
    #[must_use]
    pub fn delta_since(&self, replica: &ReplicaId, clock: u64) -> Option<Vec<u8>> {
        let (kind, body) = self.body_since(replica, clock, 0)?;
        Some(Envelope::default().seal(kind, &body))
    }

    /// As [`delta_since`](Self::delta_since), but only the body, with its kind; `nonce` goes into a
    /// `Repair`.
    #[must_use]
    pub fn body_since(
        &self,
        replica: &ReplicaId,
        clock: u64,
        nonce: u64,
    ) -> Option<(Kind, Vec<u8>)> {
        let origin = self.origins.get(self.origins.find(replica)?);
        let is_exact = origin.applying.is_none() || is_broken(Fault::ServeInexact);
        if !is_exact || clock >= origin.clock {
            return None;
        }
        if clock > 0 && (clock >= origin.horizon || is_broken(Fault::IgnoreHorizon)) {
            let body = wire::delta_body(&self.store, origin, self.slot, clock);
            return Some((Kind::DELTA, body));
        }
        let body = wire::repair_body(&self.store, origin, self.slot, (clock, nonce));
        Some((Kind::REPAIR, body))
    }

    /// The operations of this replica after `from` as a `Delta` body to push, or `None` when there
    /// are none or when leaves of the interval are no longer in the leave log. O(operations).
    #[must_use]
    pub fn push_body(&self, from: u64) -> Option<Vec<u8>> {
        let origin = self.origins.get(LOCAL);
        (from < origin.clock && (origin.horizon <= from || is_broken(Fault::IgnoreHorizon)))
            .then(|| wire::delta_body(&self.store, origin, self.slot, from))
    }

    /// The whole state of an origin as a `Repair` body. O(entries of the replica).
    #[must_use]
    pub fn full_body(&self, replica: &ReplicaId, nonce: u64) -> Option<Vec<u8>> {
        let origin = self.origins.get(self.origins.find(replica)?);
        origin
            .applying
            .is_none()
            .then(|| wire::repair_body(&self.store, origin, self.slot, (0, nonce)))
    }

    /// Drops remembered leaves of a replica up to `op`: every other holder has seen them.
    pub fn trim_leaves(&mut self, replica: &ReplicaId, op: u64) {
        if let Some(number) = self.origins.find(replica) {
            self.origins.get_mut(number).trim_leaves(op);
        }
    }

    /// Number of leaves remembered, over all origins.
    #[must_use]
    pub fn leave_log_len(&self) -> usize {
        self.origins.iter().map(|o| o.leaves.len()).sum()
    }

    /// Cuts the leave log of a replica down to its newest `len_max` leaves.
    pub fn limit_leaves(&mut self, replica: &ReplicaId, len_max: usize) {
        if let Some(number) = self.origins.find(replica) {
            let origin = self.origins.get_mut(number);
            let cut = origin.leaves.len().checked_sub(len_max + 1);
            if let Some(last) = cut.and_then(|cut| origin.leaves.get(cut)) {
                let op = last.op;
                origin.trim_leaves(op);
            }
        }
    }

    /// The replica with the longest leave log, and its length. O(origins).
    #[must_use]
    pub fn longest_leave_log(&self) -> Option<(ReplicaId, usize)> {
        let longest = self
            .origins
            .iter()
            .max_by_key(|origin| origin.leaves.len())?;
        Some((longest.id.clone(), longest.leaves.len()))
    }

    /// Starts a new life under a new id of the same replica: all own entries stay, as entries of
    /// the new incarnation. The Diff is that of [`take_diff`](Self::take_diff), with an update of
    /// every entry that was reported under the old id: its reference is another one now.
    /// O(own entries).
    pub fn reincarnate(&mut self, id: ReplicaId) -> Diff {
        self.note_all();
        self.origins.rename_local(id);
        let origin = self.origins.get_mut(LOCAL);
        origin.leaves.clear();
        origin.horizon = origin.clock;
        self.take_diff()
    }

    /// This replica.
    #[must_use]
    pub fn id(&self) -> &ReplicaId {
        &self.origins.get(LOCAL).id
    }

    /// The slot of topics this tracker holds.
    #[must_use]
    pub fn slot(&self) -> u8 {
        self.slot
    }

    /// This replica's origin in this slot.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            replica: self.id().clone(),
            slot: self.slot,
        }
    }

    /// The op up to which the operations of a replica are known here; 0 when it is unknown. O(1).
    #[must_use]
    pub fn clock(&self, replica: &ReplicaId) -> u64 {
        self.origins
            .find(replica)
            .map_or(0, |n| self.origins.get(n).clock)
    }

    /// Returns where one replica stands here. O(1).
    #[must_use]
    pub fn origin_info(&self, replica: &ReplicaId) -> Option<OriginInfo> {
        self.origins
            .find(replica)
            .map(|n| info(self.origins.get(n)))
    }

    /// Returns where every replica stands here, this one first.
    pub fn origins(&self) -> impl Iterator<Item = OriginInfo> {
        self.origins.iter().map(info)
    }

    /// The bounds of this tracker.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn info(origin: &origin::OriginState) -> OriginInfo {
    OriginInfo {
        replica: origin.id.clone(),
        clock: origin.clock,
        fingerprint: origin.fingerprint,
        horizon: origin.horizon,
        entries: origin.len,
        hidden: origin.hidden,
        applying: origin.applying.is_some(),
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<Tracker {} slot={} entries={} topics={} origins={}>",
            self.id(),
            self.slot,
            self.store.slab.len(),
            self.topic_count(),
            self.origins.len()
        )
    }
}

//! The delta-CRDT of presence entries: the entries tracked here, and those that other replicas
//! track.
//!
//! A [`Tracker`] is a data structure without locks, I/O or a clock; [`Presence`](crate::Presence)
//! is the same for many threads and many nodes. A [`NewEntry`] goes in, [`Entry`] and [`EntryBuf`]
//! come out, and a [`Diff`] has the changes. Trackers exchange frames: a Delta has the operations
//! between two clocks, a Repair the state at a clock.
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
//! Only one replica writes an entry: the one that holds the connection. So the state of an origin
//! is a function of its clock: a frame takes a holder from one exact state to the next or changes
//! nothing, and no tombstones are kept.
//!
//! Large work can go in slices, so that a lock is never held for long: [`StagedDelta`] and
//! [`StagedRepair`] apply, [`Extract`] encodes, [`VisibilityChange`] shows and hides, [`Pages`]
//! list.

// `Tracker` routes to its parts. `State` keeps each entry in all its indexes: `Store` (rows, bytes,
// topics, keys), `Origins` with an `OriginState` each (version order, births, leave log,
// fingerprint), and `Owners`. `Pending` collects own changes for the next `Diff`. Work in slices
// (`Slice`) is an object of its own that takes steps on a tracker.

mod apply;
mod blobs;
mod capture;
mod cold_load;
mod content;
#[cfg(feature = "crdts")]
mod crdt;
mod delta;
mod diff;
mod encoding;
mod entry;
mod extract;
mod head_table;
mod leave;
mod leave_log;
mod limits;
mod linger;
mod local;
mod origin;
mod origins;
mod own_counts;
mod owners;
mod pages;
mod pending;
mod read;
mod repair;
#[cfg(feature = "serde")]
mod serde_impls;
mod session;
mod slab;
mod slice;
mod state;
mod store;
mod topic_share;
mod topics;
mod version_order;
mod version_vector;
mod visibility;
mod visible_keys;
mod wire;

use std::fmt;
use std::sync::Arc;

pub(crate) use capture::Captured;
pub(crate) use cold_load::ColdLoad;
pub(crate) use content::{Content, ContentKind, Contents};
#[cfg(feature = "crdts")]
pub use crdt::Delta;
pub use delta::StagedDelta;
pub use diff::{Diff, TopicDiff, Update};
pub use encoding::Encoding;
pub use entry::{Entry, EntryBuf, Key, NewEntry};
pub use extract::{Extract, Extracted};
pub use leave::{Leave, LeaveReason};
pub use limits::Limits;
pub(crate) use own_counts::Count;
pub use pages::Pages;
pub use read::{Entries, ListRevision, Sessions};
pub use repair::StagedRepair;
pub(crate) use session::{SessionName, Since};
pub use slice::Slice;
pub(crate) use topic_share::TopicShare;
pub use version_vector::VersionVector;
pub use visibility::VisibilityChange;
pub use wire::{DeltaHead, RepairHead};

pub use crate::error::{ApplyError, TrackError};

use self::pending::Pending;
use self::state::State;
use crate::codec::{Envelope, Kind};
use crate::fault::{Fault, is_broken};
use crate::id::{Origin, ReplicaId};

/// The state of an origin at one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OriginInfo {
    /// The replica.
    pub replica: ReplicaId,
    /// The op up to which exactly its operations are known.
    pub clock: u64,
    /// The fingerprint of its entries: at equal clocks all holders have the same one.
    pub fingerprint: u64,
    /// The newest op whose leave was dropped from the leave log: a `Delta` can start from here.
    pub horizon: u64,
    /// Number of live entries, hidden ones included.
    pub entries: u32,
    /// True if its entries are hidden.
    pub hidden: bool,
    /// True while work in slices claims it, see [`Slice`]: do not advertise, do not serve.
    pub applying: bool,
}

/// Presence entries by topic, key and owner, replicated by frames.
///
/// One tracker holds the entries of all replicas that it has frames of.
/// [`take_diff`](Self::take_diff) returns the changes of local operations, [`apply`](Self::apply)
/// those of a frame.
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
    state: State,
    /// Own changes that no Diff has reported.
    pending: Pending,
    /// The number that tells this tracker from others of the same partition.
    generation: u64,
}

impl Tracker {
    /// Creates an empty tracker of all topics, with default limits.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Self {
        Self::with_limits(replica, Limits::default())
    }

    /// Creates an empty tracker of all topics.
    #[must_use]
    pub fn with_limits(replica: ReplicaId, limits: Limits) -> Self {
        Self::with_shared_limits(replica, limits.shared())
    }

    fn with_shared_limits(replica: ReplicaId, limits: Arc<Limits>) -> Self {
        Self {
            state: State::new(replica, limits),
            pending: Pending::default(),
            generation: 0,
        }
    }

    /// Returns this replica.
    #[must_use]
    pub fn id(&self) -> &ReplicaId {
        self.state.local().id()
    }

    /// Returns the partition of topics that this tracker holds; 0 if it holds all.
    #[must_use]
    pub fn partition(&self) -> u16 {
        self.state.share().number()
    }

    /// Returns this replica's origin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin_of(self.id())
    }

    fn origin_of(&self, replica: &ReplicaId) -> Origin {
        Origin {
            replica: replica.clone(),
            partition: self.partition(),
        }
    }

    /// Returns the bounds of this tracker.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.state.limits()
    }

    /// Returns the op up to which the operations of a replica are known here; 0 when it is unknown.
    /// O(1).
    #[must_use]
    pub fn clock(&self, replica: &ReplicaId) -> u64 {
        let number = self.state.origins().find(replica);
        number.map_or(0, |number| self.state.origin(number).clock())
    }

    /// Returns the clock of every origin known here. O(origins).
    #[must_use]
    pub fn version_vector(&self) -> VersionVector {
        let origins = self.state.origins().iter();
        origins
            .map(|origin| (self.origin_of(origin.id()), origin.clock()))
            .collect()
    }

    /// Returns the state of one replica here. O(1).
    #[must_use]
    pub fn origin_info(&self, replica: &ReplicaId) -> Option<OriginInfo> {
        let number = self.state.origins().find(replica)?;
        Some(self.info(number))
    }

    /// Returns the state of every replica here, this one first.
    pub fn origins(&self) -> impl Iterator<Item = OriginInfo> {
        let numbers = self.state.origins().numbers();
        numbers.map(|number| self.info(number))
    }

    fn info(&self, number: u16) -> OriginInfo {
        let origin = self.state.origin(number);
        OriginInfo {
            replica: origin.id().clone(),
            clock: origin.clock(),
            fingerprint: origin.fingerprint(),
            horizon: origin.horizon(),
            entries: origin.len(),
            hidden: self.state.origins().is_hidden(number),
            applying: origin.is_claimed(),
        }
    }
}

/// Frames for other holders, and the leave logs that these are made from.
impl Tracker {
    /// Returns the operations that another holder of `replica`'s state misses if its clock is
    /// `clock`: a sealed frame for [`apply`](Self::apply), or `None` when it misses nothing or the
    /// replica is unknown.
    ///
    /// O(missing operations), or O(entries of the replica) when its leave log was cut.
    #[must_use]
    pub fn delta_since(&self, replica: &ReplicaId, clock: u64) -> Option<Vec<u8>> {
        let (kind, body) = self.body_since(replica, clock)?;
        Some(Envelope::default().seal(kind, None, &body))
    }

    /// Does what [`delta_since`](Self::delta_since) does, but returns only the body, with its kind.
    #[must_use]
    pub fn body_since(&self, replica: &ReplicaId, clock: u64) -> Option<(Kind, Vec<u8>)> {
        let origin = self.state.origin(self.state.origins().find(replica)?);
        let store = self.state.store();
        let is_exact = !origin.is_claimed();
        if !is_exact || clock >= origin.clock() {
            return None;
        }
        let reaches_back = clock >= origin.horizon() || is_broken(Fault::IgnoreHorizon);
        if clock > 0 && reaches_back {
            let body = wire::delta_body(store, origin, self.state.share(), clock);
            return Some((Kind::STATE_DELTA, body));
        }
        let body = wire::repair_body(store, origin, self.state.share(), clock);
        Some((Kind::STATE_REPAIR, body))
    }

    /// Returns the operations of this replica after `from` as a `Delta` body to push, or `None`
    /// when there are none or when leaves of the interval are no longer in the leave log.
    /// O(operations).
    #[must_use]
    pub fn push_body(&self, from: u64) -> Option<Vec<u8>> {
        let origin = self.state.local();
        let reaches_back = from >= origin.horizon() || is_broken(Fault::IgnoreHorizon);
        let is_useful = from < origin.clock() && reaches_back;
        is_useful.then(|| wire::delta_body(self.state.store(), origin, self.state.share(), from))
    }

    /// Returns the whole state of an origin as a `Repair` body. O(entries of the replica).
    #[must_use]
    pub fn full_body(&self, replica: &ReplicaId) -> Option<Vec<u8>> {
        let origin = self.state.origin(self.state.origins().find(replica)?);
        let is_exact = !origin.is_claimed();
        is_exact.then(|| wire::repair_body(self.state.store(), origin, self.state.share(), 0))
    }

    /// Drops remembered leaves of a replica up to `op`: every other holder has seen them.
    pub fn trim_leaves(&mut self, replica: &ReplicaId, op: u64) {
        if let Some(number) = self.state.origins().find(replica) {
            self.state.trim_leaves(number, op);
        }
    }

    /// Cuts the leave log of a replica down to its newest `len_max` leaves.
    pub fn limit_leaves(&mut self, replica: &ReplicaId, len_max: usize) {
        if let Some(number) = self.state.origins().find(replica) {
            self.state.limit_leaves(number, len_max);
        }
    }

    /// Returns the number of leaves remembered, over all origins.
    #[must_use]
    pub fn leave_log_len(&self) -> usize {
        let origins = self.state.origins().iter();
        origins.map(|origin| origin.leaves().len()).sum()
    }

    /// Returns the replica with the longest leave log, and its length. O(origins).
    #[must_use]
    pub fn longest_leave_log(&self) -> Option<(ReplicaId, usize)> {
        let origins = self.state.origins().iter();
        let longest = origins.max_by_key(|origin| origin.leaves().len())?;
        Some((longest.id().clone(), longest.leaves().len()))
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<Tracker {} partition={} entries={} topics={} origins={}>",
            self.id(),
            self.partition(),
            self.len(),
            self.topics().count(),
            self.state.origins().len()
        )
    }
}

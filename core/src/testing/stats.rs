//! The incidents that can befall a cluster, and how often a schedule had each: tests check that all
//! of them happen.

use std::ops::AddAssign;

macro_rules! incidents {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A kind of incident in schedules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Incident {
            $($(#[$doc])* $name,)*
        }

        impl Incident {
            /// All incidents, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

incidents! {
    /// A frame lost by chance.
    FrameLost,
    /// A frame delivered twice.
    FrameDoubled,
    /// A frame that overtook others.
    FrameReordered,
    /// A frame under way for too long.
    FrameLate,
    /// A frame lost to a cut.
    FrameCutOff,
    /// A link cut in both directions.
    LinkCut,
    /// A link cut in one direction.
    LinkCutOneWay,
    /// A node cut off from all others.
    NodeCutOff,
    /// All links healed during a schedule.
    Healed,
    /// A process killed.
    Crash,
    /// A process started where one had ended.
    Restart,
    /// A start with an incarnation below that of the life before.
    WallClockBack,
    /// A machine cloned while it ran.
    Clone,
    /// A machine that slept past `forget_after`.
    Sleep,
    /// A graceful leave.
    Goodbye,
    /// A hint of the transport that a neighbour is gone.
    Hint,
    /// A node that took a new identity while it ran.
    Reincarnation,
    /// A message to a node that a later start of its name is known.
    Superseded,
    /// A node that noticed a double of its name.
    DuplicateName,
    /// A replica hidden.
    ReplicaDown,
    /// A replica heard for the first time, or again.
    ReplicaUp,
    /// A replica dropped for its silence or for a later start.
    ReplicaForgotten,
    /// A replica dropped for its Goodbye.
    ReplicaLeft,
    /// A Repair delivered.
    Repair,
    /// A frame whose entries a holder altered, with a valid checksum.
    FrameAltered,
    /// A divergence between two holders, reported.
    Divergence,
    /// A frame of an unknown kind.
    UnknownKind,
    /// A frame of another major version.
    OtherMajor,
    /// A frame of another cluster.
    OtherCluster,
    /// A frame applied by a thread that told the control plane only after other frames.
    LateReport,
    /// A frame damaged under way.
    Damaged,
    /// A snapshot taken.
    Snapshot,
    /// A start from a snapshot.
    Restore,
    /// A lease of an entry or an owner begun or renewed.
    Lease,
    /// Entries that left with the end of a lease.
    LeaseEnded,
    /// An owner lost; its entries stay for the grace.
    OwnerLost,
    /// A lost owner that came back in time.
    OwnerBack,
    /// An entry of a lost owner taken over by another one.
    EntryAdopted,
    /// Entries that left with the end of the grace.
    GraceEnded,
    /// A signal sent.
    Signal,
    /// A machine rolled back to an earlier moment.
    RollBack,
    /// A topic watched.
    Watch,
    /// The counts of a topic watched.
    WatchCounts,
    /// A watch of a topic ended.
    Unwatch,
    /// A watched topic that can be read.
    TopicReady,
    /// The counts of a watched topic that can be read.
    CountsReady,
    /// A row of a quiet partition delivered.
    RowShown,
    /// The first operations of a life delivered.
    LifeBegun,
    /// A request for an index delivered.
    IndexAsked,
    /// A whole index delivered.
    WholeIndex,
    /// A request for rows delivered.
    RowsAsked,
    /// Several answers in one frame delivered.
    Bundle,
    /// A warning of a second self delivered.
    Warned,
    /// A slice of work done.
    Slice,
    /// A part of a whole state delivered.
    StatePart,
    /// A part of a change delivered.
    ChangePart,
    /// A node has caught up with the others.
    Ready,
    /// A frame of a node with another number of partitions.
    OtherShape,
}

/// The account of one schedule, or the sum of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps taken, without the healing at the end.
    pub steps: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Local operations.
    pub operations: u64,
    /// The number of times that each incident happened.
    pub incidents: Incidents,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.frames += other.frames;
        self.operations += other.operations;
        self.incidents += other.incidents;
    }
}

/// The number of times that each [`Incident`] happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Incidents([u64; Incident::ALL.len()]);

impl Incidents {
    /// Returns how often an incident happened.
    ///
    /// ```
    /// use headcount::testing::{Incident, Stats, self};
    ///
    /// let mut stats = Stats::default();
    /// for seed in 0..50 {
    ///     stats += testing::simulate(seed, None)?;
    /// }
    /// assert!(stats.incidents.count(Incident::Crash) > 0);
    /// # Ok::<(), testing::Failure>(())
    /// ```
    #[must_use]
    pub fn count(&self, incident: Incident) -> u64 {
        self.0[incident as usize]
    }

    /// Iterates over all incidents with their counts, in the order of [`Incident::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Incident, u64)> + '_ {
        Incident::ALL.iter().copied().zip(self.0)
    }

    pub(super) fn add(&mut self, incident: Incident) {
        self.0[incident as usize] += 1;
    }
}

impl Default for Incidents {
    fn default() -> Self {
        Self([0; Incident::ALL.len()])
    }
}

impl std::fmt::Debug for Incidents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let happened = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(happened).finish()
    }
}

impl AddAssign for Incidents {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }
}

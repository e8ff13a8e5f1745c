//! What can befall a cluster, counted, so that nobody has to take the schedules' word for it.

use std::ops::AddAssign;

macro_rules! incidents {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One kind of thing that happens in schedules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Incident {
            $($(#[$doc])* $name,)*
        }

        impl Incident {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

incidents! {
    /// A cluster of two.
    TwoNodes,
    /// A cluster of three.
    ThreeNodes,
    /// A cluster of four.
    FourNodes,
    /// A cluster of five.
    FiveNodes,
    /// A cluster of six.
    SixNodes,
    /// A cluster of seven.
    SevenNodes,
    /// Everybody hears everybody.
    Mesh,
    /// Everybody hears two others.
    Ring,
    /// Everybody hears the first one.
    Star,
    /// A cluster that remembers no leave.
    LeaveLog0,
    /// A cluster that remembers one leave for each origin and slot.
    LeaveLog1,
    /// A cluster that remembers 8 leaves.
    LeaveLog8,
    /// A cluster that remembers 64 leaves.
    LeaveLog64,
    /// A frame lost by chance.
    FrameLost,
    /// A frame delivered twice.
    FrameDoubled,
    /// A frame that overtook others.
    FrameReordered,
    /// A frame too long under way.
    FrameLate,
    /// A frame lost to a cut.
    FrameCutOff,
    /// A link cut in both directions.
    LinkCut,
    /// A link cut in one direction.
    LinkCutOneWay,
    /// A node cut off from all others.
    NodeCutOff,
    /// All links healed in the midst of a schedule.
    Healed,
    /// A process killed.
    Crash,
    /// A process started where one had ended.
    Restart,
    /// A start with an incarnation below that of the life before.
    WallClockBack,
    /// A call with an earlier time than the one before.
    ClockBack,
    /// A machine cloned while it ran.
    Clone,
    /// A machine that slept past `forget_after`.
    Sleep,
    /// A process that stood still for longer than `down_after` while frames came for it.
    Frozen,
    /// A node not heard for longer than `down_after`: it stood still, was cut off, or ended.
    Silence,
    /// A node that fell silent soon after it was heard again.
    SilentAgain,
    /// A graceful leave.
    Goodbye,
    /// A hint of the transport that a neighbour is gone.
    Hint,
    /// A node that took a new identity while it ran.
    Reincarnation,
    /// A node told that a later start of its name is known.
    Superseded,
    /// A node told of a double of its name.
    DuplicateName,
    /// A replica hidden.
    ReplicaDown,
    /// A replica heard: new, or again.
    ReplicaUp,
    /// A replica dropped for its silence or for a later start.
    ReplicaForgotten,
    /// A replica dropped for its Goodbye.
    ReplicaLeft,
    /// A frame handled between two slices of other work.
    SlicesInterrupted,
    /// A Repair delivered.
    Repair,
    /// A part of a large reply delivered.
    Part,
    /// A frame with entries altered by a holder, and sealed as if it were sound.
    FrameAltered,
    /// A holder whose content is not what its origin had at that clock.
    ContentWrong,
    /// Content made right again while its clock stood still: by a full Repair.
    ContentMended,
    /// Two holders found to disagree.
    Divergence,
    /// A frame of another minor version.
    OtherMinor,
    /// A frame of a kind that nobody knows.
    UnknownKind,
    /// A frame of another major version.
    OtherMajor,
    /// A frame of another cluster.
    OtherCluster,
    /// A frame damaged under way.
    Damaged,
    /// A snapshot taken.
    Snapshot,
    /// A start from a snapshot.
    Restore,
    /// A start from a snapshot of a life before the last one.
    RestoreOld,
    /// Two processes started from one snapshot.
    RestoreTwice,
    /// A lease of an entry or an owner begun or renewed.
    Lease,
    /// Entries that left with the end of a lease.
    LeaseEnded,
    /// An owner lost, and its entries kept for the grace.
    OwnerLost,
    /// A lost owner that came back in time.
    OwnerBack,
    /// An entry of a lost owner taken over by another one.
    EntryAdopted,
    /// Entries that left with the end of the grace.
    GraceEnded,
    /// A signal sent.
    Signal,
}

/// How often each [`Incident`] happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Incidents([u64; Incident::ALL.len()]);

impl Incidents {
    /// Returns how often one happened.
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

    /// Each with its count.
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

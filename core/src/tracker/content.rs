//! Contents of frames without their heads, and lives of the local origin: what the next edition of the wire needs.

use super::diff::Diff;
use super::limits::Limits;
use super::topic_share::TopicShare;
use super::wire::{self, DeltaHead, RepairHead};
use super::{Tracker, delta, repair};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::{ALL_TOPICS, ReplicaId};

/// The interval and the content of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    /// The clock that it starts after, or the base of a repair.
    pub(crate) from: u64,
    /// The clock that it leads to.
    pub(crate) to: u64,
    /// The records of a delta; the versions that are kept and the records of a repair.
    pub(crate) bytes: &'a [u8],
}

impl Tracker {
    /// Creates an empty tracker of a share of the topics.
    pub(crate) fn with_share(replica: ReplicaId, share: TopicShare, limits: Limits) -> Self {
        let mut tracker = Self::with_slot(replica, ALL_TOPICS, limits);
        tracker.state.set_share(share);
        tracker
    }

    /// Begins a new life of the local origin, in which no operation has a number up to `floor`. Entries stay; leaves
    /// before it are forgotten. O(1).
    pub(crate) fn begin_life(&mut self, floor: u64) {
        self.state.begin_life(floor);
    }

    /// Returns the records of this replica's operations after `from`, or `None` when leaves among them are no longer
    /// in the leave log. From 0 on no leave is needed: a holder that has nothing misses none. O(operations).
    pub(crate) fn records_since(&self, from: u64) -> Option<Vec<u8>> {
        let origin = self.state.local();
        let reaches_back =
            from == 0 || from >= origin.leaves().horizon() || is_broken(Fault::PushPastHorizon);
        reaches_back.then(|| wire::delta_records(self.state.store(), origin, from))
    }

    /// Returns the state of this replica relative to `base`. O(entries of the replica).
    pub(crate) fn repair_since(&self, base: u64) -> Vec<u8> {
        wire::repair_content(self.state.store(), self.state.local(), base)
    }

    /// Applies the records of a delta. O(changes).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); offsets are those in the content.
    pub(crate) fn apply_records(
        &mut self,
        replica: &ReplicaId,
        content: Content<'_>,
    ) -> Result<Diff, ApplyError> {
        let head = DeltaHead {
            origin: self.origin_of(replica),
            from: content.from,
            to: content.to,
        };
        delta::apply_records(&mut self.state, head, content.bytes, 0)
    }

    /// Applies the content of a repair. `full` as in [`apply_repair`](Self::apply_repair). O(entries of the replica).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); offsets are those in the content.
    pub(crate) fn apply_content(
        &mut self,
        replica: &ReplicaId,
        content: Content<'_>,
        full: bool,
    ) -> Result<Diff, ApplyError> {
        let head = RepairHead {
            origin: self.origin_of(replica),
            base: content.from,
            to: content.to,
            nonce: 0,
        };
        repair::apply_content(&mut self.state, head, content.bytes, full)
    }
}

//! Contents of frames without their heads, and lives of the local origin: what the next edition of the wire needs.

use std::sync::Arc;

use bytes::Bytes;

use super::diff::Diff;
use super::limits::Limits;
use super::topic_share::TopicShare;
use super::wire::{self, DeltaHead, RepairHead};
use super::{StagedDelta, StagedRepair, Tracker, delta, repair};
use crate::codec::DecodeError;
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

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

/// The bytes after the heads of frames that bring a holder from one clock to another.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) content: ContentKind,
}

/// The kind of a content, and its bytes.
#[derive(Debug)]
pub(crate) enum ContentKind {
    /// Records of a delta.
    Records(Vec<u8>),
    /// A repair.
    Repair(Vec<u8>),
}

impl Tracker {
    /// Creates an empty tracker of a share of the topics.
    pub(crate) fn with_share(replica: ReplicaId, share: TopicShare, limits: Arc<Limits>) -> Self {
        let mut tracker = Self::with_shared_limits(replica, limits);
        tracker.state.set_share(share);
        tracker
    }

    /// Sets the number that tells this tracker from earlier ones of the same partition, whose lists
    /// had revisions too.
    pub(crate) fn generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Notes the life that is held of another replica, if it is known.
    pub(crate) fn set_life(&mut self, replica: &ReplicaId, life: u64) {
        if let Some(number) = self.state.origins().find_remote(replica) {
            self.state.set_life(number, life);
        }
    }

    /// Returns the life that is noted of another replica. O(1).
    pub(crate) fn life(&self, replica: &ReplicaId) -> Option<u64> {
        let origins = self.state.origins();
        origins.life(origins.find_remote(replica)?)
    }

    /// Returns whether a life is noted of any replica. O(1) if one is of the first that is known, else
    /// O(replicas).
    pub(crate) fn holds_lives(&self) -> bool {
        let origins = self.state.origins();
        origins
            .numbers()
            .any(|number| origins.life(number).is_some())
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
            from == 0 || from >= origin.horizon() || is_broken(Fault::PushPastHorizon);
        reaches_back.then(|| wire::delta_records(self.state.store(), origin, from))
    }

    /// Returns the state of this replica relative to `base`. O(entries of the replica).
    pub(crate) fn repair_since(&self, base: u64) -> Vec<u8> {
        wire::repair_content(self.state.store(), self.state.local(), base)
    }

    /// Returns what a holder of this replica's state at `from`, not 0, misses. O(operations), or O(entries of the
    /// replica).
    pub(crate) fn contents_since(&self, from: u64) -> Contents {
        let records = self.records_since(from).map(ContentKind::Records);
        Contents {
            from,
            to: self.state.local().clock(),
            content: records.unwrap_or_else(|| ContentKind::Repair(self.repair_since(from))),
        }
    }

    /// Returns the whole state of this replica as the content of a repair from 0; `None` if it has more than
    /// `bytes_max` bytes, and not only one entry: see [`begin_capture`](Self::begin_capture). O(entries of the
    /// replica), no more than fit.
    pub(crate) fn whole_content(&self, bytes_max: usize) -> Option<Contents> {
        let content = wire::whole_content(self.state.store(), self.state.local(), bytes_max)?;
        Some(Contents {
            from: 0,
            to: self.state.local().clock(),
            content: ContentKind::Repair(content),
        })
    }

    /// Checks the records of a delta, to be applied in slices. O(length).
    ///
    /// # Errors
    /// If they are not valid within the limits.
    pub(crate) fn stage_records(
        &self,
        replica: &ReplicaId,
        interval: (u64, u64),
        records: Bytes,
    ) -> Result<StagedDelta, DecodeError> {
        let head = DeltaHead {
            origin: self.origin_of(replica),
            share: self.state.share(),
            from: interval.0,
            to: interval.1,
        };
        StagedDelta::of_records(head, records, 0, self.limits(), self.state.share())
    }

    /// Checks the content of a repair, to be applied in slices. O(length).
    ///
    /// # Errors
    /// If it is not valid within the limits.
    pub(crate) fn stage_content(
        &self,
        replica: &ReplicaId,
        interval: (u64, u64),
        content: Bytes,
    ) -> Result<StagedRepair, DecodeError> {
        let head = RepairHead {
            origin: self.origin_of(replica),
            share: self.state.share(),
            base: interval.0,
            to: interval.1,
        };
        StagedRepair::of_content(head, content, self.limits(), self.state.share())
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
            share: self.state.share(),
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
            share: self.state.share(),
            base: content.from,
            to: content.to,
        };
        repair::apply_content(&mut self.state, head, content.bytes, full)
    }
}

//! Rules of the protocol that the tests break on purpose, to show that they would notice.
//!
//! Without the feature `testing` every rule always holds and the checks compile to nothing.

/// A rule of the protocol, named by how a test breaks it.
#[cfg_attr(
    not(feature = "testing"),
    allow(
        unreachable_pub,
        dead_code,
        reason = "public and used where a test can break it"
    )
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Apply a Delta that starts after the clock.
    ApplyOverGap,
    /// Omit the last leave of a Delta.
    DropLeave,
    /// Serve a Delta although the leave log no longer has the leaves of its interval.
    IgnoreHorizon,
    /// Keep the horizon and the leave log after a Repair.
    KeepHorizon,
    /// Omit the leaves of entries that were born in the interval of a Delta.
    CancelLeaves,
    /// Apply a Repair whose base is above the clock.
    RepairOverClock,
    /// Admit a lower incarnation of a known name.
    NoFloor,
    /// Readmit a forgotten replica on an equal heartbeat.
    EqualHeartbeat,
    /// Keep no marker of a forgotten replica.
    NoMarker,
    /// Keep no marker of a replica that sent Goodbye.
    NoRetirement,
    /// Keep the identity after another live node has used it.
    IgnoreTwin,
    /// Advertise and serve an origin that is being applied in slices.
    ServeInexact,
    /// Never pull again after an unanswered Pull.
    AskOnce,
    /// Ignore a gap in a sender's Digests.
    IgnoreDigestGap,
    /// Never repair a divergence.
    IgnoreDivergence,
    /// Report a frame that contradicts the state as applied.
    IgnoreInvalid,
    /// Treat a Digest with other content at the own clock as proof of a duplicate identity.
    DigestIsEvidence,
    /// Advertise a slot only once although a peer has different content at its clock.
    ShowOnce,
    /// Restart a staged reply whenever a part of another reply arrives.
    SwitchReplies,
    /// Advertise replicas that only a snapshot knew.
    OfferRestored,
    /// Show entries that a snapshot knew of other replicas before those are heard.
    ShowRestored,
    /// Answer the refusal of another wire version with a refusal.
    AnswerRefusal,
    /// Never hide a replica for its silence before it is forgotten.
    NeverDown,
    /// Show a replica again without a deadline for its next silence.
    ShowWithoutSweep,
    /// Wire 2: take any Delta from 0 where nothing is held.
    ColdTakesDelta,
    /// Wire 2: take any Repair from 0 where nothing is held.
    ColdTakesRepair,
    /// Wire 2: keep the entries of a partition that its origin vacated.
    KeepVacated,
    /// Wire 2: drop the partitions that toggle, not all that an index does not name.
    DropToggledOnly,
    /// Wire 2: number the operations of each life from 1.
    RestartTicks,
    /// Wire 2: apply toggles of an index over a gap.
    IndexOverGap,
    /// Wire 2: do not compare an index with the hash of its origin.
    IndexWithoutHash,
    /// Wire 2: keep the index of a name over its incarnations.
    IndexOverIncarnation,
    /// Wire 2: treat frames of all lives of a partition alike.
    NoLives,
    /// Wire 2: never compare what is held with the sum of its origin.
    IgnoreSum,
    /// Wire 2: push operations although the leaves among them are no longer remembered.
    PushPastHorizon,
    /// Wire 2: forget the version of the index with its replica.
    MarkerWithoutVersion,
    /// Wire 2: keep the nonce of a question when its partition toggles.
    KeepNonce,
    /// Wire 2: do not warn a replica whose index is behind what was heard of it.
    HeardWithoutVersion,
    /// Wire 2: do not ask an origin that shows less than is held of it.
    IgnoreRowBelow,
    /// Wire 2: keep the identity although others know more of it.
    IgnoreSecondSelf,
    /// Wire 2: ask for a partition once only.
    PullOnce,
    /// Wire 2: show the entries of a first load as they come.
    ShowParts,
    /// Wire 2: load the parts of two encodings of an answer as one.
    MixReplies,
    /// Wire 2: load on although the partition toggled.
    KeepLoad,
    /// Wire 2: take a question as answered with the first part.
    CloseAtFirstPart,
    /// Wire 2: be ready before the others had time to speak.
    ReadyAtStart,
    /// Wire 2: wait for replicas that are down before being ready.
    ReadyWaitsForDead,
    /// Wire 2: be ready as soon as all others were heard.
    ReadyUnchecked,
    /// Wire 2: never end the grace of a replaced replica.
    KeepGrace,
    /// Wire 2: start from a snapshot under the identity that took it.
    RestoreSameLife,
    /// Wire 2: keep the entries of an owner whose lease has ended.
    KeepLease,
    /// Wire 2: take over entries of a lost owner that were written since.
    AdoptWritten,
    /// Wire 2: read frames of nodes with another number of partitions.
    AnyShape,
    /// Wire 2: hide a replica in the first shard only.
    HideOneShard,
    /// Wire 2: do not go on with work in slices.
    ForgetWork,
    /// Wire 2: keep content that differs from that of its origin.
    KeepAltered,
}

#[cfg(feature = "testing")]
impl Fault {
    /// Every rule of wire 1.
    pub const ALL: &[Self] = &[
        Self::ApplyOverGap,
        Self::DropLeave,
        Self::IgnoreHorizon,
        Self::KeepHorizon,
        Self::CancelLeaves,
        Self::RepairOverClock,
        Self::NoFloor,
        Self::EqualHeartbeat,
        Self::NoMarker,
        Self::NoRetirement,
        Self::IgnoreTwin,
        Self::ServeInexact,
        Self::AskOnce,
        Self::IgnoreDigestGap,
        Self::IgnoreDivergence,
        Self::IgnoreInvalid,
        Self::DigestIsEvidence,
        Self::ShowOnce,
        Self::SwitchReplies,
        Self::OfferRestored,
        Self::ShowRestored,
        Self::AnswerRefusal,
        Self::NeverDown,
        Self::ShowWithoutSweep,
    ];

    /// Every rule of wire 2.
    pub const WIRE_2: &[Self] = &[
        Self::ColdTakesDelta,
        Self::ColdTakesRepair,
        Self::KeepVacated,
        Self::DropToggledOnly,
        Self::RestartTicks,
        Self::IndexOverGap,
        Self::IndexWithoutHash,
        Self::IndexOverIncarnation,
        Self::NoLives,
        Self::IgnoreSum,
        Self::PushPastHorizon,
        Self::MarkerWithoutVersion,
        Self::KeepNonce,
        Self::HeardWithoutVersion,
        Self::IgnoreRowBelow,
        Self::IgnoreSecondSelf,
        Self::PullOnce,
        Self::ShowParts,
        Self::MixReplies,
        Self::KeepLoad,
        Self::CloseAtFirstPart,
        Self::ReadyAtStart,
        Self::ReadyWaitsForDead,
        Self::ReadyUnchecked,
        Self::KeepGrace,
        Self::RestoreSameLife,
        Self::KeepLease,
        Self::AdoptWritten,
        Self::AnyShape,
        Self::HideOneShard,
        Self::ForgetWork,
        Self::KeepAltered,
    ];
}

#[cfg(feature = "testing")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static BROKEN: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Returns whether this thread breaks the rule.
    pub(crate) fn is_broken(rule: Fault) -> bool {
        BROKEN.get() == Some(rule)
    }

    /// Runs `work` on this thread with one rule broken, or none.
    pub(crate) fn with<R>(rule: Option<Fault>, work: impl FnOnce() -> R) -> R {
        /// Restores the rule, also when `work` panics.
        struct Mend(Option<Fault>);
        impl Drop for Mend {
            fn drop(&mut self) {
                BROKEN.set(self.0);
            }
        }
        let _mend = Mend(BROKEN.replace(rule));
        work()
    }
}

#[cfg(feature = "testing")]
pub(crate) use switch::{is_broken, with};

/// Returns whether this thread breaks the rule: never.
#[cfg(not(feature = "testing"))]
pub(crate) const fn is_broken(_rule: Fault) -> bool {
    false
}

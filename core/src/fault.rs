//! Rules of the protocol that the test suite breaks on purpose, to show that it would notice.
//!
//! Without the feature `testing` every rule always holds and the checks compile to nothing.

/// A rule to break.
#[cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "public where it can be used")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Apply a Delta that starts after the clock.
    ApplyOverGap,
    /// Leave the last leave out of a Delta.
    DropLeave,
    /// Serve a Delta although leaves of its interval have left the log.
    IgnoreHorizon,
    /// Keep the horizon and the leave log after a Repair.
    KeepHorizon,
    /// Leave out the leaves of entries born in the interval of a Delta.
    CancelLeaves,
    /// Apply a Repair whose base is above the clock.
    RepairOverClock,
    /// Admit a lower incarnation of a known name.
    NoFloor,
    /// Readmit a forgotten replica on an equal heartbeat.
    EqualHeartbeat,
    /// Leave no marker of a forgotten replica.
    NoMarker,
    /// Leave no marker of a replica that said Goodbye.
    NoRetirement,
    /// Stay the same after meeting a second self.
    IgnoreTwin,
    /// Advertise and serve an origin that is being applied in slices.
    ServeInexact,
    /// Never pull again after an unanswered Pull.
    AskOnce,
    /// Take a gap in a sender's Digests for nothing.
    IgnoreDigestGap,
    /// Never repair a divergence.
    IgnoreDivergence,
    /// Take a frame that contradicts the state for one that was applied.
    IgnoreInvalid,
    /// Take another digest of the own content for a second self.
    DigestIsEvidence,
    /// Show a slot no more although somebody holds other content of it.
    ShowOnce,
    /// Start a staged reply anew whenever a part of another one arrives.
    SwitchReplies,
    /// Tell of replicas that only a snapshot knew.
    OfferRestored,
    /// Show what a snapshot knew of others before they are heard.
    ShowRestored,
    /// Answer the refusal of another wire version with a refusal.
    AnswerRefusal,
    /// Never hide a replica for its silence before it is forgotten.
    NeverDown,
    /// Show a replica again without planning to look whether it falls silent once more.
    ShowWithoutSweep,
}

#[cfg(feature = "testing")]
impl Fault {
    /// All of them.
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
        /// Mends the rule again, also when `work` panics.
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

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
    /// Omit the leaves of entries that were born in the interval of a Delta.
    CancelLeaves,
    /// Take any Delta from 0 where nothing is held.
    ColdTakesDelta,
    /// Take any Repair from 0 where nothing is held.
    ColdTakesRepair,
    /// Keep the entries of a partition that its origin vacated.
    KeepVacated,
    /// Drop the partitions that toggle, not all that an index does not name.
    DropToggledOnly,
    /// Number the operations of each life from 1.
    RestartTicks,
    /// Apply toggles of an index over a gap.
    IndexOverGap,
    /// Do not compare an index with the hash of its origin.
    IndexWithoutHash,
    /// Keep the index of a name over its incarnations.
    IndexOverIncarnation,
    /// Treat frames of all lives of a partition alike.
    NoLives,
    /// Never compare what is held with the sum of its origin.
    IgnoreSum,
    /// Push operations although the leaves among them are no longer remembered.
    PushPastHorizon,
    /// Forget the version of the index with its replica.
    MarkerWithoutVersion,
    /// Keep the nonce of a question when its partition toggles.
    KeepNonce,
    /// Do not warn a replica whose index is behind what was heard of it.
    HeardWithoutVersion,
    /// Do not ask an origin that shows less than is held of it.
    IgnoreRowBelow,
    /// Keep the identity although others know more of it.
    IgnoreSecondSelf,
    /// Ask for a partition once only.
    PullOnce,
    /// Believe that entries are held which were dropped after the frame that told of them.
    DropUntold,
    /// Show the entries of a first load as they come.
    ShowParts,
    /// Load the parts of two encodings of an answer as one.
    MixReplies,
    /// Load on although the partition toggled.
    KeepLoad,
    /// Answer with a state that was captured before later operations were shown.
    ShareOldCapture,
    /// Take a question as answered with the first part.
    CloseAtFirstPart,
    /// Be ready before the others had time to speak.
    ReadyAtStart,
    /// Wait for replicas that are down before being ready.
    ReadyWaitsForDead,
    /// Be ready as soon as all others were heard.
    ReadyUnchecked,
    /// Never end the grace of a replaced replica.
    KeepGrace,
    /// Start from a snapshot under the identity that took it.
    RestoreSameLife,
    /// Keep the entries of an owner whose lease has ended.
    KeepLease,
    /// Take over entries of a lost owner that were written since.
    AdoptWritten,
    /// Read frames of nodes with another number of partitions.
    AnyShape,
    /// Hide a replica in the first shard only.
    HideOneShard,
    /// Do not go on with work in slices.
    ForgetWork,
    /// Keep content that differs from that of its origin.
    KeepAltered,
    /// Readmit a forgotten replica on an equal heartbeat.
    EqualHeartbeat,
    /// Never hide a replica for its silence before it is forgotten.
    NeverDown,
    /// Take a topic as ready with the first answer.
    ReadyAtFirstAnswer,
    /// Take a topic as ready although later versions of an index are known to exist.
    ReadyWithOldIndex,
    /// Take another topic of a partition as ready although questions are open.
    ReadyWhereHeld,
    /// Take a topic as ready without the replicas that were first heard while the node started.
    ReadyWithoutLate,
    /// Wait for replicas that are down before a topic is ready.
    WatchWaitsForDead,
    /// Keep what others have in a partition that is no longer watched.
    UnwatchKeeps,
    /// Ask for a partition that is watched again from where it was left.
    RewatchWithOldClock,
    /// Show no rows to those that watch a partition.
    ShowNoRows,
    /// Do not show rows again once they were shown.
    SweepNothing,
    /// Do not ask for rows when Beats are missing.
    IgnoreBeatGap,
    /// Ask for what changed after the last Beat, not for the rows that were lost with the next one.
    AskWithoutRows,
    /// Take a Delta from before a watch began for news.
    NewsBeforeWatch,
    /// Do not show the row of a partition again after it was given to a new holder.
    ServeUnseen,
    /// Tell the count of a topic once.
    CountOnce,
    /// Keep the count of a topic whose own entries are gone.
    KeepCounts,
    /// Do not count own entries that leave.
    CountNoLeaves,
    /// Pass a frame to all on each time that it comes.
    PassOnAgain,
    /// Pass no frame to one replica on.
    PassOnToNone,
    /// Speak on although a later process of the name does.
    IgnoreRival,
    /// Let an entry end a lingering one of any name.
    LingerAnyName,
    /// Join an entry that comes again before the leave of the one that was dropped.
    RejoinUnreaped,
    /// Leave leases out of the time of the next call.
    ForgetTimers,
    /// Put topics that are not wanted into the Diffs of a hide.
    DiffAllTopics,
    /// Keep incomplete answers of any length.
    StageAnything,
    /// Note no row of a list that changed where it is.
    ForgetRowChange,
    /// Note only the new place of a row that moved.
    MarkNewPlaceOnly,
    /// Note no bulk work on a list.
    ForgetBulk,
    /// Take headers as unchanged that have another count.
    MissHeaderCount,
    /// Take a window as untouched that has the same members, one of them with another content.
    MissWrittenMember,
    /// Lose the last row that a DELTA deletes.
    LoseDelete,
    /// Lose the last row that a DELTA updates.
    LoseUpdate,
    /// Send only the fields that changed last.
    LastFieldsOnly,
    /// Send a SYNC with the first index of earlier.
    StaleBase,
    /// Tell no first indexes of windows that were shifted only.
    TellNoBases,
    /// Do not tell the new name of a window whose anchor left.
    RenameUntold,
    /// Take ticks that a viewer missed as if there had been none.
    GoOnAfterMiss,
    /// Make earlier rows with the content of later ones.
    UndoNoUpdates,
    /// Resume with the fields that the first missed step changed.
    FieldsOfOneStep,
    /// Count the matches of a search on its page only.
    CountPage,
    /// Forget a change that came too early for a search.
    ForgetEarlyChange,
    /// Apply bundles of an earlier epoch.
    TakeOldEpoch,
    /// Go back to the rows of a SYNC that came late.
    TakeLateSync,
    /// Take a SYNC that is older than the wait of its window.
    TakeEarlySync,
    /// Take the answers to requests of a former connection.
    TakeOldAnswer,
    /// Tell renamed windows in the order in which they were opened.
    RenameInOrder,
    /// Never send a bundle without news.
    NeverRemind,
}

#[cfg(feature = "testing")]
impl Fault {
    /// Every rule that schedules of the simulator show to be broken.
    pub const ALL: &[Self] = &[
        Self::ApplyOverGap,
        Self::DropLeave,
        Self::IgnoreHorizon,
        Self::CancelLeaves,
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
        Self::DropUntold,
        Self::ShowParts,
        Self::MixReplies,
        Self::KeepLoad,
        Self::ShareOldCapture,
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
        Self::EqualHeartbeat,
        Self::NeverDown,
        Self::ReadyAtFirstAnswer,
        Self::ReadyWithOldIndex,
        Self::ReadyWhereHeld,
        Self::ReadyWithoutLate,
        Self::WatchWaitsForDead,
        Self::UnwatchKeeps,
        Self::RewatchWithOldClock,
        Self::ShowNoRows,
        Self::SweepNothing,
        Self::AskWithoutRows,
        Self::NewsBeforeWatch,
        Self::ServeUnseen,
        Self::CountOnce,
        Self::KeepCounts,
        Self::CountNoLeaves,
        Self::PassOnAgain,
        Self::PassOnToNone,
        Self::IgnoreBeatGap,
        Self::IgnoreRival,
        Self::LingerAnyName,
        Self::RejoinUnreaped,
        Self::ForgetTimers,
        Self::DiffAllTopics,
        Self::StageAnything,
    ];

    /// Every rule of windows that models of lists show to be broken.
    pub const WINDOWS: &[Self] = &[
        Self::ForgetRowChange,
        Self::MarkNewPlaceOnly,
        Self::ForgetBulk,
        Self::MissHeaderCount,
        Self::MissWrittenMember,
        Self::LoseDelete,
        Self::LoseUpdate,
        Self::LastFieldsOnly,
        Self::StaleBase,
        Self::TellNoBases,
        Self::RenameUntold,
        Self::GoOnAfterMiss,
        Self::UndoNoUpdates,
        Self::FieldsOfOneStep,
        Self::CountPage,
        Self::ForgetEarlyChange,
        Self::TakeOldEpoch,
        Self::TakeLateSync,
        Self::TakeEarlySync,
        Self::TakeOldAnswer,
        Self::RenameInOrder,
        Self::NeverRemind,
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

//! `Control`: what the control lock guards.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::budget::LeaveBudget;
use super::waiting_diffs::WaitingDiffs;
use crate::fault::{Fault, is_broken};
use crate::replica::{Access, Replica};
use crate::tracker::Diff;

/// The number of looks at the age of leaves in the time for which they are remembered.
const LOOKS: u32 = 16;

/// The control plane of a presence, and the Diffs that wait for the user.
#[derive(Debug, Clone)]
pub(super) struct Control {
    pub(super) replica: Replica,
    /// Shards with work in slices, each once.
    pub(super) working: VecDeque<u8>,
    pub(super) diffs: WaitingDiffs,
    pub(super) watched: WatchedTopics,
    pub(super) now: Duration,
    /// When the local changes seen so far become a Diff.
    pub(super) flush_at: Option<Duration>,
    pub(super) leave_budget: LeaveBudget,
    /// True while what shards do is told later: in the simulator only, for a thread that waits for
    /// the control lock.
    pub(super) is_late: bool,
    /// The time between two looks at the age of leaves, and when the next one is due.
    look_every: Duration,
    look_at: Duration,
}

/// The topics whose Diffs after a hide or a show are wanted; `None`: all.
#[derive(Debug, Clone, Default)]
pub(super) struct WatchedTopics(pub(super) Option<Arc<HashSet<String>>>);

impl WatchedTopics {
    pub(super) fn contains(&self, topic: &str) -> bool {
        let topics = self.0.as_ref();
        topics.is_none_or(|topics| topics.contains(topic) || is_broken(Fault::DiffAllTopics))
    }
}

impl Control {
    pub(super) fn new(
        replica: Replica,
        leave_budget: LeaveBudget,
        diffs: WaitingDiffs,
        leaves_kept: Duration,
    ) -> Self {
        Self {
            replica,
            working: VecDeque::new(),
            diffs,
            watched: WatchedTopics::default(),
            now: Duration::ZERO,
            flush_at: None,
            leave_budget,
            is_late: false,
            look_every: leaves_kept / LOOKS,
            look_at: Duration::ZERO,
        }
    }

    /// Takes the time in. A smaller one than before is taken as the last one.
    pub(super) fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// Queues a Diff for the user.
    pub(super) fn note(&mut self, mut diff: Diff) {
        if diff.is_lossy() {
            self.replica.tell_diffs_dropped();
        }
        diff.retain(|topic| self.replica.access(topic) != Access::NotWatched);
        if diff.is_empty() {
            return;
        }
        if !self.diffs.push(diff) {
            self.replica.tell_diffs_dropped();
        }
    }

    /// Notes whether work waits in a shard. A shard that has work keeps its turn.
    pub(super) fn set_working(&mut self, number: u8, is_working: bool) {
        let place = self.working.iter().position(|other| *other == number);
        match place {
            None if is_working && is_broken(Fault::ForgetWork) => {}
            None if is_working => self.working.push_back(number),
            Some(place) if !is_working => drop(self.working.remove(place)),
            _ => {}
        }
    }

    /// Returns whether it is time to look at the age of leaves; not again before `look_every`.
    pub(super) fn is_time_to_look(&mut self) -> bool {
        let is_time = self.now >= self.look_at;
        if is_time {
            self.look_at = self.now + self.look_every;
        }
        is_time
    }
}

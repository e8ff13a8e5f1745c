//! `Control`: what the control lock guards.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::budget::LeaveBudget;
use super::plane::Plane;
use crate::tracker::Diff;

/// Diffs waiting for the user; beyond it they are dropped, and the user is told.
const DIFFS_MAX: usize = 65_536;

/// The control plane of a presence, and the Diffs that wait for the user.
#[derive(Debug)]
pub struct Control<P> {
    pub(super) plane: P,
    pub(super) diffs: VecDeque<Diff>,
    pub(super) watched: Watched,
    pub(super) now: Duration,
    /// When the local changes seen so far become a Diff.
    pub(super) flush_at: Option<Duration>,
    pub(super) leave_budget: LeaveBudget,
}

/// The topics whose Diffs after a hide or a show are wanted; `None`: all.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(pub(super) Option<HashSet<String>>);

impl Watched {
    pub(super) fn contains(&self, topic: &str) -> bool {
        let topics = self.0.as_ref();
        topics.is_none_or(|topics| topics.contains(topic))
    }
}

impl<P: Plane> Control<P> {
    pub(super) fn new(plane: P, leave_budget: LeaveBudget) -> Self {
        Self {
            plane,
            diffs: VecDeque::new(),
            watched: Watched::default(),
            now: Duration::ZERO,
            flush_at: None,
            leave_budget,
        }
    }

    /// Takes the time in. A smaller one than before is taken as the last one.
    pub(super) fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// Queues a Diff for the user.
    pub(super) fn note(&mut self, diff: Diff) {
        if diff.is_lossy() {
            self.plane.tell_diffs_dropped();
        }
        if diff.is_empty() {
            return;
        }
        if self.diffs.len() >= DIFFS_MAX {
            self.diffs.clear();
            self.plane.tell_diffs_dropped();
            return;
        }
        self.diffs.push_back(diff);
    }

    /// Returns a copy for a second process, whose control plane is `plane`.
    #[cfg(feature = "testing")]
    pub(super) fn fork(&self, plane: P) -> Self {
        Self {
            plane,
            diffs: self.diffs.clone(),
            watched: self.watched.clone(),
            now: self.now,
            flush_at: self.flush_at,
            leave_budget: self.leave_budget.clone(),
        }
    }
}

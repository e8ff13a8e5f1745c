//! A deterministic simulator of whole clusters (feature `testing`).
//!
//! One seed makes one schedule: nodes in a full mesh; loss of up to half of the frames, duplication,
//! reordering; links cut in one or both directions; crashes and restarts, with the wall clock
//! stepped back; starts from snapshots; cloned machines, and such as are set back to an earlier
//! moment; replicas forgotten; Goodbyes; leases and lost owners; replies in parts and slices
//! interrupted by other frames; origins that alter what they send; nodes of other wire versions and
//! shapes, strangers, damaged frames. Every node is a real [`Presence`](crate::Presence), every
//! message real bytes; only time and the network are made up. [`Incident`] lists all of it, and
//! [`Stats`] counts it.
//!
//! After every step each node's view must be a state that its origin really had, and what it knows
//! of a replica must never go backwards. No node may show a replica that is silent, hide one that is
//! heard, take a new identity without need, or report a divergence where there is none; altered
//! content may become right only with a reported divergence. A refused frame must change nothing. At
//! the end the network heals; then all nodes must become equal and quiet, and the members must be
//! those of a merge of independent [`crdts::Orswot`] histories.
//!
//! What a state should be is known from the operations alone: the program on each node keeps a
//! `Model` of its own entries, and `Truth` the course of these models. No hash of the implementation
//! takes part in it.
//!
//! A `Run` holds the plan, the random numbers and the clock of one schedule. The `World` starts
//! nodes and carries frames, times and checks to its parts, which do not know it: `Network`,
//! `Truth`, `Snapshots`, and in each `Node` its `OwnEntries`, `Views` and `Reader`. `steps` decides
//! what happens, `convergence` how it ends.
//!
//! ```
//! use headcount::testing::{Fault, self};
//!
//! for seed in 0..20 {
//!     testing::simulate(seed, None).expect("every schedule converges");
//! }
//! // Break a rule on purpose, and some schedule fails.
//! assert!((0..10_000).any(|seed| testing::simulate(seed, Some(Fault::IgnoreSum)).is_err()));
//! ```

mod admissions;
mod convergence;
mod events;
mod hostile;
mod interest;
mod model;
mod network;
mod node;
mod own_entries;
mod plan;
mod process;
mod programs;
mod reader;
mod readiness;
mod refusals;
#[cfg(test)]
mod regressions;
mod rosters;
mod run;
mod schedule;
mod sight;
mod snapshots;
mod stats;
mod steps;
mod strangers;
mod traffic;
mod truth;
mod views;
mod watching;
mod weather;
mod weights;
mod world;

use std::fmt;

pub use crate::fault::Fault;
pub use stats::{Incident, Incidents, Stats};
pub use traffic::{Load, TimeToReady, Traffic, Volume};
pub use traffic::{measure, measure_newcomer, measure_watch};

/// The error of a schedule that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that makes it happen again.
    pub seed: u64,
    /// The step at which the broken promise was noticed.
    pub step: u64,
    /// The broken promise, in words.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SEED={} step {}: {}", self.seed, self.step, self.what)
    }
}

impl std::error::Error for Failure {}

/// Runs the schedule of a seed, with one rule of the protocol broken if `fault` names one.
///
/// # Errors
/// The first broken promise.
pub fn simulate(seed: u64, fault: Option<Fault>) -> Result<Stats, Failure> {
    crate::fault::with(fault, || schedule::run(seed, None))
}

/// Runs `work` on this thread with one rule of the protocol broken, to show that a test would
/// notice.
///
/// ```
/// use headcount::testing::{Fault, self};
///
/// assert_eq!(testing::with_fault(Fault::DropLeave, || 2 + 2), 4);
/// ```
pub fn with_fault<R>(fault: Fault, work: impl FnOnce() -> R) -> R {
    crate::fault::with(Some(fault), work)
}

/// Runs the schedule of a seed as [`simulate`] does, and calls `line` with a readable account of
/// every step.
///
/// # Errors
/// The first broken promise.
pub fn replay(
    seed: u64,
    fault: Option<Fault>,
    line: &mut dyn FnMut(&str),
) -> Result<Stats, Failure> {
    crate::fault::with(fault, || schedule::run(seed, Some(line)))
}

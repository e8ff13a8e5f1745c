//! A deterministic simulator of whole clusters (feature `testing`).
//!
//! One seed makes one schedule: 2 to 7 nodes in a mesh, a ring or a star; loss of up to half of the
//! frames, duplication, reordering; links cut in one or both directions; crashes and restarts, with
//! the wall clock stepped back; starts from snapshots, old ones and twice; cloned machines;
//! replicas forgotten; Goodbyes; leases and lost owners; short leave logs; replies in parts and
//! slices interrupted by other frames; holders that alter what they pass on; nodes of other wire
//! versions, strangers, damaged frames. Every node is a real [`Presence`](crate::Presence), every
//! message real bytes; only time and the network are made up. [`Incident`] lists all of it, and
//! [`Stats`] counts it.
//!
//! After every step each node's view of each origin must equal that origin's recorded history at
//! the same clock, and what it knows of a replica must never go backwards. No node may show a
//! replica that is long dead, take a new identity without need, or report a divergence where there
//! is none; content that a holder altered may become right only with a reported divergence. A
//! refused frame must change nothing. At the end the network heals; then all nodes must become
//! equal, pulls and repairs must stop, and the members must be those of a merge of independent
//! [`crdts::Orswot`] histories.
//!
//! A `Run` holds the plan, the random numbers and the clock of one schedule. The `World` starts
//! nodes and carries frames, times and checks to its parts, which do not know it: `Network`,
//! `Truth`, `Snapshots`, and beside each `Node` its `OwnEntries`, `Views`, `Readers` and `Hearing`.
//! `steps` decides what happens, `convergence` how it ends.
//!
//! ```
//! use headcount::testing::{Fault, self};
//!
//! for seed in 0..20 {
//!     testing::simulate(seed, None).expect("every schedule converges");
//! }
//! // Break a rule on purpose, and some schedule fails.
//! assert!((0..10_000).any(|seed| testing::simulate(seed, Some(Fault::ApplyOverGap)).is_err()));
//! ```

mod convergence;
mod describe;
mod hostile;
mod liveness;
mod mirror;
mod network;
mod node;
mod own_entries;
mod plan;
mod run;
mod schedule;
mod silence;
mod snapshots;
mod stats;
mod steps;
mod strangers;
mod truth;
mod views;
mod weather;
mod weights;
pub mod wire2;
mod world;

use std::fmt;

pub use crate::fault::Fault;
pub use crate::presence::wire::{News, Wire};
pub use crate::presence::wire1::Wire1;
pub use crate::presence::wire2::Wire2;
pub use stats::{Incident, Incidents, Stats};

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

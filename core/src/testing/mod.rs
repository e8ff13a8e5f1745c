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
//! the same clock, and what it knows of a replica must never go backwards. Nobody shows a replica
//! that is long dead, takes a new identity without need, or tells of a divergence where there is
//! none; content that a holder altered becomes right only with a divergence told. What is refused
//! changes nothing. At the end the network heals; then all nodes must become equal, pulls and
//! repairs must stop, and the members must be those of a merge of independent [`crdts::Orswot`]
//! histories.
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

mod check;
mod convergence;
mod hostile;
mod incident;
mod leases;
mod liveness;
mod mirror;
mod network;
mod plan;
mod restore;
mod steps;
mod trace;
mod world;

use std::fmt;

pub use crate::fault::Fault;
pub use incident::{Incident, Incidents};
use world::World;

/// What a schedule did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps taken, the healing at the end not counted.
    pub steps: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Local operations.
    pub operations: u64,
    /// What happened, and how often.
    pub incidents: Incidents,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.frames += other.frames;
        self.operations += other.operations;
        self.incidents += other.incidents;
    }
}

/// A schedule that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that makes it happen again.
    pub seed: u64,
    /// The step at which it showed.
    pub step: u64,
    /// What was wrong.
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
    crate::fault::with(fault, || World::new(seed, None).run())
}

/// Runs anything on this thread with one rule of the protocol broken, to show that a test would
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

/// As [`simulate`], and calls `line` with a readable account of every step.
///
/// # Errors
/// The first broken promise.
pub fn replay(
    seed: u64,
    fault: Option<Fault>,
    line: &mut dyn FnMut(&str),
) -> Result<Stats, Failure> {
    crate::fault::with(fault, || World::new(seed, Some(line)).run())
}

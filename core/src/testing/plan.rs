//! `Plan`: what a seed decides before the first step. It does not change until the end of the
//! schedule.

use std::time::Duration;

use super::stats::Incident;
use super::weather::Weather;
use super::weights::Weights;
use crate::replica;
use crate::replica::rng::Rng;
use crate::tracker::Limits;

pub(super) const TOPICS: [&str; 3] = ["hall", "attic", "cellar"];
/// Places for processes: the first nodes, and their clones.
pub(super) const PLACES: usize = 16;
/// Keys of single operations; bulk loads have more, with longer metas.
pub(super) const KEYS: u8 = 4;
pub(super) const OWNERS: [&str; 2] = ["o1", "o2"];

/// (topic, key, owner) as small numbers.
pub(super) type Session = (u8, u8, u8);

/// Returns the name of a topic by its number.
pub(super) fn topic(number: u8) -> &'static str {
    TOPICS[usize::from(number)]
}

/// Returns the topic, the key and the owner of a session by name.
pub(super) fn names(session: Session) -> (&'static str, String, &'static str) {
    let (topic_number, key, owner) = session;
    let owner = OWNERS[usize::from(owner)];
    (topic(topic_number), format!("k{key}"), owner)
}

/// The shape of the network: which nodes are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Mesh,
    Ring,
    Star,
}

/// A kind of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Operate,
    Bulk,
    Tick,
    Beat,
    Deliver,
    DeliverAll,
    Cut,
    Heal,
    Crash,
    Restart,
    Clone,
    Goodbye,
    Pause,
    ForgetAll,
    Hint,
    Snapshot,
    Alter,
    Stranger,
    Lease,
    LoseOwner,
    Signal,
    Silence,
}

/// Every kind of step with its usual weight, and how many of 256 schedules have it at all.
const STEPS: [(Step, u64, u64); 21] = [
    (Step::Operate, 30, 256),
    (Step::Bulk, 1, 40),
    (Step::Tick, 16, 256),
    (Step::Beat, 14, 256),
    (Step::Deliver, 30, 256),
    (Step::DeliverAll, 8, 200),
    (Step::Cut, 5, 128),
    (Step::Heal, 4, 256),
    (Step::Crash, 2, 80),
    (Step::Restart, 5, 256),
    (Step::Clone, 1, 16),
    (Step::Goodbye, 1, 40),
    (Step::Pause, 1, 64),
    (Step::ForgetAll, 3, 80),
    (Step::Hint, 1, 40),
    (Step::Snapshot, 2, 40),
    (Step::Alter, 2, 24),
    (Step::Stranger, 2, 40),
    (Step::Lease, 3, 40),
    (Step::LoseOwner, 3, 40),
    (Step::Signal, 2, 24),
];

/// Replicas forgotten while repairs of them are under way.
const FORGETFUL: [(Step, u64, u64); 5] = [
    (Step::Operate, 20, 256),
    (Step::Tick, 10, 256),
    (Step::Beat, 10, 256),
    (Step::Deliver, 30, 256),
    (Step::ForgetAll, 12, 256),
];

/// Machines cloned, and one of the twins gone before it was noticed.
const TWINS: [(Step, u64, u64); 7] = [
    (Step::Operate, 30, 256),
    (Step::Tick, 10, 256),
    (Step::Beat, 6, 256),
    (Step::Deliver, 30, 256),
    (Step::Clone, 3, 256),
    (Step::Crash, 6, 256),
    (Step::Restart, 6, 256),
];

/// Holders that alter what they pass on.
const ALTERING: [(Step, u64, u64); 8] = [
    (Step::Operate, 30, 256),
    (Step::Tick, 12, 256),
    (Step::Beat, 12, 256),
    (Step::Deliver, 30, 256),
    (Step::DeliverAll, 8, 256),
    (Step::Alter, 8, 256),
    (Step::Crash, 2, 128),
    (Step::Restart, 5, 256),
];

/// Processes that start from snapshots, new and old.
const RESTORED: [(Step, u64, u64); 10] = [
    (Step::Operate, 30, 256),
    (Step::Tick, 10, 256),
    (Step::Beat, 12, 256),
    (Step::Deliver, 30, 256),
    (Step::DeliverAll, 8, 256),
    (Step::Snapshot, 10, 256),
    (Step::Crash, 10, 256),
    (Step::Restart, 12, 256),
    (Step::Pause, 5, 256),
    (Step::Cut, 3, 64),
];

/// Nodes that fall silent again and again.
const SILENT: [(Step, u64, u64); 9] = [
    (Step::Silence, 10, 256),
    (Step::Operate, 10, 200),
    (Step::Tick, 8, 256),
    (Step::Beat, 10, 256),
    (Step::Deliver, 10, 256),
    (Step::DeliverAll, 10, 256),
    (Step::Cut, 4, 128),
    (Step::Heal, 6, 256),
    (Step::Restart, 8, 256),
];

pub(super) const BEAT_MS: u64 = 1000;

/// Weights, rates and bounds of one schedule.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) shape: Shape,
    /// Frames lost and doubled, of 1000.
    pub(super) loss: u64,
    pub(super) doubled: u64,
    pub(super) reorders: bool,
    /// A frame not delivered after this long is lost.
    pub(super) delay_ms: u64,
    pub(super) steps: u64,
    pub(super) leave_log: usize,
    /// More than the beats that a heartbeat takes to the farthest node.
    pub(super) down_ms: u64,
    pub(super) forget_ms: u64,
    /// The time for which the entries of a lost owner stay.
    pub(super) grace_ms: u64,
    /// The places, one bit each, that speak another minor version.
    pub(super) other_minor: u64,
    relay: bool,
    frame_max: usize,
    weights: Weights<Step>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let nodes = [2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7];
        let nodes = nodes[rng.below(nodes.len() as u64) as usize];
        let shape = [Shape::Mesh, Shape::Mesh, Shape::Ring, Shape::Star][rng.below(4) as usize];
        let mut weights = Vec::with_capacity(STEPS.len());
        let profile = rng.below(16);
        let is_forgetful = profile < 2;
        let steps = match profile {
            0..2 => &FORGETFUL[..],
            2 => &TWINS[..],
            3 => &ALTERING[..],
            4 => &RESTORED[..],
            5 | 6 => &SILENT[..],
            _ => &STEPS[..],
        };
        for &(step, weight, presence) in steps {
            if rng.below(256) < presence {
                weights.push((step, 1 + rng.below(2 * weight)));
            }
        }
        let hops = if shape == Shape::Ring {
            nodes as u64 - 1
        } else {
            2
        };
        let down_ms = BEAT_MS * hops.max(3) + BEAT_MS / 2;
        let reorders = rng.below(2) == 0;
        Self {
            nodes,
            shape,
            loss: [0, 0, 20, 100, 250, 500][rng.below(6) as usize],
            doubled: [0, 0, 50, 300][rng.below(4) as usize],
            reorders,
            delay_ms: [300, 1500, down_ms][rng.below(3) as usize],
            steps: 12 + rng.below(40),
            leave_log: [0, 1, 8, 64][rng.below(if is_forgetful { 2 } else { 4 }) as usize],
            down_ms,
            forget_ms: down_ms + 5 * BEAT_MS + BEAT_MS / 2,
            grace_ms: [0, 700, 2500][rng.below(3) as usize],
            other_minor: if rng.below(8) == 0 { rng.next_u64() } else { 0 },
            relay: shape != Shape::Mesh || rng.below(4) == 0,
            frame_max: if rng.below(4) == 0 { 1024 } else { 256 * 1024 },
            weights: Weights::new(weights),
        }
    }

    pub(super) fn step(&self, rng: &mut Rng) -> Step {
        self.weights.draw(rng).unwrap_or(Step::Operate)
    }

    /// Ends what befalls frames and versions; links and delays are left as they are.
    pub(super) fn calm(&mut self) {
        self.loss = 0;
        self.doubled = 0;
        self.reorders = false;
        self.other_minor = 0;
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::default().leave_log_len_max(self.leave_log)
    }

    /// Returns how long after its end a replica may still come to be shown: its age counts up to
    /// `down_after`, and not while a frame is under way.
    pub(super) fn ghost_ms(&self) -> u64 {
        self.down_ms + self.nodes as u64 * self.delay_ms + 3 * BEAT_MS
    }

    pub(super) fn incidents(&self) -> [Incident; 3] {
        let size = match self.nodes {
            2 => Incident::TwoNodes,
            3 => Incident::ThreeNodes,
            4 => Incident::FourNodes,
            5 => Incident::FiveNodes,
            6 => Incident::SixNodes,
            _ => Incident::SevenNodes,
        };
        let shape = match self.shape {
            Shape::Mesh => Incident::Mesh,
            Shape::Ring => Incident::Ring,
            Shape::Star => Incident::Star,
        };
        let leave_log = match self.leave_log {
            0 => Incident::LeaveLog0,
            1 => Incident::LeaveLog1,
            8 => Incident::LeaveLog8,
            _ => Incident::LeaveLog64,
        };
        [size, shape, leave_log]
    }

    pub(super) fn config(&self) -> replica::Config {
        replica::Config {
            heartbeat: Duration::from_millis(BEAT_MS),
            down_after: Duration::from_millis(self.down_ms),
            forget_after: Duration::from_millis(self.forget_ms),
            pull_timeout: Duration::from_millis(BEAT_MS / 2),
            relay: self.relay,
            frame_max: self.frame_max,
            peers_max: 64,
            ..replica::Config::default()
        }
    }
}

impl Weather for Plan {
    fn loss(&self) -> u64 {
        self.loss
    }

    fn doubled(&self) -> u64 {
        self.doubled
    }

    fn reorders(&self) -> bool {
        self.reorders
    }

    fn delay_ms(&self) -> u64 {
        self.delay_ms
    }

    fn linked(&self, a: usize, b: usize) -> bool {
        match self.shape {
            Shape::Mesh => true,
            Shape::Ring => a.abs_diff(b) == 1 || a.abs_diff(b) == self.nodes - 1,
            Shape::Star => a == 0 || b == 0,
        }
    }
}

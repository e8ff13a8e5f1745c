//! `Plan`: what a seed decides before the first step.

use std::sync::LazyLock;
use std::time::Duration;

use super::own_entries::Session;
use super::process::Settings;
use super::weather::Weather;
use super::weights::Weights;
use crate::replica::rng::Rng;
use crate::replica::{Config, Mode, Shape};
use crate::tracker::Limits;

pub(super) const BEAT_MS: u64 = 1_000;
/// The partitions of a simulated cluster.
pub(super) const PARTITIONS: u32 = 4;
/// Topics: two of them share a partition.
pub(super) const TOPICS: usize = 5;

/// A kind of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Operate,
    LeaveAll,
    Tick,
    Beat,
    Deliver,
    DeliverAll,
    Cut,
    Heal,
    Crash,
    Restart,
    Clone,
    Save,
    RollBack,
    Goodbye,
    Pause,
    Sleep,
    Hint,
    Lease,
    LoseOwner,
    Snapshot,
    Signal,
    Stranger,
    Alter,
    Watch,
    Unwatch,
}

/// Every kind of step with its usual weight, and how many of 256 schedules have it at all.
const STEPS: [(Step, u64, u64); 17] = [
    (Step::Operate, 30, 256),
    (Step::LeaveAll, 5, 200),
    (Step::Tick, 16, 256),
    (Step::Beat, 14, 256),
    (Step::Deliver, 30, 256),
    (Step::DeliverAll, 8, 200),
    (Step::Cut, 5, 128),
    (Step::Heal, 4, 256),
    (Step::Crash, 2, 80),
    (Step::Restart, 5, 256),
    (Step::Clone, 1, 24),
    (Step::Save, 2, 60),
    (Step::RollBack, 2, 60),
    (Step::Goodbye, 1, 40),
    (Step::Pause, 1, 80),
    (Step::Sleep, 2, 60),
    (Step::Hint, 1, 40),
];

/// Partitions occupied and vacated again and again.
const LIVES: [(Step, u64, u64); 7] = [
    (Step::Operate, 14, 256),
    (Step::LeaveAll, 12, 256),
    (Step::Tick, 8, 256),
    (Step::Beat, 14, 256),
    (Step::Deliver, 24, 256),
    (Step::DeliverAll, 4, 128),
    (Step::Cut, 2, 64),
];

/// Replicas forgotten while frames of them are under way for long.
const FORGETFUL: [(Step, u64, u64); 10] = [
    (Step::Operate, 14, 256),
    (Step::LeaveAll, 10, 256),
    (Step::Tick, 8, 256),
    (Step::Beat, 12, 256),
    (Step::Deliver, 24, 256),
    (Step::Sleep, 8, 256),
    (Step::Pause, 2, 160),
    (Step::Crash, 2, 80),
    (Step::Restart, 4, 256),
    (Step::Cut, 2, 60),
];

/// Machines cloned and rolled back.
const TWINS: [(Step, u64, u64); 10] = [
    (Step::Operate, 30, 256),
    (Step::LeaveAll, 8, 200),
    (Step::Tick, 10, 256),
    (Step::Beat, 10, 256),
    (Step::Deliver, 30, 256),
    (Step::Clone, 2, 128),
    (Step::Save, 6, 256),
    (Step::RollBack, 6, 256),
    (Step::Crash, 3, 128),
    (Step::Restart, 6, 256),
];

/// What programs do beside writing, in some schedules.
const PROGRAMS: [(Step, u64); 4] = [
    (Step::Lease, 8),
    (Step::LoseOwner, 6),
    (Step::Snapshot, 3),
    (Step::Signal, 2),
];

/// Frames that no sound peer sends, in some schedules.
const HOSTILE: [(Step, u64); 2] = [(Step::Stranger, 6), (Step::Alter, 4)];

/// What programs watch, where not everything is held.
const INTEREST: [(Step, u64); 2] = [(Step::Watch, 8), (Step::Unwatch, 7)];

/// Which nodes reach each other. Where not all do, all pass frames on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    All,
    Ring,
    /// All reach the first node.
    Star,
    Line,
}

impl Links {
    fn has(self, nodes: usize, a: usize, b: usize) -> bool {
        let apart = a.abs_diff(b);
        match self {
            Self::All => true,
            Self::Ring => apart == 1 || apart + 1 == nodes,
            Self::Star => a == 0 || b == 0,
            Self::Line => apart == 1,
        }
    }
}

/// Weights, rates and bounds of one schedule.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    loss: u64,
    doubled: u64,
    reorders: bool,
    delay_ms: u64,
    pub(super) steps: u64,
    leave_log: usize,
    pub(super) down_ms: u64,
    pub(super) forget_ms: u64,
    vacate_ms: u64,
    /// Names of one key in one topic.
    pub(super) keys: u64,
    /// True if partitions hold more than a frame.
    is_bulky: bool,
    /// The most records of one slice of work.
    slice_max: usize,
    /// True if other things happen between the slices of one work.
    pub(super) interrupts: bool,
    /// Decides which frames are applied by a thread that is late to tell the control plane.
    late: Option<Rng>,
    /// The time for which entries of a replaced replica stay visible.
    pub(super) grace_ms: u64,
    /// The time for which own leaves are remembered.
    leaves_ms: u64,
    /// The most locks of a process.
    shards_max: u32,
    /// True if entries have several owners.
    has_owners: bool,
    links: Links,
    /// True if each node holds what it watches, else everything.
    pub(super) is_interest: bool,
    /// True if frames to those that watch a partition reach only them.
    pub(super) has_groups: bool,
    /// The time after which a subscription takes effect.
    pub(super) subscribe_ms: u64,
    pub(super) unwatch_ms: u64,
    pub(super) ready_ms: u64,
    /// True if topics are counted.
    pub(super) has_counts: bool,
    /// True if frames are lost only where links are cut, each with all others of the time.
    is_orderly: bool,
    /// The most by which a wall clock is set back between two starts.
    pub(super) wall_back: u64,
    /// True if users of nodes have rosters, or want the Diffs of some topics only.
    pub(super) has_rosters: bool,
    pub(super) has_diff_topics: bool,
    /// The bytes of long answers that are kept, and of those that are drawn.
    staging_bytes_max: usize,
    reply_bytes_max: usize,
    /// True if each row is shown again after some beats, which finds what was lost for good.
    pub(super) has_sweep: bool,
    weights: Weights<Step>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let nodes = [2, 2, 2, 2, 3, 3, 3, 3, 4, 5];
        let nodes = nodes[rng.below(nodes.len() as u64) as usize];
        let profile = rng.below(16);
        let steps = match profile {
            0..3 => &LIVES[..],
            3..6 => &FORGETFUL[..],
            6..9 => &TWINS[..],
            _ => &STEPS[..],
        };
        let mut weights = Vec::with_capacity(steps.len());
        for &(step, weight, presence) in steps {
            if rng.below(256) < presence {
                weights.push((step, 1 + rng.below(2 * weight)));
            }
        }
        // Drawn apart, so that other schedules are what they are without it.
        let mut apart = rng.clone();
        apart.stir(1);
        let is_bulky = apart.below(4) == 0;
        let interrupts = apart.below(3) == 0;
        let is_forgetful = (3..6).contains(&profile);
        let grace_ms = [0, 0, 700, 4_000][apart.below(4) as usize];
        let leaves_ms = [400, 2_000, 60_000, 60_000][apart.below(4) as usize];
        let shards_max = [1, 2, 32][apart.below(3) as usize];
        let has_owners = apart.below(2) == 0;
        if apart.below(3) == 0 {
            weights.extend(PROGRAMS);
        }
        let is_hostile = apart.below(6) == 0;
        if is_hostile {
            weights.extend(HOSTILE);
        }
        let mut apart = rng.clone();
        apart.stir(2);
        let is_interest = apart.below(4) == 0;
        if is_interest {
            weights.extend(INTEREST);
        }
        let has_counts = is_interest && {
            let mut apart = apart.clone();
            apart.stir(3);
            apart.below(2) == 0
        };
        let mut apart_too = rng.clone();
        apart_too.stir(4);
        // What a neighbour alters would reach others where frames are passed on.
        let links = if is_interest || is_hostile || nodes == 2 || apart_too.below(4) > 0 {
            Links::All
        } else {
            [Links::Ring, Links::Star, Links::Line][apart_too.below(3) as usize]
        };
        let mut late = rng.clone();
        late.stir(5);
        let late = (late.below(4) == 0).then_some(late);
        let mut more = rng.clone();
        more.stir(6);
        let budget = |more: &mut Rng| [2 << 10, 256 << 20][usize::from(more.below(2) == 0)];
        let staging_bytes_max = budget(&mut more);
        let reply_bytes_max = budget(&mut more);
        let has_rosters = more.below(4) == 0;
        let has_diff_topics = !is_interest && more.below(8) == 0;
        // More than a new identity adds.
        let wall_back = [4_000, 4_000, 4_000, 1_000_000][more.below(4) as usize];
        let down_ms = BEAT_MS * 3 + BEAT_MS / 2;
        let loss = [0, 0, 20, 100, 250, 500][rng.below(6) as usize];
        let doubled = [0, 0, 50, 300][rng.below(4) as usize];
        let reorders = is_forgetful || rng.below(2) == 0;
        Self {
            nodes,
            links,
            loss,
            doubled,
            reorders,
            is_orderly: loss == 0 && !reorders && !is_hostile,
            delay_ms: [4 * down_ms, 4 * down_ms, 1_500, down_ms, 300]
                [rng.below(if is_forgetful { 2 } else { 5 }) as usize],
            steps: 20 + rng.below(60),
            leave_log: [0, 1, 8, 64][rng.below(4) as usize],
            down_ms,
            forget_ms: down_ms + 5 * BEAT_MS + BEAT_MS / 2,
            vacate_ms: [300, 900, 2_200][rng.below(3) as usize],
            keys: (1 + rng.below(3)) * if is_bulky { 12 } else { 1 },
            is_bulky,
            slice_max: if interrupts {
                [1, 3, 20][apart.below(3) as usize]
            } else {
                1_024
            },
            interrupts,
            late,
            grace_ms,
            leaves_ms,
            shards_max,
            has_owners,
            is_interest,
            has_groups: apart.below(3) > 0,
            subscribe_ms: [0, 0, 100, 400][apart.below(4) as usize],
            unwatch_ms: [1, 600, 3_000][apart.below(3) as usize],
            ready_ms: [2_000, 10_000][apart.below(2) as usize],
            has_counts,
            wall_back,
            has_rosters,
            has_diff_topics,
            staging_bytes_max,
            reply_bytes_max,
            // A lost row of counts is not always followed by another change of them.
            has_sweep: apart.below(2) == 0 || has_counts,
            weights: Weights::new(weights),
        }
    }

    pub(super) fn step(&self, rng: &mut Rng) -> Step {
        self.weights.draw(rng).unwrap_or(Step::Operate)
    }

    /// Draws whether the thread that applies a frame is late to tell the control plane, or stays so.
    pub(super) fn is_late(&mut self, was_late: bool) -> bool {
        let late = self.late.as_mut();
        late.is_some_and(|late| late.below(4) < if was_late { 3 } else { 1 })
    }

    /// Ends what befalls frames and threads.
    pub(super) fn calm(&mut self) {
        self.late = None;
        self.loss = 0;
        self.doubled = 0;
        self.reorders = false;
        self.interrupts = false;
    }

    /// Lets no frame be late any more.
    pub(super) fn wait_for_frames(&mut self) {
        self.delay_ms = u64::MAX / 2;
    }

    /// Returns the most operations of one step.
    pub(super) fn burst(&self) -> u64 {
        if self.is_bulky { 40 } else { 4 }
    }

    /// Returns the owner of an entry, by a random byte.
    pub(super) fn owner(&self, byte: u8) -> u8 {
        if self.has_owners { byte & 1 } else { 0 }
    }

    /// Returns the bytes of a meta.
    pub(super) fn meta_len(&self) -> usize {
        if self.is_bulky { 160 } else { 8 }
    }

    /// Returns the partition of a session.
    pub(super) fn partition_of(session: Session) -> u16 {
        NAMES[usize::from(session.0)].1
    }

    pub(super) fn shape() -> Shape {
        Shape::new(PARTITIONS, Mode::All).expect("it is a power of two")
    }

    /// Returns the partition of the counts of a topic.
    pub(super) fn count_partition_of(topic: &str) -> u16 {
        Self::shape().partition_of(topic) + PARTITIONS as u16
    }

    /// Returns all partitions, those of counts included.
    pub(super) fn partitions(&self) -> std::ops::Range<u16> {
        0..(PARTITIONS as u16) << u8::from(self.has_counts)
    }

    fn mode(&self) -> Mode {
        if self.is_interest {
            Mode::Interest
        } else {
            Mode::All
        }
    }

    /// Returns whether a row may be lost for good, and not with the Beat that goes before it.
    pub(super) fn loses_rows(&self) -> bool {
        self.is_interest && !self.has_sweep && !self.is_orderly
    }

    /// Returns whether nodes pass frames on, since not all reach each other.
    pub(super) fn relays(&self) -> bool {
        self.links != Links::All
    }

    /// Returns the settings of a process.
    pub(super) fn settings(&self, seed: u64) -> Settings {
        Settings {
            wire: self.config(),
            limits: Limits::default().leave_log_len_max(self.leave_log),
            slice_entries_max: self.slice_max,
            shards_max: self.shards_max,
            seed,
        }
    }

    /// Returns how long after its end a replica may still be shown.
    pub(super) fn ghost_ms(&self) -> u64 {
        // Each node on the way may have held a frame back.
        let hops = if self.relays() { self.nodes - 1 } else { 1 };
        let delay_ms = self.delay_ms.saturating_mul(hops as u64);
        self.down_ms + delay_ms.min(u64::MAX / 2) + 2 * BEAT_MS
    }

    pub(super) fn config(&self) -> Config {
        let shape = Shape::new(PARTITIONS, self.mode()).expect("it is a power of two");
        let with_counts = shape.with_counts().filter(|_| self.has_counts);
        let with_relay = shape.with_relay().filter(|_| self.relays());
        Config {
            shape: with_counts.or(with_relay).unwrap_or(shape),
            heartbeat: Duration::from_millis(BEAT_MS),
            down_after: Duration::from_millis(self.down_ms),
            forget_after: Duration::from_millis(self.forget_ms),
            vacate_after: Duration::from_millis(self.vacate_ms),
            grace: Duration::from_millis(self.grace_ms),
            leaves_kept: Duration::from_millis(self.leaves_ms),
            unwatch_after: Duration::from_millis(self.unwatch_ms),
            ready_after: Duration::from_millis(self.ready_ms),
            sweep_beats: if self.has_sweep { 3 } else { 1_024 },
            relay: self.relays(),
            peers_max: 64,
            staging_bytes_max: self.staging_bytes_max,
            reply_bytes_max: self.reply_bytes_max,
            frame_max: if self.is_bulky { 1 << 10 } else { 256 << 10 },
            ..Config::default()
        }
    }
}

/// Topics in every partition, with these.
static NAMES: LazyLock<Vec<(String, u16)>> = LazyLock::new(|| {
    let names = (0..).map(|number| format!("t{number}"));
    let names = names.map(|name| {
        let partition = Plan::shape().partition_of(&name);
        (name, partition)
    });
    let mut counts = [0; PARTITIONS as usize];
    let mut is_wanted = |(_, partition): &(String, u16)| {
        counts[usize::from(*partition)] += 1;
        counts[usize::from(*partition)] <= if *partition == 0 { 2 } else { 1 }
    };
    names.filter(|name| is_wanted(name)).take(TOPICS).collect()
});

/// Returns the name of a topic by its number.
pub(super) fn topic(number: u8) -> &'static str {
    &NAMES[usize::from(number)].0
}

/// Returns the topics of which some users want the Diffs of whole replicas.
pub(super) fn diff_topics() -> impl Iterator<Item = String> {
    topics().step_by(2).map(str::to_owned)
}

/// Returns the names of all topics.
pub(super) fn topics() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| name.as_str())
}

/// Returns the topics of a partition by number and name.
pub(super) fn topics_in(partition: u16) -> impl Iterator<Item = (u8, &'static str)> {
    let topics = (0..).zip(NAMES.iter());
    let topics = topics.filter(move |(_, (_, of))| *of == partition);
    topics.map(|(number, (name, _))| (number, name.as_str()))
}

impl Weather for Plan {
    fn loss(&self) -> u64 {
        self.loss
    }

    fn doubled(&self) -> u64 {
        // On each of many links in a row.
        if self.relays() {
            self.doubled.min(50)
        } else {
            self.doubled
        }
    }

    fn reorders(&self) -> bool {
        self.reorders
    }

    fn delay_ms(&self) -> u64 {
        self.delay_ms
    }

    fn linked(&self, a: usize, b: usize) -> bool {
        self.links.has(self.nodes, a, b)
    }
}

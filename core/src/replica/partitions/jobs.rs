//! `Jobs`: work on entries that is done in slices, so that other frames come through in between.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Watched;
use super::answers::outcome;
use crate::error::ApplyError;
use crate::id::ReplicaId;
use crate::replica::output::{Apply, Outcome, Serve};
use crate::tracker::{
    ColdLoad, Diff, Extract, LeaveReason, StagedDelta, StagedRepair, Tracker, VisibilityChange,
};

/// Work that is not done, in the order in which its next slices come.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs {
    queue: VecDeque<Job>,
}

/// One work in slices.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// A frame being applied, or a whole state being loaded part by part.
    Load(Load),
    /// The Diffs after a hide, a show or a first load; a load reports when they are made.
    Visibility {
        id: ReplicaId,
        partition: u16,
        change: VisibilityChange,
        load: Option<Apply>,
    },
    /// A load that ended out of turn, to be reported.
    Ended { apply: Apply, outcome: Outcome },
    /// The entries of dropped replicas being removed.
    Reap { partition: u16 },
    /// A long answer being collected.
    Extract { serve: Serve, extract: Box<Extract> },
    /// A whole state being captured for an asker, who may not be the only one.
    Capture { serve: Serve, capture: u64 },
}

/// A frame being applied.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// The frame, or the part that is loaded now, without its content.
    pub(super) apply: Apply,
    pub(super) staged: Staged,
    /// Parts that follow.
    waiting: VecDeque<Bytes>,
    /// True while the part of `apply` is not loaded.
    is_running: bool,
    /// True if nothing of the origin is seen before the end.
    pub(super) is_quiet: bool,
}

/// Names what is held of a replica in a partition, and the topics whose Diffs after a hide or a show
/// are wanted.
pub(super) struct Held<'a> {
    pub(super) id: &'a ReplicaId,
    pub(super) partition: u16,
    pub(super) watched: Watched<'a>,
}

/// The work of a load.
#[derive(Debug, Clone)]
pub(super) enum Staged {
    Cold(Box<ColdLoad>),
    Repair(Box<StagedRepair>),
    Delta(Box<StagedDelta>),
}

/// The end of a slice of a load.
pub(super) enum Step {
    More,
    PartDone,
    Done,
}

impl Job {
    fn is_about(&self, id: &ReplicaId, in_partition: u16) -> bool {
        match self {
            Self::Load(load) => load.apply.partition == in_partition && load.apply.id == *id,
            Self::Visibility {
                id: about,
                partition,
                ..
            } => *partition == in_partition && about == id,
            Self::Ended { apply, .. } => apply.partition == in_partition && apply.id == *id,
            Self::Reap { .. } | Self::Extract { .. } | Self::Capture { .. } => false,
        }
    }

    /// Returns the partition whose tracker it needs.
    pub(super) fn partition(&self) -> u16 {
        match self {
            Self::Load(load) => load.apply.partition,
            Self::Visibility { partition, .. } | Self::Reap { partition } => *partition,
            Self::Ended { apply, .. } => apply.partition,
            Self::Extract { serve, .. } | Self::Capture { serve, .. } => serve.partition,
        }
    }

    /// Returns whether there is something to do now: a load may wait for its next part.
    fn is_ready(&self) -> bool {
        match self {
            Self::Load(load) => load.is_running || !load.waiting.is_empty(),
            _ => true,
        }
    }
}

impl Jobs {
    /// Returns whether there is work that can go on.
    pub(super) fn has_ready(&self) -> bool {
        self.queue.iter().any(Job::is_ready)
    }

    /// Takes out the work that can go on and waits longest.
    pub(super) fn take_ready(&mut self) -> Option<Job> {
        let ready = self.queue.iter().position(Job::is_ready)?;
        self.queue.remove(ready)
    }

    /// Takes out work in a partition of which reads show the outcome already.
    pub(super) fn take_visibility(&mut self, in_partition: u16) -> Option<Job> {
        let is_meant = |job: &Job| match job {
            Job::Visibility { partition, .. } | Job::Reap { partition } => {
                *partition == in_partition
            }
            Job::Load(_) | Job::Ended { .. } | Job::Extract { .. } | Job::Capture { .. } => false,
        };
        let meant = self.queue.iter().position(is_meant)?;
        self.queue.remove(meant)
    }

    /// Puts work back, behind all other.
    pub(super) fn put(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    /// Returns whether there is work on what is held of a replica in a partition.
    pub(super) fn is_about(&self, id: &ReplicaId, partition: u16) -> bool {
        self.queue.iter().any(|job| job.is_about(id, partition))
    }

    /// Returns whether work needs the tracker of a partition.
    pub(super) fn is_in(&self, partition: u16) -> bool {
        self.queue.iter().any(|job| job.partition() == partition)
    }

    /// Returns whether an asker waits for a capture.
    pub(super) fn is_capturing(&self, partition: u16, capture: u64) -> bool {
        let mut jobs = self.queue.iter();
        jobs.any(|job| {
            matches!(job, Job::Capture { serve, capture: number }
                if serve.partition == partition && *number == capture)
        })
    }

    /// Adds a part to the load that it belongs to. Returns whether it does.
    pub(super) fn feed(&mut self, apply: &Apply) -> bool {
        let loads = self.queue.iter_mut().filter_map(|job| match job {
            Job::Load(load) => Some(load),
            _ => None,
        });
        for load in loads {
            let of = &load.apply;
            let next = of.part + load.waiting.len() as u32 + 1;
            let is_next = (&of.id, of.partition) == (&apply.id, apply.partition)
                && (of.life, of.to, of.answers) == (apply.life, apply.to, apply.answers)
                && of.parts == apply.parts
                && next == apply.part;
            if is_next {
                load.waiting.push_back(apply.content.clone());
                return true;
            }
        }
        false
    }

    /// Returns whether what is loaded of a replica is of a life before that of a frame which
    /// replaces it.
    pub(super) fn is_load_before(&self, apply: &Apply) -> bool {
        apply.from == 0
            && apply.part == 0
            && self.queue.iter().any(|job| {
                matches!(job, Job::Load(load) if job.is_about(&apply.id, apply.partition)
                    && load.apply.life < apply.life)
            })
    }

    /// Gives up the work on what is held of a replica in a partition. A state that is not exact
    /// goes, for the reason; its Diffs are added.
    pub(super) fn cancel(
        &mut self,
        held: &Held<'_>,
        tracker: &mut Tracker,
        reason: LeaveReason,
        diffs: &mut Vec<Diff>,
    ) {
        for job in std::mem::take(&mut self.queue) {
            if !job.is_about(held.id, held.partition) {
                self.queue.push_back(job);
                continue;
            }
            match job {
                Job::Load(load) => diffs.push(load.staged.cancel(tracker, reason)),
                Job::Visibility { change, .. } => diffs.push(held.finish(change, tracker)),
                _ => {}
            }
        }
    }

    /// Ends the work under way on what is held of a replica in a partition, but for the load of a
    /// whole state, of which nothing is seen. O(its entries).
    pub(super) fn finish(&mut self, held: &Held<'_>, tracker: &mut Tracker, diffs: &mut Vec<Diff>) {
        for job in std::mem::take(&mut self.queue) {
            let is_about = job.is_about(held.id, held.partition);
            let ended = match job {
                Job::Visibility { change, load, .. } if is_about => {
                    diffs.push(held.finish(change, tracker));
                    let outcome = Outcome::Done;
                    load.map(|apply| Job::Ended { apply, outcome })
                }
                Job::Load(mut load) if is_about && !load.is_quiet => {
                    let outcome = load.finish(tracker, diffs);
                    let apply = load.apply;
                    outcome.map(|outcome| Job::Ended { apply, outcome })
                }
                job => Some(job),
            };
            self.queue.extend(ended);
        }
    }

    /// Begins to make the Diffs of a replica that was hidden or shown.
    pub(super) fn begin_visibility(
        &mut self,
        id: &ReplicaId,
        partition: u16,
        tracker: &mut Tracker,
    ) {
        if let Some(change) = VisibilityChange::begin(tracker, id) {
            self.queue.push_back(Job::Visibility {
                id: id.clone(),
                partition,
                change,
                load: None,
            });
        }
    }

    /// Has the entries of dropped replicas removed.
    pub(super) fn reap(&mut self, partition: u16) {
        self.queue.push_back(Job::Reap { partition });
    }
}

impl Held<'_> {
    /// Makes the rest of the Diffs of a replica that was hidden or shown.
    fn finish(&self, mut change: VisibilityChange, tracker: &mut Tracker) -> Diff {
        change.step(tracker, usize::MAX, self.watched).diff
    }
}

impl Staged {
    fn cancel(self, tracker: &mut Tracker, reason: LeaveReason) -> Diff {
        match self {
            Self::Cold(cold) => cold.cancel(tracker),
            Self::Repair(mut repair) => repair.cancel_for(tracker, reason),
            Self::Delta(mut delta) => delta.cancel_for(tracker, reason),
        }
    }
}

impl Load {
    /// Checks a frame and begins to apply it. `None` if it brings nothing.
    pub(super) fn begin(
        apply: &Apply,
        tracker: &mut Tracker,
        diffs: &mut Vec<Diff>,
    ) -> Result<Option<Self>, ApplyError> {
        let content = apply.content.clone();
        let info = tracker.origin_info(&apply.id);
        let is_quiet = info.is_none();
        let interval = (apply.from, apply.to);
        let staged = if !apply.is_repair {
            let mut delta = tracker.stage_records(&apply.id, interval, content)?;
            if !delta.begin(tracker)? {
                return Ok(None);
            }
            Staged::Delta(Box::new(delta))
        } else if is_quiet && apply.from == 0 {
            let (mut cold, diff) = ColdLoad::begin(tracker, &apply.id, apply.to)?;
            diffs.push(diff);
            if let Err(error) = cold.add(content) {
                diffs.push(cold.cancel(tracker));
                return Err(error.into());
            }
            Staged::Cold(Box::new(cold))
        } else {
            let mut repair = tracker.stage_content(&apply.id, interval, content)?;
            if !repair.begin(tracker, apply.is_full)? {
                return Ok(None);
            }
            Staged::Repair(Box::new(repair))
        };
        let apply = Apply {
            content: Bytes::new(),
            ..apply.clone()
        };
        Ok(Some(Self {
            apply,
            staged,
            waiting: VecDeque::new(),
            is_running: true,
            is_quiet,
        }))
    }

    /// Loads the next records.
    pub(super) fn step(
        &mut self,
        tracker: &mut Tracker,
        records_max: usize,
        diffs: &mut Vec<Diff>,
    ) -> Result<Step, ApplyError> {
        let slice = match &mut self.staged {
            Staged::Cold(cold) => {
                if !self.is_running
                    && let Some(content) = self.waiting.pop_front()
                {
                    cold.add(content)?;
                    self.apply.part += 1;
                    self.is_running = true;
                }
                if !cold.step(tracker, records_max)? {
                    return Ok(Step::More);
                }
                self.is_running = false;
                let is_last = self.apply.part + 1 == self.apply.parts;
                return Ok(if is_last { Step::Done } else { Step::PartDone });
            }
            Staged::Repair(repair) => repair.step(tracker, records_max)?,
            Staged::Delta(delta) => delta.step(tracker, records_max)?,
        };
        diffs.push(slice.diff);
        Ok(if slice.done { Step::Done } else { Step::More })
    }

    /// Applies all that is left. `None` if the origin was dropped meanwhile.
    fn finish(&mut self, tracker: &mut Tracker, diffs: &mut Vec<Diff>) -> Option<Outcome> {
        loop {
            match self.step(tracker, usize::MAX, diffs) {
                Ok(Step::Done) => return Some(Outcome::Done),
                Ok(_) => {}
                Err(ApplyError::Applying) => return None,
                Err(error) => return Some(outcome(error)),
            }
        }
    }
}

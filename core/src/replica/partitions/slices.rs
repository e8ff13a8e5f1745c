//! Slices of work on the entries.

use super::answers::{found, outcome, served};
use super::jobs::{Job, Load, Staged, Step};
use super::{Partitions, Watched};
use crate::error::ApplyError;
use crate::replica::output::{Answered, Apply, Found, Outcome, Serve};
use crate::tracker::{Diff, Extract, VisibilityChange};

/// Work in slices.
impl Partitions {
    /// Returns whether there is work that can go on.
    pub(crate) fn has_work(&self) -> bool {
        self.jobs.has_ready()
    }

    /// Does one slice of the work that waits longest.
    pub(crate) fn work(&mut self, watched: Watched<'_>) -> Option<Answered> {
        let job = self.jobs.take_ready()?;
        Some(self.slice(job, Vec::new(), watched))
    }

    /// Makes the Diffs of all that reads of a topic show already.
    pub(crate) fn finish_visibility(&mut self, topic: &str, watched: Watched<'_>) -> Vec<Answered> {
        let partition = self.partition_of(topic);
        let mut answers = Vec::new();
        while let Some(job) = self.jobs.take_visibility(partition) {
            answers.push(self.slice(job, Vec::new(), watched));
        }
        answers
    }

    /// Begins to apply a frame that takes more than a slice, or of which nothing must be seen
    /// before the end.
    pub(super) fn begin_load(
        &mut self,
        apply: &Apply,
        mut diffs: Vec<Diff>,
        watched: Watched<'_>,
    ) -> Answered {
        let is_hidden = self.hidden.contains(&apply.id);
        let tracker = &mut self.part(apply.partition).tracker;
        let begun = Load::begin(apply, tracker, &mut diffs);
        match begun {
            Ok(Some(load)) => {
                if is_hidden {
                    tracker.set_hidden(&apply.id, true);
                }
                self.slice(Job::Load(load), diffs, watched)
            }
            Ok(None) => self.ended(apply, Outcome::Done, diffs),
            Err(error) => self.ended(apply, outcome(error), diffs),
        }
    }

    /// Begins to collect a long answer.
    pub(super) fn begin_extract(&mut self, serve: Serve, watched: Watched<'_>) -> Answered {
        let id = self.id.clone();
        let tracker = &mut self.part(serve.partition).tracker;
        match Extract::begin(tracker, &id, serve.clock, serve.is_full) {
            Some(extract) => {
                let extract = Box::new(extract);
                self.slice(Job::Extract { serve, extract }, Vec::new(), watched)
            }
            None => served(&serve, Found::Nothing),
        }
    }

    fn ended(&mut self, apply: &Apply, outcome: Outcome, diffs: Vec<Diff>) -> Answered {
        self.tidy(apply.partition);
        self.report(apply, outcome, diffs)
    }

    /// Does a slice of a job, which is not in the queue; what is left of it is put there.
    pub(super) fn slice(
        &mut self,
        job: Job,
        mut diffs: Vec<Diff>,
        watched: Watched<'_>,
    ) -> Answered {
        let slice_max = self.slice_max;
        let partition = job.partition();
        let Some(part) = self.parts.get_mut(&partition) else {
            return Answered::Changed(diffs);
        };
        let tracker = &mut part.tracker;
        match job {
            Job::Load(load) => return self.load_slice(load, diffs, watched),
            Job::Capture { serve, capture } => return self.capture_slice(serve, capture),
            Job::Visibility {
                id,
                partition,
                mut change,
                load,
            } => {
                let slice = change.step(tracker, slice_max, watched);
                diffs.push(slice.diff);
                if !slice.done {
                    self.jobs.put(Job::Visibility {
                        id,
                        partition,
                        change,
                        load,
                    });
                } else if let Some(apply) = load {
                    return self.ended(&apply, Outcome::Done, diffs);
                }
            }
            Job::Ended { apply, outcome } => return self.ended(&apply, outcome, diffs),
            Job::Reap { partition } => {
                let slice = tracker.reap(slice_max, watched);
                diffs.push(slice.diff);
                if slice.done {
                    self.tidy(partition);
                } else {
                    self.jobs.put(Job::Reap { partition });
                }
            }
            Job::Extract { serve, mut extract } => {
                if !extract.step(tracker, slice_max).done {
                    self.jobs.put(Job::Extract { serve, extract });
                    return Answered::Nothing;
                }
                let extracted = extract.finish(tracker);
                let contents = extracted.map(crate::tracker::Extracted::into_contents);
                let found = contents.map_or(Found::Nothing, |contents| found(&serve, contents));
                self.tidy(partition);
                return served(&serve, found);
            }
        }
        Answered::Changed(diffs)
    }

    fn load_slice(
        &mut self,
        mut load: Load,
        mut diffs: Vec<Diff>,
        watched: Watched<'_>,
    ) -> Answered {
        let slice_max = self.slice_max;
        let id = load.apply.id.clone();
        let Some(part) = self.parts.get_mut(&load.apply.partition) else {
            return Answered::Changed(diffs);
        };
        match load.step(&mut part.tracker, slice_max, &mut diffs) {
            Ok(Step::More) => {
                self.jobs.put(Job::Load(load));
                Answered::Changed(diffs)
            }
            Ok(Step::PartDone) => {
                let apply = load.apply.clone();
                self.jobs.put(Job::Load(load));
                self.report(&apply, Outcome::Loaded, diffs)
            }
            Ok(Step::Done) => {
                if let Staged::Cold(cold) = load.staged {
                    cold.finish(&mut part.tracker);
                }
                part.set_life(&id, load.apply.life);
                let change = (load.is_quiet && !self.hidden.contains(&id))
                    .then(|| VisibilityChange::begin(&mut part.tracker, &id))
                    .flatten();
                match change {
                    Some(change) => {
                        let partition = load.apply.partition;
                        let load = Some(load.apply);
                        let job = Job::Visibility {
                            id,
                            partition,
                            change,
                            load,
                        };
                        self.slice(job, diffs, watched)
                    }
                    None => self.ended(&load.apply, Outcome::Done, diffs),
                }
            }
            // The origin was dropped meanwhile, and all about it.
            Err(ApplyError::Applying) => Answered::Changed(diffs),
            Err(error) => {
                if let Staged::Cold(cold) = load.staged {
                    diffs.push(cold.cancel(&mut part.tracker));
                }
                self.ended(&load.apply, outcome(error), diffs)
            }
        }
    }
}

//! What the control plane asks of the trackers. Large work goes in slices: between two of them the
//! lock of the slot is free, and other frames come through.

use crate::codec::Kind;
use crate::error::ApplyError;
use crate::id::ReplicaId;
use crate::replica::{Apply, Outcome, Report, Serve};
use crate::tracker::{Diff, Extract, Shift, StagedRepair, Tracker};

use super::Presence;
use super::cluster::{Control, report};

/// Work that is not done yet.
#[derive(Debug)]
pub(super) enum Job {
    /// A Repair being applied. `is_first`: nothing of the origin was known here before.
    Repair {
        apply: Apply,
        staged: Box<StagedRepair>,
        is_first: bool,
    },
    /// The Diffs after a hide, a show or a first load; a load reports when they are made.
    Shift {
        slot: u8,
        id: ReplicaId,
        shift: Shift,
        load: Option<Apply>,
    },
    /// The entries of dropped replicas being removed.
    Reap { slot: u8 },
    /// A large answer being collected.
    Extract { serve: Serve, extract: Box<Extract> },
}

impl Job {
    fn is_about(&self, id: &ReplicaId) -> bool {
        match self {
            Self::Repair { apply, .. } => apply.origin == *id,
            Self::Shift { id: about, .. } => about == id,
            Self::Reap { .. } | Self::Extract { .. } => false,
        }
    }
}

impl Presence {
    /// Does one slice of the work that waits longest.
    pub(super) fn work(&self, control: &mut Control) {
        if let Some(job) = control.jobs.pop_front() {
            self.begin(control, job);
        }
    }

    /// Does the first slice of a job at once; the rest waits its turn.
    fn begin(&self, control: &mut Control, job: Job) {
        if let Some(rest) = self.slice(control, job) {
            control.jobs.push_back(rest);
        }
    }

    /// Ends what is under way for a replica before its visibility changes, so that every Diff is
    /// made of what was seen.
    fn finish_jobs(&self, control: &mut Control, id: &ReplicaId) {
        while let Some(at) = control.jobs.iter().position(|job| job.is_about(id)) {
            let mut job = control.jobs.remove(at);
            while let Some(rest) = job {
                job = self.slice(control, rest);
            }
        }
    }

    /// Does one slice. Gives what is left.
    fn slice(&self, control: &mut Control, job: Job) -> Option<Job> {
        match job {
            Job::Repair {
                apply,
                staged,
                is_first,
            } => self.repair_slice(control, apply, staged, is_first),
            Job::Shift {
                slot,
                id,
                mut shift,
                load,
            } => {
                let watched = |topic: &str| control.is_watched(topic);
                let mut tracker = self.slots[usize::from(slot)].write();
                let slice = tracker.shift_slice(&mut shift, self.slice_records, &watched);
                drop(tracker);
                control.note(slice.diff);
                if !slice.done {
                    return Some(Job::Shift {
                        slot,
                        id,
                        shift,
                        load,
                    });
                }
                load.into_iter()
                    .for_each(|apply| self.applied(control, &apply, Outcome::Done));
                None
            }
            Job::Reap { slot } => {
                let watched = |topic: &str| control.is_watched(topic);
                let mut tracker = self.slots[usize::from(slot)].write();
                let slice = tracker.reap(self.slice_records, &watched);
                drop(tracker);
                control.note(slice.diff);
                (!slice.done).then_some(Job::Reap { slot })
            }
            Job::Extract { serve, mut extract } => {
                let mut tracker = self.slots[usize::from(serve.slot)].write();
                if !tracker.extract_slice(&mut extract, self.slice_records) {
                    return Some(Job::Extract { serve, extract });
                }
                if serve.origin == *tracker.id() {
                    report(control, serve.slot, &tracker);
                }
                let extracted = tracker.finish_extract(*extract);
                drop(tracker);
                // Too much changed meanwhile: the asker will ask again.
                if let Some((kind, body)) = extracted.map(|extracted| extracted.encode()) {
                    let is_repair = kind == Kind::REPAIR;
                    control
                        .replica
                        .reply(control.now, &serve, body.into(), is_repair);
                }
                None
            }
        }
    }

    fn repair_slice(
        &self,
        control: &mut Control,
        apply: Apply,
        mut staged: Box<StagedRepair>,
        is_first: bool,
    ) -> Option<Job> {
        let slot = apply.slot;
        let mut tracker = self.slots[usize::from(slot)].write();
        let slice = tracker.apply_slice(&mut staged, self.slice_records);
        let is_done = slice.as_ref().map(|slice| slice.done);
        let shift = (is_done == Ok(true) && is_first && !control.hidden.contains(&apply.origin))
            .then(|| tracker.begin_shift(&apply.origin))
            .flatten();
        drop(tracker);
        match (is_done, shift) {
            (Ok(true), Some(shift)) => {
                let (id, load) = (apply.origin.clone(), Some(apply));
                control.note(slice.map(|slice| slice.diff).unwrap_or_default());
                return Some(Job::Shift {
                    slot,
                    id,
                    shift,
                    load,
                });
            }
            (Ok(true), None) => self.applied(control, &apply, Outcome::Done),
            // Not done; or the origin was dropped in between, and all about it.
            (Ok(false) | Err(ApplyError::Applying), _) => {}
            (Err(error), _) => self.applied(control, &apply, outcome(&Err(error.clone()))),
        }
        let rest = is_done == Ok(false);
        control.note(slice.map(|slice| slice.diff).unwrap_or_default());
        rest.then_some(Job::Repair {
            apply,
            staged,
            is_first,
        })
    }

    /// Applies a frame, in slices if it is large.
    pub(super) fn apply_body(&self, control: &mut Control, apply: Apply) {
        if apply.repair && apply.body.len() > self.slice_records {
            self.begin_repair(control, apply);
            return;
        }
        let mut tracker = self.slots[usize::from(apply.slot)].write();
        let was_known = tracker.origin_info(&apply.origin).is_some();
        let applied = if apply.repair {
            tracker.apply_repair(&apply.body, apply.full)
        } else {
            tracker.apply_delta(&apply.body)
        };
        let arrives_hidden = !was_known && control.hidden.contains(&apply.origin);
        if arrives_hidden {
            tracker.set_hidden(&apply.origin, true);
        }
        drop(tracker);
        let outcome = outcome(&applied);
        let diff = applied.ok().filter(|_| !arrives_hidden);
        control.note(diff.unwrap_or_default());
        self.applied(control, &apply, outcome);
    }

    fn begin_repair(&self, control: &mut Control, apply: Apply) {
        let mut tracker = self.slots[usize::from(apply.slot)].write();
        let is_first = tracker.origin_info(&apply.origin).is_none();
        let staged = StagedRepair::new(apply.body.clone(), tracker.limits());
        let begun = staged.map_err(ApplyError::Decode).and_then(|mut staged| {
            let is_useful = tracker.begin_repair(&mut staged, apply.full)?;
            Ok(is_useful.then_some(staged))
        });
        if is_first && control.hidden.contains(&apply.origin) {
            tracker.set_hidden(&apply.origin, true);
        }
        drop(tracker);
        match begun {
            Ok(Some(staged)) => {
                self.applied(control, &apply, Outcome::Started);
                let staged = Box::new(staged);
                let job = Job::Repair {
                    apply,
                    staged,
                    is_first,
                };
                self.begin(control, job);
            }
            Ok(None) => self.applied(control, &apply, Outcome::Done),
            Err(error) => self.applied(control, &apply, outcome(&Err(error))),
        }
    }

    /// Reports where an origin stands after a frame.
    fn applied(&self, control: &mut Control, apply: &Apply, outcome: Outcome) {
        let tracker = self.slots[usize::from(apply.slot)].read();
        let info = tracker.origin_info(&apply.origin);
        drop(tracker);
        let (clock, hash) = info.map_or((0, 0), |info| (info.clock, info.digest));
        let report = Report {
            clock,
            hash,
            outcome,
        };
        let now = control.now;
        control
            .replica
            .applied(now, &apply.origin, apply.slot, report, &apply.source);
    }

    /// Encodes what an asker lacks, in slices if the origin is large.
    pub(super) fn serve(&self, control: &mut Control, serve: Serve) {
        let slot = usize::from(serve.slot);
        let entries = |tracker: &Tracker| tracker.origin_info(&serve.origin).map(|i| i.entries);
        if entries(&self.slots[slot].read()).is_some_and(|n| n as usize > self.slice_records) {
            let (since, full, nonce) = (serve.since, serve.full, serve.nonce);
            let mut tracker = self.slots[slot].write();
            let extract = tracker.begin_extract(&serve.origin, since, full, nonce);
            drop(tracker);
            if let Some(extract) = extract.map(Box::new) {
                self.begin(control, Job::Extract { serve, extract });
            }
            return;
        }
        let tracker = self.slots[slot].read();
        if serve.origin == *tracker.id() {
            report(control, serve.slot, &tracker);
        }
        let body = if serve.full {
            let body = tracker.full_body(&serve.origin, serve.nonce);
            body.map(|body| (Kind::REPAIR, body))
        } else {
            tracker.body_since(&serve.origin, serve.since, serve.nonce)
        };
        drop(tracker);
        if let Some((kind, body)) = body {
            let is_repair = kind == Kind::REPAIR;
            control
                .replica
                .reply(control.now, &serve, body.into(), is_repair);
        }
    }

    /// One flag in each slot, then the Diffs.
    pub(super) fn set_hidden(&self, control: &mut Control, id: &ReplicaId, hidden: bool) {
        self.finish_jobs(control, id);
        if hidden {
            control.hidden.insert(id.clone());
        } else {
            control.hidden.remove(id);
        }
        for (slot, tracker) in (0..).zip(&self.slots) {
            let mut tracker = tracker.write();
            if !tracker.set_hidden(id, hidden) {
                continue;
            }
            let shift = tracker.begin_shift(id);
            drop(tracker);
            if let Some(shift) = shift {
                let (id, load) = (id.clone(), None);
                let job = Job::Shift {
                    slot,
                    id,
                    shift,
                    load,
                };
                self.begin(control, job);
            }
        }
    }

    /// Its entries are unseen at once, and removed in slices.
    pub(super) fn forget(&self, control: &mut Control, id: &ReplicaId) {
        self.finish_jobs(control, id);
        control.hidden.remove(id);
        for (slot, tracker) in (0..).zip(&self.slots) {
            if tracker.write().retire(id) {
                self.begin(control, Job::Reap { slot });
            }
        }
    }
}

fn outcome(applied: &Result<Diff, ApplyError>) -> Outcome {
    match applied {
        Err(ApplyError::Gap { .. }) => Outcome::Gap,
        Err(ApplyError::Decode(_) | ApplyError::Diverged { .. } | ApplyError::WrongSlot { .. }) => {
            Outcome::Invalid
        }
        _ => Outcome::Done,
    }
}

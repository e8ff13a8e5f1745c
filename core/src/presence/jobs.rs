//! What the control plane asks of the trackers. Large work goes in slices: between two of them the
//! lock of the slot is free, and other frames come through.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Presence;
use super::control;
use crate::codec::{DecodeError, Kind};
use crate::error::ApplyError;
use crate::id::ReplicaId;
use crate::replica::{Apply, Outcome, Replica, Report, Serve};
use crate::tracker::{
    Extract, Limits, Slice, StagedDelta, StagedRepair, Tracker, VisibilityChange,
};

/// Length of the shortest record of a Delta: what is shorter than a slice of these is one slice.
const DELTA_RECORD_LEN: usize = 3;

/// The control plane of wire 1, and the work on entries that waits.
#[derive(Debug)]
pub struct Wire1Plane {
    pub(super) replica: Replica,
    /// Replicas that are down: what arrives of them arrives hidden.
    pub(super) hidden: BTreeSet<ReplicaId>,
    /// Work that goes on with the next calls.
    pub(super) jobs: VecDeque<Job>,
    /// Replaced lives whose entries are seen until then.
    pub(super) graces: VecDeque<(Duration, ReplicaId)>,
}

pub(super) type Control = control::Control<Wire1Plane>;

impl Wire1Plane {
    pub(super) fn new(replica: Replica) -> Self {
        Self {
            replica,
            hidden: BTreeSet::new(),
            jobs: VecDeque::new(),
            graces: VecDeque::new(),
        }
    }
}

/// Work that is not done yet.
#[derive(Debug)]
pub(super) enum Job {
    /// A frame being applied. `is_first`: nothing of the origin was known here before.
    Load {
        apply: Apply,
        staged: Staged,
        is_first: bool,
    },
    /// The Diffs after a hide, a show or a first load; a load reports when they are made.
    VisibilityChange {
        slot: u8,
        id: ReplicaId,
        change: VisibilityChange,
        load: Option<Apply>,
    },
    /// The entries of dropped replicas being removed.
    Reap { slot: u8 },
    /// A large answer being collected.
    Extract { serve: Serve, extract: Box<Extract> },
}

/// A large frame.
#[derive(Debug)]
pub(super) enum Staged {
    Repair(Box<StagedRepair>),
    Delta(Box<StagedDelta>),
}

impl Staged {
    /// Checks what needs no tracker.
    fn new(apply: &Apply, limits: &Limits) -> Result<Self, DecodeError> {
        let body = apply.body.clone();
        Ok(if apply.repair {
            Self::Repair(Box::new(StagedRepair::new(body, limits)?))
        } else {
            Self::Delta(Box::new(StagedDelta::new(body, limits)?))
        })
    }

    fn begin(&mut self, tracker: &mut Tracker, full: bool) -> Result<bool, ApplyError> {
        match self {
            Self::Repair(staged) => staged.begin(tracker, full),
            Self::Delta(staged) => staged.begin(tracker),
        }
    }

    fn slice(&mut self, tracker: &mut Tracker, records: usize) -> Result<Slice, ApplyError> {
        match self {
            Self::Repair(staged) => staged.step(tracker, records),
            Self::Delta(staged) => staged.step(tracker, records),
        }
    }
}

impl Job {
    fn is_about(&self, id: &ReplicaId) -> bool {
        match self {
            Self::Load { apply, .. } => apply.origin == *id,
            Self::VisibilityChange { id: about, .. } => about == id,
            Self::Reap { .. } | Self::Extract { .. } => false,
        }
    }

    /// Returns whether reads of a slot show the outcome already, and Diffs still follow.
    pub(super) fn changes_visibility_in(&self, slot: u8) -> bool {
        match self {
            Self::VisibilityChange { slot: changed, .. } | Self::Reap { slot: changed } => {
                *changed == slot
            }
            Self::Load { .. } | Self::Extract { .. } => false,
        }
    }
}

impl Presence {
    /// Does one slice of the work that waits longest.
    pub(super) fn work_slice(&self, control: &mut Control) {
        if let Some(job) = control.plane.jobs.pop_front() {
            self.begin(control, job);
        }
    }

    /// Does the first slice of a job at once; the rest waits its turn.
    fn begin(&self, control: &mut Control, job: Job) {
        if let Some(rest) = self.slice(control, job) {
            control.plane.jobs.push_back(rest);
        }
    }

    /// Ends the jobs that are meant. Before the visibility of a replica changes, all about it are,
    /// so that every Diff is made of what was seen.
    pub(super) fn finish_jobs(&self, control: &mut Control, is_meant: impl Fn(&Job) -> bool) {
        while let Some(at) = control.plane.jobs.iter().position(&is_meant) {
            let mut job = control.plane.jobs.remove(at);
            while let Some(rest) = job {
                job = self.slice(control, rest);
            }
        }
    }

    /// Does one slice. Gives what is left.
    fn slice(&self, control: &mut Control, job: Job) -> Option<Job> {
        match job {
            Job::Load {
                apply,
                staged,
                is_first,
            } => self.load_slice(control, apply, staged, is_first),
            Job::VisibilityChange {
                slot,
                id,
                mut change,
                load,
            } => {
                let watched = |topic: &str| control.watched.contains(topic);
                let mut tracker = self.shards[usize::from(slot)].write();
                let slice = change.step(&mut tracker, self.slice_entries_max, &watched);
                drop(tracker);
                control.note(slice.diff);
                if !slice.done {
                    return Some(Job::VisibilityChange {
                        slot,
                        id,
                        change,
                        load,
                    });
                }
                load.into_iter()
                    .for_each(|apply| self.applied(control, &apply, Outcome::Done));
                None
            }
            Job::Reap { slot } => {
                let watched = |topic: &str| control.watched.contains(topic);
                let mut tracker = self.shards[usize::from(slot)].write();
                let slice = tracker.reap(self.slice_entries_max, &watched);
                drop(tracker);
                control.note(slice.diff);
                (!slice.done).then_some(Job::Reap { slot })
            }
            Job::Extract { serve, mut extract } => {
                let mut tracker = self.shards[usize::from(serve.slot)].write();
                if !extract.step(&mut tracker, self.slice_entries_max).done {
                    return Some(Job::Extract { serve, extract });
                }
                if serve.origin == *tracker.id() {
                    report(control, serve.slot, &tracker);
                }
                let extracted = extract.finish(&mut tracker);
                drop(tracker);
                // Too much changed meanwhile: the asker will ask again.
                if let Some((kind, body)) = extracted.map(|extracted| extracted.encode()) {
                    let is_repair = kind == Kind::REPAIR;
                    control
                        .plane
                        .replica
                        .reply(control.now, &serve, body.into(), is_repair);
                }
                None
            }
        }
    }

    fn load_slice(
        &self,
        control: &mut Control,
        apply: Apply,
        mut staged: Staged,
        is_first: bool,
    ) -> Option<Job> {
        let slot = apply.slot;
        let mut tracker = self.shards[usize::from(slot)].write();
        let slice = staged.slice(&mut tracker, self.slice_entries_max);
        let is_done = slice.as_ref().map(|slice| slice.done);
        let change =
            (is_done == Ok(true) && is_first && !control.plane.hidden.contains(&apply.origin))
                .then(|| VisibilityChange::begin(&mut tracker, &apply.origin))
                .flatten();
        drop(tracker);
        match (is_done, change) {
            (Ok(true), Some(change)) => {
                let id = apply.origin.clone();
                let load = Some(apply);
                control.note(slice.map(|slice| slice.diff).unwrap_or_default());
                return Some(Job::VisibilityChange {
                    slot,
                    id,
                    change,
                    load,
                });
            }
            (Ok(true), None) => self.applied(control, &apply, Outcome::Done),
            // Not done; or the origin was dropped in between, and all about it.
            (Ok(false) | Err(ApplyError::Applying), _) => {}
            (Err(error), _) => self.applied(control, &apply, outcome(&apply, Err(error))),
        }
        let rest = is_done == Ok(false);
        control.note(slice.map(|slice| slice.diff).unwrap_or_default());
        rest.then_some(Job::Load {
            apply,
            staged,
            is_first,
        })
    }

    /// Applies a frame, in slices if it is large.
    pub(super) fn apply_body(&self, control: &mut Control, apply: Apply) {
        let record_len = if apply.repair { 1 } else { DELTA_RECORD_LEN };
        let is_large = apply.body.len() > self.slice_entries_max * record_len;
        let mut tracker = self.shards[usize::from(apply.slot)].write();
        let is_known = tracker.origin_info(&apply.origin).is_some();
        // What arrives hidden is a load too: it is unseen from its first entry on.
        if is_large || !is_known && control.plane.hidden.contains(&apply.origin) {
            drop(tracker);
            self.begin_load(control, apply);
            return;
        }
        let applied = if apply.repair {
            tracker.apply_repair(&apply.body, apply.full)
        } else {
            tracker.apply_delta(&apply.body)
        };
        drop(tracker);
        let outcome = outcome(&apply, applied.as_ref().map(drop));
        control.note(applied.unwrap_or_default());
        self.applied(control, &apply, outcome);
    }

    fn begin_load(&self, control: &mut Control, apply: Apply) {
        let slot = &self.shards[usize::from(apply.slot)];
        let limits = slot.read().limits().clone();
        let staged = Staged::new(&apply, &limits);
        let mut tracker = slot.write();
        let known = tracker.origin_info(&apply.origin);
        let is_first = known.is_none_or(|info| info.clock == 0);
        let begun = staged.map_err(ApplyError::Decode).and_then(|mut staged| {
            let is_useful = staged.begin(&mut tracker, apply.full)?;
            Ok(is_useful.then_some(staged))
        });
        if is_first && control.plane.hidden.contains(&apply.origin) {
            tracker.set_hidden(&apply.origin, true);
        }
        drop(tracker);
        match begun {
            Ok(Some(staged)) => {
                self.applied(control, &apply, Outcome::Started);
                let job = Job::Load {
                    apply,
                    staged,
                    is_first,
                };
                self.begin(control, job);
            }
            Ok(None) => self.applied(control, &apply, Outcome::Done),
            Err(error) => self.applied(control, &apply, outcome(&apply, Err(&error))),
        }
    }

    /// Reports where an origin stands after a frame.
    fn applied(&self, control: &mut Control, apply: &Apply, outcome: Outcome) {
        let tracker = self.shards[usize::from(apply.slot)].read();
        let info = tracker.origin_info(&apply.origin);
        drop(tracker);
        let (clock, hash) = info.map_or((0, 0), |info| (info.clock, info.fingerprint));
        let report = Report {
            clock,
            hash,
            outcome,
        };
        let now = control.now;
        control
            .plane
            .replica
            .applied(now, &apply.origin, apply.slot, report, &apply.source);
    }

    /// Encodes what an asker lacks, in slices if the origin is large.
    pub(super) fn serve(&self, control: &mut Control, serve: Serve) {
        let slot = usize::from(serve.slot);
        let entries = |tracker: &Tracker| tracker.origin_info(&serve.origin).map(|i| i.entries);
        if entries(&self.shards[slot].read()).is_some_and(|n| n as usize > self.slice_entries_max) {
            let since = serve.since;
            let full = serve.full;
            let nonce = serve.nonce;
            let mut tracker = self.shards[slot].write();
            let extract = Extract::begin(&mut tracker, &serve.origin, since, full, nonce);
            drop(tracker);
            if let Some(extract) = extract.map(Box::new) {
                self.begin(control, Job::Extract { serve, extract });
            }
            return;
        }
        let tracker = self.shards[slot].read();
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
                .plane
                .replica
                .reply(control.now, &serve, body.into(), is_repair);
        }
    }

    /// One flag in each slot, then the Diffs.
    pub(super) fn set_hidden(&self, control: &mut Control, id: &ReplicaId, hidden: bool) {
        self.finish_jobs(control, |job| job.is_about(id));
        if hidden {
            control.plane.hidden.insert(id.clone());
        } else {
            control.plane.hidden.remove(id);
        }
        for (slot, tracker) in (0..).zip(&self.shards) {
            let mut tracker = tracker.write();
            if !tracker.set_hidden(id, hidden) {
                continue;
            }
            let change = VisibilityChange::begin(&mut tracker, id);
            drop(tracker);
            if let Some(change) = change {
                let id = id.clone();
                let load = None;
                let job = Job::VisibilityChange {
                    slot,
                    id,
                    change,
                    load,
                };
                self.begin(control, job);
            }
        }
    }

    /// Its entries are unseen at once, and removed in slices; those of its earlier lives too.
    pub(super) fn forget(&self, control: &mut Control, id: &ReplicaId) {
        self.remove(control, id, |tracker| tracker.retire(id));
        while let Some(at) = control
            .plane
            .graces
            .iter()
            .position(|(_, g)| g.name() == id.name())
        {
            let earlier = control.plane.graces.remove(at);
            earlier
                .into_iter()
                .for_each(|(_, id)| self.end_grace(control, &id));
        }
    }

    /// A later life took its name: what is seen of it stays for the grace.
    pub(super) fn replace(&self, control: &mut Control, id: &ReplicaId) {
        let mut lingers = false;
        self.remove(control, id, |tracker| {
            let stays = !self.grace.is_zero() && tracker.linger(id);
            lingers |= stays;
            !stays && tracker.retire(id)
        });
        if lingers {
            let until = control.now.saturating_add(self.grace);
            control.plane.graces.push_back((until, id.clone()));
        }
    }

    /// Ends the graces that are over.
    pub(super) fn end_graces(&self, control: &mut Control) {
        let now = control.now;
        while control
            .plane
            .graces
            .front()
            .is_some_and(|(until, _)| *until <= now)
        {
            let over = control.plane.graces.pop_front();
            over.into_iter()
                .for_each(|(_, id)| self.end_grace(control, &id));
        }
    }

    fn end_grace(&self, control: &mut Control, id: &ReplicaId) {
        self.remove(control, id, |tracker| tracker.end_linger(id));
    }

    /// Takes a replica out of every slot; where `take_out` says so, its entries are reaped.
    fn remove(
        &self,
        control: &mut Control,
        id: &ReplicaId,
        mut take_out: impl FnMut(&mut Tracker) -> bool,
    ) {
        self.finish_jobs(control, |job| job.is_about(id));
        control.plane.hidden.remove(id);
        for (slot, tracker) in (0..).zip(&self.shards) {
            if take_out(&mut tracker.write()) {
                self.begin(control, Job::Reap { slot });
            }
        }
    }
}

/// Tells the control plane where the local origin of a slot stands. Gives its clock.
pub(super) fn report(control: &mut Control, slot: u8, tracker: &Tracker) -> u64 {
    let info = tracker
        .origin_info(tracker.id())
        .expect("the local origin is always known");
    control
        .plane
        .replica
        .local(control.now, slot, info.clock, info.fingerprint);
    info.clock
}

fn outcome(apply: &Apply, applied: Result<(), &ApplyError>) -> Outcome {
    match applied {
        Err(ApplyError::Gap { .. }) => Outcome::Gap,
        Err(ApplyError::Diverged { .. }) => Outcome::Invalid,
        Err(
            error @ (ApplyError::Decode(_)
            | ApplyError::WrongSlot { .. }
            | ApplyError::TooManyOrigins { .. }
            | ApplyError::TooManyEntries { .. }),
        ) => Outcome::Refused {
            to: apply.to,
            full: apply.full,
            error: error.clone(),
        },
        _ => Outcome::Done,
    }
}

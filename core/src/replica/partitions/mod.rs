//! `Partitions`: the entries, one tracker for each partition that holds any.

mod access;
mod answers;
mod captures;
mod counts;
mod jobs;
mod own;
mod owners;
mod slices;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::answers::{found, outcome, served};
use self::captures::Shared;
use self::jobs::{Held, Jobs};
use self::owners::Owners;
use super::leave_ages::LeaveAges;
use super::message::{Data, Position, Same};
use super::output::{Access, Action, Answered, Apply, Found, Outcome, Pushed, Report, Serve};
use crate::codec::Shape;
use crate::id::ReplicaId;
use crate::tracker::{Content, Diff, LeaveReason, Limits, OriginInfo, TopicShare, Tracker};

/// The entries of this node and those that it holds of others.
///
/// A partition has a tracker while this node occupies it or holds something in it. A presence has
/// several `Partitions`, with a part of all partitions each.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    shape: Shape,
    /// True if these are the partitions of counts.
    is_of_counts: bool,
    id: ReplicaId,
    limits: Arc<Limits>,
    /// The last operation of every own life that has ended: later lives begin above it.
    floor: u64,
    hidden: HashSet<ReplicaId>,
    parts: BTreeMap<u16, Box<Partition>>,
    /// Work in slices that is not done.
    jobs: Jobs,
    /// The most records or entries of one slice.
    slice_max: usize,
    /// Partitions with own changes that no Diff has reported.
    changed: BTreeSet<u16>,
    /// Partitions with own changes that were not reported to the control plane.
    unreported: BTreeSet<u16>,
    /// Partitions with own changes that are not in the counts.
    uncounted: BTreeSet<u16>,
    /// `None` if there is one partition at most, which has all owners.
    owners: Option<Owners>,
    leave_ages: LeaveAges,
    /// The topics that are watched; unused where everything is.
    watched: HashMap<Arc<str>, Access>,
    /// The tracker of all partitions that have none.
    empty: Tracker,
    /// The trackers that were made.
    made: u64,
}

/// The topics whose Diffs after a hide or a show are wanted.
pub(crate) type Watched<'a> = &'a dyn Fn(&str) -> bool;

/// The time for which own leaves are remembered, unless it is set.
const LEAVES_KEPT: Duration = Duration::from_secs(60);

/// The bytes of the shortest record of a delta.
const DELTA_RECORD_LEN: usize = 3;

/// The most records or entries of one slice of work.
const SLICE_MAX: usize = 1_024;

#[derive(Debug, Clone)]
struct Partition {
    tracker: Tracker,
    /// True while the own origin has a life.
    is_occupied: bool,
    /// Replaced replicas of which something may still be visible.
    lingering: Vec<ReplicaId>,
    /// The newest capture of the own entries.
    capture: Option<Box<Shared>>,
}

impl Partition {
    /// Returns the life that is held of exactly this replica.
    fn life(&self, id: &ReplicaId) -> Option<u64> {
        self.tracker.life(id)
    }

    fn leave_log_len(&self) -> usize {
        self.tracker.leave_log_len()
    }

    /// Notes the life that is held of a replica; the tracker has dropped an earlier one of its
    /// name.
    fn set_life(&mut self, id: &ReplicaId, life: u64) {
        self.tracker.set_life(id, life);
    }
}

impl Partitions {
    pub(crate) fn new(id: ReplicaId, shape: Shape, limits: Limits) -> Self {
        let limits = limits.shared();
        Self {
            shape,
            is_of_counts: false,
            empty: Tracker::with_share(id.clone(), TopicShare::new(0, 0), limits.clone()),
            id,
            limits,
            floor: 0,
            hidden: HashSet::new(),
            parts: BTreeMap::new(),
            jobs: Jobs::default(),
            slice_max: SLICE_MAX,
            changed: BTreeSet::new(),
            unreported: BTreeSet::new(),
            uncounted: BTreeSet::new(),
            owners: Some(Owners::default()),
            leave_ages: LeaveAges::new(LEAVES_KEPT),
            watched: HashMap::new(),
            made: 0,
        }
    }

    /// Sets for how long own leaves are remembered. Default 60 s.
    pub(crate) fn leaves_kept(mut self, time: Duration) -> Self {
        self.leave_ages = LeaveAges::new(time);
        self
    }

    /// Declares that all topics lie in one partition.
    pub(crate) fn with_one_partition(mut self) -> Self {
        self.owners = None;
        self
    }

    /// Sets the most records or entries of one slice of work. Default 1,024.
    pub(crate) fn slice_max(mut self, slice_max: usize) -> Self {
        self.slice_max = slice_max.max(1);
        self
    }

    /// Returns the partition of a topic, or of its counts.
    fn partition_of(&self, topic: &str) -> u16 {
        if self.is_of_counts {
            self.shape.count_partition_of(topic)
        } else {
            self.shape.partition_of(topic)
        }
    }

    /// Returns the tracker that has all entries of a topic.
    pub(crate) fn tracker(&self, topic: &str) -> &Tracker {
        let part = self.parts.get(&self.partition_of(topic));
        part.map_or(&self.empty, |part| &part.tracker)
    }

    /// Returns what is held of another replica in a partition. O(1).
    pub(crate) fn position(&self, id: &ReplicaId, partition: u16) -> Option<Position> {
        let part = self.parts.get(&partition)?;
        let info = part.tracker.origin_info(id)?;
        Some(Position {
            life: part.life(id)?,
            clock: info.clock,
            fingerprint: info.fingerprint,
        })
    }

    /// Returns the trackers with their partitions.
    pub(crate) fn trackers(&self) -> impl Iterator<Item = (u16, &Tracker)> {
        let parts = self.parts.iter();
        parts.map(|(partition, part)| (*partition, &part.tracker))
    }

    /// Calls `each` for the state of every replica in every partition, with the life that is held of
    /// it.
    #[cfg(feature = "testing")]
    pub(crate) fn for_each_held(&self, mut each: impl FnMut(u16, OriginInfo, Option<u64>)) {
        for (partition, part) in &self.parts {
            for info in part.tracker.origins() {
                let life = part.life(&info.replica);
                each(*partition, info, life);
            }
        }
    }

    /// Does what a replica asks for.
    pub(crate) fn execute(&mut self, action: Action, watched: Watched<'_>) -> Answered {
        match action {
            Action::Push { partition, since } => Answered::Push(self.push(partition, since)),
            Action::Serve(serve) => self.serve(serve, watched),
            Action::ServePart(request) => self.serve_part(request),
            Action::EndCapture { partition, capture } => {
                self.end_capture(partition, capture);
                Answered::Nothing
            }
            Action::Apply(apply) => self.apply(&apply, watched),
            Action::Drop { id, partition } => {
                let mut diffs = Vec::new();
                self.drop_origin(&id, partition, LeaveReason::Unknown, watched, &mut diffs);
                Answered::Dropped(partition, vec![id], diffs)
            }
            Action::Vacate { partition, clock } => {
                self.vacate(partition, clock);
                Answered::Nothing
            }
            Action::DropOthers(partition) => self.drop_others(partition, watched),
            Action::Open { topic, access, .. } => {
                self.open(topic, access);
                Answered::Nothing
            }
            Action::Hide(id) => Answered::Changed(self.set_hidden(&id, true, watched)),
            Action::Show(id) => Answered::Changed(self.set_hidden(&id, false, watched)),
            Action::Forget { id, reason } => {
                let mut diffs = Vec::new();
                let partitions: Vec<_> = self.parts.keys().copied().collect();
                for partition in partitions {
                    self.drop_origin(&id, partition, reason, watched, &mut diffs);
                }
                self.hidden.remove(&id);
                Answered::Changed(diffs)
            }
            Action::Replace(id) => Answered::Changed(self.replace(&id, watched)),
            Action::EndGrace(id) => {
                self.end_grace(&id);
                Answered::Nothing
            }
            Action::Reincarnate(id) => Answered::Changed(self.reincarnate(id)),
        }
    }

    fn reincarnate(&mut self, id: ReplicaId) -> Vec<Diff> {
        let parts = self.parts.values_mut();
        let diffs = parts.map(|part| {
            part.capture = None;
            part.tracker.reincarnate(id.clone())
        });
        let diffs = diffs.filter(|diff| !diff.is_empty()).collect();
        drop(self.empty.reincarnate(id.clone()));
        self.id = id;
        for partition in std::mem::take(&mut self.changed) {
            self.tidy(partition);
        }
        diffs
    }

    fn push(&self, partition: u16, since: u64) -> Pushed {
        let part = self.parts.get(&partition);
        let own = part.and_then(|part| part.tracker.origin_info(&self.id));
        let records = part.and_then(|part| part.tracker.records_since(since));
        Pushed {
            partition,
            since,
            clock: own.as_ref().map_or(since, |own| own.clock),
            fingerprint: own.map_or(0, |own| own.fingerprint),
            records: records.map(Bytes::from),
        }
    }

    fn serve(&mut self, serve: Serve, watched: Watched<'_>) -> Answered {
        let own = self.own_info(serve.partition);
        let found = match own {
            None => Found::Beyond,
            Some(own) if serve.clock > own.clock => Found::Beyond,
            Some(own) if !serve.is_full && serve.clock == own.clock => {
                Found::Data(Data::Same(Same {
                    life: serve.life,
                    clock: own.clock,
                    fingerprint: own.fingerprint,
                    version: serve.version,
                    nonce: serve.nonce,
                }))
            }
            Some(own) if serve.is_full || serve.clock == 0 => {
                return self.serve_whole(serve, &own, watched);
            }
            Some(own) if own.entries as usize > self.slice_max => {
                return self.begin_extract(serve, watched);
            }
            Some(_) => {
                let part = &self.parts[&serve.partition];
                found(&serve, part.tracker.contents_since(serve.clock))
            }
        };
        served(&serve, found)
    }

    fn own_info(&self, partition: u16) -> Option<OriginInfo> {
        let part = self.parts.get(&partition)?;
        part.tracker.origin_info(&self.id)
    }

    fn apply(&mut self, apply: &Apply, watched: Watched<'_>) -> Answered {
        let mut diffs = Vec::new();
        if self.jobs.is_about(&apply.id, apply.partition) {
            if self.jobs.feed(apply) {
                return self.work(watched).unwrap_or(Answered::Nothing);
            }
            if !self.jobs.is_load_before(apply) {
                return self.report(apply, Outcome::Busy, diffs);
            }
            // A later life ends the load of this one.
            self.drop_origin(
                &apply.id,
                apply.partition,
                LeaveReason::Unknown,
                watched,
                &mut diffs,
            );
        }
        let held = self.position(&apply.id, apply.partition);
        let outcome = match held {
            Some(held) if apply.life < held.life => Outcome::Done,
            Some(held) if apply.life > held.life && apply.from > 0 => Outcome::Gap,
            // What is held came in another way meanwhile.
            Some(held) if apply.parts > 1 && (held.life, held.clock) >= (apply.life, apply.to) => {
                Outcome::Done
            }
            _ if apply.part > 0 => Outcome::Busy,
            Some(held) => {
                let is_later = apply.life > held.life || apply.parts > 1;
                if is_later {
                    let reason = LeaveReason::Unknown;
                    self.drop_origin(&apply.id, apply.partition, reason, watched, &mut diffs);
                }
                if self.is_large(apply) || is_later && self.hidden.contains(&apply.id) {
                    return self.begin_load(apply, diffs, watched);
                }
                self.apply_content(apply, &mut diffs)
            }
            None if self.is_large(apply) || self.hidden.contains(&apply.id) => {
                return self.begin_load(apply, diffs, watched);
            }
            None => self.apply_content(apply, &mut diffs),
        };
        self.tidy(apply.partition);
        self.report(apply, outcome, diffs)
    }

    /// Returns whether a frame takes more than a slice.
    fn is_large(&self, apply: &Apply) -> bool {
        let record_len = if apply.is_repair { 1 } else { DELTA_RECORD_LEN };
        apply.parts > 1 || apply.content.len() / record_len > self.slice_max
    }

    fn report(&self, apply: &Apply, outcome: Outcome, diffs: Vec<Diff>) -> Answered {
        let report = Report {
            id: apply.id.clone(),
            partition: apply.partition,
            held: self.position(&apply.id, apply.partition),
            answers: apply.answers,
            part: apply.part,
            outcome,
        };
        Answered::Applied(report, diffs)
    }

    fn apply_content(&mut self, apply: &Apply, diffs: &mut Vec<Diff>) -> Outcome {
        let part = self.part(apply.partition);
        let content = Content {
            from: apply.from,
            to: apply.to,
            bytes: &apply.content,
        };
        let applied = if apply.is_repair {
            part.tracker
                .apply_content(&apply.id, content, apply.is_full)
        } else {
            part.tracker.apply_records(&apply.id, content)
        };
        match applied {
            Ok(diff) => {
                part.set_life(&apply.id, apply.life);
                diffs.reserve_exact(1);
                diffs.push(diff);
                Outcome::Done
            }
            Err(error) => outcome(error),
        }
    }

    /// Drops what is held of a replica in a partition, and the work on it. The leaves of what was
    /// visible have the reason.
    fn drop_origin(
        &mut self,
        id: &ReplicaId,
        partition: u16,
        reason: LeaveReason,
        watched: Watched<'_>,
        diffs: &mut Vec<Diff>,
    ) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        let held = Held {
            id,
            partition,
            watched,
        };
        self.jobs.cancel(&held, &mut part.tracker, reason, diffs);
        if part.life(id).is_none() {
            self.tidy(partition);
            return;
        }
        let info = part.tracker.origin_info(id);
        if info.is_some_and(|info| info.entries as usize > self.slice_max) {
            if part.tracker.retire_for(id, reason) {
                self.jobs.reap(partition);
            }
        } else {
            diffs.push(part.tracker.forget_for(id, reason));
        }
        self.tidy(partition);
    }

    /// Drops what is held of all others in a partition.
    fn drop_others(&mut self, partition: u16, watched: Watched<'_>) -> Answered {
        let Some(part) = self.parts.get_mut(&partition) else {
            return Answered::Nothing;
        };
        let held = part.tracker.origins().map(|info| info.replica);
        let mut held: Vec<_> = held.filter(|id| *id != self.id).collect();
        for id in std::mem::take(&mut part.lingering) {
            held.retain(|held| *held != id);
            if part.tracker.end_linger(&id) {
                self.jobs.reap(partition);
            }
        }
        let mut diffs = Vec::new();
        for id in &held {
            self.drop_origin(id, partition, LeaveReason::Unknown, watched, &mut diffs);
        }
        self.tidy(partition);
        Answered::Dropped(partition, held, diffs)
    }

    fn vacate(&mut self, partition: u16, clock: u64) {
        let own = self.own_state(partition);
        let is_unchanged = own.entries == 0 && own.clock == clock;
        if let Some(part) = self.parts.get_mut(&partition)
            && is_unchanged
        {
            part.is_occupied = false;
            self.floor = self.floor.max(clock);
            self.tidy(partition);
        }
    }

    /// Gives up a replica, but leaves what is visible of it.
    fn replace(&mut self, id: &ReplicaId, watched: Watched<'_>) -> Vec<Diff> {
        let mut diffs = Vec::new();
        let reason = LeaveReason::ReplicaReplaced;
        let partitions: Vec<_> = self.parts.keys().copied().collect();
        for partition in partitions {
            let Some(part) = self.parts.get_mut(&partition) else {
                continue;
            };
            let tracker = &mut part.tracker;
            let held = Held {
                id,
                partition,
                watched,
            };
            self.jobs.finish(&held, tracker, &mut diffs);
            self.jobs.cancel(&held, tracker, reason, &mut diffs);
            if part.life(id).is_some() && part.tracker.linger(id) {
                part.lingering.push(id.clone());
            } else {
                self.drop_origin(id, partition, reason, watched, &mut diffs);
            }
        }
        self.hidden.remove(id);
        diffs
    }

    fn end_grace(&mut self, id: &ReplicaId) {
        let partitions: Vec<_> = self.parts.keys().copied().collect();
        for partition in partitions {
            if let Some(part) = self.parts.get_mut(&partition)
                && part.lingering.contains(id)
            {
                part.lingering.retain(|lingering| lingering != id);
                if part.tracker.end_linger(id) {
                    self.jobs.reap(partition);
                }
                self.tidy(partition);
            }
        }
    }

    /// Hides or shows a replica: one flag in each partition, then the Diffs, in slices. Work that
    /// is under way ends first, so that every Diff is made of what was seen.
    fn set_hidden(&mut self, id: &ReplicaId, is_hidden: bool, watched: Watched<'_>) -> Vec<Diff> {
        let mut diffs = Vec::new();
        if is_hidden {
            self.hidden.insert(id.clone());
        } else {
            self.hidden.remove(id);
        }
        for (partition, part) in &mut self.parts {
            let tracker = &mut part.tracker;
            let held = Held {
                id,
                partition: *partition,
                watched,
            };
            self.jobs.finish(&held, tracker, &mut diffs);
            if tracker.set_hidden(id, is_hidden) {
                self.jobs.begin_visibility(id, *partition, tracker);
            }
        }
        diffs
    }

    /// Returns a partition, made if it has no tracker.
    fn part(&mut self, partition: u16) -> &mut Partition {
        let number = u32::from(partition) & (self.shape.partitions() - 1);
        let share = TopicShare::new(self.shape.bits(), number as u16);
        let counts = self.shape.has_counts() && !self.is_of_counts;
        self.parts.entry(partition).or_insert_with(|| {
            self.made += 1;
            let mut tracker = Tracker::with_share(self.id.clone(), share, self.limits.clone());
            if counts {
                tracker = tracker.counting();
            }
            Box::new(Partition {
                tracker: tracker.generation(self.made),
                is_occupied: false,
                lingering: Vec::new(),
                capture: None,
            })
        })
    }

    /// Drops the tracker of a partition in which nothing is.
    fn tidy(&mut self, partition: u16) {
        let is_empty = self.parts.get(&partition).is_some_and(|part| {
            !part.is_occupied && !part.tracker.holds_lives() && part.lingering.is_empty()
        });
        let is_wanted = self.changed.contains(&partition)
            || self.uncounted.contains(&partition)
            || self.jobs.is_in(partition);
        if is_empty && !is_wanted {
            self.parts.remove(&partition);
        }
    }
}

#[cfg(test)]
mod tests;

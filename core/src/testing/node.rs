//! `Node`: a running process, and beside it what the checks know of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use super::admissions::Admissions;
use super::model::{Content, Entries, Model};
use super::own_entries::{Ended, Operation, Outcome, OwnEntries};
use super::plan::{self, PARTITIONS, Plan};
use super::process::Process;
use super::reader::Reader;
use super::refusals::Refusals;
use super::rosters::Rosters;
use super::truth::Truth;
use super::views::{Views, shows};
use super::watching::Watching;
use crate::id::ReplicaId;
use crate::replica::Signal;

/// A running process.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) process: Process,
    /// The name that it bears: the number of the place where that name began.
    pub(super) name: usize,
    /// When it was started, by its own clock.
    pub(super) started_ms: u64,
    /// The time by which its clock is ahead of the world's.
    pub(super) ahead_ms: u64,
    /// The identity that it had at the last check.
    pub(super) id: ReplicaId,
    /// What its program tracks, and what of it ends by itself.
    pub(super) own: OwnEntries,
    /// The contents of that.
    pub(super) model: Model,
    /// The own clocks that the truth knows.
    recorded: BTreeMap<u16, u64>,
    /// The own lives that the truth knows.
    lives: BTreeMap<u16, u64>,
    /// The counts that it told last, by their partition.
    told: BTreeMap<u16, Arc<Entries>>,
    pub(super) views: Views,
    pub(super) reader: Reader,
    pub(super) watching: Watching,
    /// The topics whose counts its program watches.
    pub(super) counting: Watching,
    pub(super) admissions: Admissions,
    pub(super) refusals: Refusals,
    /// True if it alters the entries that it sends.
    pub(super) is_altering: bool,
    /// The signals that it has heard.
    signals: HashSet<u64>,
}

impl Node {
    pub(super) fn new(process: Process, name: usize) -> Self {
        Self {
            id: process.presence.id(),
            process,
            name,
            started_ms: 0,
            ahead_ms: 0,
            own: OwnEntries::new(plan::topic),
            model: Model::default(),
            recorded: BTreeMap::new(),
            lives: BTreeMap::new(),
            told: BTreeMap::new(),
            views: Views::default(),
            reader: Reader::default(),
            watching: Watching::entries(),
            counting: Watching::counts(),
            admissions: Admissions::default(),
            refusals: Refusals::default(),
            is_altering: false,
            signals: HashSet::new(),
        }
    }

    /// Lets the program track, update or untrack an entry, or untrack its owner.
    ///
    /// # Errors
    /// The implementation does not do its work, or numbers the operation like one before.
    pub(super) fn operate(
        &mut self,
        truth: &mut Truth,
        operation: &Operation,
    ) -> Result<Outcome, String> {
        let session = operation.session;
        let partition = Plan::partition_of(session);
        let before = self.own_clock(partition);
        let outcome = self.own.operate(&self.process.presence, operation);
        if !outcome.is_done {
            return Err(format!(
                "{} of {session:?} did not do its work",
                outcome.verb
            ));
        }
        let version = self.own_clock(partition);
        if version <= before {
            return Err(format!("{} of {session:?} is no operation", outcome.verb));
        }
        if ["track", "update"].contains(&outcome.verb) {
            let meta = operation.meta.clone();
            self.model.put(session, Content { version, meta });
        }
        self.record(truth)?;
        Ok(outcome)
    }

    /// Begins to read its Diffs.
    pub(super) fn begin_reading(&mut self, plan: &Plan) {
        self.reader.is_interest = plan.is_interest;
        self.reader.rosters = plan.has_rosters.then(Rosters::default);
        if plan.has_diff_topics {
            self.reader.diff_topics = Some(plan::diff_topics().collect());
            self.process.presence.diff_topics(plan::diff_topics());
        }
    }

    /// Checks that it wants to be called if something of its program has ended.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check_due(&self, now: Duration) -> Result<(), String> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if self.own.has_ended(now_ms) && !self.process.is_due(now) {
            return Err(format!(
                "wants no call at {now_ms} ms, yet a lease has ended"
            ));
        }
        Ok(())
    }

    /// Checks that no more waits for its last part than may.
    ///
    /// # Errors
    /// More does.
    pub(super) fn check_staged(&self) -> Result<(), String> {
        let (bytes, bytes_max) = self.process.replica().staged_bytes();
        if bytes > bytes_max {
            return Err(format!("stages {bytes} bytes, {bytes_max} are allowed"));
        }
        Ok(())
    }

    /// Takes a signal.
    ///
    /// # Errors
    /// It was heard before.
    pub(super) fn hear(&mut self, signal: Signal) -> Result<(), String> {
        let number = signal.payload.try_into().map_or(0, u64::from_le_bytes);
        if !self.signals.insert(number) {
            return Err(format!("hears signal {number} again"));
        }
        Ok(())
    }

    /// Calls the process: what is due leaves.
    pub(super) fn timeout(&mut self, now: Duration) -> Ended {
        self.process.presence.handle_timeout(now);
        if self.process.replica().is_speaking() {
            let own_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            self.watching.note_speaking(own_ms);
            self.counting.note_speaking(own_ms);
        }
        self.expire(now)
    }

    /// Ends in the model what has ended by itself.
    pub(super) fn expire(&mut self, now: Duration) -> Ended {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.own.expire(now_ms)
    }

    /// Notes the own entries after operations.
    ///
    /// # Errors
    /// The implementation has more or less, or numbers the operations like some before.
    pub(super) fn record(&mut self, truth: &mut Truth) -> Result<(), String> {
        self.model.retain(self.own.sessions());
        let mut changed = Vec::new();
        self.process.presence.for_each_own(|partition, info| {
            // Clock 0 is a partition in which this node has no life.
            let is_recorded = || self.recorded.get(&partition) == Some(&info.clock);
            if info.replica == self.id && info.clock > 0 && !is_recorded() {
                changed.push((partition, info));
            }
        });
        for (partition, info) in changed {
            let expected = match partition.checked_sub(PARTITIONS as u16) {
                None => self.model.entries(partition),
                Some(counted) => self.count(partition, counted),
            };
            if info.entries as usize != expected.len() {
                return Err(format!("has {info:?}, not {expected:?}"));
            }
            self.recorded.insert(partition, info.clock);
            truth.record(&self.id, partition, info.clock, expected)?;
        }
        Ok(())
    }

    /// Returns the counts that it tells in a partition, of another one: they were made a moment ago,
    /// unless it has a new identity, which begins with those of the one before.
    fn count(&mut self, partition: u16, counted: u16) -> Arc<Entries> {
        let is_first = !self.recorded.contains_key(&partition);
        let told = self.told.get(&partition).filter(|_| is_first);
        let told = told.filter(|told| shows(&self.process.presence, &self.id, partition, told));
        let now = told.cloned();
        let now = now.unwrap_or_else(|| Arc::new(self.model.counts(counted)));
        self.told.insert(partition, now.clone());
        now
    }

    fn own_clock(&self, partition: u16) -> u64 {
        let info = self.process.presence.origin_in(&self.id, partition);
        info.map_or(0, |info| info.clock)
    }

    /// Notes a new identity: its origins begin with the entries that there are.
    pub(super) fn follow_identity(&mut self, truth: &mut Truth) -> Result<(), String> {
        self.id = self.process.presence.id();
        self.recorded.clear();
        self.lives.clear();
        self.record(truth)
    }

    /// Notes the lives that others are shown.
    pub(super) fn record_lives(&mut self, truth: &mut Truth) {
        let replica = self.process.replica();
        let index = replica.index();
        for partition in index.set().iter() {
            if let Some(position) = index.position(partition)
                && self.lives.insert(partition, position.life) != Some(position.life)
            {
                truth.show(&self.id, partition, position.life, position.clock);
            }
        }
    }
}

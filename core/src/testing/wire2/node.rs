//! `Node`: a running process, and beside it what the checks know of it.

use std::time::Duration;

use super::model::{Content, Model, Session};
use super::process::Process;
use super::reader::Reader;
use super::truth::Truth;
use super::views::Views;
use crate::id::ReplicaId;
use crate::tracker::{LeaveReason, NewEntry};
use crate::wire2::OwnState;

/// The owner of all entries: owners do not take part in replication.
const OWNER: &str = "o";

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
    pub(super) model: Model,
    pub(super) views: Views,
    pub(super) reader: Reader,
}

impl Node {
    pub(super) fn new(process: Process, name: usize) -> Self {
        Self {
            id: process.replica.id().clone(),
            process,
            name,
            started_ms: 0,
            ahead_ms: 0,
            model: Model::default(),
            views: Views::default(),
            reader: Reader::default(),
        }
    }

    /// Tracks an entry, or updates the one that is tracked.
    ///
    /// # Errors
    /// The implementation refuses, or numbers the operation like one before.
    pub(super) fn put(
        &mut self,
        truth: &mut Truth,
        now: Duration,
        session: &Session,
        meta: &[u8],
    ) -> Result<(), String> {
        let partition = super::plan::Plan::shape().partition_of(&session.0);
        let entry = NewEntry::new(&session.0, &session.1, OWNER).meta(meta);
        let written = if self.model.has(partition, session) {
            self.process.partitions.update(&entry)
        } else {
            self.process.partitions.track(&entry)
        };
        let (entry_ref, state) = written.map_err(|error| format!("{error:?} for {session:?}"))?;
        let content = Content {
            version: entry_ref.version,
            meta: meta.to_vec(),
        };
        if entry_ref.version != state.clock {
            return Err(format!("{entry_ref:?} is not the newest at {state:?}"));
        }
        self.model.put(partition, session.clone(), content);
        self.wrote(truth, now, state)
    }

    /// Untracks an entry.
    ///
    /// # Errors
    /// The implementation does not have it, or numbers the operation like one before.
    pub(super) fn remove(
        &mut self,
        truth: &mut Truth,
        now: Duration,
        session: &Session,
    ) -> Result<(), String> {
        let partition = super::plan::Plan::shape().partition_of(&session.0);
        let Some(state) = self
            .process
            .partitions
            .untrack(&session.0, &session.1, OWNER)
        else {
            return Err(format!("has no {session:?} to untrack"));
        };
        self.model.remove(partition, session);
        self.wrote(truth, now, state)
    }

    /// Untracks all entries at once, as those of their one owner.
    ///
    /// # Errors
    /// The implementation numbers the operations like some before, or keeps an entry.
    pub(super) fn remove_all(&mut self, truth: &mut Truth, now: Duration) -> Result<(), String> {
        let occupied = self.model.occupied();
        self.model.clear();
        let partitions = &mut self.process.partitions;
        let states = partitions.untrack_owner(OWNER, LeaveReason::OwnerGone);
        let changed: Vec<_> = states.iter().map(|state| state.partition).collect();
        if changed != occupied {
            return Err(format!("its owner left {changed:?}, not {occupied:?}"));
        }
        let mut states = states.into_iter();
        states.try_for_each(|state| self.wrote(truth, now, state))
    }

    fn wrote(&mut self, truth: &mut Truth, now: Duration, state: OwnState) -> Result<(), String> {
        let OwnState {
            partition,
            clock,
            entries,
        } = state;
        let expected = self.model.entries(partition);
        if entries as usize != expected.len() {
            return Err(format!("has {entries} own entries, not {expected:?}"));
        }
        truth.record(&self.id, partition, clock, expected)?;
        self.process.wrote(now, state, 64);
        Ok(())
    }

    /// Notes a new identity: its origins begin with the entries that there are.
    pub(super) fn follow_identity(&mut self, truth: &mut Truth) -> Result<(), String> {
        self.id = self.process.replica.id().clone();
        for (partition, tracker) in self.process.partitions.trackers() {
            let clock = tracker.clock(&self.id);
            let entries = self.model.entries(partition);
            if !entries.is_empty() {
                truth.record(&self.id, partition, clock, entries)?;
            }
        }
        Ok(())
    }

    /// Notes the lives that others are shown.
    pub(super) fn record_lives(&self, truth: &mut Truth) {
        let index = self.process.replica.index();
        for partition in index.set().iter() {
            if let Some(position) = index.position(partition) {
                truth.show(&self.id, partition, position.life, position.clock);
            }
        }
    }
}

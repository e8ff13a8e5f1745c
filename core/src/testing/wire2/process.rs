//! `Process`: a control plane wired to its entries.

use std::time::Duration;

use bytes::Bytes;

use crate::id::ReplicaId;
use crate::tracker::{Diff, Limits};
use crate::wire2::{Address, Answered, Config, LeaveBounds, OwnState, Partitions, Replica};

/// A control plane and the entries that it is for.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) replica: Replica,
    pub(super) partitions: Partitions,
    diffs: Vec<Diff>,
}

impl Process {
    pub(super) fn new(id: ReplicaId, config: Config, limits: Limits, seed: u64) -> Self {
        Self {
            partitions: Partitions::new(id.clone(), config.shape, limits),
            diffs: Vec::new(),
            replica: Replica::new(id, config, seed),
        }
    }

    /// Sets how long own leaves are remembered.
    pub(super) fn keep_leaves(mut self, keep: Duration) -> Self {
        let bounds = LeaveBounds {
            keep,
            ..LeaveBounds::default()
        };
        self.partitions = self.partitions.leave_bounds(bounds);
        self
    }

    /// Sets the most records of one slice of work.
    pub(super) fn slice_max(mut self, slice_max: usize) -> Self {
        self.partitions = self.partitions.slice_max(slice_max);
        self
    }

    /// # Errors
    /// The replica refuses the frame.
    pub(super) fn handle_message(
        &mut self,
        now: Duration,
        from: &Address,
        frame: &Bytes,
    ) -> Result<(), String> {
        let handled = self.replica.handle_message(now, from, frame);
        self.act();
        handled.map_err(|error| format!("refused a frame of {from}: {error:?}"))
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        self.replica.handle_timeout(now);
        self.act();
        self.partitions.trim_leaves(now);
    }

    pub(super) fn disconnected(&mut self, now: Duration, address: &Address) {
        self.replica.disconnected(now, address);
        self.act();
    }

    /// Reports an own operation.
    pub(super) fn wrote(&mut self, now: Duration, state: OwnState, bytes: usize) {
        self.replica
            .report_clock(now, state.partition, state.clock, state.entries);
        self.replica.report_written(bytes);
    }

    /// Does what the control plane asks for.
    fn act(&mut self) {
        while let Some(action) = self.replica.poll_action() {
            let answered = self.partitions.execute(action);
            self.report(answered);
        }
    }

    /// Does one slice of the work that waits. Returns whether there was some.
    pub(super) fn work(&mut self) -> bool {
        let Some(answered) = self.partitions.work() else {
            return false;
        };
        self.report(answered);
        self.act();
        true
    }

    fn report(&mut self, answered: Answered) {
        match answered {
            Answered::Push(pushed) => self.replica.answer_push(pushed),
            Answered::Pull(served) => self.replica.answer_pull(served),
            Answered::Applied(report, diffs) => {
                self.diffs.extend(diffs);
                self.replica.report_applied(&report);
            }
            Answered::Changed(diffs) => self.diffs.extend(diffs),
            Answered::Nothing => {}
        }
    }

    /// Takes the Diffs since the last call, those of own entries last.
    pub(super) fn take_diffs(&mut self) -> Vec<Diff> {
        let mut diffs = std::mem::take(&mut self.diffs);
        diffs.push(self.partitions.take_diff());
        diffs.retain(|diff| !diff.is_empty());
        diffs
    }
}

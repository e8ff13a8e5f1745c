//! `Process`: a control plane wired to its entries.

use std::time::Duration;

use bytes::Bytes;

use crate::id::ReplicaId;
use crate::tracker::Limits;
use crate::wire2::{Address, Answered, Config, OwnState, Partitions, Replica};

/// A control plane and the entries that it is for.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) replica: Replica,
    pub(super) partitions: Partitions,
}

impl Process {
    pub(super) fn new(id: ReplicaId, config: Config, limits: Limits, seed: u64) -> Self {
        Self {
            partitions: Partitions::new(id.clone(), config.shape, limits),
            replica: Replica::new(id, config, seed),
        }
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
            match self.partitions.execute(action) {
                Answered::Push(pushed) => self.replica.answer_push(pushed),
                Answered::Pull(served) => self.replica.answer_pull(served),
                Answered::Applied(report, _) => self.replica.report_applied(&report),
                Answered::Nothing | Answered::Changed(_) => {}
            }
        }
    }
}

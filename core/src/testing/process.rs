//! `Process`: a presence, as a program drives it.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::MappedMutexGuard;

use crate::id::ReplicaId;
use crate::presence::{Presence, PresenceConfig};
use crate::replica::{Address, Config, Replica};
use crate::tracker::{Diff, Limits};

/// The settings of a process.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) wire: Config,
    pub(super) limits: Limits,
    /// The most entries of one slice of work.
    pub(super) slice_entries_max: usize,
    /// The most locks.
    pub(super) shards_max: u32,
    pub(super) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wire: Config::default(),
            limits: Limits::default(),
            slice_entries_max: 1_024,
            shards_max: u32::MAX,
            seed: 0,
        }
    }
}

/// A presence, and what is done with it.
pub(super) struct Process {
    pub(super) presence: Presence,
}

impl Clone for Process {
    fn clone(&self) -> Self {
        let presence = self.presence.fork();
        Self { presence }
    }
}

impl Process {
    pub(super) fn new(id: ReplicaId, settings: Settings) -> Self {
        let Settings {
            wire,
            limits,
            slice_entries_max,
            shards_max,
            seed,
        } = settings;
        let config = PresenceConfig {
            limits,
            seed,
            slice_entries_max,
            grace: wire.grace,
            replication: wire,
            // Own changes are taken with all others.
            flush: Duration::MAX,
            ..PresenceConfig::default()
        };
        let presence = Presence::with_shards(id, config, shards_max);
        Self { presence }
    }

    /// Returns the control plane, locked: let it go before the next call.
    pub(super) fn replica(&self) -> MappedMutexGuard<'_, Replica> {
        self.presence.replica()
    }

    /// # Errors
    /// The presence refuses the frame.
    pub(super) fn handle_message(
        &self,
        now: Duration,
        from: &Address,
        frame: &Bytes,
    ) -> Result<(), String> {
        let handled = self.presence.handle_message(now, from, frame);
        handled.map_err(|error| format!("refused a frame of {from}: {error:?}"))
    }

    /// Lets the presence see own operations at once.
    pub(super) fn notice(&self, now: Duration) {
        if !self.presence.is_working() {
            self.presence.work_on(now);
        }
        let _ = self.presence.poll_timeout();
    }

    /// Returns whether a call is due.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.presence.poll_timeout().is_some_and(|due| due <= now)
    }

    /// Does one slice of the work that waits. Returns whether there was some.
    pub(super) fn work(&self) -> bool {
        let is_working = self.presence.is_working();
        if is_working {
            self.presence.work_on(Duration::ZERO);
        }
        is_working
    }

    /// Takes the Diffs since the last call, those of own entries last.
    pub(super) fn take_diffs(&self) -> Vec<Diff> {
        let mut diffs: Vec<_> = std::iter::from_fn(|| self.presence.poll_diff()).collect();
        diffs.push(self.presence.take_diff());
        diffs.retain(|diff| !diff.is_empty());
        diffs
    }
}

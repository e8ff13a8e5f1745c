//! Access that only the simulator has.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard, RwLock};

use super::Presence;
use super::wire::Wire;
use super::wire2::Wire2;
use crate::id::ReplicaId;
use crate::tracker::OriginInfo;
use crate::wire2::{Partitions, Position, Replica};

impl<W: Wire> Presence<W> {
    /// Returns a second process with the same memory, as cloning a virtual machine makes it.
    pub(crate) fn fork(&self) -> Self {
        let mut original = self.control.lock();
        let plane = W::fork(self, &mut original);
        let control = original.fork(plane);
        let shards = self.shards.iter();
        Self {
            id: RwLock::new(self.id()),
            shards: shards
                .map(|shard| RwLock::new(shard.read().clone()))
                .collect(),
            changed: AtomicU32::new(self.changed.load(Ordering::Acquire)),
            unreported: AtomicU32::new(self.unreported.load(Ordering::Acquire)),
            written: AtomicUsize::new(self.written.load(Ordering::Acquire)),
            control: Mutex::new(control),
            timers: self.timers.clone(),
            flush: self.flush,
            grace: self.grace,
            slice_entries_max: self.slice_entries_max,
        }
    }
}

impl Presence {
    /// Returns the effects of a call at `now` although [`poll_timeout`](Self::poll_timeout) asks
    /// for none by then; `None` when it has none, as it should be, or when a call is due.
    pub(crate) fn overdue(&self, now: Duration) -> Option<String> {
        let now = now.max(self.control.lock().now);
        if self.is_working() || self.poll_timeout().is_some_and(|at| at <= now) {
            return None;
        }
        let twin = self.fork();
        let said = || {
            let frames = std::iter::from_fn(|| twin.poll_transmit()).count();
            let events: Vec<_> = std::iter::from_fn(|| twin.poll_event()).collect();
            let diffs = std::iter::from_fn(|| twin.poll_diff()).count();
            (frames, events, diffs)
        };
        said();
        let before = twin.control.lock().plane.replica.forget_deadline();
        twin.handle_timeout(now);
        let said = said();
        let after = twin.control.lock().plane.replica.holdings();
        let is_idle = said == (0, Vec::new(), 0) && after == before && !twin.is_working();
        (!is_idle).then(|| format!("does {said:?}, and holds {after:?} instead of {before:?}"))
    }

    /// Returns whether this replica publishes.
    pub(crate) fn is_speaking(&self) -> bool {
        self.control.lock().plane.replica.is_speaking()
    }

    /// Calls `each` for every known replica with its heartbeat and whether it is up.
    pub(crate) fn standings(&self, mut each: impl FnMut(&ReplicaId, u64, bool)) {
        let control = self.control.lock();
        for (id, heartbeat, up) in control.plane.replica.standings() {
            each(id, heartbeat, up);
        }
    }

    /// Returns the state of an origin here.
    pub(crate) fn origin_info(&self, replica: &ReplicaId, slot: u8) -> Option<OriginInfo> {
        self.shards[usize::from(slot)].read().origin_info(replica)
    }
}

impl Presence<Wire2> {
    /// Returns the control plane, locked.
    pub(crate) fn replica(&self) -> MappedMutexGuard<'_, Replica> {
        MutexGuard::map(self.control.lock(), |control| &mut control.plane.replica)
    }

    /// Returns what is held of another replica in a partition.
    pub(crate) fn position(&self, id: &ReplicaId, partition: u16) -> Option<Position> {
        self.shard_of(partition).read().position(id, partition)
    }

    /// Returns the state of an origin in a partition.
    pub(crate) fn origin_in(&self, id: &ReplicaId, partition: u16) -> Option<OriginInfo> {
        let shard = self.shard_of(partition).read();
        let mut trackers = shard.trackers();
        let (_, tracker) = trackers.find(|(number, _)| *number == partition)?;
        tracker.origin_info(id)
    }

    /// Returns the state of every origin in every partition that has a tracker.
    pub(crate) fn origins(&self) -> Vec<(u16, OriginInfo)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for (partition, tracker) in shard.read().trackers() {
                all.extend(tracker.origins().map(|info| (partition, info)));
            }
        }
        all
    }

    /// Returns the bytes of all own entries, without frames.
    pub(crate) fn own_bytes(&self) -> u64 {
        let mut bytes = 0;
        for shard in &self.shards {
            for (_, tracker) in shard.read().trackers() {
                bytes += tracker.repair_since(0).len() as u64;
            }
        }
        bytes
    }

    fn shard_of(&self, partition: u16) -> &RwLock<Partitions> {
        &self.shards[usize::from(partition) % self.shards.len()]
    }
}

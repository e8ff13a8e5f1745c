//! Access that only the simulator has.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard, RwLock};

use super::Presence;
use crate::id::ReplicaId;
use crate::replica::{Access, Partitions, Position, Replica};
use crate::tracker::{Entry, OriginInfo};

/// The state of an origin in a partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) partition: u16,
    pub(crate) info: OriginInfo,
    /// The life that is held of it.
    pub(crate) life: Option<u64>,
}

impl Presence {
    /// Returns a second process with the same memory, as cloning a virtual machine makes it.
    pub(crate) fn fork(&self) -> Self {
        let control = self.control.lock().clone();
        let copy = |shard: &RwLock<Partitions>| RwLock::new(shard.read().clone());
        Self {
            id: RwLock::new(self.id()),
            shape: self.shape,
            frame_reader: self.frame_reader.clone(),
            shards: self.shards.iter().map(copy).collect(),
            count_shards: self.count_shards.iter().map(copy).collect(),
            changed: AtomicU32::new(self.changed.load(Ordering::Acquire)),
            unreported: AtomicU32::new(self.unreported.load(Ordering::Acquire)),
            written: AtomicUsize::new(self.written.load(Ordering::Acquire)),
            control: Mutex::new(control),
            done: Mutex::new(self.done.lock().clone()),
            timers: self.timers.clone(),
            flush: self.flush,
            grace: self.grace,
        }
    }

    /// Lets threads that apply frames be late to tell the control plane, or ends that.
    pub(crate) fn set_late(&self, is_late: bool) {
        let control = &mut *self.control.lock();
        control.is_late = is_late;
        self.settle_in_time(control);
        self.run(control);
    }

    /// Returns whether a thread has applied a frame and is late to tell the control plane.
    pub(crate) fn is_late(&self) -> bool {
        !self.done.lock().is_empty()
    }

    /// Returns the control plane, locked.
    pub(crate) fn replica(&self) -> MappedMutexGuard<'_, Replica> {
        MutexGuard::map(self.control.lock(), |control| &mut control.replica)
    }

    /// Calls `each` for the visible entries of a topic, whether it may be read or not.
    pub(crate) fn for_each_held(&self, topic: &str, each: impl FnMut(Entry<'_>)) {
        let shard = self.shard(topic).read();
        shard.tracker(topic).list(topic).for_each(each);
    }

    /// Calls `each` for the visible entries of all topics that are wanted, whether they may be read or
    /// not.
    pub(crate) fn for_each_held_in(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(Entry<'_>),
    ) {
        for shard in &self.shards {
            for (_, tracker) in shard.read().trackers() {
                for topic in tracker.topics().filter(|topic| is_wanted(topic)) {
                    tracker.list(topic).for_each(&mut each);
                }
            }
        }
    }

    /// Calls `each` for the visible counts of a topic, whether they may be read or not.
    pub(crate) fn for_each_count_held(&self, topic: &str, each: impl FnMut(Entry<'_>)) {
        if let Some(shard) = self.count_shards.get(usize::from(self.number_of(topic))) {
            shard.read().tracker(topic).list(topic).for_each(each);
        }
    }

    /// Returns whether the counts of a topic may be read.
    pub(crate) fn count_access(&self, topic: &str) -> Access {
        let shard = self.count_shards.get(usize::from(self.number_of(topic)));
        shard.map_or(Access::NotWatched, |shard| shard.read().access(topic))
    }

    /// Returns whether a topic may be read.
    pub(crate) fn access(&self, topic: &str) -> Access {
        let access = self.shard(topic).read().access(topic);
        debug_assert_eq!(access, self.control.lock().replica.access(topic));
        access
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

    /// Puts the state of every origin in every partition that has a tracker into `all`, and nothing
    /// else.
    pub(crate) fn origins(&self, all: &mut Vec<Held>) {
        all.clear();
        for shard in self.all_shards() {
            shard.read().for_each_held(|partition, info, life| {
                all.push(Held {
                    partition,
                    info,
                    life,
                });
            });
        }
    }

    /// Calls `each` for the own origin in every partition that has a tracker.
    pub(crate) fn for_each_own(&self, mut each: impl FnMut(u16, OriginInfo)) {
        for shard in self.all_shards() {
            for (partition, tracker) in shard.read().trackers() {
                if let Some(info) = tracker.origins().next() {
                    each(partition, info);
                }
            }
        }
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
        self.numbered(self.number_of_partition(partition))
    }
}

//! The owners of entries that are processes of this node: watched by the resource itself, without a message and
//! without a process that would have to read it.

use parking_lot::Mutex;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc};
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::atoms;

/// Number of sets of watched processes, so that writers on all schedulers seldom need the same one.
const SETS: usize = 16;

type Pids = HashSet<LocalPid, BuildHasherDefault<Spread>>;

/// A pid gives 32 bits that are a hash already; this spreads them over 64.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[derive(Default)]
pub(super) struct Watch {
    watched: [Mutex<Pids>; SETS],
    /// Owners that died and whose entries are not removed yet.
    gone: Mutex<Vec<LocalPid>>,
    /// The process that moves frames and diffs.
    mover: Mutex<Option<LocalPid>>,
    /// True if that process was sent a message and has not looked since.
    awake: AtomicBool,
    /// The number of changes so far, to see whether there are more.
    changes: AtomicUsize,
    /// Their number when they were taken last.
    taken: AtomicUsize,
}

/// A panic leaves no set half changed.
impl std::panic::RefUnwindSafe for Watch {}

#[rustler::resource_impl]
impl Resource for Watch {
    const IMPLEMENTS_DOWN: bool = true;

    /// Removes the owner from the set first, so that a later write of it watches it again.
    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        self.set(&pid).lock().remove(&pid);
        self.mark_dead(env, pid);
    }
}

impl Watch {
    /// Watches an owner. Called after its entry was written, so that its death removes the entry.
    pub(super) fn add(watch: &ResourceArc<Self>, env: Env<'_>, pid: LocalPid) {
        if !watch.set(&pid).lock().insert(pid) {
            return;
        }
        if watch.monitor(Some(env), &pid).is_none() {
            watch.set(&pid).lock().remove(&pid);
            watch.mark_dead(env, pid);
        }
    }

    fn mark_dead(&self, env: Env<'_>, pid: LocalPid) {
        self.gone.lock().push(pid);
        self.wake(env);
    }

    /// Returns up to so many of the owners that died, and whether there are more.
    pub(super) fn gone(&self, max: usize) -> (Vec<LocalPid>, bool) {
        let mut gone = self.gone.lock();
        let rest = gone.len().saturating_sub(max);
        let some = gone.split_off(rest);
        (some, rest > 0)
    }

    /// Sends messages to this process from now on.
    pub(super) fn attach(&self, mover: LocalPid) {
        *self.mover.lock() = Some(mover);
    }

    /// Returns whether messages are sent to this process.
    pub(super) fn is_attached(&self, mover: LocalPid) -> bool {
        *self.mover.lock() == Some(mover)
    }

    /// Sends the process a message, unless it has one; a process that restarts looks by itself.
    pub(super) fn wake(&self, env: Env<'_>) {
        self.wake_for(env, 1);
    }

    /// Does what [`wake`](Self::wake) does, after so many changes.
    pub(super) fn wake_for(&self, env: Env<'_>, changes: usize) {
        self.changes.fetch_add(changes, Ordering::Relaxed);
        if self.awake.load(Ordering::Acquire) || self.awake.swap(true, Ordering::AcqRel) {
            return;
        }
        let mover = *self.mover.lock();
        if let Some(mover) = mover {
            let _ = env.send(&mover, atoms::changed());
        }
    }

    /// Returns the number of changes so far.
    pub(super) fn count(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// Returns the number of changes that were not taken yet.
    pub(super) fn untaken(&self) -> usize {
        let taken = self.taken.load(Ordering::Relaxed);
        self.count().wrapping_sub(taken)
    }

    /// Notes that the changes so far are taken now.
    pub(super) fn taking(&self) {
        self.taken.store(self.count(), Ordering::Relaxed);
    }

    /// Notes that the process looks now: later changes need another message.
    pub(super) fn looked(&self) {
        self.awake.store(false, Ordering::Release);
    }

    fn set(&self, pid: &LocalPid) -> &Mutex<Pids> {
        let hash = BuildHasherDefault::<Spread>::default().hash_one(pid);
        &self.watched[(hash >> 32) as usize % SETS]
    }
}

//! Locks under which new versions of entries are made, so that an update can depend on the version that was read.

use parking_lot::{Mutex, MutexGuard};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::entries::Session;

/// Number of locks, so that writers on all schedulers seldom need the same one.
const LOCKS: usize = 64;

pub(super) struct Versions([Mutex<()>; LOCKS]);

impl Default for Versions {
    fn default() -> Self {
        Self([const { Mutex::new(()) }; LOCKS])
    }
}

impl Versions {
    /// Keeps new versions of an entry away.
    pub(super) fn lock(&self, topic: &str, session: &Session<'_>) -> MutexGuard<'_, ()> {
        self.of(topic, session).lock()
    }

    /// Does what [`lock`](Self::lock) does; `None` if it would have to wait.
    pub(super) fn try_lock(
        &self,
        topic: &str,
        session: &Session<'_>,
    ) -> Option<MutexGuard<'_, ()>> {
        self.of(topic, session).try_lock()
    }

    fn of(&self, topic: &str, session: &Session<'_>) -> &Mutex<()> {
        let entry = (topic, session.key().bytes, &*session.owner);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(entry);
        &self.0[hash as usize % LOCKS]
    }
}

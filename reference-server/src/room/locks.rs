//! `RoomLocks`: a lock for each room, held while it is loaded and while its stored members change, so that neither
//! misses the other. Rooms do not wait for each other.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// The locks that are held or waited for.
#[derive(Debug, Default)]
pub(super) struct RoomLocks(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

/// The lock of one room, held until it is dropped.
#[derive(Debug)]
pub(super) struct RoomLock<'a> {
    // Dropped first: the turn forgets the lock when no other holds it.
    _guard: OwnedMutexGuard<()>,
    _turn: Turn<'a>,
}

/// A holder of the lock, or one that waits for it.
#[derive(Debug)]
struct Turn<'a> {
    locks: &'a RoomLocks,
    room: Uuid,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl RoomLocks {
    pub(super) async fn lock(&self, room: Uuid) -> RoomLock<'_> {
        let turn = Turn {
            locks: self,
            room,
            lock: Arc::clone(self.0.lock().entry(room).or_default()),
        };
        RoomLock {
            _guard: Arc::clone(&turn.lock).lock_owned().await,
            _turn: turn,
        }
    }

    /// Returns whether the lock of a room is held or waited for.
    pub(super) fn is_locked(&self, room: Uuid) -> bool {
        self.0.lock().contains_key(&room)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut locks = self.locks.0.lock();
        // The map and this turn.
        if Arc::strong_count(&self.lock) == 2 {
            locks.remove(&self.room);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn rooms_do_not_wait_for_each_other_and_unused_locks_are_forgotten() {
        let locks = RoomLocks::default();
        let held = locks.lock(Uuid::from_u128(1)).await;
        assert!(locks.lock(Uuid::from_u128(2)).now_or_never().is_some());
        let mut waiting = Box::pin(locks.lock(Uuid::from_u128(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        drop(waiting.await);
        let held = locks.lock(Uuid::from_u128(3)).await;
        assert!(locks.lock(Uuid::from_u128(3)).now_or_never().is_none());
        drop(held);
        assert!(locks.0.lock().is_empty());
    }
}

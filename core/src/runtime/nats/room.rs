//! `Room`: what may wait for a NATS client, whose server may stall.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout};

/// The bytes of frames that may wait for the server; more are dropped. The client itself bounds their
/// number.
const BYTES_MAX: usize = 64 << 20;
/// The longest time in each [`PERIOD`] for which a node waits for the queue of its client: a burst
/// passes through it within that, a server that stalls does not hold the node up for longer.
const PATIENCE: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_secs(1);

/// The room in the queue of a client.
#[derive(Debug)]
pub(super) struct Room {
    /// The bytes of the frames that the client has not written.
    waiting: Arc<AtomicUsize>,
    /// The time that may be spent on waiting until `renewed` is a period ago.
    patience: Duration,
    renewed: Instant,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            waiting: Arc::default(),
            patience: PATIENCE,
            renewed: Instant::now(),
        }
    }

    /// Takes room for a frame until the client has written or dropped it. Returns `None` if there is
    /// none.
    pub(super) fn take(&self, frame: Bytes) -> Option<Bytes> {
        let waiting = self.waiting.fetch_add(frame.len(), Ordering::Relaxed) + frame.len();
        let held = Held {
            frame,
            waiting: Arc::clone(&self.waiting),
        };
        (waiting <= BYTES_MAX).then(|| Bytes::from_owner(held))
    }

    /// Waits until the client has taken something into its queue. Returns `None` if that takes too
    /// long.
    pub(super) async fn wait<T>(&mut self, taken: impl Future<Output = T>) -> Option<T> {
        // tokio's budget would make a queue with room look full.
        let mut taken = pin!(unconstrained(taken));
        if let Some(done) = taken.as_mut().now_or_never() {
            return Some(done);
        }
        let before = Instant::now();
        if before >= self.renewed + PERIOD {
            self.renewed = before;
            self.patience = PATIENCE;
        }
        if self.patience.is_zero() {
            return None;
        }
        let done = timeout(self.patience, taken).await;
        self.patience = self.patience.saturating_sub(before.elapsed());
        done.ok()
    }
}

/// A frame that takes room until it is dropped.
struct Held {
    frame: Bytes,
    waiting: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.frame.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn frames_take_room_by_their_bytes_until_they_are_dropped() {
        let room = Room::new();
        let frame = Bytes::from(vec![7; BYTES_MAX / 4]);
        let mut held: Vec<_> = (0..4).map(|_| room.take(frame.clone()).unwrap()).collect();
        assert_eq!(held[0], frame);
        assert_eq!(room.take(Bytes::from_static(b"x")), None);
        held.pop();
        assert!(room.take(frame).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_stays_full_is_waited_for_only_so_long_in_each_period() {
        let mut room = Room::new();
        let start = Instant::now();
        for _ in 0..10_000 {
            assert_eq!(room.wait(pending::<()>()).await, None);
            assert_eq!(room.wait(ready(1)).await, Some(1));
        }
        assert_eq!(start.elapsed(), PATIENCE);
        tokio::time::advance(PERIOD).await;
        let short = tokio::time::sleep(PATIENCE / 2);
        assert_eq!(room.wait(short).await, Some(()));
    }
}

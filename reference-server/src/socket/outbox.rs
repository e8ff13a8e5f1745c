//! `Outbox`: the bounded queue from the rooms to one client. It locks itself.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tungstenite::{Utf8Bytes, protocol::CloseFrame};

use crate::metrics::{Dropped, QueueMetrics};

/// Frames that may wait; with one more the connection is closed with 1013.
const FRAMES_MAX: usize = 1_024;
/// Bytes that may wait.
const BYTES_MAX: usize = 4 << 20;
/// The room for frames that an empty queue keeps.
const FRAMES_KEPT: usize = 4;
/// Above one over this of either bound, senders leave out frames that can be replaced later: typing,
/// presence, member list.
const CONGESTED_FRACTION: usize = 4;

/// The reason for which the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// A frame is not of this protocol.
    Malformed,
    /// The client broke the WebSocket protocol.
    Protocol,
    /// A text is no UTF-8.
    NotUtf8,
    /// A frame is too long.
    TooLong,
    /// Too many pushes were over their rates.
    Flood,
    /// The token has expired, or was revoked.
    TokenEnded,
    /// No frame arrived for a minute.
    Idle,
    /// The client reads too slowly.
    SlowConsumer,
    /// The server restarts.
    Restart,
    /// The server restarts, and says nothing.
    Abrupt,
}

impl CloseReason {
    /// Returns the name of the reason in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Protocol => "protocol",
            Self::NotUtf8 => "not_utf8",
            Self::TooLong => "too_long",
            Self::Flood => "flood",
            Self::TokenEnded => "token_ended",
            Self::Idle => "idle",
            Self::SlowConsumer => "slow_consumer",
            Self::Restart | Self::Abrupt => "restart",
        }
    }

    /// Returns the close frame; `None` ends the connection without one.
    pub(crate) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Malformed => (1011, "malformed frame"),
            Self::Protocol => (1002, "protocol error"),
            Self::NotUtf8 => (1007, "text is no UTF-8"),
            Self::Flood => (1008, "rate limited"),
            Self::TokenEnded => (1008, "token ended"),
            Self::TooLong => (1009, "frame too long"),
            Self::Idle => (1001, "idle"),
            Self::SlowConsumer => (1013, "slow consumer"),
            Self::Restart => (1012, "restart"),
            Self::Abrupt => return None,
        };
        Some(CloseFrame {
            code: code.into(),
            reason: Utf8Bytes::from_static(reason),
        })
    }
}

/// Frames for one client. Any thread may push; only the connection pops.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    connection: AtomicWaker,
    congested: AtomicBool,
    metrics: Arc<QueueMetrics>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    close: Option<CloseReason>,
}

impl Outbox {
    pub(crate) fn new(metrics: Arc<QueueMetrics>) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Appends a frame. Over the bounds all waiting frames are dropped and the connection is closed.
    pub(crate) fn push(&self, frame: Utf8Bytes) {
        let mut queue = self.queue.lock();
        if queue.close.is_some() {
            return;
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        if queue.frames.len() > FRAMES_MAX || queue.bytes > BYTES_MAX {
            self.metrics.leave_out(Dropped::Queue, queue.frames.len());
            queue.frames.clear();
            queue.bytes = 0;
            queue.close = Some(CloseReason::SlowConsumer);
        }
        let crowded = queue.frames.len() > FRAMES_MAX / CONGESTED_FRACTION
            || queue.bytes > BYTES_MAX / CONGESTED_FRACTION;
        drop(queue);
        if crowded {
            self.congested.store(true, Ordering::Relaxed);
        }
        self.connection.wake();
    }

    /// Returns whether the client is behind: true above a share of the bounds, until the queue is empty.
    pub(crate) fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    /// Returns whether the client goes without a frame of this kind because it is behind, and counts it.
    pub(crate) fn leaves_out(&self, kind: Dropped) -> bool {
        let is_congested = self.is_congested();
        if is_congested {
            self.metrics.leave_out(kind, 1);
        }
        is_congested
    }

    /// Counts frames that were written to the client.
    pub(super) fn note_delivered(&self, frames: u64, bytes: usize) {
        self.metrics.deliver(frames, bytes);
    }

    /// Returns the frames that wait, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.frames.len(), queue.bytes)
    }

    /// Closes the connection after the queued frames have been sent.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.queue.lock().close.get_or_insert(reason);
        self.connection.wake();
    }

    /// Lets `waker` wake the connection from now on, at a frame to pop or a reason to close.
    pub(super) fn wake_by(&self, waker: &Waker) {
        self.connection.register(waker);
    }

    /// Waits until there is a frame to pop or a reason to close. Of several that wait, the last one is woken.
    pub(crate) async fn ready(&self) {
        poll_fn(|cx| {
            self.wake_by(cx.waker());
            let queue = self.queue.lock();
            if queue.frames.is_empty() && queue.close.is_none() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// Takes the next frame, if there is one.
    pub(crate) fn pop(&self) -> Option<Utf8Bytes> {
        let mut queue = self.queue.lock();
        let frame = queue.frames.pop_front();
        match &frame {
            Some(frame) => queue.bytes -= frame.len(),
            None => {
                self.congested.store(false, Ordering::Relaxed);
                // A silent client needs not the room of its busiest moment.
                if queue.frames.capacity() > FRAMES_KEPT {
                    queue.frames = VecDeque::new();
                }
            }
        }
        frame
    }

    /// Returns the reason to close, once no frame is left to send.
    pub(crate) fn closing(&self) -> Option<CloseReason> {
        let queue = self.queue.lock();
        queue.close.filter(|_| queue.frames.is_empty())
    }

    /// Returns the reason for which the connection is to be closed, also while frames are still queued.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.queue.lock().close
    }

    /// Returns whether the connection is to be closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.close_reason().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_first_congested_then_closed() {
        let outbox = Outbox::default();
        for _ in 0..=FRAMES_MAX / CONGESTED_FRACTION {
            outbox.push("x".into());
        }
        assert!(outbox.is_congested());
        while outbox.pop().is_some() {}
        assert!(!outbox.is_congested());
        for _ in 0..=FRAMES_MAX {
            outbox.push("x".into());
        }
        assert_eq!(outbox.pop(), None);
        assert_eq!(outbox.closing(), Some(CloseReason::SlowConsumer));
    }

    #[test]
    fn closing_waits_for_queued_frames() {
        let outbox = Outbox::default();
        outbox.push("last words".into());
        outbox.close(CloseReason::Restart);
        assert_eq!(outbox.closing(), None);
        outbox.push("too late".into());
        assert_eq!(outbox.pop().as_deref(), Some("last words"));
        assert_eq!(outbox.closing(), Some(CloseReason::Restart));
    }
}

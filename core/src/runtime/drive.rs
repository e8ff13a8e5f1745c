//! The task of a node: takes frames in, keeps deadlines, sends what is to be sent.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{unconstrained, yield_now};
use tokio::time::{sleep, sleep_until, timeout};

use super::shared::Shared;
use super::{Incoming, Transport};

/// The time for which a node sleeps if it has no deadline.
const IDLE: Duration = Duration::from_secs(3600);
/// The most frames taken in before deadlines are checked again: as many as the queue of a transport
/// holds.
const WAITING_MAX: usize = 65_536;
/// The frames taken in between two flushes of their effects.
const BATCH: usize = 64;
/// The lateness of a call from which on a node takes itself for paused.
const LATE: Duration = Duration::from_millis(100);
/// The most pauses in a row after which frames are taken in once more: a node that is busy for so
/// long must beat.
const PAUSES_MAX: usize = 3;
/// The time for which a node takes frames in after a pause before it keeps any deadline: the tasks of
/// a transport read what waits in their sockets meanwhile.
const SETTLE: Duration = Duration::from_millis(50);

/// The longest time that a node spends on its last frames, the Goodbyes among them.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// The longest time that a transport has to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The state of a node that runs. It ends what waits for the node when the task ends, however that
/// comes: the node leaves, is dropped, its transport panics, its runtime shuts down.
pub(super) struct Running(pub(super) Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Drives a node: the task that [`Node::start`](super::Node::start) spawns. `frame_max` is what its
/// settings say.
pub(super) async fn drive(
    running: Running,
    transport: impl Transport,
    frame_max: usize,
    stopped: oneshot::Receiver<()>,
) {
    let shared = &running.0;
    let mut link = Link {
        is_open: true,
        carried: 0,
        frame_max,
        transport,
    };
    // The stop is also heard while the transport stalls.
    tokio::select! {
        biased;
        _ = stopped => {}
        () = link.serve(shared) => {}
    }
    shared.presence.leave_gracefully(shared.now());
    let _ = timeout(GOODBYE_MAX, link.say_goodbye(shared)).await;
    let _ = timeout(CLOSE_MAX, link.transport.close()).await;
}

/// A transport, and whether it may still bring something.
struct Link<T> {
    transport: T,
    is_open: bool,
    /// The longest frame that it carried when that was last asked; 0 before.
    carried: usize,
    /// The longest frame that the settings of the node allow.
    frame_max: usize,
}

impl<T: Transport> Link<T> {
    /// Takes frames in, keeps deadlines, and sends what is to be sent, for ever.
    async fn serve(&mut self, shared: &Shared) {
        let presence = &shared.presence;
        loop {
            self.measure(shared);
            if shared.is_due() {
                self.transport.settle().await;
            }
            let now = self.take_waiting(shared).await;
            presence.handle_timeout(now);
            self.flush(shared).await;
            let next = presence.poll_timeout();
            let next = next.unwrap_or_else(|| shared.now() + IDLE);
            tokio::select! {
                biased;
                incoming = self.transport.receive(), if self.is_open => {
                    self.take(shared, incoming);
                }
                () = shared.wake.notified() => {}
                () = sleep_until(shared.instant(next)) => {}
            }
        }
    }

    /// Sends the Goodbyes.
    async fn say_goodbye(&mut self, shared: &Shared) {
        self.flush(shared).await;
        while let Some(next) = shared.presence.poll_goodbye() {
            sleep_until(shared.instant(next)).await;
            shared.presence.handle_timeout(shared.now());
            self.flush(shared).await;
        }
    }

    /// Tells the node when the transport carries longer or shorter frames than before, as over a
    /// new connection.
    fn measure(&mut self, shared: &Shared) {
        let carried = self.transport.frame_max();
        if carried != self.carried {
            self.carried = carried;
            shared.presence.set_frame_max(carried.min(self.frame_max));
        }
    }

    fn take(&mut self, shared: &Shared, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Frame { from, frame }) => shared.take_frame(from, &frame),
            Some(Incoming::Gone(from)) => shared.presence.disconnected(shared.now(), &from),
            None => self.is_open = false,
        }
    }

    /// Takes in the frames that have arrived, before any deadline is checked: a process that was
    /// paused would otherwise hide every replica whose heartbeats wait here. Returns a time at which
    /// none of them was missing.
    async fn take_waiting(&mut self, shared: &Shared) -> Duration {
        let due = shared.presence.poll_timeout().unwrap_or(Duration::MAX);
        let mut due = due.saturating_add(LATE);
        let mut now = shared.now();
        for _ in 0..PAUSES_MAX {
            if now >= due {
                self.take_for(shared, SETTLE).await;
            }
            let is_empty = self.take_all(shared).await;
            // The process may be paused at any place, also here.
            due = now + LATE + SETTLE;
            if !is_empty || shared.now() < due {
                break;
            }
            now = shared.now();
        }
        now
    }

    /// Takes in what comes within a time.
    async fn take_for(&mut self, shared: &Shared, time: Duration) {
        let mut end = pin!(sleep(time));
        for taken in 1..=WAITING_MAX {
            tokio::select! {
                biased;
                () = &mut end => return,
                incoming = self.transport.receive(), if self.is_open => self.take(shared, incoming),
            }
            self.pass_on(shared, taken).await;
        }
    }

    /// Takes in what waits. Returns whether nothing waits any more.
    async fn take_all(&mut self, shared: &Shared) -> bool {
        for taken in 1..=WAITING_MAX {
            if !self.is_open {
                return true;
            }
            let Some(incoming) = self.waiting().await else {
                return true;
            };
            self.take(shared, incoming);
            self.pass_on(shared, taken).await;
        }
        false
    }

    /// Passes the effects of a batch of frames on.
    async fn pass_on(&mut self, shared: &Shared, taken: usize) {
        if taken.is_multiple_of(BATCH) {
            shared.presence.work_on(shared.now());
            self.flush(shared).await;
            yield_now().await;
        }
    }

    /// Returns a frame that the transport has received already. It ignores tokio's budget, which
    /// would hide that frame.
    async fn waiting(&mut self) -> Option<Option<Incoming>> {
        let mut receive = pin!(unconstrained(self.transport.receive()));
        let once = |context: &mut Context<'_>| match receive.as_mut().poll(context) {
            Poll::Ready(incoming) => Poll::Ready(Some(incoming)),
            Poll::Pending => Poll::Ready(None),
        };
        poll_fn(once).await
    }

    async fn flush(&mut self, shared: &Shared) {
        shared.publish();
        while let Some(change) = shared.presence.poll_subscription() {
            self.transport.subscribe(change).await;
        }
        while let Some(transmit) = shared.presence.poll_transmit() {
            shared.counts.sent(&transmit.frame);
            self.transport.send(transmit).await;
        }
        let dropped = shared.presence.frames_dropped();
        shared.counts.unsent(self.transport.unsent() + dropped);
    }
}

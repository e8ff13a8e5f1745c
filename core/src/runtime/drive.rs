//! The task of a node: takes frames in, keeps deadlines, sends what is to be sent.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{unconstrained, yield_now};
use tokio::time::sleep_until;

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
/// The turns without a frame that the tasks of a transport get after a pause.
const TURNS: usize = 3;

/// Drives a node: the task that [`Node::start`](super::Node::start) spawns.
pub(super) async fn drive(
    shared: Arc<Shared>,
    transport: impl Transport,
    mut stopped: oneshot::Receiver<()>,
) {
    let presence = &shared.presence;
    let mut link = Link {
        transport,
        is_open: true,
    };
    loop {
        if shared.is_due() {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = link.transport.settle() => {}
            }
        }
        link.take_waiting(&shared).await;
        presence.handle_timeout(shared.now());
        link.flush(&shared).await;
        let next = presence.poll_timeout();
        let next = next.unwrap_or_else(|| shared.now() + IDLE);
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            incoming = link.transport.receive(), if link.is_open => {
                link.take(&shared, incoming);
            }
            () = shared.wake.notified() => {}
            () = sleep_until(shared.instant(next)) => {}
        }
    }
    presence.leave_gracefully(shared.now());
    link.flush(&shared).await;
    while let Some(next) = presence.poll_goodbye() {
        sleep_until(shared.instant(next)).await;
        presence.handle_timeout(shared.now());
        link.flush(&shared).await;
    }
    link.transport.close().await;
    shared.close();
}

/// A transport, and whether it may still bring something.
struct Link<T> {
    transport: T,
    is_open: bool,
}

impl<T: Transport> Link<T> {
    fn take(&mut self, shared: &Shared, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Frame { from, frame }) => shared.take_frame(from, &frame),
            Some(Incoming::Gone(from)) => shared.presence.disconnected(shared.now(), &from),
            None => self.is_open = false,
        }
    }

    /// Takes in the frames that have arrived, before any deadline is checked: a process that was
    /// paused would otherwise hide every replica whose heartbeats wait here. After a pause the
    /// tasks of the transport get turns first, to read their sockets.
    async fn take_waiting(&mut self, shared: &Shared) {
        let presence = &shared.presence;
        let due = presence.poll_timeout().unwrap_or(Duration::MAX);
        let is_late = shared.now() >= due.saturating_add(LATE);
        let mut taken = 0;
        let mut turns = if is_late { TURNS } else { 0 };
        while self.is_open && taken < WAITING_MAX {
            if let Some(incoming) = self.waiting().await {
                self.take(shared, incoming);
                taken += 1;
                if taken.is_multiple_of(BATCH) {
                    presence.work_on(shared.now());
                    self.flush(shared).await;
                    yield_now().await;
                }
                turns = if is_late { TURNS } else { 0 };
            } else if turns > 0 {
                turns -= 1;
                yield_now().await;
            } else {
                return;
            }
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
    }
}

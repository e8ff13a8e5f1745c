//! One socket: reads pushes, writes what its outbox holds, and ends.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    CloseReason, Outbox, Vsn,
    frame::{Malformed, Push, decode_binary, decode_text, encode_reply},
};
use crate::{app::App, auth::Identity, room::Subscription};

/// A socket that says nothing for this long is closed; clients send a heartbeat every 30 s.
const IDLE: Duration = Duration::from_secs(60);
/// How long the last frames of a closing socket may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection and the channels it has joined.
pub(super) struct Connection {
    pub(super) app: Arc<App>,
    pub(super) vsn: Vsn,
    pub(super) identity: Identity,
    pub(super) outbox: Arc<Outbox>,
    pub(super) channels: HashMap<String, Subscription>,
}

/// Speaks with a client until either side ends it.
pub(super) async fn run(app: Arc<App>, mut socket: WebSocket, vsn: Vsn, identity: Identity) {
    Connection::new(app, vsn, identity)
        .converse(&mut socket)
        .await;
}

/// Frees the subscriptions, however the connection ends.
impl Drop for Connection {
    fn drop(&mut self) {
        for (_, subscription) in self.channels.drain() {
            subscription
                .room
                .leave(&self.app.hub.presence, subscription.id);
        }
    }
}

impl Connection {
    pub(super) fn new(app: Arc<App>, vsn: Vsn, identity: Identity) -> Self {
        let outbox = Arc::new(Outbox::default());
        app.hub.register(&outbox);
        Self {
            app,
            vsn,
            identity,
            outbox,
            channels: HashMap::new(),
        }
    }

    async fn converse(&mut self, socket: &mut WebSocket) {
        let outbox = Arc::clone(&self.outbox);
        let mut deadline = Instant::now() + IDLE;
        loop {
            tokio::select! {
                frame = socket.next() => {
                    deadline = Instant::now() + IDLE;
                    if self.take(frame).await.is_break() { return }
                }
                () = outbox.ready() => {
                    tokio::select! {
                        sent = send_all(socket, &outbox) => if sent.is_err() { return },
                        () = outbox.overflowed() => {}
                    }
                }
                // A server that was paused has frames to take before it calls anyone idle.
                () = sleep_until(deadline) => match socket.next().now_or_never() {
                    Some(frame) => {
                        deadline = Instant::now() + IDLE;
                        if self.take(frame).await.is_break() { return }
                    }
                    None => outbox.close(CloseReason::Idle),
                },
            }
            if let Some(reason) = outbox.closing() {
                let _ = timeout(FAREWELL, say_goodbye(socket, reason)).await;
                return;
            }
        }
    }

    /// Takes what the socket gave; breaks when that is its end.
    async fn take(&mut self, frame: Option<Result<Message, axum::Error>>) -> ControlFlow<()> {
        match frame {
            None | Some(Ok(Message::Close(_))) => return ControlFlow::Break(()),
            Some(Ok(message)) => {
                if self.receive(message).await.is_err() {
                    self.outbox.close(CloseReason::Malformed);
                }
            }
            Some(Err(error)) if is_too_long(&error) => self.outbox.close(CloseReason::TooLong),
            Some(Err(_)) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    async fn receive(&mut self, message: Message) -> Result<(), Malformed> {
        match message {
            Message::Text(text) => self.handle(decode_text(self.vsn, &text)?).await,
            Message::Binary(bytes) => self.handle(decode_binary(&bytes)?).await,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
        Ok(())
    }

    /// Answers a push under the join reference it came with.
    pub(super) fn reply(&self, push: &Push<'_>, status: &str, response: &str) {
        self.reply_as(push.join_ref.as_deref(), push, status, response);
    }

    pub(super) fn reply_as(
        &self,
        join_ref: Option<&str>,
        push: &Push<'_>,
        status: &str,
        response: &str,
    ) {
        let reference = push.reference.as_deref();
        let frame = encode_reply(self.vsn, join_ref, reference, &push.topic, status, response);
        self.outbox.push(frame);
    }
}

/// Writes what is queued, then flushes once.
async fn send_all(socket: &mut WebSocket, outbox: &Outbox) -> Result<(), axum::Error> {
    while let Some(frame) = outbox.pop() {
        socket.feed(Message::Text(frame)).await?;
    }
    socket.flush().await
}

/// Sends the close frame and reads on until the client's own, so that the last frames arrive.
async fn say_goodbye(socket: &mut WebSocket, reason: CloseReason) {
    if socket
        .send(Message::Close(Some(reason.frame())))
        .await
        .is_ok()
    {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    use std::error::Error as _;
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.to_string().contains("too long") {
            return true;
        }
        source = inner.source();
    }
    false
}

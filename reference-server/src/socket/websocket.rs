//! One WebSocket: reads pushes, writes the frames of its outbox, and ends. A task of its own runs it.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::{CloseReason, Outbox, Vsn, channels::Channels};
use crate::{app::App, auth::Identity};

/// A silent socket is closed after this long; clients send a heartbeat every 30 s.
const IDLE: Duration = Duration::from_secs(60);
/// The time that the last frames of a closing socket may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Exchanges frames with a client until either side ends it.
pub(super) async fn run(app: Arc<App>, mut socket: WebSocket, vsn: Vsn, identity: Identity) {
    let mut channels = Channels::new(app, vsn, identity);
    let outbox = Arc::clone(channels.outbox());
    let mut deadline = Instant::now() + IDLE;
    loop {
        tokio::select! {
            frame = socket.next() => {
                deadline = Instant::now() + IDLE;
                if receive(&mut channels, frame).await.is_break() { break }
            }
            () = outbox.ready() => {
                tokio::select! {
                    sent = send_all(&mut socket, &outbox) => if sent.is_err() { return },
                    () = outbox.overflowed() => {}
                }
            }
            // A server that was paused has frames to read before it calls a client idle.
            () = sleep_until(deadline) => match socket.next().now_or_never() {
                Some(frame) => {
                    deadline = Instant::now() + IDLE;
                    if receive(&mut channels, frame).await.is_break() { break }
                }
                None => outbox.close(CloseReason::Idle),
            },
        }
        if let Some(reason) = outbox.closing() {
            let _ = timeout(FAREWELL, say_goodbye(&mut socket, reason)).await;
            return;
        }
    }
    // The user has left, however long the rest of the handshake takes.
    drop(channels);
    let _ = timeout(FAREWELL, finish(&mut socket)).await;
}

/// Handles a frame that the socket read; breaks at the end of the socket.
async fn receive(
    channels: &mut Channels,
    frame: Option<Result<Message, axum::Error>>,
) -> ControlFlow<()> {
    let handled = match frame {
        Some(Ok(Message::Text(text))) => channels.handle_text(&text).await,
        Some(Ok(Message::Binary(bytes))) => channels.handle_binary(&bytes).await,
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
        Some(Err(error)) if is_too_long(&error) => {
            channels.outbox().close(CloseReason::TooLong);
            Ok(())
        }
        None | Some(Ok(Message::Close(_)) | Err(_)) => return ControlFlow::Break(()),
    };
    if handled.is_err() {
        channels.outbox().close(CloseReason::Malformed);
    }
    ControlFlow::Continue(())
}

/// Writes all queued frames, then flushes once.
async fn send_all(socket: &mut WebSocket, outbox: &Outbox) -> Result<(), axum::Error> {
    while let Some(frame) = outbox.pop() {
        socket.feed(Message::Text(frame)).await?;
    }
    socket.flush().await
}

/// Sends the close frame and reads until the client's own, so that the last frames arrive.
async fn say_goodbye(socket: &mut WebSocket, reason: CloseReason) {
    let close = Message::Close(Some(reason.frame()));
    if socket.send(close).await.is_ok() {
        finish(socket).await;
    }
}

/// Reads until the end of the connection. A close frame of the client is answered by that, as RFC 6455, 5.5.1 asks.
async fn finish(socket: &mut WebSocket) {
    while let Some(Ok(_)) = socket.next().await {}
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

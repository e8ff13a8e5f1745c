//! One WebSocket: reads pushes, writes the frames of its outbox, and ends. A task of its own runs it.

use std::{ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket, close_code};
use futures_util::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{CloseReason, Outbox, channels::Channels};

/// A silent socket is closed after this long; clients send a heartbeat every 30 s.
const IDLE: Duration = Duration::from_secs(60);
/// The time that the last frames of a closing socket may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Exchanges frames with a client until either side ends it.
pub(super) async fn run(socket: WebSocket, mut channels: Channels) {
    let outbox = Arc::clone(channels.outbox());
    let (sink, mut stream) = socket.split();
    // Goes on while frames are read: a client that is slow to take them is still heard.
    let mut writing = pin!(write(sink, &outbox));
    let mut deadline = Instant::now() + IDLE;
    loop {
        tokio::select! {
            frame = stream.next() => {
                deadline = Instant::now() + IDLE;
                if receive(&mut channels, frame).await.is_break() { break }
            }
            sink = &mut writing => {
                // The user has left, however long the rest of the handshake takes.
                drop(channels);
                let Ok(sink) = sink else { return };
                let _ = timeout(FAREWELL, say_goodbye(sink, &mut stream, &outbox)).await;
                return;
            }
            // A server that was paused has frames to read before it calls a client idle.
            () = sleep_until(deadline) => match stream.next().now_or_never() {
                Some(frame) => {
                    deadline = Instant::now() + IDLE;
                    if receive(&mut channels, frame).await.is_break() { break }
                }
                None => {
                    outbox.close(CloseReason::Idle);
                    break;
                }
            },
            () = outbox.closed() => break,
            () = sleep_until(channels.next_expiry()) => channels.expire(Instant::now()),
        }
    }
    drop(channels);
    let farewell = async {
        if outbox.is_closed() {
            if let Ok(sink) = writing.await {
                say_goodbye(sink, &mut stream, &outbox).await;
            }
        } else {
            finish(&mut stream).await;
        }
    };
    let _ = timeout(FAREWELL, farewell).await;
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
        Some(Ok(Message::Close(frame))) => {
            // A page that is reloaded says that it goes away: only 1000 says that it does not return.
            if frame.is_some_and(|frame| frame.code == close_code::NORMAL) {
                channels.say_left();
            }
            return ControlFlow::Break(());
        }
        None => return ControlFlow::Break(()),
        Some(Err(error)) => {
            if let Some(reason) = fault_of_client(error) {
                channels.outbox().close(reason);
            }
            return ControlFlow::Break(());
        }
    };
    if handled.is_err() {
        channels.outbox().close(CloseReason::Malformed);
        return ControlFlow::Break(());
    }
    ControlFlow::Continue(())
}

/// Returns the reason to close a socket whose client broke the WebSocket protocol; `None` if the connection
/// itself failed.
fn fault_of_client(error: axum::Error) -> Option<CloseReason> {
    use tungstenite::{Error, error::ProtocolError};
    match *error.into_inner().downcast::<Error>().ok()? {
        Error::Capacity(_) => Some(CloseReason::TooLong),
        Error::Utf8(_) => Some(CloseReason::NotUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseReason::Protocol),
        _ => None,
    }
}

/// Writes the frames of the outbox until it is closed and empty. Returns the sink for the last frame.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    outbox: &Outbox,
) -> Result<SplitSink<WebSocket, Message>, axum::Error> {
    loop {
        outbox.ready().await;
        let mut frames = 0;
        let mut bytes = 0;
        while let Some(frame) = outbox.pop() {
            frames += 1;
            bytes += frame.len();
            sink.feed(Message::Text(frame)).await?;
        }
        sink.flush().await?;
        outbox.note_delivered(frames, bytes);
        if outbox.closing().is_some() {
            return Ok(sink);
        }
    }
}

/// Sends the close frame and reads until the client's own, so that the last frames arrive.
async fn say_goodbye(
    mut sink: SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    outbox: &Outbox,
) {
    let close = outbox.closing().map(CloseReason::frame);
    if close == Some(None) {
        return;
    }
    let close = close.flatten();
    if sink.send(Message::Close(close)).await.is_ok() {
        finish(stream).await;
    }
}

/// Reads until the end of the connection. A close frame of the client is answered by that, as RFC 6455, 5.5.1 asks.
async fn finish(stream: &mut SplitStream<WebSocket>) {
    while let Some(Ok(_)) = stream.next().await {}
}

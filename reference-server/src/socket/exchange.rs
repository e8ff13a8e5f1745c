//! The life of one WebSocket: pushes are handled and frames written until either side ends it. A task of its own runs
//! it.

use std::{ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use tungstenite::{Error, Message, error::ProtocolError, protocol::frame::coding::CloseCode};

use super::{
    CloseReason,
    channels::Channels,
    websocket::{Event, WebSocket},
};

/// A silent socket is closed after this long; clients send a heartbeat every 30 s.
const IDLE: Duration = Duration::from_secs(60);
/// The time that the last frames of a closing socket may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Exchanges frames with a client until either side ends it.
pub(super) async fn run(mut socket: WebSocket, mut channels: Channels) {
    let outbox = Arc::clone(channels.outbox());
    let mut heard = Instant::now();
    // Goes off when something may be due. A frame that comes before does not set it.
    let mut alarm = pin!(sleep_until(heard + IDLE));
    loop {
        let due = (heard + IDLE).min(channels.next_expiry());
        if alarm.is_elapsed() || due < alarm.deadline() {
            alarm.as_mut().reset(due);
        }
        let event = tokio::select! {
            event = socket.next(&outbox) => Some(event),
            () = &mut alarm => {
                channels.expire(Instant::now());
                // A server that was paused has frames to read before it calls a client idle.
                socket.next(&outbox).now_or_never()
            }
        };
        match event {
            Some(Event::Read(frame)) => {
                heard = Instant::now();
                if receive(&mut channels, frame).await.is_break() {
                    break;
                }
            }
            Some(Event::Closing) => break,
            Some(Event::Failed) => return,
            None if heard.elapsed() >= IDLE => {
                outbox.close(CloseReason::Idle);
                break;
            }
            None => {}
        }
    }
    // The user has left, however long the rest of the handshake takes.
    drop(channels);
    let _ = timeout(FAREWELL, socket.finish(&outbox)).await;
}

/// Handles a frame that the socket read; breaks at the end of the socket.
async fn receive(channels: &mut Channels, frame: Result<Message, Error>) -> ControlFlow<()> {
    // In boxes: a connection is silent for most of its life, and need not have the memory of its busiest moment.
    let handled = match frame {
        Ok(Message::Text(text)) => Box::pin(channels.handle_text(&text)).await,
        Ok(Message::Binary(bytes)) => Box::pin(channels.handle_binary(&bytes)).await,
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(()),
        Ok(Message::Close(frame)) => {
            // A page that is reloaded says that it goes away: only 1000 says that it does not return.
            if frame.is_some_and(|frame| frame.code == CloseCode::Normal) {
                channels.say_left();
            }
            return ControlFlow::Break(());
        }
        Err(error) => {
            if let Some(reason) = fault_of_client(&error) {
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
fn fault_of_client(error: &Error) -> Option<CloseReason> {
    match error {
        Error::Capacity(_) => Some(CloseReason::TooLong),
        Error::Utf8(_) => Some(CloseReason::NotUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseReason::Protocol),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes of what an asynchronous function has in memory while it waits.
    fn bytes_of<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// It was 19 KB: the memory of a join, kept by each silent connection.
    #[test]
    fn a_silent_connection_keeps_no_memory_for_the_handling_of_frames() {
        let bytes = bytes_of(run);
        assert!(bytes <= 2_048, "{bytes}");
    }
}

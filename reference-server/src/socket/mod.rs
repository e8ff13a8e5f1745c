//! The Phoenix Channels socket: handshake, frames, channels, and the queue to each client.
//!
//! A client comes by a `websocket`, on which its task exchanges frames, or by `longpoll`; either owns its `Channels`.
//! Rooms push into its `Outbox`.

mod channels;
mod choices;
mod exchange;
mod expiry;
mod frame;
mod handshake;
pub(crate) mod longpoll;
mod member_list;
mod messages;
mod outbox;
mod refusal;
mod websocket;

#[cfg(feature = "harness")]
pub(crate) use channels::Channels;
#[cfg(feature = "harness")]
pub(crate) use choices::Choices;
pub(crate) use frame::{Broadcast, Ref, Vsn, encode, encode_reply};
pub(crate) use handshake::upgrade;
pub(crate) use outbox::{CloseReason, Outbox};

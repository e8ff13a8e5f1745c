//! The Phoenix Channels socket: handshake, frames, the connection and its queue.

mod channel;
mod connection;
mod frame;
mod handshake;
pub(crate) mod longpoll;
mod outbox;

pub(crate) use frame::{Broadcast, Ref, Vsn, encode, encode_reply};
pub(crate) use handshake::upgrade;
pub(crate) use outbox::{CloseReason, Outbox};

//! Drives a [`Presence`](crate::Presence) on tokio (feature `tokio`): the only part of the crate
//! with a clock, tasks and sockets.
//!
//! A [`Transport`] moves frames between neighbours and may lose them; a [`Node`] does the rest.
//! [`memory`] joins nodes of one process, `nats` (feature `nats`) joins machines.

pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;
mod node;

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

pub use node::{Lagged, Node, Subscription};

use crate::id::{IdError, OP_MAX, ReplicaId};
use crate::presence::{Address, Transmit};

/// What a transport brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A frame of a neighbour.
    Frame {
        /// The neighbour: an answer sent to this address reaches it.
        from: Address,
        /// The frame.
        frame: Bytes,
    },
    /// A neighbour is gone: a hint, which hides its entries at once.
    Gone(Address),
}

/// Moves frames between neighbours. Frames may be lost, doubled and reordered; that costs time,
/// never data. A node's own broadcasts must not come back to it.
pub trait Transport: Send + 'static {
    /// The largest frame it carries, in bytes.
    fn frame_max(&self) -> usize;

    /// Sends a frame, or drops it when that would take long.
    fn send(&mut self, transmit: Transmit) -> impl Future<Output = ()> + Send;

    /// The next thing that comes in; `None` when nothing ever will. Must be cancel safe.
    fn receive(&mut self) -> impl Future<Output = Option<Incoming>> + Send;
}

/// Returns the identity of a node that starts now: the wall clock in microseconds, and a salt from
/// the random numbers of the operating system.
///
/// # Errors
/// When the name is empty or longer than 64 bytes, or the operating system has no random number.
///
/// ```
/// let id = headcount::runtime::starting("chat-1")?;
/// assert_eq!(id.name(), "chat-1");
/// # Ok::<(), headcount::id::IdError>(())
/// ```
#[expect(
    clippy::disallowed_methods,
    reason = "the wall clock is read at start only"
)]
pub fn starting(name: &str) -> Result<ReplicaId, IdError> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let incarnation = u64::try_from(since.as_micros())
        .unwrap_or(0)
        .min(OP_MAX - 1);
    let salt = getrandom::u32().map_err(|_| IdError::NoRandomness)?;
    ReplicaId::new(name, incarnation, salt)
}

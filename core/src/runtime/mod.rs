//! Runs a [`Presence`](crate::Presence) on tokio (feature `tokio`): the only part of the crate with
//! a clock, tasks and sockets.
//!
//! A [`Transport`] moves frames between neighbours and may lose them; a [`Node`] does the rest.
//! [`memory`] joins the nodes of one process, `nats` (feature `nats`) joins machines.
//!
//! ```
//! use headcount::runtime::{Node, memory::Network};
//! use headcount::{NewEntry, PresenceConfig, ReplicaId};
//! use std::time::SystemTime;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::new();
//! let a = Node::start(ReplicaId::generate("a", SystemTime::now())?, PresenceConfig::default(), network.join("a"));
//! let b = Node::start(ReplicaId::generate("b", SystemTime::now())?, PresenceConfig::default(), network.join("b"));
//!
//! let mut room = b.subscribe("room")?;
//! a.track(&NewEntry::new("room", "ann", "conn-1"))?;
//! let diff = room.next().await?.expect("the node runs");
//! assert_eq!(diff.joins[0].key_str(), Some("ann"));
//!
//! a.leave().await; // b drops the entries of a at once
//! assert_eq!(room.next().await?.expect("the node runs").leaves.len(), 1);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(feature = "metrics", doc = "")]
#![cfg_attr(feature = "metrics", doc = include_str!("../../docs/metrics.md"))]

mod backlog;
mod drive;
pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;
mod node;
mod shared;
mod stats;
mod stopped;
mod subscription;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod telemetry;
mod watch;

use std::future::{Future, ready};

use bytes::Bytes;

pub use node::Node;
pub use shared::Refusal;
pub use stats::NodeStats;
pub use stopped::Stopped;
pub use subscription::{Lagged, Subscription};
pub use watch::Watch;

use crate::replica::{self, Address, Transmit};

/// Something that a transport received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A frame from a neighbour.
    Frame {
        /// The neighbour: an answer sent to this address reaches it.
        from: Address,
        /// The frame.
        frame: Bytes,
    },
    /// A hint that a neighbour is gone, which hides its entries at once.
    Gone(Address),
}

/// A mover of frames between neighbours. It may lose, double and reorder frames: that costs time,
/// never data. A node's own broadcasts must not come back to it.
pub trait Transport: Send + 'static {
    /// Returns the largest frame that the transport carries now, in bytes. A node asks again and
    /// again: another connection may carry less.
    fn frame_max(&self) -> usize;

    /// Returns the number of frames so far that were not sent because there is no connection or
    /// because they were refused. Returns 0 unless it is overridden.
    fn unsent(&self) -> u64 {
        0
    }

    /// Sends a frame, or drops it when that would take long.
    fn send(&mut self, transmit: Transmit) -> impl Future<Output = ()> + Send;

    /// Changes what this node is sent, in mode [`Interest`](crate::replica::Mode::Interest): frames to
    /// a [`Group`](crate::replica::Destination::Group) go to its subscribers. It may take effect
    /// late. Does nothing unless it is overridden: then frames to groups must go to all.
    fn subscribe(&mut self, change: replica::GroupSubscription) -> impl Future<Output = ()> + Send {
        let _ = change;
        ready(())
    }

    /// Waits for the next thing that comes in. Returns `None` if nothing will ever come. Must be
    /// cancel safe.
    fn receive(&mut self) -> impl Future<Output = Option<Incoming>> + Send;

    /// Waits until the frames that have reached this process can be received. A node calls it
    /// before it keeps a deadline, so that a peer whose heartbeats wait in a socket is not taken
    /// for silent. Must be cancel safe. Returns at once unless it is overridden.
    fn settle(&mut self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Sends what waits, and closes; the node has said Goodbye. Does nothing unless it is
    /// overridden.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

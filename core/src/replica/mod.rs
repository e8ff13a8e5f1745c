//! The control plane of one node: it decides what to send, ask for, apply, hide and drop, and does
//! no I/O.
//!
//! A [`Presence`](crate::Presence) drives it. This module has what programs meet of it: the
//! settings of replication ([`Config`]), the frames to carry ([`Transmit`]), the messages to users
//! ([`Event`]), and short-lived signs ([`Signal`]).
//!
//! Only the origin speaks for itself: each replica sends one Beat of constant size for each
//! heartbeat period, and nobody repeats what others hold. Topics lie in P partitions; a replica
//! *occupies* a partition with its first entry and *vacates* it when it has been empty for a while,
//! and each time of occupation is a life of its own. The chain of these changes is the replica's
//! index. `docs/replication.md` describes the protocol, `docs/wire-format.md` its bytes.
//!
//! ```
//! use headcount::replica::{Config, Event};
//! use headcount::{Presence, PresenceConfig, ReplicaId};
//! use std::time::Duration;
//!
//! let config = PresenceConfig::default().replication(Config::default().cluster("chat"));
//! let a = Presence::new(ReplicaId::new("a", 1, 0)?, config.clone().seed(1));
//! let b = Presence::new(ReplicaId::new("b", 1, 0)?, config.seed(2));
//! a.handle_timeout(Duration::ZERO);
//! while let Some(transmit) = a.poll_transmit() {
//!     b.handle_message(Duration::ZERO, "address of a", &transmit.frame)?;
//! }
//! assert_eq!(b.poll_event(), Some(Event::ReplicaUp(a.id())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catch_up;
mod config;
mod events;
mod gap_check;
mod graces;
mod handle;
mod held_index;
mod holdings;
mod identity;
mod leave_ages;
mod long_replies;
mod message;
mod outbox;
mod output;
mod own_index;
mod own_partitions;
mod partition_set;
mod partitions;
mod peers;
mod pulls;
mod refusals;
mod relay;
mod replies;
pub(crate) mod rng;
mod routing;
mod seen_frames;
mod signs;
mod stagings;
mod sum_check;
mod tally;
mod throttle;
mod watches;

pub use config::{Config, ConfigError};
pub use output::{Address, Destination, Event, GroupSubscription, PeerStats, Signal, Transmit};
pub use tally::{Tally, Traffic};

pub use crate::codec::{Mode, Shape};
pub use crate::error::SignalError;

#[cfg(feature = "tokio")]
pub(crate) use events::Events;
#[cfg(feature = "testing")]
pub(crate) use handle::Handle;
#[cfg(feature = "testing")]
pub(crate) use message::{Answer, Data, Message, Position, Sender, decode, encode};
pub(crate) use output::{Access, Action, Answered};
pub(crate) use partitions::{Partitions, Watched};
#[cfg(feature = "testing")]
pub(crate) use relay::Relayed;
pub(crate) use routing::{FrameReader, Replica};

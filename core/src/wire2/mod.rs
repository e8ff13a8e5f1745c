//! Wire 2, the next edition of the replication protocol, beside the present one until it replaces
//! it.
//!
//! Only the origin speaks for itself: each replica sends one Beat of constant size for each
//! heartbeat period, and nobody repeats what others hold. Topics lie in P partitions; a replica
//! *occupies* a partition with its first entry and *vacates* it when it has been empty for a while,
//! and each time of occupation is a life of its own. The chain of these changes is the replica's
//! index.

mod catch_up;
mod config;
mod graces;
mod handle;
mod header;
mod held_index;
mod holdings;
mod identity;
mod leave_ages;
mod long_replies;
mod message;
mod output;
mod own_index;
mod own_partitions;
mod partition_set;
mod partitions;
mod peers;
mod pulls;
mod replica;
mod replies;
mod shape;
mod signs;
mod stagings;
mod sum_check;

pub(crate) use config::Config;
pub(crate) use handle::Handle;
pub(crate) use header::OpenError;
pub(crate) use header::Seal;
pub(crate) use message::{Answer, BEAT, Data, Message, Position, Sender, decode, encode};
pub use output::Event;
pub(crate) use output::{Action, Address, Answered, Destination, OwnState, Transmit};
pub use partitions::Partitions;
pub(crate) use partitions::Watched;
pub(crate) use replica::Replica;
pub(crate) use shape::PARTITIONS_MAX;
pub use shape::{Mode, Shape};

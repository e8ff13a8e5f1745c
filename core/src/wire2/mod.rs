//! Wire 2, the next edition of the replication protocol, beside the present one until it replaces it.
//!
//! Only the origin speaks for itself: each replica sends one Beat of constant size for each heartbeat period, and
//! nobody repeats what others hold. Topics lie in P partitions; a replica *occupies* a partition with its first entry
//! and *vacates* it when it has been empty for a while, and each time of occupation is a life of its own. The chain of
//! these changes is the replica's index.

mod handle;
mod header;
mod held_index;
mod message;
mod own_index;
mod partition_set;
mod shape;

//! Saving tables and lists while they change, and loading them.
//!
//! A file is a stream of members, by slot, and of orders, which name slots; [`blocks`] cuts it into
//! blocks with checksums. `docs/saved-lists.md` describes every byte.

pub(crate) mod blocks;
pub(crate) mod head;
pub(crate) mod job;
pub(crate) mod members;

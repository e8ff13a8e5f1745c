#![doc = include_str!("../docs/guide.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod codec;
mod error;
mod fault;
pub mod id;
pub mod member_list;
pub mod presence;
pub mod replica;
pub mod roster;
#[cfg(feature = "tokio")]
pub mod runtime;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "serde")]
mod text_or_bytes;
pub mod tracker;

// What a first program names; everything else is in its module.
pub use id::ReplicaId;
pub use member_list::{
    Bodies, GroupId, ListError, ListOptions, MemberList, Row, Snapshot, SortKey, SortedSet, Viewer,
    WindowSpec,
};
pub use presence::{Keys, Presence, PresenceConfig, PresenceStats, ReadError};
pub use roster::{Placement, Roster, RosterOptions, Status};
pub use tracker::{Diff, Entry, EntryBuf, NewEntry, TopicDiff, TrackError, Tracker};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

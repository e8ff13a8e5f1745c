#![doc = include_str!("../docs/guide.md")]
#![forbid(unsafe_code)]

pub mod codec;
mod error;
mod fault;
mod id;
pub mod member_list;
mod presence;
pub mod replica;
mod roster;
#[cfg(feature = "tokio")]
pub mod runtime;
#[cfg(feature = "testing")]
pub mod testing;
mod tracker;

pub use error::{ApplyError, DecodeError, DecodeErrorKind, TrackError};
pub use id::{
    ALL_TOPICS, Dot, Encoding, EntryRef, IdError, NAME_LEN_MAX, OP_MAX, Origin, ReplicaId, SLOTS,
    slot_of,
};
#[cfg(feature = "collation")]
pub use member_list::Collation;
pub use member_list::{
    BatchReport, Bodies, BulkReport, Bundle, Change, Frame, GroupId, GroupInfo, Id, ListError,
    ListOptions, Member, MemberList, NewMember, Row, RowSource, Rows, Snapshot, SortKey, SortedSet,
    TextId, Tick, Upsert, Viewer, WindowError, WindowSpec,
};
pub use presence::{Presence, PresenceConfig, RestoreError};
pub use roster::{
    OfflinePolicy, Placement, Roster, RosterChange, RosterOptions, RosterReport, Status,
    UnknownStatus,
};
#[cfg(feature = "crdts")]
pub use tracker::Delta;
pub use tracker::{
    DeltaHead, Diff, Entries, Entry, EntryBuf, Extract, Extracted, Key, LeaveReason, Limits,
    NewEntry, OriginInfo, Pages, RepairHead, Sessions, Slice, StagedDelta, StagedRepair, TopicDiff,
    Tracker, Update, VersionVector, VisibilityChange,
};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

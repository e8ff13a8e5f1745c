//! The sorted, grouped, sliced member list, and the ordered set below it.
//!
//! [`SortedSet`] is a counted B+ tree over any ordered type. [`MemberList`] keeps members in
//! groups, each group a counted tree of member slots, all groups together one space of row
//! indexes with a header row before the members of each group.

mod batch;
mod changes;
mod check;
pub mod client;
#[cfg(feature = "collation")]
mod collation;
mod discord;
mod error;
mod frames;
mod groups;
mod id;
mod list;
mod options;
#[cfg(feature = "serde")]
mod serde_impls;
mod snapshot;
mod sort_key;
mod sorted_set;
mod std_traits;
mod store;
mod tree;
mod viewer;
mod windows;

pub use batch::{BatchReport, BulkReport, Change, NewMember};
pub use changes::members::Fields;
#[cfg(feature = "collation")]
pub use collation::Collation;
pub use discord::Discord;
pub use error::ListError;
pub use frames::checksum::Checksum;
pub use frames::model::{
    Base, Body, BodyChange, Bundle, Counts, CountsTable, Frame, FrameChange, FrameRow, GroupCount,
    Insert, InsertSource, MemberChange, RowChange, Shared, Update,
};
pub use id::{Id, TEXT_ID_MAX, TextId};
pub use list::{MEMBERS_MAX, MemberList, PAYLOAD_MAX, Upsert};
pub use options::ListOptions;
pub use snapshot::Snapshot;
pub use sort_key::{KEY_MAX, SortKey};
pub use sorted_set::{IntoIter, Iter, SortedSet};
pub use store::groups::{GROUP_NAME_MAX, GROUPS_MAX, GroupId, GroupInfo};
pub use store::rows::{Member, Row, Rows};
pub use viewer::Viewer;
pub use windows::row::{Bodies, BodyFormat, RowSource};
pub use windows::spec::{
    CHUNK_MAX, CHUNK_ROWS, RowKey, VIEWER_WINDOWS_MAX, WINDOW_ROWS_MAX, WindowError, WindowSpec,
};
pub use windows::tick::Tick;

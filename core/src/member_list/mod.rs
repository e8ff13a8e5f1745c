//! The sorted, grouped, sliced member list, and the ordered set below it.
//!
//! [`SortedSet`] is a counted B+ tree over any ordered type. [`MemberList`] keeps members in
//! groups, each group a counted tree of member slots, all groups together one space of row
//! indexes with a header row before the members of each group.

mod bulk;
mod check;
mod checksum;
pub mod client;
#[cfg(feature = "collation")]
mod collation;
mod column;
mod counts;
mod cow;
mod diff;
mod dirty;
mod encode;
mod error;
mod frame;
mod group;
mod handle;
mod held;
mod id;
mod index;
mod key;
mod keys;
mod list;
mod manage;
mod marks;
mod read;
mod registry;
mod reread;
mod rows;
mod run;
mod set;
mod snapshot;
mod table;
mod tick;
mod tree;
mod viewer;
mod watched;
mod window;
mod wire;

pub use bulk::{BatchReport, BulkReport, Change, NewMember};
pub use checksum::Checksum;
#[cfg(feature = "collation")]
pub use collation::Collation;
pub use encode::Discord;
pub use error::ListError;
pub use frame::{
    Base, Body, BodyChange, Bundle, Counts, CountsTable, Frame, FrameChange, FrameRow, GroupCount,
    Insert, InsertSource, MemberChange, RowChange, Shared, Update,
};
pub use group::{GROUP_NAME_MAX, GROUPS_MAX, GroupId, GroupInfo};
pub use id::{Id, TEXT_ID_MAX, TextId};
pub use key::{KEY_MAX, SortKey};
pub use list::{ListOptions, MEMBERS_MAX, MemberList, PAYLOAD_MAX, Upsert};
pub use marks::Fields;
pub use read::{Member, Row, Rows};
pub use rows::{Bodies, BodyFormat, RowSource};
pub use set::{Iter, SortedSet};
pub use snapshot::Snapshot;
pub use tick::Tick;
pub use viewer::Viewer;
pub use window::{
    CHUNK_MAX, CHUNK_ROWS, RowKey, VIEWER_WINDOWS_MAX, WINDOW_ROWS_MAX, WindowError, WindowSpec,
};

//! The sorted, grouped, sliced member list, and the ordered set below it.
//!
//! [`SortedSet`] is a counted B+ tree over any ordered type. [`MemberList`] keeps members in
//! groups, each group a counted tree of member slots, all groups together one space of row
//! indexes with a header row before the members of each group.

mod bulk;
mod cow;
mod dirty;
mod error;
mod group;
mod id;
mod key;
mod list;
mod manage;
mod read;
mod set;
mod snapshot;
mod table;
mod tree;

pub use bulk::{BatchReport, BulkReport, Change, NewMember};
pub use error::ListError;
pub use group::{GROUP_NAME_MAX, GROUPS_MAX, GroupId, GroupInfo};
pub use id::{Id, TEXT_ID_MAX, TextId};
pub use key::{KEY_MAX, SortKey};
pub use list::{MEMBERS_MAX, MemberList, Options, PAYLOAD_MAX, Upsert};
pub use read::{Member, Row, Rows};
pub use set::{Iter, SortedSet};
pub use snapshot::Snapshot;

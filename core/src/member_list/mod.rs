//! Sorted, grouped, sliced member lists, and the ordered set below them.
//!
//! * [`SortedSet`]: an ordered set of any type that knows positions, on a counted B+ tree.
//! * [`MemberList`]: members in groups, one space of row indexes over all of them, a header row
//!   before the members of each group. Every write returns the row it happened at; reads go by row,
//!   id or name; all of it costs O(log n).
//! * [`MemberTable`]: the members of many lists, each once; a [`ListSpec`] says which of them a list
//!   has, and where.
//! * [`Snapshot`]: a list as it was, for readers in other threads.
//! * [`Viewer`], [`WindowSpec`], [`Tick`]: the rows that one viewer sees, and the [`Bundle`]s that
//!   keep them current. Each change is encoded once, for all viewers.
//! * [`client`]: the other side, which applies bundles.
//!
//! ```
//! use headcount::member_list::client::Client;
//! use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
//! use std::time::Duration;
//!
//! let mut list = MemberList::<u64>::new(ListOptions::default());
//! let online = list.add_group("online")?;
//! list.upsert(7, online, &SortKey::from_name("Zoe"), 0)?;
//!
//! let mut viewer = Viewer::new();
//! let mut client = Client::new(|_, patch| patch.to_vec());
//! let request = client.open("c:0");
//! let first = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
//! assert!(client.answer(request, &first).resync.is_empty());
//!
//! let ada = list.upsert(9, online, &SortKey::from_name("ada"), 0)?;
//! assert_eq!(ada.index, Some(1)); // row 0 is the header
//! let tick = list.tick(Duration::from_millis(250), Bodies::None);
//! let report = client.apply(&viewer.bundle(&tick).expect("the window has changed"));
//! assert!(report.resync.is_empty()); // the client missed nothing
//! assert_eq!(client.window("c:0").expect("open").rows().len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attrs;
mod batch;
mod changes;
pub mod client;
#[cfg(feature = "collation")]
mod collation;
mod discord;
mod error;
mod frames;
mod groups;
pub(crate) mod id;
mod int_id;
mod limits;
mod list;
mod list_save;
mod load_error;
mod options;
mod saves;
#[cfg(feature = "serde")]
mod serde_impls;
mod snapshot;
mod sort_key;
mod sorted_set;
mod std_traits;
mod store;
mod table;
mod table_error;
mod tree;
mod viewer;
mod windows;

pub use attrs::{Attrs, Clause};
pub use batch::{BatchReport, Change, RowMove};
pub use changes::members::Fields;
#[cfg(feature = "collation")]
pub use collation::Collation;
pub use discord::Discord;
pub use error::ListError;
pub use frames::checksum::Checksum;
pub use frames::model::{
    Base, Body, BodyChange, Bundle, BundleFormat, Counts, CountsTable, Epoch, Frame, FrameChange,
    FrameRow, GroupCount, HeldWindow, Insert, InsertSource, MemberChange, RowChange, RowKey,
    RowUpdate, Shared, WindowVersion,
};
pub use id::{Id, TextId};
pub use int_id::IntId;
pub use limits::{
    ATTR_SETS_MAX, ATTRS_MAX, BODY_DEPTH_MAX, BUNDLE_FRAMES_MAX, BUNDLE_NAME_MAX, CHUNK_MAX,
    CHUNK_ROWS, CLAUSES_MAX, EPOCH_MAX, GROUP_NAME_MAX, GROUPS_MAX, KEY_COLUMNS_MAX, KEY_MAX,
    LIST_NAME_MAX, LISTS_MAX, MEMBERS_MAX, PAYLOAD_MAX, PERSONAL_MAX, SEARCH_GROUPS_MAX,
    SEARCH_PAGE_MAX, SEARCH_ROWS, SORTED_SET_MAX, TEXT_ID_MAX, VIEWER_SEARCHES_MAX,
    VIEWER_WINDOWS_MAX, WINDOW_ROWS_MAX,
};
pub use list::MemberList;
pub use load_error::{LoadError, SaveError};
pub use options::ListOptions;
pub use saves::head::SavedIds;
pub use saves::job::{Savable, SaveJob};
pub use snapshot::Snapshot;
pub use sort_key::SortKey;
pub use sorted_set::{IntoIter, Iter, SortedSet};
pub(crate) use store::fetch::FETCHED_MAX;
pub use store::groups::{GroupId, GroupInfo};
pub use store::matches::{GroupMatches, Matches};
pub(crate) use store::row_write::RowWrite;
pub use store::rows::{Member, Row, Rows};
pub use store::{BulkReport, NewMember, Upsert};
pub use table::batch::{TableBatchReport, TableChange};
pub use table::bulk::NewTableMember;
pub use table::list::{ListId, ListMove};
pub use table::spec::ListSpec;
pub use table::tick::{TableTick, TableTickWork};
pub use table::view::{ListView, TableMember, TableSnapshot};
pub use table::{MemberTable, TableOptions};
pub use table_error::TableError;
pub use viewer::Viewer;
pub use windows::bodies::{Bodies, BodyFormat, RowSource, SharedBodies};
pub use windows::live::{LiveList, Watchable};
pub use windows::search::Search;
pub use windows::spec::{WindowError, WindowSpec};
pub use windows::tick::Tick;
pub use windows::work::TickWork;

//! The bounds of a list and its windows. Beyond one, a typed error; nothing is lost.

/// The most members a list can have.
pub const MEMBERS_MAX: usize = 1 << 30;
/// The most elements a [`SortedSet`](crate::member_list::SortedSet) can have.
pub const SORTED_SET_MAX: usize = u32::MAX as usize;
/// The most groups a list can have.
pub const GROUPS_MAX: usize = 4096;
/// The longest name of a group, in bytes.
pub const GROUP_NAME_MAX: usize = 64;
/// The longest payload of a member, in bytes.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// The longest [`SortKey`](crate::member_list::SortKey), in bytes.
pub const KEY_MAX: usize = 64;
/// The longest [`TextId`](crate::member_list::TextId), in bytes.
pub const TEXT_ID_MAX: usize = 64;
/// The most key columns of a [`MemberTable`](crate::member_list::MemberTable).
pub const KEY_COLUMNS_MAX: usize = 4;
/// The attribute bits of a member of a table.
pub const ATTRS_MAX: usize = 512;
/// The most different sets of attributes that the members of a table can have.
pub const ATTR_SETS_MAX: usize = 1 << 20;
/// The most lists of a table.
pub const LISTS_MAX: usize = 512;
/// The longest name of a list of a table, in bytes.
pub const LIST_NAME_MAX: usize = 64;
/// The longest name of a list with groups of its own, or of a node, in bytes.
pub const BUNDLE_NAME_MAX: usize = 1024;
/// The highest number of an epoch: clients in JavaScript have no higher numbers.
pub const EPOCH_MAX: u64 = (1 << 53) - 1;
/// The highest number at which a table begins an epoch for a list that is added or given another
/// spec. It leaves one for each list that is being built.
pub(crate) const TABLE_EPOCH_MAX: u64 = EPOCH_MAX - 2 * LISTS_MAX as u64;
/// The most clauses that admit members to a list.
pub const CLAUSES_MAX: usize = 16;
/// The most members of a list that are named as always or never in it.
pub const PERSONAL_MAX: usize = 4096;

/// The rows of one chunk.
pub const CHUNK_ROWS: usize = 100;
/// The highest chunk number: rows have 32-bit indexes, and no list has rows beyond it.
pub const CHUNK_MAX: u32 = u32::MAX / CHUNK_ROWS as u32 - 1;
/// The rows of one page of a search.
pub const SEARCH_ROWS: usize = 50;
/// The highest page of a search.
pub const SEARCH_PAGE_MAX: u32 = u32::MAX / SEARCH_ROWS as u32 - 1;
/// The most windows of searches that one viewer may hold.
pub const VIEWER_SEARCHES_MAX: usize = 2;
/// The most groups of a list in which one window shows the matches of all groups.
pub const SEARCH_GROUPS_MAX: usize = 64;
/// The most rows a window may span.
pub const WINDOW_ROWS_MAX: usize = 500;
/// The most windows one viewer may hold.
pub const VIEWER_WINDOWS_MAX: usize = 8;
/// The most frames of one bundle: a viewer's windows, each with a frame of its own and renames.
pub const BUNDLE_FRAMES_MAX: usize = 64;
/// The deepest nesting of arrays and objects in a body that a bundle in JSON may have.
pub const BODY_DEPTH_MAX: usize = 128;

//! Snapshots: a list as it was, for readers.

use std::fmt;
use std::ops::RangeBounds;

use crate::member_list::Id;
use crate::member_list::store::groups::GroupInfo;
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::rows::{Ordered, Row, Rows};

/// A [`MemberList`](crate::member_list::MemberList) as it was at one moment: ordered reads only.
/// Cloning it is O(1), readers never
/// wait for the writer nor the writer for them.
///
/// While a snapshot lives, a write copies the nodes on one path of one tree, one page of 128
/// members with the directory above it, and once the group table.
///
/// ```
/// use headcount::{ListOptions, MemberList, SortKey};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// let online = list.add_group("online")?;
/// list.upsert(1, online, &SortKey::from_name("ada"), 0)?;
///
/// let before = list.snapshot();
/// list.remove(&1);
/// assert_eq!((before.len(), list.len()), (2, 0));
/// # Ok::<(), headcount::ListError>(())
/// ```
#[derive(Clone)]
pub struct Snapshot<I> {
    ordered: Ordered<I>,
    members: usize,
}

impl<I: Id> Snapshot<I> {
    pub(super) fn new(list: ListRef<'_, I>) -> Self {
        Self {
            ordered: list.ordered(),
            members: list.member_count(),
        }
    }

    /// Returns the number of rows. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.ordered.groups().len()
    }

    /// Returns whether there are no rows. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of members, shown or not. O(1).
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members
    }

    /// Returns the row at an index. O(log n).
    #[must_use]
    pub fn row_at(&self, index: usize) -> Option<Row<'_, I>> {
        self.ordered.view().row_at(index)
    }

    /// Returns the rows of a range, in order; rows past the end are left out. O(log n) to begin
    /// with and once per 128 rows, O(1) otherwise.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Rows<'_, I> {
        self.ordered.view().slice(range)
    }

    /// Returns all rows in order.
    pub fn iter(&self) -> Rows<'_, I> {
        self.slice(..)
    }

    /// Returns all groups in order. O(groups).
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo<'_>> {
        self.ordered.groups().infos()
    }
}

impl<I: Id> fmt::Debug for Snapshot<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Snapshot {}>", self.members)
    }
}

//! Snapshots: a list as it was, for readers.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::{Arc, OnceLock};

use crate::member_list::Id;
use crate::member_list::store::groups::{GroupId, GroupInfo};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::rows::{Ordered, Places, Row, Rows};

/// A [`MemberList`](crate::member_list::MemberList) as it was at one moment. Cloning it is O(1),
/// readers never wait for the writer nor the writer for them.
///
/// While a snapshot lives, a write copies the nodes on one path of one tree, one page of 128
/// members with the directory above it, and once the group table.
///
/// Reads by row cost what they cost in the list. For reads by id
/// ([`contains`](Self::contains), [`get`](Self::get), [`index_of`](Self::index_of)) the first one
/// makes a table of the ids, O(n), which the snapshot and its clones keep; in a large list that
/// changes, ask the list.
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
    /// Made when it is asked for.
    places: Arc<OnceLock<Places<I>>>,
}

impl<I: Id> Snapshot<I> {
    pub(super) fn new(list: ListRef<'_, I>) -> Self {
        Self {
            ordered: list.ordered(),
            members: list.member_count(),
            places: Arc::default(),
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

    /// Returns whether the id is a member's, shown or not. O(1); the first read by id O(n).
    pub fn contains(&self, id: &I) -> bool {
        self.places().contains_key(id)
    }

    /// Returns a member by id, shown or not, as its row is. O(log n); the first read by id O(n).
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, Row, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 3)?;
    /// let before = list.snapshot();
    /// list.remove(&7);
    /// assert!(matches!(before.get(&7), Some(Row::Member { attrs: 3, .. })));
    /// assert_eq!((before.index_of(&7), before.index_of(&8)), (Some(1), None));
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    pub fn get(&self, id: &I) -> Option<Row<'_, I>> {
        self.ordered.member_at(*self.places().get(id)?)
    }

    /// Returns the row of a member; `None` when it is unknown or its group is hidden or collapsed.
    /// O(log groups); the first read by id O(n).
    pub fn index_of(&self, id: &I) -> Option<usize> {
        let &(group, at) = self.places().get(id)?;
        self.ordered.groups().member_row(group, at as usize)
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

    /// Returns the name of a group of the list as it was; `None` if it had no such group. O(1).
    #[must_use]
    pub fn group_name(&self, id: GroupId) -> Option<&str> {
        self.ordered.groups().name(id)
    }

    fn places(&self) -> &Places<I> {
        self.places.get_or_init(|| self.ordered.places())
    }
}

impl<I: Id> fmt::Debug for Snapshot<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Snapshot {}>", self.members)
    }
}

//! Reads of the lists of a table.

use std::fmt;
use std::ops::RangeBounds;

use hashbrown::HashMap;

use crate::member_list::store::groups::{GroupId, GroupInfo};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::matches::Matches;
use crate::member_list::store::rows::{Row, Rows};
use crate::member_list::table::list::ListId;
use crate::member_list::table::spec::ListSpec;
use crate::member_list::{Attrs, Id, Snapshot, SortKey};

/// A member of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMember<'a, I> {
    /// The id of the member.
    pub id: &'a I,
    /// The bytes it sorts by, for each key column.
    pub keys: Vec<&'a [u8]>,
    /// All of its attributes.
    pub attrs: Attrs,
    /// Grows with each change of shown attributes or payload.
    pub revision: u32,
    /// The payload; empty in tables without payloads.
    pub payload: &'a [u8],
}

/// A list of a table, as it is now.
#[derive(Clone, Copy)]
pub struct ListView<'a, I> {
    spec: &'a ListSpec<I>,
    list: ListRef<'a, I>,
}

impl<'a, I: Id> ListView<'a, I> {
    pub(super) const fn new(spec: &'a ListSpec<I>, list: ListRef<'a, I>) -> Self {
        Self { spec, list }
    }

    /// Returns the spec by which the list was built.
    #[must_use]
    pub const fn spec(&self) -> &'a ListSpec<I> {
        self.spec
    }

    /// Returns the number of rows: members and headers that are shown. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there are no rows. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of members that the list admits, shown or not. O(1).
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.list.member_count()
    }

    /// Returns the row of a member; `None` when the list does not admit it, when its group is hidden
    /// or collapsed, and when there is no such member. O(log n).
    #[must_use]
    pub fn index_of(&self, id: &I) -> Option<usize> {
        self.list.index_of(id)
    }

    /// Returns the rows of many members, in the order of the ids: for each what
    /// [`index_of`](Self::index_of) returns, in less time, as the reads of up to 48 of them do not
    /// wait for each other. O(ids log n).
    ///
    /// ```
    /// use headcount::SortKey;
    /// use headcount::member_list::{Attrs, ListSpec, MemberTable, TableOptions};
    ///
    /// let mut table = MemberTable::<u64>::new(TableOptions::default())?;
    /// for (id, name) in [(7, "Bob"), (9, "Ada")] {
    ///     table.upsert(id, &[SortKey::from_name(name)], Attrs::EMPTY, None)?;
    /// }
    /// let everyone = table.add_list(ListSpec::new("everyone", "members"))?;
    /// table.build(usize::MAX);
    /// let rows = table.list(everyone)?.index_of_many(&[7, 8, 9, 7]);
    /// assert_eq!(rows, [Some(2), None, Some(1), Some(2)]);
    /// # Ok::<(), headcount::member_list::TableError>(())
    /// ```
    #[must_use]
    pub fn index_of_many(&self, ids: &[I]) -> Vec<Option<usize>> {
        self.list.index_of_many(ids)
    }

    /// Returns the rows of many members and what they show, in the order of the ids: for each what
    /// [`index_of`](Self::index_of) returns and [`row_at`](Self::row_at) has there. O(ids log n).
    ///
    /// ```
    /// use headcount::member_list::{Attrs, ListSpec, MemberTable, TableOptions};
    /// use headcount::{Row, SortKey};
    ///
    /// let mut table = MemberTable::<u64>::new(TableOptions::default())?;
    /// table.upsert(7, &[SortKey::from_name("Bob")], Attrs::EMPTY, None)?;
    /// let everyone = table.add_list(ListSpec::new("everyone", "members"))?;
    /// table.build(usize::MAX);
    /// let list = table.list(everyone)?;
    /// let rows = list.rows_of(&[7, 8]);
    /// assert!(matches!(rows[0], Some((1, Row::Member { id: 7, .. }))));
    /// assert_eq!(rows[1], None);
    /// # Ok::<(), headcount::member_list::TableError>(())
    /// ```
    #[must_use]
    pub fn rows_of(&self, ids: &[I]) -> Vec<Option<(usize, Row<'a, I>)>> {
        self.list.rows_of(ids)
    }

    /// Returns the group of a member that the list admits. O(1).
    #[must_use]
    pub fn group_of(&self, id: &I) -> Option<GroupId> {
        self.list.group_of(id)
    }

    /// Returns the row at an index. O(log n).
    #[must_use]
    pub fn row_at(&self, index: usize) -> Option<Row<'a, I>> {
        self.list.row_at(index)
    }

    /// Returns the rows of a range, in order; rows past the end are left out. O(log n) to begin with
    /// and once per 128 rows, O(1) otherwise.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Rows<'a, I> {
        self.list.slice(range)
    }

    /// Returns all rows in order.
    pub fn iter(&self) -> Rows<'a, I> {
        self.slice(..)
    }

    /// Returns all groups in order, also hidden and empty ones. O(groups).
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo<'a>> {
        self.list.groups().infos()
    }

    /// Returns the group of a name. O(1).
    #[must_use]
    pub fn group(&self, name: &str) -> Option<GroupId> {
        self.list.groups().by_name(name)
    }

    /// Returns the name of a group; `None` for the id of a group of this list before it was defined
    /// again. The id of a group of another list may be that of any group here. O(1).
    #[must_use]
    pub fn group_name(&self, id: GroupId) -> Option<&'a str> {
        self.list.groups().name(id)
    }

    /// Returns the list as it is now, for readers in any thread. O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<I> {
        Snapshot::new(self.list)
    }

    /// Returns for each group the row of the first member whose key begins with these bytes; see
    /// [`MemberList::find_prefix`](crate::member_list::MemberList::find_prefix).
    /// O(groups x log n).
    #[must_use]
    pub fn find_prefix(&self, prefix: &SortKey) -> Vec<(GroupId, usize)> {
        self.list.find_prefix(prefix)
    }
}

impl<I: Id> ListView<'_, I> {
    /// Returns all members whose keys begin with these bytes: how many there are, and their rows.
    /// O(groups x log n).
    #[must_use]
    pub fn search_prefix(&self, prefix: &SortKey) -> Matches {
        Matches::find(self.list, prefix)
    }
}

impl<I: Id> fmt::Debug for ListView<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<ListView {:?} {}>",
            self.spec.name(),
            self.member_count()
        )
    }
}

/// The lists of a table as they were at one moment.
#[derive(Clone)]
pub struct TableSnapshot<I> {
    lists: HashMap<ListId, Snapshot<I>>,
}

impl<I: Id> TableSnapshot<I> {
    pub(super) const fn new(lists: HashMap<ListId, Snapshot<I>>) -> Self {
        Self { lists }
    }

    /// Returns a list; `None` if there was none that could be read.
    #[must_use]
    pub fn list(&self, list: ListId) -> Option<&Snapshot<I>> {
        self.lists.get(&list)
    }
}

impl<I> fmt::Debug for TableSnapshot<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<TableSnapshot of {} lists>", self.lists.len())
    }
}

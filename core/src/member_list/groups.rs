//! `MemberList`: work on whole groups.

use crate::member_list::limits::GROUP_NAME_MAX;
use crate::member_list::store::groups::{GroupId, Groups};
use crate::member_list::{Id, ListError, MemberList};

impl<I: Id> MemberList<I> {
    /// Adds a group at the end of the order. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::GroupExists`], [`ListError::BadGroupName`] (1 to 64 bytes without control
    /// characters), [`ListError::TooManyGroups`].
    pub fn add_group(&mut self, name: &str) -> Result<GroupId, ListError> {
        self.regroup(|groups| groups.add(name))
    }

    /// Creates these groups where they are missing, and moves them before all others in this order.
    /// O(groups).
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// list.set_groups(&["online", "offline"])?;
    /// list.set_groups(&["moderators", "online"])?;
    /// let names: Vec<&str> = list.groups().map(|group| group.name).collect();
    /// assert_eq!(names, ["moderators", "online", "offline"]);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`add_group`](Self::add_group), and [`ListError::GroupExists`] when a name is
    /// given twice.
    pub fn set_groups(&mut self, names: &[&str]) -> Result<Vec<GroupId>, ListError> {
        self.regroup(|groups| groups.place_first(names))
    }

    /// Returns the group of a name. O(1).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn group(&self, name: &str) -> Result<GroupId, ListError> {
        // No group has a longer name: of a huge one the error has the beginning.
        let unknown = || ListError::UnknownGroup {
            group: name.chars().take(GROUP_NAME_MAX + 1).collect(),
        };
        self.store.groups().by_name(name).ok_or_else(unknown)
    }

    /// Returns the name of a group; `None` once it was removed. The id of a group of another list may
    /// be that of any group here. O(1).
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, Row, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    /// let Some(Row::Member { group, .. }) = list.row_at(1) else {
    ///     unreachable!("row 0 is the header");
    /// };
    /// assert_eq!(list.group_name(group), Some("online"));
    /// list.remove(&7);
    /// list.remove_group(online)?;
    /// assert_eq!(list.group_name(online), None);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    #[must_use]
    pub fn group_name(&self, id: GroupId) -> Option<&str> {
        self.store.groups().name(id)
    }

    /// Gives a group another name. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`], [`ListError::GroupExists`], [`ListError::BadGroupName`].
    pub fn rename_group(&mut self, id: GroupId, name: &str) -> Result<(), ListError> {
        self.regroup(|groups| groups.rename(id, name))
    }

    /// Puts the groups in this order, which names each of them once. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`], [`ListError::BadGroupOrder`].
    pub fn reorder_groups(&mut self, order: &[GroupId]) -> Result<(), ListError> {
        self.regroup(|groups| groups.reorder(order))
    }

    /// Moves one group to a place in the order; places past the end mean the end. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn move_group(&mut self, id: GroupId, to: usize) -> Result<(), ListError> {
        self.regroup(|groups| groups.move_to(id, to))
    }

    /// Takes a group out of the index space, header included, or puts it back. It stays in
    /// [`groups`](Self::groups) with its count. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn set_group_hidden(&mut self, id: GroupId, hidden: bool) -> Result<(), ListError> {
        self.regroup(|groups| groups.set_hidden(id, hidden))
    }

    /// Leaves only the header of a group in the index space, or puts its members back.
    /// O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn set_group_collapsed(&mut self, id: GroupId, collapsed: bool) -> Result<(), ListError> {
        self.regroup(|groups| groups.set_collapsed(id, collapsed))
    }

    /// Moves all members of a group into another and returns how many there were. The group
    /// stays, empty. O(k log n) for k members.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn merge_group(&mut self, from: GroupId, into: GroupId) -> Result<usize, ListError> {
        self.store.merge_group(from, into, &mut self.changes)
    }

    /// Moves many members to a group and returns how many of them are there now; unknown ids are
    /// passed over. Bulk work: watched windows are sent whole once. O(k log n) or O(n + k),
    /// whichever is less.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn set_group_many<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a I>,
        group: GroupId,
    ) -> Result<usize, ListError> {
        self.store.set_group_many(ids, group, &mut self.changes)
    }

    /// Removes a group without members. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`], [`ListError::GroupNotEmpty`].
    pub fn remove_group(&mut self, id: GroupId) -> Result<(), ListError> {
        self.regroup(|groups| groups.remove(id))
    }

    /// Changes the group table, all or nothing; any row may be another one afterwards.
    fn regroup<T>(
        &mut self,
        work: impl FnOnce(&mut Groups) -> Result<T, ListError>,
    ) -> Result<T, ListError> {
        let done = self.store.regroup(work)?;
        self.changes.everything();
        Ok(done)
    }
}

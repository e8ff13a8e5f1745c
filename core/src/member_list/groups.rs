//! `MemberList`: work on whole groups.

use triomphe::Arc;

use crate::member_list::store::groups::{GROUP_NAME_MAX, GroupId, Groups};
use crate::member_list::store::staging::sort;
use crate::member_list::store::table::Table;
use crate::member_list::tree::Tree;
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

    /// Makes these groups exist and stand in this order, before all others. O(groups).
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
        self.regroup(|groups| {
            let mut order = Vec::with_capacity(names.len());
            for name in names {
                let id = match groups.by_name(name) {
                    Some(id) if order.contains(&id) => {
                        return Err(ListError::GroupExists {
                            name: (*name).to_string(),
                        });
                    }
                    Some(id) => id,
                    None => groups.add(name)?,
                };
                order.push(id);
            }
            let given = order.clone();
            order.extend(groups.order().iter().filter(|id| !given.contains(id)));
            groups.reorder(&order)?;
            Ok(given)
        })
    }

    /// The group of a name. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn group(&self, name: &str) -> Result<GroupId, ListError> {
        // No group has a longer name: of a huge one the error says how it begins.
        let unknown = || ListError::UnknownGroup {
            group: name.chars().take(GROUP_NAME_MAX + 1).collect(),
        };
        self.groups.by_name(name).ok_or_else(unknown)
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
        self.regroup(|groups| {
            groups.check(id)?;
            let mut order: Vec<_> = groups
                .order()
                .iter()
                .copied()
                .filter(|&other| other != id)
                .collect();
            order.insert(to.min(order.len()), id);
            groups.reorder(&order)
        })
    }

    /// Takes a group out of the index space, header included, or puts it back. It stays in
    /// [`groups`](Self::groups) with its count. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn set_group_hidden(&mut self, id: GroupId, hidden: bool) -> Result<(), ListError> {
        self.regroup(|groups| {
            groups.check(id)?;
            groups.at_mut(id).hidden = hidden;
            groups.recount(id);
            Ok(())
        })
    }

    /// Leaves only the header of a group in the index space, or puts its members back.
    /// O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn set_group_collapsed(&mut self, id: GroupId, collapsed: bool) -> Result<(), ListError> {
        self.regroup(|groups| {
            groups.check(id)?;
            groups.at_mut(id).collapsed = collapsed;
            groups.recount(id);
            Ok(())
        })
    }

    /// Moves all members of a group into another and returns how many there were. The group
    /// stays, empty. O(k log n) for k members.
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`].
    pub fn merge_group(&mut self, from: GroupId, into: GroupId) -> Result<usize, ListError> {
        self.groups.check(from)?;
        self.groups.check(into)?;
        if from == into {
            return Ok(self.groups[from].tree.len());
        }
        let groups = Arc::make_mut(&mut self.groups);
        let tree = &mut groups.at_mut(from).tree;
        let moved: Vec<u32> = tree.entries::<Table<I>>().collect();
        tree.retire(&mut self.table);
        groups.recount(from);
        self.insert_sorted(into, moved.iter().copied());
        self.dirty.mark_all();
        self.marks.moved_many();
        self.check_when_due();
        Ok(moved.len())
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
        self.groups.check(group)?;
        let mut found = 0;
        let mut moving: Vec<(GroupId, u32)> = Vec::new();
        for slot in ids.into_iter().filter_map(|id| self.table.slot(id)) {
            found += 1;
            let from = self.group_of(slot);
            if from != group {
                moving.push((from, slot));
            }
        }
        // Ids may come twice.
        moving.sort_unstable();
        moving.dedup();
        if moving.is_empty() {
            return Ok(found);
        }
        for share in moving.chunk_by(|a, b| a.0 == b.0) {
            self.take_out(share[0].0, share.iter().map(|&(_, slot)| slot));
        }
        moving.iter_mut().for_each(|(to, _)| *to = group);
        let sorted = sort(
            moving.into_iter(),
            |slot| self.table.key(slot),
            |a, b| self.table.order(a, b),
        );
        self.insert_sorted(group, sorted.into_iter());
        self.dirty.mark_all();
        self.marks.moved_many();
        self.check_when_due();
        Ok(found)
    }

    /// Takes slots out of the tree of their group: one by one if they are few, else the tree is
    /// built anew.
    fn take_out(&mut self, group: GroupId, slots: impl ExactSizeIterator<Item = u32>) {
        if self.groups[group].tree.len() / 16 > slots.len() {
            for slot in slots {
                self.leave(slot, &self.climb(slot));
            }
            return;
        }
        slots.for_each(|slot| self.table.detach(slot));
        let groups = Arc::make_mut(&mut self.groups);
        let tree = &mut groups.at_mut(group).tree;
        let mut stay: Vec<u32> = tree.entries::<Table<I>>().collect();
        stay.retain(|&slot| !self.table.is_detached(slot));
        tree.retire(&mut self.table);
        *tree = Tree::build(&mut self.table, stay.into_iter());
        self.table.nodes.own(tree.root_id(), group);
        groups.recount(group);
    }

    /// Removes a group without members. O(groups).
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`], [`ListError::GroupNotEmpty`].
    pub fn remove_group(&mut self, id: GroupId) -> Result<(), ListError> {
        self.regroup(|groups| groups.remove(id))
    }

    /// Works on a copy of the group table, so that an error leaves no trace. Trees are shared,
    /// so the copy is O(groups).
    fn regroup<T>(
        &mut self,
        work: impl FnOnce(&mut Groups) -> Result<T, ListError>,
    ) -> Result<T, ListError> {
        let mut groups = (*self.groups).clone();
        let done = work(&mut groups)?;
        self.groups = Arc::new(groups);
        self.dirty.mark_all();
        self.check_when_due();
        Ok(done)
    }
}

//! Writes of many members at once.

use crate::member_list::changes::Changes;
use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::store::Store;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::staging::{BulkReport, Staged, sort};
use crate::member_list::store::table::Table;
use crate::member_list::tree::Tree;
use crate::member_list::{Id, ListError, SortKey};

/// A member for [`bulk_load`](crate::member_list::MemberList::bulk_load).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMember<I> {
    /// The id of the member.
    pub id: I,
    /// The group.
    pub group: GroupId,
    /// The place within the group.
    pub key: SortKey,
    /// The user's bits.
    pub attrs: u32,
}

impl<I: Id> Store<I> {
    /// Puts many new members in, sorted or not, all or none; duplicates are left out.
    pub(crate) fn bulk_load(
        &mut self,
        members: impl IntoIterator<Item = NewMember<I>>,
        changes: &mut Changes<I>,
    ) -> Result<BulkReport<I>, ListError> {
        let staged = self.stage(members)?;
        let (hashes, duplicates) = self.table.claim(&staged.rows);
        let fresh = staged.sorted(&duplicates);
        // Slots in sorted order: neighbours in the list are neighbours in memory.
        let mut start = self.table.fill(&staged, &hashes, &fresh, self.floor);
        let group = |&at: &u32| staged.rows[at as usize].group;
        for share in fresh.chunk_by(|a, b| group(a) == group(b)) {
            let end = start + share.len() as u32;
            self.insert_sorted(group(&share[0]), start..end);
            start = end;
        }
        if !fresh.is_empty() {
            changes.everything();
        }
        self.check_when_due();
        Ok(staged.report(&duplicates))
    }

    /// Reads and checks all members.
    fn stage(
        &self,
        members: impl IntoIterator<Item = NewMember<I>>,
    ) -> Result<Staged<I>, ListError> {
        let members = members.into_iter();
        let mut staged = Staged::for_members(members.size_hint().0, 1);
        let room = MEMBERS_MAX - self.member_count();
        for member in members {
            self.groups.check(member.group)?;
            if staged.rows.len() == room {
                return Err(ListError::TooManyMembers { max: MEMBERS_MAX });
            }
            let key = member.key.as_bytes();
            staged.push(member.id, member.group, key, member.attrs);
        }
        Ok(staged)
    }

    /// Moves all members of a group into another and returns how many there were. O(k log n).
    pub(crate) fn merge_group(
        &mut self,
        from: GroupId,
        into: GroupId,
        changes: &mut Changes<I>,
    ) -> Result<usize, ListError> {
        self.groups.check(from)?;
        self.groups.check(into)?;
        if from == into {
            return Ok(self.groups[from].tree.len());
        }
        let moved: Vec<u32> = self.change_tree(from, |table, group| {
            let moved = group.tree.entries::<Table<I>>().collect();
            group.tree.retire(table);
            moved
        });
        self.insert_sorted(into, moved.iter().copied());
        changes.moved_many();
        self.check_when_due();
        Ok(moved.len())
    }

    /// Moves many members to a group and returns how many of them are there now; unknown ids are
    /// passed over. O(k log n) or O(n + k), whichever is less.
    pub(crate) fn set_group_many<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a I>,
        group: GroupId,
        changes: &mut Changes<I>,
    ) -> Result<usize, ListError> {
        self.groups.check(group)?;
        let known = ids.into_iter().filter_map(|id| self.table.slot(id));
        // Ids may come twice.
        let mut slots: Vec<u32> = known.collect();
        slots.sort_unstable();
        slots.dedup();
        let found = slots.len();
        let placed = slots.into_iter().map(|slot| (self.group_of(slot), slot));
        let mut moving: Vec<(GroupId, u32)> = placed.filter(|(from, _)| *from != group).collect();
        if moving.is_empty() {
            return Ok(found);
        }
        moving.sort_unstable();
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
        changes.moved_many();
        self.check_when_due();
        Ok(found)
    }

    /// Takes slots out of the tree of their group: one by one if they are few, else the tree is
    /// built again.
    fn take_out(&mut self, group: GroupId, slots: impl ExactSizeIterator<Item = u32>) {
        if self.groups[group].tree.len() / 16 > slots.len() {
            for slot in slots {
                self.leave(slot, &self.climb(slot));
            }
            return;
        }
        slots.for_each(|slot| self.table.detach(slot));
        self.change_tree(group, |table, group| {
            let mut stay: Vec<u32> = group.tree.entries::<Table<I>>().collect();
            stay.retain(|&slot| !table.is_detached(slot));
            group.tree.retire(table);
            group.tree = Tree::build(table, stay.into_iter());
        });
    }

    /// Puts sorted slots that are in no tree into one group: one by one if they are few, else
    /// the tree is built again.
    fn insert_sorted(&mut self, group: GroupId, slots: impl ExactSizeIterator<Item = u32>) {
        self.change_tree(group, |table, group| {
            let tree = &mut group.tree;
            if tree.len() / 16 > slots.len() {
                for slot in slots {
                    let key = SortKey::cut(table.key(slot));
                    table.insert_into(tree, slot, key.as_bytes());
                }
            } else if tree.len() == 0 {
                *tree = Tree::build(table, slots);
            } else {
                let old: Vec<u32> = tree.entries::<Table<I>>().collect();
                let new: Vec<u32> = slots.collect();
                let all = table.merge(&old, &new);
                tree.retire(table);
                *tree = Tree::build(table, all.into_iter());
            }
        });
    }
}

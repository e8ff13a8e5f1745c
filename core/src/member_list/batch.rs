//! `MemberList`: many members at once.

use triomphe::Arc;

use bytes::Bytes;

use crate::member_list::list::MEMBERS_MAX;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::key_table::LongKeys;
use crate::member_list::store::staging::{Staged, StagedMember};
use crate::member_list::store::table::Table;
use crate::member_list::tree::Tree;
use crate::member_list::{Id, ListError, MemberList, SortKey};

/// A member for [`bulk_load`](MemberList::bulk_load).
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

/// Members for which room is made before they are seen.
const RESERVED_MAX: usize = 1 << 24;

/// What a bulk load did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkReport<I> {
    /// Members that are new.
    pub loaded: usize,
    /// Ids that were in the list already or came before in the same load, with their positions
    /// in the input. They were left as they were.
    pub duplicates: Vec<(usize, I)>,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<I> {
    /// As [`MemberList::upsert`].
    Upsert {
        /// The id of the member.
        id: I,
        /// The group.
        group: GroupId,
        /// The place within the group.
        key: SortKey,
        /// The user's bits.
        attrs: u32,
    },
    /// As [`MemberList::remove`].
    Remove(I),
    /// As [`MemberList::set_group`].
    SetGroup(I, GroupId),
    /// As [`MemberList::set_key`].
    SetKey(I, SortKey),
    /// As [`MemberList::set_attrs`].
    SetAttrs(I, u32),
    /// As [`MemberList::set_payload`].
    SetPayload(I, Bytes),
    /// As [`MemberList::touch`].
    Touch(I),
}

/// What a batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Members that are new.
    pub inserted: usize,
    /// Members that were changed, moved or not.
    pub updated: usize,
    /// Members that are gone.
    pub removed: usize,
    /// Changes of members that were not in the list at that point; they did nothing.
    pub missing: usize,
}

impl<I: Id> MemberList<I> {
    /// Applies changes in order, all or none. Changes of unknown members do nothing and are
    /// counted. O(k log n).
    ///
    /// ```
    /// use headcount::member_list::Change;
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let group = list.add_group("online")?;
    /// let key = SortKey::from_name("Ada");
    /// let report = list.apply_batch(&[
    ///     Change::Upsert { id: 1, group, key, attrs: 0 },
    ///     Change::Touch(1),
    ///     Change::Remove(2),
    /// ])?;
    /// assert_eq!((report.inserted, report.updated, report.missing), (1, 1, 1));
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ListError::InBatch`] with the first change that names an unknown group or carries a
    /// payload the list cannot take, or that might exceed the members a list can have.
    pub fn apply_batch(&mut self, changes: &[Change<I>]) -> Result<BatchReport, ListError> {
        let mut room = MEMBERS_MAX - self.member_count();
        for (at, change) in changes.iter().enumerate() {
            self.check_change(change, &mut room)
                .map_err(|error| ListError::InBatch {
                    at,
                    error: Box::new(error),
                })?;
        }
        let mut report = BatchReport::default();
        for change in changes {
            self.apply_change(change, &mut report);
        }
        Ok(report)
    }

    fn check_change(&self, change: &Change<I>, room: &mut usize) -> Result<(), ListError> {
        match change {
            Change::Upsert { group, .. } => {
                let full = ListError::TooManyMembers { max: MEMBERS_MAX };
                *room = room.checked_sub(1).ok_or(full)?;
                self.groups.check(*group)
            }
            Change::SetGroup(_, group) => self.groups.check(*group),
            Change::SetPayload(_, payload) => self.check_payload(payload),
            Change::Remove(_) | Change::SetKey(..) | Change::SetAttrs(..) | Change::Touch(_) => {
                Ok(())
            }
        }
    }

    /// Applies a change that was checked: what can still fail is that the member is unknown.
    fn apply_change(&mut self, change: &Change<I>, report: &mut BatchReport) {
        let done = match change {
            Change::Upsert {
                id,
                group,
                key,
                attrs,
            } => match self.upsert(id.clone(), *group, key, *attrs) {
                Ok(upsert) if upsert.is_new => {
                    report.inserted += 1;
                    return;
                }
                other => other.is_ok(),
            },
            Change::Remove(id) => {
                let known = self.contains(id);
                self.remove(id);
                report.removed += usize::from(known);
                report.missing += usize::from(!known);
                return;
            }
            Change::SetGroup(id, group) => self.set_group(id, *group).is_ok(),
            Change::SetKey(id, key) => self.set_key(id, key).is_ok(),
            Change::SetAttrs(id, attrs) => self.set_attrs(id, *attrs).is_ok(),
            Change::SetPayload(id, payload) => self.set_payload(id, payload.clone()).is_ok(),
            Change::Touch(id) => self.touch(id).is_ok(),
        };
        report.updated += usize::from(done);
        report.missing += usize::from(!done);
    }

    /// Puts many new members in, sorted or not. O(k) for sorted input into empty groups,
    /// otherwise O(k log k) to sort and O(k log n) or O(n + k), whichever is less.
    ///
    /// Ids that are in the list already, and all but the first of equal ids in the input, are
    /// left out and reported.
    ///
    /// ```
    /// use headcount::member_list::NewMember;
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let group = list.add_group("online")?;
    /// let members = [(3, "cy"), (1, "ada"), (3, "eve")].map(|(id, name)| NewMember {
    ///     id,
    ///     group,
    ///     key: SortKey::from_name(name),
    ///     attrs: 0,
    /// });
    /// let report = list.bulk_load(members)?;
    /// assert_eq!((report.loaded, report.duplicates), (2, vec![(2, 3)]));
    /// assert_eq!(list.index_of(&3), Some(2));
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ListError::UnknownGroup`]; [`ListError::TooManyMembers`] when the list might get too
    /// many, were no id a duplicate. Nothing was loaded.
    pub fn bulk_load(
        &mut self,
        members: impl IntoIterator<Item = NewMember<I>>,
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
            self.dirty.mark_all();
        }
        self.check_when_due();
        let named = |at: u32| (at as usize, staged.rows[at as usize].id.clone());
        Ok(BulkReport {
            loaded: fresh.len(),
            duplicates: duplicates.into_iter().map(named).collect(),
        })
    }

    /// Reads and checks all members.
    fn stage(
        &self,
        members: impl IntoIterator<Item = NewMember<I>>,
    ) -> Result<Staged<I>, ListError> {
        let members = members.into_iter();
        let expected = members.size_hint().0.min(RESERVED_MAX);
        let mut staged = Staged {
            rows: Vec::with_capacity(expected),
            long: LongKeys::default(),
        };
        let room = MEMBERS_MAX - self.member_count();
        for member in members {
            self.groups.check(member.group)?;
            if staged.rows.len() == room {
                return Err(ListError::TooManyMembers { max: MEMBERS_MAX });
            }
            staged.rows.push(StagedMember {
                id: member.id,
                attrs: member.attrs,
                group: member.group,
                key: staged.long.cell(member.key.as_bytes()),
            });
        }
        Ok(staged)
    }

    /// Puts sorted slots that are in no tree into one group: one by one if they are few, else
    /// the tree is built anew.
    pub(in crate::member_list) fn insert_sorted(
        &mut self,
        group: GroupId,
        slots: impl ExactSizeIterator<Item = u32>,
    ) {
        let groups = Arc::make_mut(&mut self.groups);
        let tree = &mut groups.at_mut(group).tree;
        if tree.len() / 16 > slots.len() {
            for slot in slots {
                let key = SortKey::cut(self.table.key(slot));
                self.table.insert_into(tree, slot, key.as_bytes());
            }
        } else if tree.len() == 0 {
            *tree = Tree::build(&mut self.table, slots);
        } else {
            let old: Vec<u32> = tree.entries::<Table<I>>().collect();
            let new: Vec<u32> = slots.collect();
            let all = self.table.merge(&old, &new);
            tree.retire(&mut self.table);
            *tree = Tree::build(&mut self.table, all.into_iter());
        }
        self.table.nodes.own(tree.root_id(), group);
        groups.recount(group);
    }
}

//! `MemberList`: many members at once.

use std::sync::Arc;

use bytes::Bytes;

use super::group::GroupId;
use super::list::MEMBERS_MAX;
use super::run::head;
use super::table::Table;
use super::tree::Tree;
use super::{Id, ListError, MemberList, SortKey};

/// A member for [`bulk_load`](MemberList::bulk_load).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMember<I> {
    /// Who.
    pub id: I,
    /// The group.
    pub group: GroupId,
    /// The place within the group.
    pub key: SortKey,
    /// The user's bits.
    pub attrs: u32,
}

/// A member that is loaded but in no tree, with the beginning of its key for sorting.
struct Fresh {
    head: u128,
    group: GroupId,
    slot: u32,
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
        /// Who.
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
    /// use headcount::{Change, MemberList, Options, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(Options::default());
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
    /// use headcount::{MemberList, NewMember, Options, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(Options::default());
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
    /// [`ListError::UnknownGroup`], [`ListError::TooManyMembers`]; nothing was loaded.
    pub fn bulk_load(
        &mut self,
        members: impl IntoIterator<Item = NewMember<I>>,
    ) -> Result<BulkReport<I>, ListError> {
        let mut report = BulkReport {
            loaded: 0,
            duplicates: Vec::new(),
        };
        let members = members.into_iter();
        let expected = members.size_hint().0.min(RESERVED_MAX);
        self.table.reserve(expected);
        let mut fresh: Vec<Fresh> = Vec::with_capacity(expected);
        for (at, member) in members.enumerate() {
            if self.table.slot(&member.id).is_some() {
                report.duplicates.push((at, member.id));
                continue;
            }
            let refused = match self.groups.check(member.group) {
                Ok(()) if self.table.len() < MEMBERS_MAX => None,
                Ok(()) => Some(ListError::TooManyMembers { max: MEMBERS_MAX }),
                Err(error) => Some(error),
            };
            if let Some(error) = refused {
                fresh
                    .iter()
                    .for_each(|fresh| self.table.drop_slot(fresh.slot));
                return Err(error);
            }
            let NewMember {
                id,
                group,
                key,
                attrs,
            } = member;
            let slot = self.table.add(id, key.as_bytes(), self.floor, attrs);
            let head = head(key.as_bytes());
            fresh.push(Fresh { head, group, slot });
        }
        report.loaded = fresh.len();
        if !fresh.is_empty() {
            self.load(fresh);
            self.dirty.mark_all();
        }
        Ok(report)
    }

    /// Puts slots that are in no tree into the trees of their groups.
    fn load(&mut self, mut fresh: Vec<Fresh>) {
        let table = &self.table;
        let order = |a: &Fresh, b: &Fresh| {
            let by_head = (a.group, a.head).cmp(&(b.group, b.head));
            by_head.then_with(|| table.order(a.slot, b.slot))
        };
        if !fresh.is_sorted_by(|a, b| order(a, b).is_lt()) {
            fresh.sort_unstable_by(order);
        }
        for share in fresh.chunk_by(|a, b| a.group == b.group) {
            self.insert_sorted(share[0].group, share.iter().map(|fresh| fresh.slot));
        }
    }

    /// Puts sorted slots that are in no tree into one group: one by one if they are few, else
    /// the tree is built anew.
    pub(super) fn insert_sorted(
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
        } else {
            let old: Vec<u32> = tree.entries::<Table<I>>().collect();
            let new: Vec<u32> = slots.collect();
            let all = if old.is_empty() {
                new
            } else {
                self.table.merge(&old, &new)
            };
            tree.retire(&mut self.table);
            *tree = Tree::build(&mut self.table, all.into_iter());
        }
        self.table.nodes.own(tree.root_id(), group);
        groups.recount(group);
    }
}

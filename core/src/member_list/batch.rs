//! `MemberList`: many members at once.

use bytes::Bytes;

use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::{BulkReport, NewMember};
use crate::member_list::{Id, ListError, MemberList, SortKey};

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

/// The outcome of a batch.
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
                self.store.groups().check(*group)
            }
            Change::SetGroup(_, group) => self.store.groups().check(*group),
            Change::SetPayload(_, payload) => self.store.check_payload(payload),
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
        self.store.bulk_load(members, &mut self.changes)
    }
}

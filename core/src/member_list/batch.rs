//! `MemberList`: many members at once.

use bytes::Bytes;

use crate::member_list::changes::members::Fields;
use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::store::fetch::FETCHED_MAX;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::store::rows::Row;
use crate::member_list::store::{BulkReport, NewMember, Upsert};
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
    /// As [`MemberList::touch_fields`].
    TouchFields(I, Fields),
}

impl<I> Change<I> {
    /// Returns the id of the member that changes.
    const fn id(&self) -> &I {
        match self {
            Self::Upsert { id, .. }
            | Self::Remove(id)
            | Self::SetGroup(id, _)
            | Self::SetKey(id, _)
            | Self::SetAttrs(id, _)
            | Self::SetPayload(id, _)
            | Self::Touch(id)
            | Self::TouchFields(id, _) => id,
        }
    }
}

/// The rows of a member before and after a change; `None` for a member that was not in the list
/// then, or had no row because its group was hidden or collapsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowMove {
    /// The row before the change.
    pub old_index: Option<usize>,
    /// The row after it.
    pub index: Option<usize>,
}

impl From<Upsert> for RowMove {
    fn from(upsert: Upsert) -> Self {
        Self {
            old_index: upsert.old_index,
            index: upsert.index,
        }
    }
}

impl RowMove {
    const fn stayed(index: Option<usize>) -> Self {
        Self {
            old_index: index,
            index,
        }
    }
}

/// The outcome of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Members that are new.
    pub inserted: usize,
    /// Members that were changed, moved or not.
    pub updated: usize,
    /// Members that are gone.
    pub removed: usize,
    /// Changes of members that were not in the list at that point; they did nothing.
    pub missing: usize,
    /// The rows that each change moved a member from and to, in the order of the changes: those of
    /// its moment, as the single call would have returned them.
    pub rows: Vec<RowMove>,
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
    /// assert_eq!(report.rows[1].index, Some(1)); // below the header
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
        let mut report = BatchReport {
            rows: Vec::with_capacity(changes.len()),
            ..BatchReport::default()
        };
        for block in changes.chunks(FETCHED_MAX) {
            self.store.fetch_if_large(block.iter().map(Change::id));
            for change in block {
                let moved = self.apply_change(change, &mut report);
                report.rows.push(moved.unwrap_or_default());
            }
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
            Change::Remove(_)
            | Change::SetKey(..)
            | Change::SetAttrs(..)
            | Change::Touch(_)
            | Change::TouchFields(..) => Ok(()),
        }
    }

    /// Applies a change that was checked: what can still fail is that the member is unknown, which
    /// gives `None`.
    fn apply_change(&mut self, change: &Change<I>, report: &mut BatchReport) -> Option<RowMove> {
        let moved = match change {
            Change::Upsert {
                id,
                group,
                key,
                attrs,
            } => {
                let upsert = self.upsert(id.clone(), *group, key, *attrs).ok()?;
                if upsert.is_new {
                    report.inserted += 1;
                    return Some(upsert.into());
                }
                Some(upsert.into())
            }
            Change::Remove(id) if self.contains(id) => {
                report.removed += 1;
                return Some(RowMove {
                    old_index: self.remove(id),
                    index: None,
                });
            }
            Change::Remove(_) => None,
            Change::SetGroup(id, group) => self.set_group(id, *group).ok().map(RowMove::from),
            Change::SetKey(id, key) => self.set_key(id, key).ok().map(RowMove::from),
            Change::SetAttrs(id, attrs) => self.set_attrs(id, *attrs).ok().map(RowMove::stayed),
            Change::SetPayload(id, payload) => {
                let row = self.set_payload(id, payload.clone());
                row.ok().map(RowMove::stayed)
            }
            Change::Touch(id) => self.touch(id).ok().map(RowMove::stayed),
            Change::TouchFields(id, fields) => {
                let row = self.touch_fields(id, *fields);
                row.ok().map(RowMove::stayed)
            }
        };
        report.updated += usize::from(moved.is_some());
        report.missing += usize::from(moved.is_none());
        moved
    }

    /// Returns the rows of many members, in the order of the ids: for each what
    /// [`index_of`](Self::index_of) returns, in less time, as the reads of up to 48 of them do not
    /// wait for each other. O(ids log n), no comparison of keys.
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let group = list.add_group("online")?;
    /// list.upsert(7, group, &SortKey::from_name("Bob"), 0)?;
    /// list.upsert(9, group, &SortKey::from_name("Ada"), 0)?;
    /// assert_eq!(list.index_of_many(&[7, 8, 9, 7]), [Some(2), None, Some(1), Some(2)]);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    #[must_use]
    pub fn index_of_many(&self, ids: &[I]) -> Vec<Option<usize>> {
        ListRef::explicit(&self.store).index_of_many(ids)
    }

    /// Returns the rows of many members and what they show, in the order of the ids: for each what
    /// [`index_of`](Self::index_of) returns and [`row_at`](Self::row_at) has there; `None` when it
    /// is unknown or its group is hidden or collapsed. O(ids log n), no comparison of keys.
    ///
    /// ```
    /// use headcount::{ListOptions, MemberList, Row, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let group = list.add_group("online")?;
    /// list.upsert(7, group, &SortKey::from_name("Bob"), 5)?;
    /// let rows = list.rows_of(&[7, 8]);
    /// assert!(matches!(rows[0], Some((1, Row::Member { id: 7, attrs: 5, .. }))));
    /// assert_eq!(rows[1], None);
    /// # Ok::<(), headcount::ListError>(())
    /// ```
    #[must_use]
    pub fn rows_of(&self, ids: &[I]) -> Vec<Option<(usize, Row<'_, I>)>> {
        ListRef::explicit(&self.store).rows_of(ids)
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

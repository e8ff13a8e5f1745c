//! The list or table below a roster.

use bytes::Bytes;

use super::RosterError;
use crate::member_list::{GroupId, Id, MemberList, MemberTable, RowWrite, SortKey};

/// A target of a [`Roster`](super::Roster), whose rows it writes: a [`MemberList`], or a
/// [`MemberTable`] with all its lists.
///
/// ```
/// use headcount::member_list::Id;
/// use headcount::roster::{Roster, RosterTarget};
///
/// fn greeting<I: Id, L: RosterTarget<I>>(roster: &Roster<I, L>) -> String {
///     format!("{} are here", roster.online_count())
/// }
/// ```
pub trait RosterTarget<I>: Target<I> {}

impl<I: Id> RosterTarget<I> for MemberList<I> {}
impl<I: Id> RosterTarget<I> for MemberTable<I> {}

#[expect(unnameable_types, reason = "only the seal of `RosterTarget` has it")]
/// A row as it is.
#[derive(Debug)]
pub struct TargetRow {
    pub(super) group: Option<GroupId>,
    pub(super) keys: Vec<SortKey>,
    pub(super) attrs: u32,
    pub(super) payload: Option<Bytes>,
}

#[expect(
    unnameable_types,
    reason = "the usual seal: what a roster writes are lists and tables"
)]
/// The seal of [`RosterTarget`].
pub trait Target<I> {
    /// Checks that rows can be in a group of their own choice.
    fn check_group(&self, group: GroupId) -> Result<(), RosterError>;

    /// Returns how many keys a row has.
    fn key_columns(&self) -> usize;

    /// Returns the number of members.
    fn member_count(&self) -> usize;

    /// Returns the row of a member. O(log n).
    fn target_row(&self, id: &I) -> Option<TargetRow>;

    /// Reads what writes of some rows need, ahead of them.
    fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone)
    where
        I: 'a;

    /// Writes a row; returns whether there is such a row. O(log n), of a table for each list.
    fn write_row(&mut self, id: &I, write: &RowWrite<'_>) -> Result<bool, RosterError>;

    /// Removes a member. O(log n), of a table for each list.
    fn remove_row(&mut self, id: &I);
}

impl<I: Id> Target<I> for MemberList<I> {
    fn check_group(&self, _group: GroupId) -> Result<(), RosterError> {
        Ok(())
    }

    fn key_columns(&self) -> usize {
        1
    }

    fn member_count(&self) -> usize {
        self.member_count()
    }

    fn target_row(&self, id: &I) -> Option<TargetRow> {
        let row = self.get(id)?;
        Some(TargetRow {
            group: Some(row.group),
            keys: vec![SortKey::cut(row.key)],
            attrs: row.attrs,
            payload: self.payload_of(id),
        })
    }

    fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone)
    where
        I: 'a,
    {
        self.fetch_if_large(ids);
    }

    fn write_row(&mut self, id: &I, write: &RowWrite<'_>) -> Result<bool, RosterError> {
        Ok(self.write_row(id, write)?)
    }

    fn remove_row(&mut self, id: &I) {
        self.remove(id);
    }
}

impl<I: Id> Target<I> for MemberTable<I> {
    fn check_group(&self, group: GroupId) -> Result<(), RosterError> {
        Err(RosterError::NoGroups { group })
    }

    fn key_columns(&self) -> usize {
        self.key_columns()
    }

    fn member_count(&self) -> usize {
        self.len()
    }

    fn target_row(&self, id: &I) -> Option<TargetRow> {
        let member = self.get(id)?;
        Some(TargetRow {
            group: None,
            keys: member.keys.into_iter().map(SortKey::cut).collect(),
            attrs: member.attrs.low(),
            payload: self.payload_of(id),
        })
    }

    fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone)
    where
        I: 'a,
    {
        self.fetch_if_large(ids);
    }

    fn write_row(&mut self, id: &I, write: &RowWrite<'_>) -> Result<bool, RosterError> {
        Ok(self.write_row(id, write)?)
    }

    fn remove_row(&mut self, id: &I) {
        self.remove(id, None);
    }
}

//! Writes of a member as a whole, for a roster.

use bytes::Bytes;

use crate::member_list::attrs::Attrs;
use crate::member_list::changes::members::Fields;
use crate::member_list::store::row_write::RowWrite;
use crate::member_list::table::MemberTable;
use crate::member_list::{Id, TableError};

impl<I: Id> MemberTable<I> {
    /// Writes the row of a member, which may be new if keys are given; its revision grows by one if
    /// shown bits, payload or body change. Returns whether there is such a member. Groups are no
    /// part of it. O(lists), and O(log n) for each list that shows it elsewhere than before.
    pub(crate) fn write_row(&mut self, id: &I, write: &RowWrite<'_>) -> Result<bool, TableError> {
        if !write.keys.is_empty() {
            self.check_keys(write.keys)?;
        }
        if let Some(payload) = write.payload {
            self.table.check_payload(payload)?;
        }
        let mask = Attrs::from_low(write.mask);
        let bits = Attrs::from_low(write.bits & write.mask);
        let Some(slot) = self.table.slot(id) else {
            return self.add_row(id, write, bits);
        };
        let attrs = self.classes.attrs(self.table.class(slot));
        let attrs = attrs.with(&mask, &bits);
        let is_other = |payload: &&Bytes| self.table.payload(slot) != Some(*payload);
        let payload = write.payload.filter(is_other);
        let body = match write.touch || payload.is_some() {
            true => Fields::ALL,
            false => Fields::NONE,
        };
        self.change(slot, write.keys.iter().enumerate(), &attrs, body, None)?;
        if let Some(payload) = payload {
            self.table.put_payload(slot, payload.clone());
        }
        Ok(true)
    }

    fn add_row(&mut self, id: &I, write: &RowWrite<'_>, attrs: Attrs) -> Result<bool, TableError> {
        if write.keys.is_empty() {
            return Ok(false);
        }
        self.upsert(id.clone(), write.keys, attrs, None)?;
        if let Some(slot) = self.table.slot(id)
            && let Some(payload) = write.payload
        {
            self.table.put_payload(slot, payload.clone());
        }
        Ok(true)
    }

    /// Returns the payload of a member, without a copy; `None` in a table without payloads.
    pub(crate) fn payload_of(&self, id: &I) -> Option<Bytes> {
        self.table.payload(self.table.slot(id)?).cloned()
    }
}

//! Writes of a row as a whole, for a roster: what a session says of it, in one search for the
//! member.

use bytes::Bytes;

use crate::member_list::changes::Changes;
use crate::member_list::changes::members::Fields;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::{Entry, Store};
use crate::member_list::{Id, ListError, SortKey};

#[expect(unnameable_types, reason = "only the seal of `RosterTarget` has it")]
/// A write to the row of a member. The parts that are left out stay as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowWrite<'a> {
    pub(crate) group: Option<GroupId>,
    /// A key for each column; none leaves them as they are.
    pub(crate) keys: &'a [SortKey],
    /// The attribute bits that are written.
    pub(crate) mask: u32,
    /// Their values.
    pub(crate) bits: u32,
    pub(crate) payload: Option<&'a Bytes>,
    /// True if the body of the row has changed as well.
    pub(crate) touch: bool,
}

impl<I: Id> Store<I> {
    /// Writes the row of a member, which may be new if group and key are given; its revision grows
    /// by one if bits, payload or body change. Returns whether there is such a row. O(log n).
    pub(crate) fn write_row(
        &mut self,
        id: &I,
        write: &RowWrite<'_>,
        changes: &mut Changes<I>,
    ) -> Result<bool, ListError> {
        if let Some(group) = write.group {
            self.groups.check(group)?;
        }
        if let Some(payload) = write.payload {
            self.check_payload(payload)?;
        }
        let Some(slot) = self.table.slot(id) else {
            return self.add_row(id, write, changes);
        };
        let payload = write
            .payload
            .is_some_and(|payload| self.table.put_payload(slot, payload.clone()));
        let old = self.table.cells[slot as usize].attrs;
        let attrs = old & !write.mask | write.bits & write.mask;
        if payload || write.touch {
            changes.fields(id, Fields::ALL);
        }
        let revised = payload || write.touch || attrs != old;
        if revised {
            self.revise(slot, changes).attrs = attrs;
        }
        let key = write.keys.first();
        if write.group.is_some() || key.is_some() {
            let group = write.group.unwrap_or_else(|| self.group_of(slot));
            let kept = || SortKey::cut(self.table.key(slot));
            let key = key.copied().unwrap_or_else(kept);
            self.relocate(slot, group, key.as_bytes(), revised, changes);
        } else if revised {
            self.mark_revised(slot, changes);
        }
        Ok(true)
    }

    fn add_row(
        &mut self,
        id: &I,
        write: &RowWrite<'_>,
        changes: &mut Changes<I>,
    ) -> Result<bool, ListError> {
        let Some(group) = write.group else {
            return Ok(false);
        };
        let Some(key) = write.keys.first() else {
            return Ok(false);
        };
        let entry = Entry {
            id: id.clone(),
            group,
            key,
            attrs: write.bits & write.mask,
        };
        self.upsert(entry, changes)?;
        if let Some(slot) = self.table.slot(id)
            && let Some(payload) = write.payload
        {
            self.table.put_payload(slot, payload.clone());
        }
        Ok(true)
    }

    /// Returns the payload of a member, without a copy; `None` in a list without payloads.
    pub(crate) fn payload_of(&self, id: &I) -> Option<Bytes> {
        self.table.payload(self.table.slot(id)?).cloned()
    }
}

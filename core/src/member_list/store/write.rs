//! Writes of one member at a time.

use bytes::Bytes;

use crate::member_list::changes::Changes;
use crate::member_list::changes::members::Fields;
use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::nodes::Nodes;
use crate::member_list::store::placed::mark_header;
use crate::member_list::store::table::{Cell, Table};
use crate::member_list::store::{Store, place};
use crate::member_list::{Id, ListError, SortKey};

/// The outcome of [`upsert`](crate::member_list::MemberList::upsert) and of the moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsert {
    /// The row of the member now; `None` while its group is hidden or collapsed.
    pub index: Option<usize>,
    /// True if the member was not in the list before.
    pub is_new: bool,
    /// The row before the call; `None` for new members and those without a row.
    pub old_index: Option<usize>,
}

/// A new member, or what a known one becomes.
pub(crate) struct Entry<'a, I> {
    pub(crate) id: I,
    pub(crate) group: GroupId,
    pub(crate) key: &'a SortKey,
    pub(crate) attrs: u32,
}

impl<I: Id> Store<I> {
    /// Puts a member in, or moves it and sets its attributes. O(log n).
    pub(crate) fn upsert(
        &mut self,
        entry: Entry<'_, I>,
        changes: &mut Changes<I>,
    ) -> Result<Upsert, ListError> {
        let Entry {
            id,
            group,
            key,
            attrs,
        } = entry;
        self.groups.check(group)?;
        if let Some(slot) = self.table.slot(&id) {
            let revised = self.table.cells[slot as usize].attrs != attrs;
            if revised {
                self.revise(slot, changes).attrs = attrs;
            }
            return Ok(self.relocate(slot, group, key.as_bytes(), revised, changes));
        }
        if self.table.len() >= MEMBERS_MAX {
            return Err(ListError::TooManyMembers { max: MEMBERS_MAX });
        }
        changes.inserted(&id);
        let slot = self.table.add(id, key.as_bytes(), self.floor, attrs);
        changes.slot(slot);
        let index = self.enter(slot, group, key.as_bytes());
        changes.row(None, index);
        mark_header(&self.groups, group, true, changes);
        self.check_when_due();
        Ok(Upsert {
            index,
            is_new: true,
            old_index: None,
        })
    }

    /// Takes a member out and returns the row it had. O(log n).
    pub(crate) fn remove(&mut self, id: &I, changes: &mut Changes<I>) -> Option<usize> {
        let slot = self.table.slot(id)?;
        let (group, index) = self.leave(slot, &self.climb(slot));
        changes.removed(id, || place(group, self.table.key(slot)));
        changes.row(index, None);
        mark_header(&self.groups, group, false, changes);
        let revision = self.table.cells[slot as usize].revision;
        // After the highest revision the numbers begin again, for members put in again as well.
        self.floor = revision
            .checked_add(1)
            .map_or(0, |next| self.floor.max(next));
        self.table.drop_slot(slot);
        self.compact(changes);
        self.check_when_due();
        index
    }

    /// Moves a member to another group. O(log n).
    pub(crate) fn set_group(
        &mut self,
        id: &I,
        group: GroupId,
        changes: &mut Changes<I>,
    ) -> Result<Upsert, ListError> {
        let slot = self.known(id)?;
        self.groups.check(group)?;
        let key = SortKey::cut(self.table.key(slot));
        Ok(self.relocate(slot, group, key.as_bytes(), false, changes))
    }

    /// Gives a member another sort key. O(log n).
    pub(crate) fn set_key(
        &mut self,
        id: &I,
        key: &SortKey,
        changes: &mut Changes<I>,
    ) -> Result<Upsert, ListError> {
        let slot = self.known(id)?;
        let group = self.group_of(slot);
        Ok(self.relocate(slot, group, key.as_bytes(), false, changes))
    }

    /// Notes that these fields of a member's body changed; its revision grows. O(log n).
    pub(crate) fn touch_fields(
        &mut self,
        id: &I,
        fields: Fields,
        changes: &mut Changes<I>,
    ) -> Result<Option<usize>, ListError> {
        let slot = self.known(id)?;
        changes.fields(id, fields);
        self.revise(slot, changes);
        Ok(self.mark_revised(slot, changes))
    }

    /// Sets the attribute bits of a member. O(log n).
    pub(crate) fn set_attrs(
        &mut self,
        id: &I,
        attrs: u32,
        changes: &mut Changes<I>,
    ) -> Result<Option<usize>, ListError> {
        let slot = self.known(id)?;
        if self.table.cells[slot as usize].attrs == attrs {
            return Ok(self.row_of(slot));
        }
        self.revise(slot, changes).attrs = attrs;
        Ok(self.mark_revised(slot, changes))
    }

    /// Sets the payload of a member. O(log n).
    pub(crate) fn set_payload(
        &mut self,
        id: &I,
        payload: Bytes,
        changes: &mut Changes<I>,
    ) -> Result<Option<usize>, ListError> {
        let slot = self.known(id)?;
        self.check_payload(&payload)?;
        if !self.table.put_payload(slot, payload) {
            return Ok(self.row_of(slot));
        }
        changes.fields(id, Fields::ALL);
        self.revise(slot, changes);
        Ok(self.mark_revised(slot, changes))
    }

    /// Checks that the store can take a payload.
    pub(crate) fn check_payload(&self, payload: &Bytes) -> Result<(), ListError> {
        self.table.check_payload(payload)
    }

    /// Lets the revision of a member grow by one.
    pub(super) fn revise(&mut self, slot: u32, changes: &mut Changes<I>) -> &mut Cell<I> {
        changes.slot(slot);
        self.table.revise(slot)
    }

    /// Gives memory back: with many free slots, two members a removal move to lower ones.
    fn compact(&mut self, changes: &mut Changes<I>) {
        for _ in 0..2 {
            let Some((from, to)) = self.table.compact() else {
                return;
            };
            changes.renumbered();
            let climb = self.climb(to);
            self.change_tree(Nodes::owner(&climb), |_, group| {
                group.tree.rename::<Table<I>>(&climb, &to, |run| {
                    let at = run.find(from)?;
                    run.replace(at, to);
                    Some(at)
                });
            });
            self.table.pop_slot();
        }
    }

    /// Moves a member to the place of its group and key.
    pub(super) fn relocate(
        &mut self,
        slot: u32,
        to: GroupId,
        key: &[u8],
        revised: bool,
        changes: &mut Changes<I>,
    ) -> Upsert {
        let climb = self.climb(slot);
        if Nodes::owner(&climb) == to && self.table.key(slot) == key {
            let index = self.row_of(slot);
            if revised {
                changes.row(index, index);
            }
            return Upsert {
                index,
                is_new: false,
                old_index: index,
            };
        }
        let (from, old_index) = self.leave(slot, &climb);
        let id = &self.table.cells[slot as usize].id;
        changes.moved(id, || place(from, self.table.key(slot)));
        self.table.set_key(slot, key);
        let index = self.enter(slot, to, key);
        changes.row(old_index, index);
        if from != to {
            mark_header(&self.groups, from, false, changes);
            mark_header(&self.groups, to, true, changes);
        }
        self.check_when_due();
        Upsert {
            index,
            is_new: false,
            old_index,
        }
    }

    pub(super) fn mark_revised(&self, slot: u32, changes: &mut Changes<I>) -> Option<usize> {
        let index = self.row_of(slot);
        changes.row(index, index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member_list::ListOptions;

    #[test]
    fn a_member_put_in_again_has_another_revision_also_past_the_highest() {
        let mut store = Store::<u64>::new(ListOptions::default());
        let mut changes = Changes::default();
        let group = store.regroup(|groups| groups.add("online")).unwrap();
        let key = &SortKey::from_name("Ada");
        let id = 7;
        for revision in [5, u32::MAX - 1, u32::MAX, 0] {
            let entry = Entry {
                id,
                group,
                key,
                attrs: 0,
            };
            store.upsert(entry, &mut changes).unwrap();
            let slot = store.table.slot(&id).unwrap();
            store.table.cells.at_mut(slot as usize).revision = revision;
            store.remove(&id, &mut changes);
            let entry = Entry {
                id,
                group,
                key,
                attrs: 0,
            };
            store.upsert(entry, &mut changes).unwrap();
            assert_eq!(store.get(&id).unwrap().revision, revision.wrapping_add(1));
            store.remove(&id, &mut changes);
        }
        let entry = Entry {
            id,
            group,
            key,
            attrs: 0,
        };
        store.upsert(entry, &mut changes).unwrap();
        let slot = store.table.slot(&id).unwrap();
        store.table.cells.at_mut(slot as usize).revision = u32::MAX;
        store.touch_fields(&id, Fields::ALL, &mut changes).unwrap();
        assert_eq!(store.get(&id).unwrap().revision, 0);
    }
}

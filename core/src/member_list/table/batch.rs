//! Many changes at once.

use std::hint::black_box;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use crate::member_list::attrs::Attrs;
use crate::member_list::changes::members::Fields;
use crate::member_list::limits::MEMBERS_MAX;
use crate::member_list::store::fetch::{Block, FETCHED_MAX};
use crate::member_list::table::MemberTable;
use crate::member_list::table::list::ListMove;
use crate::member_list::table::lists::Move;
use crate::member_list::{Id, ListError, SortKey, TableError};

/// One change of a batch for a [`MemberTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableChange<I> {
    /// As [`MemberTable::upsert`].
    Upsert {
        /// The id of the member.
        id: I,
        /// A key for each column.
        keys: Vec<SortKey>,
        /// All of its attributes.
        attrs: Attrs,
    },
    /// As [`MemberTable::remove`].
    Remove(I),
    /// As [`MemberTable::set_key`].
    SetKey {
        /// The id of the member.
        id: I,
        /// The column, from 0.
        column: usize,
        /// The key that the member has there from now on.
        key: SortKey,
    },
    /// As [`MemberTable::set_attrs`].
    SetAttrs {
        /// The id of the member.
        id: I,
        /// The attributes that are taken from it.
        clear: Attrs,
        /// The attributes that it is given.
        set: Attrs,
    },
    /// As [`MemberTable::set_payload`].
    SetPayload(I, Bytes),
    /// As [`MemberTable::touch_fields`].
    TouchFields(I, Fields),
}

impl<I> TableChange<I> {
    /// Returns the id of the member that changes.
    const fn id(&self) -> &I {
        match self {
            Self::Upsert { id, .. }
            | Self::Remove(id)
            | Self::SetKey { id, .. }
            | Self::SetAttrs { id, .. }
            | Self::SetPayload(id, _)
            | Self::TouchFields(id, _) => id,
        }
    }
}

/// The outcome of a batch for a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableBatchReport {
    /// Members that are new.
    pub inserted: usize,
    /// Members that were changed, moved or not.
    pub updated: usize,
    /// Members that are gone.
    pub removed: usize,
    /// Changes of members that were not in the table at that point; they did nothing.
    pub missing: usize,
}

impl<I: Id> MemberTable<I> {
    /// Applies changes in order, all or none. Changes of unknown members do nothing and are
    /// counted. With `rows`, appends the rows that each change moved a member from and to, with the
    /// position of the change: those of its moment, as the single call would have appended them.
    /// The cost is that of the single calls, in less time, as the reads of up to 48 changes do not
    /// wait for each other.
    ///
    /// ```
    /// use headcount::SortKey;
    /// use headcount::member_list::{Attrs, ListSpec, MemberTable, TableChange, TableOptions};
    ///
    /// let mut table = MemberTable::<u64>::new(TableOptions::default())?;
    /// let everyone = table.add_list(ListSpec::new("everyone", "members"))?;
    /// let upsert = |id, name| TableChange::Upsert {
    ///     id,
    ///     keys: vec![SortKey::from_name(name)],
    ///     attrs: Attrs::EMPTY,
    /// };
    /// let mut rows = Vec::new();
    /// let changes = [upsert(1, "Bob"), upsert(2, "Ada"), TableChange::Remove(3)];
    /// let report = table.apply_batch(&changes, Some(&mut rows))?;
    /// assert_eq!((report.inserted, report.missing), (2, 1));
    /// let (change, moved) = rows[1];
    /// assert_eq!((change, moved.list, moved.index), (1, everyone, Some(1))); // below the header
    /// # Ok::<(), headcount::member_list::TableError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TableError::InBatch`] with the first change that has the wrong number of keys, names an
    /// unknown key column or carries a payload that the table cannot take, or that might exceed the
    /// members or the sets of attributes that a table can have.
    pub fn apply_batch(
        &mut self,
        changes: &[TableChange<I>],
        mut rows: Option<&mut Vec<(usize, ListMove)>>,
    ) -> Result<TableBatchReport, TableError> {
        let mut room = MEMBERS_MAX - self.len();
        for (at, change) in changes.iter().enumerate() {
            self.check_change(change, &mut room)
                .map_err(|error| error.in_batch(at))?;
        }
        self.check_attr_sets(changes)?;
        let mut report = TableBatchReport::default();
        let mut moves = Vec::new();
        let mut at = 0;
        for block in changes.chunks(FETCHED_MAX) {
            if self.table.is_large() {
                black_box(self.fetch(block));
            }
            for change in block {
                self.apply_change(change, rows.is_some().then_some(&mut moves), &mut report);
                if let Some(rows) = &mut rows {
                    rows.extend(moves.drain(..).map(|moved| (at, moved)));
                }
                at += 1;
            }
        }
        Ok(report)
    }

    fn check_change(&self, change: &TableChange<I>, room: &mut usize) -> Result<(), TableError> {
        match change {
            TableChange::Upsert { keys, .. } => {
                let full = ListError::TooManyMembers { max: MEMBERS_MAX };
                *room = room.checked_sub(1).ok_or(full)?;
                self.check_keys(keys)
            }
            TableChange::SetKey { column, .. } => self.check_column(*column),
            TableChange::SetPayload(_, payload) => Ok(self.table.check_payload(payload)?),
            TableChange::Remove(_)
            | TableChange::SetAttrs { .. }
            | TableChange::TouchFields(..) => Ok(()),
        }
    }

    /// Checks that there is room for all sets of attributes that members get. O(1) unless there
    /// might be none.
    fn check_attr_sets(&self, changes: &[TableChange<I>]) -> Result<(), TableError> {
        if self.classes.check_room(changes.len()).is_ok() {
            return Ok(());
        }
        let attrs_of = |id| Some(*self.classes.attrs(self.table.class(self.table.slot(id)?)));
        // The attributes of members as the changes leave them.
        let mut members: HashMap<&I, Option<Attrs>> = HashMap::new();
        let mut made = HashSet::new();
        for (at, change) in changes.iter().enumerate() {
            let id = change.id();
            let member = members.entry(id).or_insert_with(|| attrs_of(id));
            match change {
                TableChange::Upsert { attrs, .. } => *member = Some(*attrs),
                TableChange::Remove(_) => *member = None,
                TableChange::SetAttrs { clear, set, .. } => {
                    *member = member.map(|attrs| attrs.with(clear, set));
                }
                _ => {}
            }
            let unknown = member.filter(|attrs| self.classes.find(attrs).is_none());
            made.extend(unknown);
            self.classes
                .check_room(made.len())
                .map_err(|error| error.in_batch(at))?;
        }
        Ok(())
    }

    /// Applies a change that was checked: the only reason why it can still fail is that the member
    /// is unknown.
    fn apply_change(
        &mut self,
        change: &TableChange<I>,
        rows: Option<&mut Vec<ListMove>>,
        report: &mut TableBatchReport,
    ) {
        let done = match change {
            TableChange::Upsert { id, keys, attrs } => {
                match self.upsert(id.clone(), keys, *attrs, rows) {
                    Ok(true) => {
                        report.inserted += 1;
                        return;
                    }
                    other => other.map(drop),
                }
            }
            TableChange::Remove(id) => {
                match self.remove(id, rows) {
                    true => report.removed += 1,
                    false => report.missing += 1,
                }
                return;
            }
            TableChange::SetKey { id, column, key } => self.set_key(id, *column, key, rows),
            TableChange::SetAttrs { id, clear, set } => self.set_attrs(id, clear, set, rows),
            TableChange::SetPayload(id, payload) => self.set_payload(id, payload.clone()),
            TableChange::TouchFields(id, fields) => self.touch_fields(id, *fields),
        };
        match done {
            Ok(()) => report.updated += 1,
            Err(_) => report.missing += 1,
        }
    }

    /// Reads what up to [`FETCHED_MAX`] changes need: a single change waits for each of its reads,
    /// here those of all of them are under way together. Returns a number made of all that was
    /// read. O(changes x lists, and O(log n) for each list in which a member moves).
    fn fetch(&self, changes: &[TableChange<I>]) -> u32 {
        let slots = self.table.slots_of(changes.iter().map(TableChange::id));
        let known = slots.iter().zip(changes);
        let known = known.filter_map(|(slot, change)| Some(self.move_of((*slot)?, change)));
        let moves: Block<Move> = known.collect();
        self.lists.fetch(&self.table, &self.classes, &moves)
    }

    /// Returns how a change moves a member, as far as that is known before it.
    fn move_of(&self, slot: u32, change: &TableChange<I>) -> Move {
        let class = self.table.class(slot);
        let class_of = |attrs: &Attrs| self.classes.find(attrs).unwrap_or(class);
        let (class, columns) = match change {
            TableChange::Upsert { keys, attrs, .. } => {
                let columns = self.columns_changed(slot, keys.iter().enumerate());
                (class_of(attrs), columns)
            }
            TableChange::Remove(_) => (class, Move::ALL_COLUMNS),
            TableChange::SetKey { column, .. } => (class, 1 << column),
            TableChange::SetAttrs { clear, set, .. } => {
                let attrs = self.classes.attrs(class).with(clear, set);
                (class_of(&attrs), 0)
            }
            TableChange::SetPayload(..) | TableChange::TouchFields(..) => (class, 0),
        };
        Move {
            slot,
            class,
            columns,
        }
    }

    /// Reads what writes of the rows of up to [`FETCHED_MAX`] members need, if the table is large.
    pub(crate) fn fetch_if_large<'a>(&self, ids: impl Iterator<Item = &'a I> + Clone)
    where
        I: 'a,
    {
        if !self.table.is_large() {
            return;
        }
        let slots = self.table.slots_of(ids);
        let moves = slots.into_iter().flatten().map(|slot| Move {
            slot,
            class: self.table.class(slot),
            columns: Move::ALL_COLUMNS,
        });
        let moves: Block<Move> = moves.collect();
        black_box(self.lists.fetch(&self.table, &self.classes, &moves));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member_list::limits::ATTR_SETS_MAX;
    use crate::member_list::{ListSpec, NewTableMember, TableOptions};

    fn upsert(id: u64, attrs: Attrs) -> TableChange<u64> {
        let keys = vec![SortKey::from_u64(id % 7)];
        TableChange::Upsert { id, keys, attrs }
    }

    fn loaded(id: u64, attrs: Attrs) -> NewTableMember<u64> {
        NewTableMember {
            id,
            keys: vec![SortKey::from_u64(id)],
            attrs,
            payload: None,
        }
    }

    #[test]
    fn sets_of_attributes_are_counted_before_anything_changes() {
        let mut table = MemberTable::new(TableOptions::default()).expect("good options");
        for low in 1..ATTR_SETS_MAX as u32 {
            let class = table
                .classes
                .intern(&Attrs::from_low(low), std::iter::empty());
            table.classes.hold(class.expect("room"));
        }
        let known = Attrs::from_low(7);
        let high = |bit| Attrs::of([bit]).expect("a bit");
        let full = |at| {
            let error = Box::new(TableError::TooManyAttrSets { max: ATTR_SETS_MAX });
            TableError::InBatch { at, error }
        };
        let add = |id, bit| TableChange::SetAttrs {
            id,
            clear: known,
            set: high(bit),
        };
        // There is room for one set, and a member may have two one after the other.
        let changes = [upsert(1, known), add(1, 500), add(1, 501)];
        assert_eq!(table.apply_batch(&changes, None), Err(full(2)));
        assert_eq!((table.len(), table.attr_sets()), (0, ATTR_SETS_MAX - 1));
        let changes = [upsert(1, known), add(1, 500), add(2, 501), add(1, 500)];
        let report = table.apply_batch(&changes, None).expect("room for it");
        assert_eq!((report.inserted, report.updated, report.missing), (1, 2, 1));
        assert_eq!(table.attr_sets(), ATTR_SETS_MAX);
        // A set that goes with its last member counts until the batch is over.
        let changes = [TableChange::Remove(1), upsert(2, high(501))];
        assert_eq!(table.apply_batch(&changes, None), Err(full(1)));
        assert!(table.contains(&1));

        table.apply_batch(&changes[..1], None).expect("known");
        let load = [(4, high(501)), (5, known), (4, known), (6, high(502))];
        let load = load.map(|(id, attrs)| loaded(id, attrs));
        assert_eq!(table.bulk_load(load.clone()), Err(full(3)));
        assert_eq!((table.len(), table.attr_sets()), (0, ATTR_SETS_MAX - 1));
        let report = table.bulk_load(load[..3].to_vec()).expect("room for it");
        assert_eq!((report.loaded, report.duplicates), (2, vec![(2, 4)]));
        assert_eq!(table.attr_sets(), ATTR_SETS_MAX);
    }

    #[test]
    fn reads_ahead_of_known_and_unknown_members_change_nothing() {
        let mut table = MemberTable::new(TableOptions::default()).expect("good options");
        let half = ListSpec::new("half", "all").never((0..1_000).step_by(2));
        for spec in [ListSpec::new("all", "all").descending(true), half] {
            table.add_list(spec).expect("a good spec");
        }
        let load = (0..3_000).map(|id| loaded(id, Attrs::from_low(id as u32 % 3)));
        table.bulk_load(load).expect("good members");
        let changes: Vec<TableChange<u64>> = (0..4_000)
            .map(|id| match id % 5 {
                0 => TableChange::Remove(id),
                1 => upsert(id, Attrs::from_low(9)),
                2 => TableChange::TouchFields(id, Fields::ALL),
                3 => TableChange::SetKey {
                    id,
                    column: 0,
                    key: SortKey::from_u64(id * 31),
                },
                _ => TableChange::SetAttrs {
                    id,
                    clear: Attrs::from_low(3),
                    set: Attrs::from_low(id as u32 % 2),
                },
            })
            .collect();
        let read = changes.chunks(FETCHED_MAX).map(|block| table.fetch(block));
        assert!(read.fold(0, |sum, read| sum | read) > 0);
        assert_eq!(table.fetch(&changes[3_500..3_540]), 0);
        assert_eq!(table.fetch(&[]), 0);
        table.check_when_due();
    }
}

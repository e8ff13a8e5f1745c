//! Payloads, batches and bulk loads of a table, and what they do to its copy.

use std::collections::BTreeSet;

use bytes::Bytes;
use headcount::member_list::{
    Attrs, Fields, ListMove, NewTableMember, PAYLOAD_MAX, TableBatchReport, TableChange, TableError,
};
use headcount::{ListError, SortKey};

use crate::support::list_keys::FromNumber;
use crate::support::rng::Rng;
use crate::support::table_plan::SHOWN;
use crate::support::table_world::{Known, TableWorld, check_moves};

/// Any payload: empty, short, not text, and the longest.
fn payload(rng: &mut Rng) -> Bytes {
    match rng.index(40) {
        0 => Bytes::from(vec![0xff; PAYLOAD_MAX]),
        n => Bytes::copy_from_slice(&b"p\xff\0\xc3y"[..n % 6]),
    }
}

fn too_long() -> (Bytes, TableError) {
    let len = PAYLOAD_MAX + 1;
    let max = PAYLOAD_MAX;
    let error = ListError::PayloadTooLong { len, max }.into();
    (Bytes::from(vec![b'x'; len]), error)
}

/// Returns the member that a change may move; others leave it in its row.
const fn moved_by<I>(change: &TableChange<I>) -> Option<&I> {
    match change {
        TableChange::Upsert { id, .. }
        | TableChange::Remove(id)
        | TableChange::SetKey { id, .. }
        | TableChange::SetAttrs { id, .. } => Some(id),
        _ => None,
    }
}

impl<I: FromNumber> TableWorld<I> {
    /// Puts a new member into the copy.
    pub(super) fn insert(&mut self, id: I, keys: Vec<SortKey>, attrs: Attrs) -> &mut Known {
        let known = Known {
            keys,
            attrs,
            revision: self.floor,
            payload: Bytes::new(),
        };
        self.members.entry(id).insert_entry(known).into_mut()
    }

    /// Sets the attributes of a member of the copy.
    pub(super) fn set_attrs(&mut self, id: &I, clear: &Attrs, set: &Attrs) {
        if let Some(known) = self.members.get_mut(id) {
            let attrs = known.attrs.with(clear, set);
            known.revision += u32::from((attrs.low() ^ known.attrs.low()) & SHOWN != 0);
            known.attrs = attrs;
        }
    }

    pub(super) fn set_payload(&mut self) {
        let id = self.id();
        let payload = payload(&mut self.rng);
        let done = self.table.set_payload(&id, payload.clone());
        assert_eq!(done.is_ok(), self.members.contains_key(&id));
        self.copy(
            &TableChange::SetPayload(id, payload),
            &mut TableBatchReport::default(),
        );
    }

    fn any_change(&mut self) -> TableChange<I> {
        let id = self.id();
        match self.rng.index(9) {
            0..3 => TableChange::Upsert {
                id,
                keys: self.member_keys(),
                attrs: self.mask(),
            },
            3 => TableChange::Remove(id),
            4 => TableChange::SetKey {
                id,
                column: self.rng.index(self.columns),
                key: self.key(),
            },
            5..7 => TableChange::SetAttrs {
                id,
                clear: self.mask(),
                set: self.mask(),
            },
            7 => TableChange::SetPayload(id, payload(&mut self.rng)),
            _ => TableChange::TouchFields(id, [Fields::ALL, Fields::NONE][self.rng.index(2)]),
        }
    }

    /// Applies a change to the copy, and counts it.
    fn copy(&mut self, change: &TableChange<I>, report: &mut TableBatchReport) {
        let id = match change {
            TableChange::Upsert { id, keys, attrs } if !self.members.contains_key(id) => {
                self.insert(id.clone(), keys.clone(), *attrs);
                report.inserted += 1;
                return;
            }
            TableChange::Upsert { id, .. }
            | TableChange::Remove(id)
            | TableChange::SetKey { id, .. }
            | TableChange::SetAttrs { id, .. }
            | TableChange::SetPayload(id, _)
            | TableChange::TouchFields(id, _) => id,
            other => panic!("a change that this test does not know: {other:?}"),
        };
        let Some(known) = self.members.get_mut(id) else {
            report.missing += 1;
            return;
        };
        match change {
            TableChange::Upsert { keys, attrs, .. } => {
                known.keys.clone_from(keys);
                let old = known.attrs;
                self.set_attrs(id, &old, attrs);
            }
            TableChange::Remove(_) => {
                self.floor = self.floor.max(known.revision + 1);
                self.members.remove(id);
                report.removed += 1;
                return;
            }
            TableChange::SetKey { column, key, .. } => known.keys[*column] = *key,
            TableChange::SetAttrs { clear, set, .. } => self.set_attrs(id, clear, set),
            TableChange::SetPayload(_, payload) => {
                known.revision += u32::from(known.payload != *payload);
                known.payload = payload.clone();
            }
            _ => known.revision += 1,
        }
        report.updated += 1;
    }

    /// Applies a batch, and compares what it reports with the copy.
    pub(super) fn batch(&mut self) {
        let len = [1, 12, 60][self.rng.index(3)];
        let changes: Vec<_> = (0..len).map(|_| self.any_change()).collect();
        if self.rng.one_in(4) {
            self.bad_batch(changes.clone());
        }
        let mut expected = TableBatchReport::default();
        if self.rng.one_in(3) {
            changes
                .iter()
                .for_each(|change| self.copy(change, &mut expected));
            let report = self.table.apply_batch(&changes, None);
            assert_eq!(report, Ok(expected));
            return;
        }
        let mut rows = Vec::new();
        let report = self.table.apply_batch(&changes, Some(&mut rows));
        assert!(rows.is_sorted_by_key(|(at, _)| *at));
        for (at, change) in changes.iter().enumerate() {
            let Some(id) = moved_by(change) else {
                assert!(rows.iter().all(|(other, _)| *other != at));
                self.copy(change, &mut expected);
                continue;
            };
            let before = self.places_of(id);
            self.copy(change, &mut expected);
            let after = self.places_of(id);
            let told = rows.iter().filter(|(other, _)| *other == at);
            let told: Vec<ListMove> = told.map(|(_, moved)| *moved).collect();
            check_moves(&told, &before, &after, change);
        }
        assert_eq!(report, Ok(expected));
    }

    /// Puts a bad change into a batch, which then changes nothing.
    fn bad_batch(&mut self, mut changes: Vec<TableChange<I>>) {
        let id = self.id();
        let columns = self.columns;
        let at = self.rng.index(changes.len() + 1);
        let (bad, error) = match self.rng.index(3) {
            0 => {
                let keys = vec![self.key(); columns + 1 - 2 * self.rng.index(2)];
                let got = keys.len();
                let attrs = self.mask();
                let error = TableError::WrongKeys { got, columns };
                (TableChange::Upsert { id, keys, attrs }, error)
            }
            1 => {
                let column = columns + self.rng.index(2) * 300;
                let key = self.key();
                let error = TableError::UnknownKeyColumn { column, columns };
                (TableChange::SetKey { id, column, key }, error)
            }
            _ => {
                let (payload, error) = too_long();
                (TableChange::SetPayload(id, payload), error)
            }
        };
        changes.insert(at, bad);
        let error = Box::new(error);
        let refused = self.table.apply_batch(&changes, None);
        assert_eq!(refused, Err(TableError::InBatch { at, error }));
    }

    /// Loads many members, of whom some are known or come twice.
    pub(super) fn bulk_load(&mut self) {
        let len = [0, 1, 40, 400][self.rng.index(4)];
        let mut members: Vec<_> = (0..len).map(|_| self.new_member()).collect();
        if self.rng.one_in(2) {
            members.sort_by_key(|member| (member.keys.clone(), member.id.clone()));
        }
        if self.rng.one_in(4) {
            self.bad_load(members.clone());
        }
        let mut loaded = 0;
        let mut duplicates = Vec::new();
        for (at, member) in members.iter().cloned().enumerate() {
            if self.members.contains_key(&member.id) {
                duplicates.push((at, member.id));
                continue;
            }
            loaded += 1;
            let known = self.insert(member.id, member.keys, member.attrs);
            known.payload = member.payload.unwrap_or_default();
        }
        let report = self.table.bulk_load(members).expect("good members");
        assert_eq!((report.loaded, report.duplicates), (loaded, duplicates));
    }

    fn new_member(&mut self) -> NewTableMember<I> {
        let has_payload = self.rng.one_in(2);
        NewTableMember {
            id: self.id(),
            keys: self.member_keys(),
            attrs: self.mask(),
            payload: has_payload.then(|| payload(&mut self.rng)),
        }
    }

    /// Puts a bad member into a load, which then changes nothing.
    fn bad_load(&mut self, mut members: Vec<NewTableMember<I>>) {
        let columns = self.columns;
        let mut bad = self.new_member();
        let error = if self.rng.one_in(2) {
            bad.keys = vec![self.key(); columns - 1];
            let got = bad.keys.len();
            TableError::WrongKeys { got, columns }
        } else {
            let (payload, error) = too_long();
            bad.payload = Some(payload);
            error
        };
        let at = self.rng.index(members.len() + 1);
        members.insert(at, bad);
        let error = Box::new(error);
        let refused = self.table.bulk_load(members);
        assert_eq!(refused, Err(TableError::InBatch { at, error }));
        let distinct: BTreeSet<_> = self.members.values().map(|known| known.attrs).collect();
        assert_eq!(self.table.attr_sets(), distinct.len());
    }
}

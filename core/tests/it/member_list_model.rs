//! The list and the set against plain sorted vectors.

use std::collections::{BTreeMap, BTreeSet};

use headcount::member_list::{IntId, NewMember, TextId, Upsert};
use headcount::{GroupId, ListError, ListOptions, MemberList, Row, SortKey, SortedSet};
use proptest::prelude::*;

use crate::support::list_keys::{FromNumber, Keys};

/// A member as the model sees it.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    group: usize,
    key: SortKey,
    attrs: u32,
    revision: u32,
}

/// A naive list: sorted from scratch for every read.
#[derive(Clone)]
struct Model<I> {
    members: BTreeMap<I, Known>,
    /// (group, hidden, collapsed) in order.
    order: Vec<(usize, bool, bool)>,
    floor: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Plain<I> {
    Header(usize, usize),
    Member(I, usize, u32, u32),
}

impl<I: FromNumber> Model<I> {
    fn rows(&self, headers: bool) -> Vec<Plain<I>> {
        let mut rows = Vec::new();
        for &(group, hidden, collapsed) in &self.order {
            let mut members: Vec<_> = self
                .members
                .iter()
                .filter(|(_, known)| known.group == group)
                .collect();
            members.sort_by_key(|&(id, known)| (known.key, id));
            if members.is_empty() || hidden {
                continue;
            }
            if headers {
                rows.push(Plain::Header(group, members.len()));
            }
            if !collapsed {
                rows.extend(members.into_iter().map(|(id, known)| {
                    Plain::Member(id.clone(), group, known.revision, known.attrs)
                }));
            }
        }
        rows
    }

    fn upsert(&mut self, id: I, group: usize, key: SortKey, attrs: u32) {
        let fresh = Known {
            group,
            key,
            attrs,
            revision: self.floor,
        };
        let known = self.members.entry(id).or_insert(fresh);
        known.revision += u32::from(known.attrs != attrs);
        (known.group, known.key, known.attrs) = (group, key, attrs);
    }

    fn change(&mut self, id: &I, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.members.get_mut(id) {
            change(known);
        }
    }

    fn remove(&mut self, id: &I) {
        if let Some(known) = self.members.remove(id) {
            self.floor = self.floor.max(known.revision + 1);
        }
    }

    fn index_of(&self, headers: bool, id: &I) -> Option<usize> {
        let same = |row: &Plain<I>| matches!(row, Plain::Member(other, ..) if other == id);
        self.rows(headers).iter().position(same)
    }
}

fn plain<I: FromNumber>(row: &Row<'_, I>) -> Plain<I> {
    match *row {
        Row::Header { group, count, .. } => Plain::Header(group.0 as usize, count),
        Row::Member {
            id,
            group,
            revision,
            attrs,
            ..
        } => Plain::Member(id.clone(), group.0 as usize, revision, attrs),
    }
}

#[derive(Clone, Debug)]
enum Op {
    Upsert(u64, usize, u16, u32),
    Remove(u64),
    SetGroup(u64, usize),
    SetKey(u64, u16),
    Touch(u64),
    SetAttrs(u64, u32),
    Hide(usize, bool),
    Collapse(usize, bool),
    MoveGroup(usize, usize),
    Merge(usize, usize),
    Load(Vec<(u64, usize, u16)>),
    SetGroupOf(Vec<u64>, usize),
    Snapshot,
}

const GROUPS: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    let id = || 0u64..600;
    let group = || 0..GROUPS;
    prop_oneof![
        20 => (id(), group(), 0u16..300, 0u32..3).prop_map(|(i, g, k, a)| Op::Upsert(i, g, k, a)),
        10 => id().prop_map(Op::Remove),
        6 => (id(), group()).prop_map(|(i, g)| Op::SetGroup(i, g)),
        6 => (id(), 0u16..300).prop_map(|(i, k)| Op::SetKey(i, k)),
        2 => id().prop_map(Op::Touch),
        2 => (id(), 0u32..3).prop_map(|(i, a)| Op::SetAttrs(i, a)),
        1 => (group(), any::<bool>()).prop_map(|(g, on)| Op::Hide(g, on)),
        1 => (group(), any::<bool>()).prop_map(|(g, on)| Op::Collapse(g, on)),
        1 => (group(), group()).prop_map(|(g, to)| Op::MoveGroup(g, to)),
        1 => (group(), group()).prop_map(|(from, to)| Op::Merge(from, to)),
        1 => prop::collection::vec((id(), group(), 0u16..300), 0..200).prop_map(Op::Load),
        1 => (prop::collection::vec(0u64..700, 0..120), group())
            .prop_map(|(ids, g)| Op::SetGroupOf(ids, g)),
        1 => Just(Op::Snapshot),
    ]
}

fn upsert(index: Option<usize>, is_new: bool, old_index: Option<usize>) -> Upsert {
    Upsert {
        index,
        is_new,
        old_index,
    }
}

struct Pair<I> {
    list: MemberList<I>,
    model: Model<I>,
    headers: bool,
    keys: Keys,
    snapshots: Vec<(headcount::Snapshot<I>, Vec<Plain<I>>)>,
}

impl<I: FromNumber> Pair<I> {
    fn new(headers: bool, keys: Keys) -> Self {
        let options = ListOptions::default().headers(headers);
        let mut list = MemberList::new(options);
        for name in ["mods", "online", "idle", "offline"] {
            list.add_group(name).unwrap();
        }
        let model = Model {
            members: BTreeMap::new(),
            order: (0..GROUPS).map(|g| (g, false, false)).collect(),
            floor: 0,
        };
        Self {
            list,
            model,
            headers,
            keys,
            snapshots: Vec::new(),
        }
    }

    fn key(&self, number: u16) -> SortKey {
        self.keys.key(number.into())
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Load(ref load) => self.load(load),
            Op::SetGroupOf(ref numbers, group) => {
                let ids: Vec<I> = numbers.iter().map(|&n| I::from_number(n)).collect();
                let moved = self.list.set_group_many(&ids, GroupId(group as u32));
                let known = |id: &&I| self.model.members.contains_key(id);
                let distinct: BTreeSet<_> = ids.iter().collect();
                assert_eq!(moved.unwrap(), distinct.into_iter().filter(known).count());
                for id in &ids {
                    self.model.change(id, |known| known.group = group);
                }
            }
            Op::Snapshot => {
                self.snapshots
                    .push((self.list.snapshot(), self.model.rows(self.headers)));
            }
            Op::Upsert(number, ..)
            | Op::Remove(number)
            | Op::SetGroup(number, _)
            | Op::SetKey(number, _)
            | Op::Touch(number)
            | Op::SetAttrs(number, _) => self.apply_to_member(op, &I::from_number(number)),
            ref other => self.apply_to_groups(other),
        }
    }

    fn apply_to_member(&mut self, op: &Op, id: &I) {
        let old = self.model.index_of(self.headers, id);
        match *op {
            Op::Upsert(_, group, k, attrs) => {
                let key = self.key(k);
                let fresh = !self.model.members.contains_key(id);
                let done = self
                    .list
                    .upsert(id.clone(), GroupId(group as u32), &key, attrs);
                self.model.upsert(id.clone(), group, key, attrs);
                let index = self.model.index_of(self.headers, id);
                assert_eq!(done.unwrap(), upsert(index, fresh, old));
            }
            Op::Remove(_) => {
                assert_eq!(self.list.remove(id), old);
                self.model.remove(id);
            }
            Op::SetGroup(_, group) => {
                let done = self.list.set_group(id, GroupId(group as u32));
                self.model.change(id, |known| known.group = group);
                self.moved(id, old, done);
            }
            Op::SetKey(_, k) => {
                let key = self.key(k);
                let done = self.list.set_key(id, &key);
                self.model.change(id, |known| known.key = key);
                self.moved(id, old, done);
            }
            Op::Touch(_) => {
                assert_eq!(self.list.touch(id).ok().flatten(), old);
                self.model.change(id, |known| known.revision += 1);
            }
            Op::SetAttrs(_, attrs) => {
                assert_eq!(self.list.set_attrs(id, attrs).ok().flatten(), old);
                self.model.change(id, |known| {
                    known.revision += u32::from(known.attrs != attrs);
                    known.attrs = attrs;
                });
            }
            _ => unreachable!("handled by apply"),
        }
    }

    /// Applies an operation on a member: a move agrees with the model, and is refused for unknown
    /// members.
    fn moved(&self, id: &I, old: Option<usize>, done: Result<Upsert, ListError>) {
        match done {
            Ok(done) => {
                let index = self.model.index_of(self.headers, id);
                assert_eq!(done, upsert(index, false, old));
            }
            Err(ListError::UnknownMember { .. }) => {
                assert!(!self.model.members.contains_key(id));
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn apply_to_groups(&mut self, op: &Op) {
        let order = &mut self.model.order;
        match *op {
            Op::Hide(group, on) => {
                self.list
                    .set_group_hidden(GroupId(group as u32), on)
                    .unwrap();
                order.iter_mut().find(|entry| entry.0 == group).unwrap().1 = on;
            }
            Op::Collapse(group, on) => {
                self.list
                    .set_group_collapsed(GroupId(group as u32), on)
                    .unwrap();
                order.iter_mut().find(|entry| entry.0 == group).unwrap().2 = on;
            }
            Op::MoveGroup(group, to) => {
                self.list.move_group(GroupId(group as u32), to).unwrap();
                let at = order.iter().position(|entry| entry.0 == group).unwrap();
                let entry = order.remove(at);
                order.insert(to, entry);
            }
            Op::Merge(from, to) => {
                let moved = self
                    .list
                    .merge_group(GroupId(from as u32), GroupId(to as u32));
                let members = self.model.members.values_mut();
                let all: Vec<_> = members.filter(|known| known.group == from).collect();
                assert_eq!(moved.unwrap(), all.len());
                all.into_iter().for_each(|known| known.group = to);
            }
            _ => unreachable!("handled by apply"),
        }
    }

    fn load(&mut self, load: &[(u64, usize, u16)]) {
        let keys = self.keys;
        let members = load.iter().map(|&(number, group, k)| NewMember {
            id: I::from_number(number),
            group: GroupId(group as u32),
            key: keys.key(k.into()),
            attrs: 0,
        });
        let report = self.list.bulk_load(members).unwrap();
        let mut duplicates = Vec::new();
        for (at, &(number, group, k)) in load.iter().enumerate() {
            let id = I::from_number(number);
            if self.model.members.contains_key(&id) {
                duplicates.push((at, id));
            } else {
                self.model.upsert(id, group, self.key(k), 0);
            }
        }
        assert_eq!(report.loaded, load.len() - duplicates.len());
        assert_eq!(report.duplicates, duplicates);
    }

    /// Checks that rows are sorted by the group, key and id that the list itself returns.
    fn check_order(&self) {
        let place = |row| match row {
            Row::Header { .. } => None,
            Row::Member { id, group, .. } => {
                let order = self.model.order.iter();
                let place = order
                    .map(|entry| entry.0)
                    .position(|g| g == group.0 as usize);
                Some((place, self.list.get(id).unwrap().key, id))
            }
        };
        let places: Vec<_> = self.list.iter().filter_map(place).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{:?}", self.keys);
    }

    /// Compares everything that can be read with the model.
    fn check(&self) {
        let rows = self.model.rows(self.headers);
        assert_eq!(
            self.list.iter().map(|row| plain(&row)).collect::<Vec<_>>(),
            rows
        );
        assert_eq!(self.list.len(), rows.len());
        assert_eq!(self.list.member_count(), self.model.members.len());
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(
                self.list.row_at(index).map(|row| plain(&row)).as_ref(),
                Some(row)
            );
            if let Plain::Member(id, ..) = row {
                assert_eq!(self.list.index_of(id), Some(index));
            }
        }
        assert!(self.list.row_at(rows.len()).is_none());
        self.check_order();
        for (id, known) in &self.model.members {
            let member = self.list.get(id).unwrap();
            assert_eq!(member.group, GroupId(known.group as u32));
            assert_eq!(member.key, known.key.as_bytes());
        }
        let mut next = 0;
        for (group, &(id, hidden, collapsed)) in self.list.groups().zip(&self.model.order) {
            let count = self
                .model
                .members
                .values()
                .filter(|known| known.group == id)
                .count();
            assert_eq!((group.id.0 as usize, group.count), (id, count));
            let rows = match (count, hidden, collapsed) {
                (0, ..) | (_, true, _) => 0,
                (_, _, true) => usize::from(self.headers),
                _ => count + usize::from(self.headers),
            };
            assert_eq!(group.first_index, (rows > 0).then_some(next));
            next += rows;
        }
        for (snapshot, rows) in &self.snapshots {
            assert_eq!(
                &snapshot.iter().map(|row| plain(&row)).collect::<Vec<_>>(),
                rows
            );
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..1600)
}

fn list_equals_its_model<I: FromNumber>(headers: bool, keys: Keys, ops: &[Op]) {
    let mut pair = Pair::<I>::new(headers, keys);
    for (at, op) in ops.iter().enumerate() {
        pair.apply(op);
        if at % 97 == 0 {
            pair.check();
        }
    }
    pair.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn list_of_numbers_equals_its_model(headers: bool, keys in Keys::any(), ops in ops()) {
        list_equals_its_model::<u64>(headers, keys, &ops);
    }

    #[test]
    fn list_of_signed_numbers_equals_its_model(headers: bool, keys in Keys::any(), ops in ops()) {
        list_equals_its_model::<IntId>(headers, keys, &ops);
    }

    #[test]
    fn list_of_uuids_equals_its_model(headers: bool, keys in Keys::any(), ops in ops()) {
        list_equals_its_model::<u128>(headers, keys, &ops);
    }

    #[test]
    fn list_of_text_ids_equals_its_model(headers: bool, keys in Keys::any(), ops in ops()) {
        list_equals_its_model::<TextId>(headers, keys, &ops);
    }

    #[test]
    fn list_slices_equal_the_model(
        load in prop::collection::vec((0u64..9000, 0..GROUPS, 0u16..300), 0..2000),
        cuts in prop::collection::vec((0usize..2200, 0usize..300), 20),
    ) {
        let mut pair = Pair::<u64>::new(true, Keys::Mixed);
        pair.apply(&Op::Load(load));
        let rows = pair.model.rows(true);
        for (from, len) in cuts {
            let slice = pair.list.slice(from..from + len);
            let from = from.min(rows.len());
            let expected = &rows[from..(from + len).min(rows.len()).max(from)];
            prop_assert_eq!(slice.len(), expected.len());
            prop_assert_eq!(slice.map(|row| plain(&row)).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn set_of_a_list_equals_a_sorted_vec(
        ops in prop::collection::vec((any::<bool>(), 0u32..4000), 1..6000),
    ) {
        let mut set = SortedSet::new();
        let mut model: Vec<u32> = Vec::new();
        let mut clone = None;
        for (at, &(insert, value)) in ops.iter().enumerate() {
            let place = model.binary_search(&value);
            if insert {
                prop_assert_eq!(set.insert(value), (place.unwrap_or_else(|at| at), place.is_err()));
                if let Err(at) = place {
                    model.insert(at, value);
                }
            } else {
                prop_assert_eq!(set.remove(&value), place.ok());
                if let Ok(at) = place {
                    model.remove(at);
                }
            }
            if at % 1000 == 0 {
                clone = Some((set.clone(), model.clone()));
            }
        }
        prop_assert!(set.iter().eq(&model));
        for (index, value) in model.iter().enumerate() {
            prop_assert_eq!(set.index_of(value), Some(index));
            prop_assert_eq!(set.get(index), Some(value));
        }
        if let Some((set, model)) = clone {
            prop_assert!(set.iter().eq(&model));
        }
    }
}

#[test]
fn list_takes_text_ids_and_uuids() {
    let mut names = MemberList::<TextId>::new(ListOptions::default());
    let group = names.add_group("online").unwrap();
    for name in ["cy", "ada", "bo"] {
        names
            .upsert(name.parse().unwrap(), group, &SortKey::from_name(name), 0)
            .unwrap();
    }
    assert_eq!(names.index_of(&"bo".parse().unwrap()), Some(2));

    let mut uuids = MemberList::<u128>::new(ListOptions::default());
    let group = uuids.add_group("online").unwrap();
    for id in [3u128 << 100, 2, 1] {
        uuids
            .upsert(id, group, &SortKey::from_name("same"), 0)
            .unwrap();
    }
    assert_eq!(uuids.index_of(&1), Some(1));
    assert_eq!(uuids.index_of(&(3 << 100)), Some(3));
}

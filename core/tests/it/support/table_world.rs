//! A table of members and a naive copy of it: lists are filtered and sorted from scratch for every
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;
use headcount::SortKey;
use headcount::member_list::{
    Attrs, Fields, ListId, ListMove, ListView, MemberTable, TableError, TableOptions,
};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::rng::Rng;
use crate::support::table_plan::{COLUMNS, Plain, Plan, SHOWN, attrs};

/// A member as the copy sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(super) keys: Vec<SortKey>,
    pub(super) attrs: Attrs,
    pub(super) revision: u32,
    pub(super) payload: Bytes,
}

/// A list that can be read, the group of a member there, and its row.
pub(super) type Place = (ListId, Option<String>, Option<usize>);

/// A list as the copy sees it.
#[derive(Clone, Debug)]
struct Copy<I> {
    id: ListId,
    /// The spec that is read; `None` until the list was built.
    plan: Option<Plan<I>>,
    next: Option<Plan<I>>,
    revoked: bool,
    hidden: BTreeSet<String>,
    collapsed: BTreeSet<String>,
}

/// The knowledge of a world about its table at one moment.
pub(crate) struct Past<I> {
    members: BTreeMap<I, Known>,
    lists: Vec<Copy<I>>,
    floor: u32,
}

/// Checks the rows that a change of one member reports: those of all lists in which it moved, and
/// no others.
pub(super) fn check_moves(
    moves: &[ListMove],
    before: &[Place],
    after: &[Place],
    change: &dyn Debug,
) {
    for (before, after) in before.iter().zip(after) {
        let told = moves.iter().find(|told| told.list == before.0);
        let told = told.map(|told| (told.old_index, told.index));
        let rows = (before.2, after.2);
        let is_elsewhere = rows.0 != rows.1 || rows.1.is_some() && before.1 != after.1;
        assert_eq!(told, is_elsewhere.then_some(rows), "{change:?}");
    }
    let lists: BTreeSet<ListId> = before.iter().map(|place| place.0).collect();
    let told: BTreeSet<ListId> = moves.iter().map(|told| told.list).collect();
    assert!(
        told.len() == moves.len() && told.is_subset(&lists),
        "{change:?}"
    );
}

/// A table and its copy.
pub(crate) struct TableWorld<I> {
    pub(crate) table: MemberTable<I>,
    pub(crate) rng: Rng,
    keys: Keys,
    pub(super) members: BTreeMap<I, Known>,
    lists: Vec<Copy<I>>,
    removed: Vec<ListId>,
    pub(super) floor: u32,
    names: u64,
    ids: u64,
    /// Lists get fewer clauses for groups.
    groups_max: usize,
    pub(super) columns: usize,
    /// Members have payloads, and change in batches and bulk loads, too.
    is_whole: bool,
}

impl<I: FromNumber> TableWorld<I> {
    pub(crate) fn new(seed: u64, keys: Keys, ids: u64) -> Self {
        Self::with_columns(seed, keys, ids, COLUMNS, false)
    }

    /// Makes a world of all that a table can do, with 1 to 4 key columns.
    pub(crate) fn whole(seed: u64, keys: Keys, ids: u64) -> Self {
        let columns = 1 + (seed / 64 % 4) as usize;
        Self::with_columns(seed, keys, ids, columns, true)
    }

    fn with_columns(seed: u64, keys: Keys, ids: u64, columns: usize, is_whole: bool) -> Self {
        let options = TableOptions::default().key_columns(columns).shown(SHOWN);
        let options = options.payloads(is_whole);
        Self {
            table: MemberTable::new(options).expect("good options"),
            rng: Rng(seed),
            keys,
            members: BTreeMap::new(),
            lists: Vec::new(),
            removed: Vec::new(),
            floor: 0,
            names: 0,
            ids,
            groups_max: 5,
            columns,
            is_whole,
        }
    }

    /// Gives lists thousands of groups.
    pub(crate) const fn with_many_groups(mut self) -> Self {
        self.groups_max = 4_000;
        self
    }

    /// Returns the rows of a list; `None` while it is built first.
    fn rows_of(&self, list: &Copy<I>) -> Option<Vec<Plain<I>>> {
        let plan = list.plan.as_ref()?;
        if list.revoked {
            return Some(Vec::new());
        }
        let mut by_group: BTreeMap<&str, Vec<(&I, &Known)>> = BTreeMap::new();
        for (id, known) in &self.members {
            if plan.admits(id, &known.attrs) {
                let group = by_group.entry(plan.group_of(&known.attrs)).or_default();
                group.push((id, known));
            }
        }
        let mut rows = Vec::new();
        for name in plan.group_names() {
            let Some(mut members) = by_group.remove(name.as_str()) else {
                continue;
            };
            if list.hidden.contains(&name) {
                continue;
            }
            members.sort_by_key(|(id, known)| (known.keys[plan.column], *id));
            if plan.descending {
                members.reverse();
            }
            if plan.headers {
                rows.push(Plain::Header(name.clone(), members.len()));
            }
            if !list.collapsed.contains(&name) {
                rows.extend(members.into_iter().map(|(id, known)| {
                    Plain::Member(id.clone(), known.revision, known.attrs.low() & SHOWN)
                }));
            }
        }
        Some(rows)
    }

    /// Returns where a member is in all lists that can be read.
    pub(super) fn places_of(&self, id: &I) -> Vec<Place> {
        let places = self.lists.iter().filter_map(|list| {
            let rows = self.rows_of(list)?;
            let plan = list.plan.as_ref()?;
            let known = self.members.get(id);
            let known = known.filter(|known| plan.admits(id, &known.attrs) && !list.revoked);
            let group = known.map(|known| plan.group_of(&known.attrs).to_owned());
            let same = |row: &Plain<I>| matches!(row, Plain::Member(other, ..) if other == id);
            Some((list.id, group, rows.iter().position(same)))
        });
        places.collect()
    }

    pub(super) fn key(&mut self) -> SortKey {
        let number = self.rng.below(300);
        self.keys.key(number)
    }

    pub(super) fn member_keys(&mut self) -> Vec<SortKey> {
        (0..self.columns).map(|_| self.key()).collect()
    }

    pub(crate) fn id(&mut self) -> I {
        let ids = self.ids;
        I::from_number(self.rng.below(ids))
    }

    pub(super) fn mask(&mut self) -> Attrs {
        attrs(self.rng.below(128) & self.rng.below(128))
    }

    /// Applies a random change to the table and to its copy.
    pub(crate) fn change(&mut self) {
        match self.rng.index(if self.is_whole { 70 } else { 60 }) {
            0..24 => self.upsert(),
            24..34 => self.one(|world, id, moves| {
                let known = world.members.remove(id);
                if let Some(known) = &known {
                    world.floor = world.floor.max(known.revision + 1);
                }
                assert_eq!(world.table.remove(id, Some(moves)), known.is_some());
            }),
            34..39 => self.one(|world, id, moves| {
                let key = world.key();
                let column = world.rng.index(world.columns);
                let set = world.table.set_key(id, column, &key, Some(moves));
                let known = world.members.get_mut(id);
                assert_eq!(set.is_ok(), known.is_some());
                if let Some(known) = known {
                    known.keys[column] = key;
                }
            }),
            39..46 => self.one(|world, id, moves| {
                let clear = world.mask();
                let set = world.mask();
                let done = world.table.set_attrs(id, &clear, &set, Some(moves));
                assert_eq!(done.is_ok(), world.members.contains_key(id));
                world.set_attrs(id, &clear, &set);
            }),
            46..48 => {
                let id = self.id();
                let touched = self.table.touch_fields(&id, Fields::ALL);
                let known = self.members.get_mut(&id);
                assert_eq!(touched.is_ok(), known.is_some());
                known.into_iter().for_each(|known| known.revision += 1);
            }
            48..50 => self.set_many(),
            50..53 => drop(self.table_build()),
            53 => self.add_list(),
            54 => self.respec(),
            55 => self.remove_list(),
            56..60 => self.flag_group(),
            60..64 => self.set_payload(),
            64..68 => self.batch(),
            _ => self.bulk_load(),
        }
    }

    /// Applies a change of one member and checks the rows that it reports.
    fn one(&mut self, change: impl FnOnce(&mut Self, &I, &mut Vec<ListMove>)) {
        let id = self.id();
        let before = self.places_of(&id);
        let old = self.members.get(&id).cloned();
        let mut moves = Vec::new();
        change(self, &id, &mut moves);
        let after = self.places_of(&id);
        check_moves(&moves, &before, &after, &old);
    }

    pub(crate) fn upsert(&mut self) {
        self.one(|world, id, moves| {
            let keys = world.member_keys();
            let attrs = world.mask();
            let done = world.table.upsert(id.clone(), &keys, attrs, Some(moves));
            assert_eq!(done, Ok(!world.members.contains_key(id)));
            if let Some(known) = world.members.get_mut(id) {
                known.keys = keys;
                let old = known.attrs;
                world.set_attrs(id, &old, &attrs);
            } else {
                world.insert(id.clone(), keys, attrs);
            }
        });
    }

    fn set_many(&mut self) {
        let many = [3, 40, 400][self.rng.index(3)];
        let ids: Vec<I> = (0..many).map(|_| self.id()).collect();
        let clear = self.mask();
        let set = self.mask();
        let distinct: BTreeSet<&I> = ids.iter().collect();
        let known = distinct.iter().filter(|id| self.members.contains_key(id));
        let known = known.count();
        let done = self.table.set_attrs_many(&ids, &clear, &set);
        assert_eq!(done, Ok(known));
        for id in &ids.iter().cloned().collect::<BTreeSet<_>>() {
            self.set_attrs(id, &clear, &set);
        }
    }

    fn table_build(&mut self) -> usize {
        let step = [1, 30, 1_000][self.rng.index(3)];
        let left = self.table.build(step);
        self.note_built();
        assert_eq!(left == 0, self.lists.iter().all(|list| list.next.is_none()));
        left
    }

    fn note_built(&mut self) {
        for list in &mut self.lists {
            let is_ready = self.table.is_built(list.id).expect("known");
            if is_ready && let Some(next) = list.next.take() {
                let names = next.group_names();
                list.hidden.retain(|name| names.contains(name));
                list.collapsed.retain(|name| names.contains(name));
                list.plan = Some(next);
                list.revoked = false;
            }
        }
    }

    /// Returns a copy of what the world knows of its table.
    pub(crate) fn past(&self) -> Past<I> {
        Past {
            members: self.members.clone(),
            lists: self.lists.clone(),
            floor: self.floor,
        }
    }

    /// Makes a world of a table that was loaded and should be as another one was.
    pub(crate) fn loaded(&self, past: Past<I>, table: MemberTable<I>) -> Self {
        let mut lists = past.lists;
        for list in &mut lists {
            let plan = list.next.as_ref().or(list.plan.as_ref());
            let name = &plan.expect("a list has a spec").name;
            list.id = table.list_named(name).expect("the list was saved");
        }
        assert_eq!(table.lists().count(), lists.len());
        let mut world = Self {
            table,
            rng: Rng(self.rng.0 ^ 0x5eed),
            keys: self.keys,
            members: past.members,
            lists,
            removed: Vec::new(),
            floor: past.floor,
            names: self.names,
            ids: self.ids,
            groups_max: self.groups_max,
            columns: self.columns,
            is_whole: self.is_whole,
        };
        world.note_built();
        world
    }

    /// Builds all lists to their end.
    pub(crate) fn build_all(&mut self) {
        while self.table_build() > 0 {}
    }

    fn plan(&mut self) -> Plan<I> {
        self.names += 1;
        Plan::random(
            &mut self.rng,
            format!("list {}", self.names),
            self.groups_max,
            self.columns,
        )
    }

    pub(crate) fn add_list(&mut self) {
        if self.lists.len() == 6 {
            return;
        }
        let plan = self.plan();
        let id = self.table.add_list(plan.spec()).expect("a good spec");
        self.lists.push(Copy {
            id,
            plan: None,
            next: Some(plan.clone()),
            revoked: false,
            hidden: BTreeSet::new(),
            collapsed: BTreeSet::new(),
        });
        // An equal spec is the same list, another one of that name is refused.
        assert_eq!(self.table.add_list(plan.spec()), Ok(id));
        let shared = self.table.set_spec(id, plan.spec());
        assert!(matches!(
            shared,
            Err(TableError::ListBuilding { .. } | TableError::ListShared { owners: 2, .. })
        ));
        assert_eq!(self.table.remove_list(id), Ok(false));
        let other = plan.spec().descending(!plan.descending);
        let refused = self.table.add_list(other);
        assert!(matches!(refused, Err(TableError::ListExists { .. })));
        self.note_built();
    }

    fn respec(&mut self) {
        if self.lists.is_empty() {
            return;
        }
        let plan = self.plan();
        let at = self.rng.index(self.lists.len());
        let revokes = self.rng.one_in(3);
        let list = &mut self.lists[at];
        let building = list.next.is_some();
        let done = match revokes {
            true => self.table.revoke(list.id, plan.spec()),
            false => self.table.set_spec(list.id, plan.spec()),
        };
        if building && !revokes {
            assert!(matches!(done, Err(TableError::ListBuilding { .. })));
            return;
        }
        assert_eq!(done, Ok(()));
        list.revoked |= revokes;
        list.next = Some(plan);
        if self.table.is_built(list.id) == Ok(true) {
            self.table_build();
        }
    }

    fn remove_list(&mut self) {
        if self.lists.is_empty() {
            return;
        }
        let at = self.rng.index(self.lists.len());
        let id = self.lists.remove(at).id;
        assert_eq!(self.table.remove_list(id), Ok(true));
        self.removed.push(id);
    }

    fn flag_group(&mut self) {
        if self.lists.is_empty() {
            return;
        }
        let at = self.rng.index(self.lists.len());
        let list = &mut self.lists[at];
        let Some(plan) = &list.plan else { return };
        let names = plan.group_names();
        let name = names[self.rng.index(names.len())].clone();
        let group = self.table.list(list.id).expect("built").group(&name);
        let group = group.expect("a group of the spec");
        let on = self.rng.one_in(3);
        let flags = if self.rng.one_in(2) {
            self.table
                .set_group_hidden(list.id, group, on)
                .expect("known");
            &mut list.hidden
        } else {
            self.table
                .set_group_collapsed(list.id, group, on)
                .expect("known");
            &mut list.collapsed
        };
        match on {
            true => flags.insert(name),
            false => flags.remove(&name),
        };
    }

    /// Returns the lists that can be read.
    pub(crate) fn readable(&self) -> Vec<ListId> {
        let built = self.lists.iter().filter(|list| list.plan.is_some());
        built.map(|list| list.id).collect()
    }

    /// Compares everything that can be read with the copy.
    pub(crate) fn check(&self) {
        assert_eq!(self.table.len(), self.members.len());
        for (id, known) in &self.members {
            let member = self.table.get(id).expect("known");
            assert_eq!(
                (member.attrs, member.revision, member.payload),
                (known.attrs, known.revision, &known.payload[..])
            );
            assert_eq!(member.keys.len(), known.keys.len());
            assert!(
                member
                    .keys
                    .iter()
                    .zip(&known.keys)
                    .all(|(a, b)| *a == b.as_bytes())
            );
        }
        let distinct: BTreeSet<Attrs> = self.members.values().map(|known| known.attrs).collect();
        assert_eq!(self.table.attr_sets(), distinct.len());
        let snapshot = self.table.snapshot();
        for list in &self.lists {
            match self.rows_of(list) {
                Some(rows) => {
                    let view = self.table.list(list.id).expect("built");
                    self.check_list(&view, &rows);
                    let kept = snapshot.list(list.id).expect("built");
                    for kept in [kept, &view.snapshot()] {
                        let kept = kept.iter().map(|row| Plain::of(&row));
                        assert!(kept.eq(rows.iter().cloned()));
                    }
                }
                None => {
                    let refused = self.table.list(list.id).err();
                    assert!(matches!(refused, Some(TableError::ListBuilding { .. })));
                }
            }
        }
        for &id in &self.removed {
            let list = id.to_u64();
            assert_eq!(
                self.table.list(id).err(),
                Some(TableError::UnknownList { list })
            );
        }
    }

    /// Compares the rows of a search with those of all members that it should find.
    fn check_search(&self, list: &ListView<'_, I>, at_row: &BTreeMap<&I, usize>, prefix: &SortKey) {
        let column = list.spec().column();
        let is_found = |id: &I| {
            let key = &self.members[id].keys[column];
            key.as_bytes().starts_with(prefix.as_bytes())
        };
        let found = at_row.iter().filter(|(id, _)| is_found(id));
        let mut rows: Vec<usize> = found.map(|(_, row)| *row).collect();
        rows.sort_unstable();
        let matches = list.search_prefix(prefix);
        let read: Vec<usize> = (0..).map_while(|n| matches.nth(n)).collect();
        assert_eq!(read, rows, "{prefix:?}");
        assert!(matches.count() >= rows.len());
    }

    fn check_list(&self, list: &ListView<'_, I>, rows: &[Plain<I>]) {
        let read: Vec<_> = list.iter().map(|row| Plain::of(&row)).collect();
        assert_eq!(read, rows, "{:?}", list.spec());
        assert_eq!(list.len(), rows.len());
        let mut at_row = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(
                list.row_at(index).map(|row| Plain::of(&row)).as_ref(),
                Some(row)
            );
            if let Plain::Member(id, ..) = row {
                at_row.insert(id, index);
            }
        }
        let ids: Vec<I> = self.members.keys().cloned().collect();
        let indexes: Vec<_> = ids.iter().map(|id| at_row.get(id).copied()).collect();
        let singly: Vec<_> = ids.iter().map(|id| list.index_of(id)).collect();
        assert_eq!(singly, indexes);
        assert_eq!(list.index_of_many(&ids), indexes);
        for from in [0, 1, rows.len() / 3, rows.len().saturating_sub(2)] {
            let to = (from + 150).min(rows.len()).max(from);
            let slice = list.slice(from..to).map(|row| Plain::of(&row));
            assert!(
                slice.eq(rows[from.min(rows.len())..to.min(rows.len())]
                    .iter()
                    .cloned())
            );
        }
        if let Some(known) = self.members.values().next() {
            let key = known.keys[0].as_bytes();
            let prefix = SortKey::raw(&key[..key.len().min(2)]).expect("a short key");
            self.check_search(list, &at_row, &prefix);
        }
        let in_groups: usize = list.groups().map(|group| group.count).sum();
        assert_eq!(list.member_count(), in_groups);
    }
}

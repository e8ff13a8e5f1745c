//! Tables and lists saved while they change, loaded, and compared with a plain copy of the beginning.

use std::collections::BTreeMap;

use bytes::Bytes;
use headcount::member_list::{Attrs, IntId, MemberTable, PAYLOAD_MAX, TableOptions, TextId};
use headcount::{GroupId, ListOptions, MemberList, Row, SortKey};
use proptest::prelude::*;

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::rng::Rng;
use crate::support::table_world::TableWorld;

/// Bytes that steps go on by: less than a member, a page, more than a table.
const STEPS: [usize; 4] = [1, 300, 5_000, 1 << 20];

fn saved_table_equals_its_beginning<I: FromNumber>(seed: u64, keys: Keys, changes: usize) {
    let ids = [3, 300, 900][(seed % 3) as usize];
    let mut world = match seed / 4 % 2 {
        0 => TableWorld::<I>::new(seed, keys, ids),
        _ => TableWorld::whole(seed, keys, ids),
    };
    (0..seed % 7).for_each(|_| world.add_list());
    (0..seed / 8 % 900).for_each(|_| world.upsert());
    (0..changes).for_each(|_| world.change());
    for round in 0..3 {
        let past = world.past();
        let mut job = world.table.begin_save().expect("no other save");
        let mut file = Vec::new();
        let step = STEPS[world.rng.index(STEPS.len())];
        while !job
            .step(&mut world.table, step, &mut file)
            .expect("the same table")
        {
            (0..world.rng.index(4)).for_each(|_| world.change());
        }
        assert_eq!(job.written(), file.len() as u64);
        world.check();
        let table = MemberTable::load(&file[..], 0).expect("it was just saved");
        let mut loaded = world.loaded(past, table);
        loaded.check();
        (0..changes / 4).for_each(|_| loaded.change());
        loaded.check();
        loaded.build_all();
        loaded.check();
        if round == 0 {
            // What was loaded is saved like any other table.
            world = loaded;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn tables_of_numbers_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_table_equals_its_beginning::<u64>(seed, keys, 200);
    }

    #[test]
    fn tables_of_signed_numbers_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_table_equals_its_beginning::<IntId>(seed, keys, 200);
    }

    #[test]
    fn tables_of_uuids_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_table_equals_its_beginning::<u128>(seed, keys, 200);
    }

    #[test]
    fn tables_of_text_ids_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_table_equals_its_beginning::<TextId>(seed, keys, 200);
    }

    #[test]
    fn lists_of_numbers_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_list_equals_its_beginning::<u64>(seed, keys);
    }

    #[test]
    fn lists_of_signed_numbers_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_list_equals_its_beginning::<IntId>(seed, keys);
    }

    #[test]
    fn lists_of_uuids_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_list_equals_its_beginning::<u128>(seed, keys);
    }

    #[test]
    fn lists_of_text_ids_are_loaded_as_they_were(seed: u64, keys in Keys::any()) {
        saved_list_equals_its_beginning::<TextId>(seed, keys);
    }
}

#[test]
fn tables_of_thousands_of_groups_are_loaded_as_they_were() {
    let mut world = TableWorld::<u64>::new(7, Keys::Mixed, 30).with_many_groups();
    (0..3).for_each(|_| world.add_list());
    (0..60).for_each(|_| world.change());
    let mut file = Vec::new();
    world
        .table
        .save(&mut file)
        .expect("memory takes everything");
    let table = MemberTable::load(&file[..], 0).expect("it was just saved");
    world.loaded(world.past(), table).check();
}

/// A member of a plain list.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    group: usize,
    key: SortKey,
    attrs: u32,
    revision: u32,
    payload: Bytes,
}

/// A list and a plain copy of it.
struct ListWorld<I> {
    list: MemberList<I>,
    groups: Vec<GroupId>,
    plain: PlainList<I>,
    rng: Rng,
    keys: Keys,
}

#[derive(Clone)]
struct PlainList<I> {
    members: BTreeMap<I, Known>,
    /// Name, hidden, collapsed.
    groups: Vec<(String, bool, bool)>,
    floor: u32,
}

#[derive(Debug, PartialEq)]
enum Shown<I> {
    Header(String, usize),
    Member(I, u32, u32, Bytes),
}

impl<I: FromNumber> PlainList<I> {
    fn rows(&self, headers: bool) -> Vec<Shown<I>> {
        let mut rows = Vec::new();
        for (at, (name, hidden, collapsed)) in self.groups.iter().enumerate() {
            let here = self.members.iter().filter(|(_, known)| known.group == at);
            let mut here: Vec<_> = here.collect();
            here.sort_by_key(|(id, known)| (known.key, *id));
            if here.is_empty() || *hidden {
                continue;
            }
            if headers {
                rows.push(Shown::Header(name.clone(), here.len()));
            }
            if !collapsed {
                rows.extend(here.into_iter().map(|(id, known)| {
                    let payload = known.payload.clone();
                    Shown::Member(id.clone(), known.revision, known.attrs, payload)
                }));
            }
        }
        rows
    }
}

impl<I: FromNumber> ListWorld<I> {
    fn new(seed: u64, keys: Keys) -> Self {
        let mut rng = Rng(seed);
        let headers = rng.one_in(2);
        let options = ListOptions::default().headers(headers).payloads(true);
        let mut list = MemberList::new(options);
        let names = ["a", "längster Name einer Gruppe, mit Ümläuten", "無"];
        let groups = names.map(|name| list.add_group(name).expect("a good name"));
        let flags = names.map(|name| (name.to_owned(), false, false));
        Self {
            list,
            groups: groups.to_vec(),
            plain: PlainList {
                members: BTreeMap::new(),
                groups: flags.to_vec(),
                floor: 0,
            },
            rng,
            keys,
        }
    }

    fn change(&mut self) {
        let id = I::from_number(self.rng.below(400));
        let group = self.rng.index(3);
        match self.rng.index(20) {
            0..11 => {
                let number = self.rng.below(200);
                let key = self.keys.key(number);
                let attrs = self.rng.below(3) as u32 * 0x7fff_ffff;
                let to = self.groups[group];
                self.list.upsert(id.clone(), to, &key, attrs).expect("room");
                let new = Known {
                    group,
                    key,
                    attrs,
                    revision: self.plain.floor,
                    payload: Bytes::new(),
                };
                let known = self.plain.members.entry(id).or_insert(new);
                known.revision += u32::from(known.attrs != attrs);
                known.group = group;
                known.key = key;
                known.attrs = attrs;
            }
            11..15 => {
                self.list.remove(&id);
                if let Some(known) = self.plain.members.remove(&id) {
                    self.plain.floor = self.plain.floor.max(known.revision + 1);
                }
            }
            15..18 => {
                let len = [0, 1, 300, PAYLOAD_MAX][self.rng.index(4)];
                let payload = Bytes::from(vec![self.rng.below(256) as u8; len]);
                let set = self.list.set_payload(&id, payload.clone());
                let known = self.plain.members.get_mut(&id);
                assert_eq!(set.is_ok(), known.is_some());
                if let Some(known) = known {
                    known.revision += u32::from(known.payload != payload);
                    known.payload = payload;
                }
            }
            18 => {
                let on = self.rng.one_in(3);
                let hidden = self.list.set_group_hidden(self.groups[group], on);
                hidden.expect("known");
                self.plain.groups[group].1 = on;
            }
            _ => {
                let on = self.rng.one_in(3);
                let collapsed = self.list.set_group_collapsed(self.groups[group], on);
                collapsed.expect("known");
                self.plain.groups[group].2 = on;
            }
        }
    }

    fn check(&self) {
        let headers = self.list.options().has_headers();
        let rows = self.list.iter().map(|row| match row {
            Row::Header { name, count, .. } => Shown::Header(name.to_owned(), count),
            Row::Member {
                id,
                revision,
                attrs,
                payload,
                ..
            } => Shown::Member(id.clone(), revision, attrs, Bytes::copy_from_slice(payload)),
        });
        let rows: Vec<_> = rows.collect();
        assert!(rows == self.plain.rows(headers), "the rows are others");
        assert_eq!(self.list.member_count(), self.plain.members.len());
        for (id, known) in &self.plain.members {
            let member = self.list.get(id).expect("known");
            assert_eq!(member.group, self.groups[known.group]);
            assert_eq!(member.key, known.key.as_bytes());
        }
    }
}

fn saved_list_equals_its_beginning<I: FromNumber>(seed: u64, keys: Keys) {
    let mut world = ListWorld::<I>::new(seed, keys);
    (0..seed % 600).for_each(|_| world.change());
    let past = world.plain.clone();
    let mut job = world.list.begin_save().expect("no other save");
    let mut file = Vec::new();
    let step = STEPS[(seed / 600 % 4) as usize];
    while !job
        .step(&mut world.list, step, &mut file)
        .expect("the same")
    {
        (0..world.rng.index(3)).for_each(|_| world.change());
    }
    world.check();
    let list = MemberList::<I>::load(&file[..], 0).expect("it was just saved");
    assert_eq!(list.options(), world.list.options());
    let mut loaded = ListWorld {
        groups: list.groups().map(|group| group.id).collect(),
        list,
        plain: past,
        rng: Rng(seed ^ 1),
        keys,
    };
    loaded.check();
    (0..200).for_each(|_| loaded.change());
    loaded.check();
}

#[test]
fn payloads_of_tables_and_maximal_members_come_back() {
    let options = TableOptions::default()
        .key_columns(4)
        .payloads(true)
        .shown(u32::MAX);
    let mut table = MemberTable::<TextId>::new(options).expect("good options");
    let longest = SortKey::raw(&[0xff; 64]).expect("64 bytes");
    let empty = SortKey::raw(&[]).expect("no bytes");
    let all = Attrs::of(0..512).expect("all bits");
    let mut ids = vec![TextId::new(&"é".repeat(32)).expect("64 bytes")];
    for number in 0..40 {
        let id = TextId::new(&format!("{number}-{}", "é".repeat(30))).expect("a good id");
        let keys = [longest, empty, longest, empty];
        table.upsert(id.clone(), &keys, all, None).expect("room");
        let payload = Bytes::from(vec![number as u8; PAYLOAD_MAX - number % 2]);
        table.set_payload(&id, payload).expect("known");
        ids.push(id);
    }
    let keys = [empty, longest, empty, longest];
    let put = table.upsert(ids[0].clone(), &keys, Attrs::EMPTY, None);
    put.expect("room");
    let mut file = Vec::new();
    table.save(&mut file).expect("memory takes everything");
    let loaded = MemberTable::<TextId>::load(&file[..], 0).expect("it was just saved");
    assert_eq!(loaded.len(), table.len());
    for id in &ids {
        assert_eq!(loaded.get(id), table.get(id));
    }
}

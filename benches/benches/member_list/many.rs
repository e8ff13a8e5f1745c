//! Reads of many members at once beside single ones and `BTreeSet::get`.

use std::collections::BTreeSet;
use std::hint::black_box;

use headcount::member_list::NewMember;
use headcount::{ListOptions, MemberList, SortKey};
use headcount_benches::list::{Rng, nicknames};
use headcount_benches::meter::time_each;
use headcount_benches::table::{Goal, Table};

use crate::rounds;

const MANY: &str = "index_of_many of 1,000";
const ROWS: &str = "rows_of 1,000";
const OURS: &str = "MemberList";
const SINGLE: &str = "single index_of";
const GET: &str = "BTreeSet::get";
const GET_TEXT: &str = "the same, String";

/// Ids that are asked for at once.
const BATCH: usize = 1_000;

type Name = [u8; 12];

/// Returns a name in the form that a hand-written set would keep.
fn array(name: &str) -> Name {
    let mut array = [0; 12];
    array[..name.len()].copy_from_slice(name.as_bytes());
    array
}

/// Makes a list of these members.
fn grow(members: &[(u64, String)]) -> MemberList<u64> {
    let mut list = MemberList::new(ListOptions::default());
    let group = list.add_group("online").expect("a good name");
    let new = |(id, name): &(u64, String)| NewMember {
        id: *id,
        group,
        key: SortKey::from_name(name),
        attrs: 0,
    };
    // The first half is loaded, so that the others find a list of which they split the leaves.
    let (loaded, joining) = members.split_at(members.len() / 2);
    list.bulk_load(loaded.iter().map(new))
        .expect("the group exists");
    for member in joining.iter().map(new) {
        list.upsert(member.id, member.group, &member.key, 0)
            .expect("the group exists");
    }
    list
}

pub(crate) fn run(n: usize) -> Table {
    let mut table = Table::new(format!(
        "reads of many, u64 ids, names of which 32 % are not unique, {n} members"
    ));
    let members = nicknames(n, 1);
    let list = grow(&members);
    let mut arrays = BTreeSet::new();
    let mut strings = BTreeSet::new();
    for (id, name) in &members {
        arrays.insert((array(name), *id));
        strings.insert((name.clone(), *id));
    }
    let count = (n / 4).clamp(1_000, 100_000);
    let mut rng = Rng::new(5);
    for _ in 0..rounds(n) {
        let asked: Vec<&(u64, String)> = (0..count).map(|_| &members[rng.below(n)]).collect();
        let ids: Vec<u64> = asked.iter().map(|member| member.0).collect();
        let entries: Vec<(Name, u64)> = asked.iter().map(|m| (array(&m.1), m.0)).collect();
        let texts: Vec<(String, u64)> = asked.iter().map(|m| (m.1.clone(), m.0)).collect();
        let mut time = |metric, who, work: &dyn Fn()| {
            table.time(metric, who, time_each(count, work));
        };
        let batches = || ids.chunks(BATCH);
        time(MANY, OURS, &|| {
            batches().for_each(|ids| _ = black_box(list.index_of_many(ids)));
        });
        time(MANY, SINGLE, &|| {
            ids.iter().for_each(|id| _ = black_box(list.index_of(id)));
        });
        time(MANY, GET, &|| {
            entries
                .iter()
                .for_each(|entry| _ = black_box(arrays.get(entry)));
        });
        time(MANY, GET_TEXT, &|| {
            texts
                .iter()
                .for_each(|entry| _ = black_box(strings.get(entry)));
        });
        time(ROWS, OURS, &|| {
            batches().for_each(|ids| _ = black_box(list.rows_of(ids)));
        });
        time(ROWS, GET, &|| {
            entries
                .iter()
                .for_each(|entry| _ = black_box(arrays.get(entry)));
        });
    }
    if n >= 1_000_000 {
        table.goal(MANY, Goal::Times(0.4, GET));
    }
    table
}

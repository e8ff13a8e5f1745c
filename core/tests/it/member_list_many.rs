//! Reads of many members at once, against the single ones.

use bytes::Bytes;
use headcount::member_list::{
    Attrs, Clause, ListSpec, ListView, MemberTable, TableOptions, TextId,
};
use headcount::{ListOptions, MemberList, Row, SortKey};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::rng::Rng;

/// Members that may be in a list; half as many more are asked for.
const IDS: u64 = 6_000;

/// Makes a list with a group that is hidden and one that is collapsed, and free slots.
fn list<I: FromNumber>(rng: &mut Rng, keys: Keys, members: u64) -> MemberList<I> {
    let options = ListOptions::default().payloads(true);
    let mut list = MemberList::new(options.headers(rng.one_in(2)));
    let names = ["admins", "hidden", "collapsed", "online", "empty"];
    let groups = list.set_groups(&names).expect("good names");
    for _ in 0..members {
        let id = I::from_number(rng.below(IDS));
        let group = groups[rng.index(4)];
        let key = keys.key(rng.below(1_000));
        list.upsert(id.clone(), group, &key, rng.below(4) as u32)
            .expect("known");
        let payload = Bytes::from(vec![b'x'; rng.index(3)]);
        list.set_payload(&id, payload).expect("known");
        if rng.one_in(3) {
            list.remove(&I::from_number(rng.below(IDS)));
        }
    }
    list.set_group_hidden(groups[1], true).expect("known");
    list.set_group_collapsed(groups[2], true).expect("known");
    list
}

/// Draws ids of members and of nobody, some of them more than once.
fn ids<I: FromNumber>(rng: &mut Rng, amount: usize) -> Vec<I> {
    let mut ids: Vec<I> = (0..amount)
        .map(|_| I::from_number(rng.below(IDS * 3 / 2)))
        .collect();
    if let Some(first) = ids.first().cloned() {
        ids.push(first);
    }
    ids
}

/// Amounts around those that are read at once.
const AMOUNTS: [usize; 8] = [0, 1, 46, 47, 48, 95, 500, 4_000];

fn check_list<I: FromNumber>(list: &MemberList<I>, ids: &[I]) {
    let rows: Vec<Option<usize>> = ids.iter().map(|id| list.index_of(id)).collect();
    assert_eq!(list.index_of_many(ids), rows);
    let row = |index: Option<usize>| index.and_then(|index| Some((index, list.row_at(index)?)));
    let rows: Vec<Option<(usize, Row<'_, I>)>> = rows.into_iter().map(row).collect();
    assert_eq!(list.rows_of(ids), rows);
}

fn check_view<I: FromNumber>(list: &ListView<'_, I>, ids: &[I]) {
    let rows: Vec<Option<usize>> = ids.iter().map(|id| list.index_of(id)).collect();
    assert_eq!(list.index_of_many(ids), rows, "{list:?}");
    let row = |index: Option<usize>| index.and_then(|index| Some((index, list.row_at(index)?)));
    let rows: Vec<Option<(usize, Row<'_, I>)>> = rows.into_iter().map(row).collect();
    assert_eq!(list.rows_of(ids), rows, "{list:?}");
}

fn check_lists<I: FromNumber>(seed: u64) {
    let mut rng = Rng(seed);
    let keys = Keys::ALL[rng.index(Keys::ALL.len())];
    for members in [0, 1, 100, 2 * IDS] {
        let list = list::<I>(&mut rng, keys, members);
        for amount in AMOUNTS {
            check_list(&list, &ids(&mut rng, amount));
        }
    }
}

#[test]
fn many_rows_of_a_large_list_are_those_of_single_calls() {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let group = list.add_group("online").expect("a good name");
    for id in 0..1 << 16 {
        let key = SortKey::from_name(&format!("Ünïcode {}", id % 900));
        list.upsert(id, group, &key, 0).expect("room");
    }
    let ids: Vec<u64> = (0..70_000).step_by(37).collect();
    check_list(&list, &ids);
}

#[test]
fn many_rows_of_a_list_are_those_of_single_calls() {
    for seed in 0..5 {
        check_lists::<u64>(seed);
        check_lists::<u128>(seed);
        check_lists::<TextId>(seed);
    }
}

const ONLINE: u16 = 0;
const STAFF: u16 = 40;
const GUEST: u16 = 41;

/// Makes a table with a list of each kind: of everyone, of some in descending order, of few.
fn table<I: FromNumber>(rng: &mut Rng, keys: Keys, members: u64) -> MemberTable<I> {
    let options = TableOptions::default().key_columns(2).payloads(true);
    let mut table = MemberTable::new(options).expect("good options");
    let attr = |attr| Attrs::of([attr]).expect("in the bounds");
    let everyone = ListSpec::new("everyone", "offline")
        .group(Clause::new().all(attr(STAFF)), "staff")
        .group(Clause::new().all(attr(ONLINE)), "online");
    let staff = ListSpec::new("staff", "all")
        .admit([Clause::new().all(attr(STAFF))])
        .always((0..9).map(I::from_number))
        .never((9..18).map(I::from_number))
        .sort_by(1)
        .descending(true);
    let guests = ListSpec::new("guests", "all").admit([Clause::new().all(attr(GUEST))]);
    for spec in [everyone, staff, guests] {
        table.add_list(spec).expect("a good spec");
    }
    for _ in 0..members {
        let id = I::from_number(rng.below(IDS));
        let bits = [ONLINE, STAFF, GUEST].into_iter();
        let attrs = Attrs::of(bits.filter(|_| rng.one_in(2))).expect("in the bounds");
        let keys = [keys.key(rng.below(1_000)), SortKey::from_u64(rng.below(50))];
        table.upsert(id, &keys, attrs, None).expect("room");
        if rng.one_in(3) {
            table.remove(&I::from_number(rng.below(IDS)), None);
        }
    }
    table.build(usize::MAX);
    table
}

fn check_tables<I: FromNumber>(seed: u64) {
    let mut rng = Rng(seed);
    let keys = Keys::ALL[rng.index(Keys::ALL.len())];
    for members in [0, 1, 100, 2 * IDS] {
        let mut table = table::<I>(&mut rng, keys, members);
        let lists: Vec<_> = table.lists().collect();
        let everyone = table.list(lists[0]).expect("it is built");
        let hidden = everyone.group("online").expect("it has it");
        let collapsed = everyone.group("staff").expect("it has it");
        for flagged in [false, true] {
            if flagged {
                table
                    .set_group_hidden(lists[0], hidden, true)
                    .expect("known");
                table
                    .set_group_collapsed(lists[0], collapsed, true)
                    .expect("known");
            }
            for amount in AMOUNTS {
                let ids = ids(&mut rng, amount);
                for list in &lists {
                    check_view(&table.list(*list).expect("it is built"), &ids);
                }
            }
        }
    }
}

#[test]
fn many_rows_of_the_lists_of_a_table_are_those_of_single_calls() {
    for seed in 0..5 {
        check_tables::<u64>(seed);
        check_tables::<u128>(seed);
        check_tables::<TextId>(seed);
    }
}

//! Bounds and errors of tables, and the memory that a list takes.

use bytes::Bytes;
use headcount::member_list::{
    ATTRS_MAX, Attrs, CLAUSES_MAX, Clause, EPOCH_MAX, Epoch, Fields, GROUPS_MAX, LISTS_MAX, ListId,
    ListMove, ListSpec, LoadError, MemberTable, PERSONAL_MAX, TableError, TableOptions,
};
use headcount::{ListError, SortKey};

const EMPTY: &Attrs = &Attrs::EMPTY;

fn table(members: u64) -> MemberTable<u64> {
    let mut table = MemberTable::new(TableOptions::default()).expect("good options");
    for id in 0..members {
        let key = [SortKey::from_u64(id * 7 % 1_000)];
        let attrs = Attrs::from_low(id as u32 % 4);
        table.upsert(id, &key, attrs, None).expect("room");
    }
    table
}

fn spec(name: &str) -> ListSpec<u64> {
    ListSpec::new(name, "all")
}

#[test]
fn specs_over_the_bounds_are_refused() {
    let mut table = table(10);
    let clauses = |clauses| std::iter::repeat_n(Clause::new(), clauses);
    let unknown = TableError::UnknownKeyColumn {
        column: 1,
        columns: 1,
    };
    let long = "x".repeat(65);
    let ids = 0..PERSONAL_MAX as u64;
    let groups = (0..=GROUPS_MAX).fold(spec("groups"), |spec, _| spec.group(Clause::new(), "one"));
    let refused = [
        (spec("column").sort_by(1), unknown),
        (spec(""), TableError::BadListName { len: 0, max: 64 }),
        (spec(&long), TableError::BadListName { len: 65, max: 64 }),
        (spec("a\nb"), TableError::BadListName { len: 3, max: 64 }),
        (
            spec("clauses").admit(clauses(CLAUSES_MAX + 1)),
            TableError::TooManyClauses { got: 17, max: 16 },
        ),
        (
            spec("ids").always(ids).never([5_000]),
            TableError::TooManyIds {
                got: 4_097,
                max: 4_096,
            },
        ),
        (
            spec("both").always([7]).never([7, 8]),
            TableError::AlwaysAndNever { id: "7".to_owned() },
        ),
        (
            ListSpec::new("group", ""),
            ListError::BadGroupName { len: 0, max: 64 }.into(),
        ),
        (groups, ListError::TooManyGroups { max: GROUPS_MAX }.into()),
    ];
    let good = table.add_list(spec("good")).expect("a good spec");
    table.build(usize::MAX);
    for (spec, error) in refused {
        assert_eq!(table.set_spec(good, spec.clone()), Err(error.clone()));
        assert_eq!(table.revoke(good, spec.clone()), Err(error.clone()));
        assert!(!error.to_string().is_empty());
        assert_eq!(table.add_list(spec), Err(error));
    }
    assert_eq!(table.lists().count(), 1);
    assert_eq!(table.list(good).expect("as it was").len(), 11);
    assert!(
        table
            .add_list(spec("most").admit(clauses(CLAUSES_MAX)))
            .is_ok()
    );
}

#[test]
fn a_513th_list_is_refused_and_ids_of_removed_lists_stay_unknown() {
    let mut table = table(0);
    let lists: Vec<ListId> = (0..LISTS_MAX)
        .map(|at| table.add_list(spec(&format!("list {at}"))).expect("room"))
        .collect();
    let full = TableError::TooManyLists { max: LISTS_MAX };
    assert_eq!(table.add_list(spec("one more")), Err(full));
    assert_eq!(table.remove_list(lists[7]), Ok(true));
    let next = table.add_list(spec("one more")).expect("room again");
    let list = lists[7].to_u64();
    let unknown = TableError::UnknownList { list };
    assert_ne!(next, lists[7]);
    assert_eq!(table.list(lists[7]).err(), Some(unknown.clone()));
    assert_eq!(table.live(lists[7]).err(), Some(unknown.clone()));
    assert_eq!(table.set_spec(lists[7], spec("x")), Err(unknown.clone()));
    assert_eq!(table.remove_list(lists[7]), Err(unknown));
    for number in [u64::MAX, 600, 1 << 40] {
        let list = ListId::from_u64(number);
        let unknown = TableError::UnknownList { list: number };
        assert_eq!(table.remove_list(list), Err(unknown));
    }
}

#[test]
fn a_spec_is_read_while_its_list_is_built_and_until_the_next_one_is_built() {
    let mut table = table(10);
    let old = spec("list");
    let new = spec("list").descending(true);
    let list = table.add_list(old.clone()).expect("a good spec");
    assert_eq!(table.spec(list), Ok(&old));
    table.build(usize::MAX);
    assert_eq!(table.set_spec(list, new.clone()), Ok(()));
    assert_eq!(table.spec(list), Ok(&old));
    table.build(usize::MAX);
    assert_eq!(table.spec(list), Ok(&new));
    assert_eq!(table.remove_list(list), Ok(true));
    let unknown = TableError::UnknownList {
        list: list.to_u64(),
    };
    assert_eq!(table.spec(list), Err(unknown));
}

#[test]
fn group_ids_of_an_earlier_spec_stay_unknown() {
    let mut table = table(10);
    let list = table.add_list(spec("list")).expect("a good spec");
    table.build(usize::MAX);
    let old = table
        .list(list)
        .expect("built")
        .group("all")
        .expect("its group");
    assert_eq!(table.set_group_collapsed(list, old, true), Ok(()));
    let taken = table.add_list(spec("taken")).expect("a good spec");
    let exists = TableError::ListExists {
        name: "taken".to_owned(),
    };
    assert_eq!(table.set_spec(list, spec("taken")), Err(exists));
    table
        .set_spec(list, spec("list").descending(true))
        .expect("a good spec");
    let building = TableError::ListBuilding {
        name: "list".to_owned(),
    };
    assert_eq!(table.set_spec(list, spec("list")), Err(building));
    assert_eq!(table.list(list).expect("the old one").len(), 1);
    table.build(usize::MAX);
    let refused = table.set_group_hidden(list, old, true);
    let unknown = ListError::UnknownGroup {
        group: old.0.to_string(),
    };
    assert_eq!(refused, Err(unknown.into()));
    // The group of the same name is still collapsed.
    assert_eq!(table.list(list).expect("built").len(), 1);
    assert_eq!(table.remove_list(taken), Ok(true));
    let renamed = table.set_spec(list, spec("taken"));
    assert_eq!((renamed, table.list_named("taken")), (Ok(()), Some(list)));
    // A name that was given up before it was shown is free again.
    assert_eq!(table.revoke(list, spec("third")), Ok(()));
    assert_eq!(table.list_named("taken"), None);
    assert!(table.add_list(spec("taken")).is_ok());
}

#[test]
fn bad_writes_change_nothing() {
    let mut table = table(10);
    let key = SortKey::from_u64(1);
    let wrong = TableError::WrongKeys { got: 2, columns: 1 };
    assert_eq!(table.upsert(3, &[key, key], *EMPTY, None), Err(wrong));
    let unknown: TableError = ListError::UnknownMember {
        id: "99".to_owned(),
    }
    .into();
    let column = TableError::UnknownKeyColumn {
        column: 9,
        columns: 1,
    };
    assert_eq!(table.set_key(&3, 9, &key, None), Err(column));
    assert_eq!(table.set_key(&99, 0, &key, None), Err(unknown.clone()));
    assert_eq!(
        table.set_attrs(&99, EMPTY, EMPTY, None),
        Err(unknown.clone())
    );
    assert_eq!(table.touch_fields(&99, Fields::ALL), Err(unknown));
    let payload = table.set_payload(&3, Bytes::from_static(b"x"));
    assert_eq!(payload, Err(ListError::NoPayloads.into()));
    assert!(!table.remove(&99, None));
    assert_eq!(
        (table.len(), table.get(&3).expect("known").revision),
        (10, 0)
    );
    let max = ATTRS_MAX - 1;
    assert_eq!(
        Attrs::of([512]),
        Err(TableError::AttrTooHigh { bit: 512, max })
    );
    for columns in [0, 5] {
        let refused = MemberTable::<u64>::new(TableOptions::default().key_columns(columns));
        let bad = TableError::BadKeyColumns { columns, max: 4 };
        assert_eq!(refused.err(), Some(bad));
    }
}

#[test]
fn a_placed_list_takes_twelve_bytes_a_member_at_most() {
    const MEMBERS: u64 = 40_000;
    let mut table = table(MEMBERS);
    let list = |table: &mut MemberTable<u64>, name, bits| {
        let before = table.heap_bytes();
        let clause = Clause::new().all(Attrs::from_low(bits));
        let list = table
            .add_list(spec(name).admit([clause]))
            .expect("a good spec");
        while table.build(1_000) > 0 {}
        let shown = table.list(list).expect("built").member_count();
        (shown, table.heap_bytes() - before)
    };
    let (shown, bytes) = list(&mut table, "half", 1);
    assert_eq!(shown as u64, MEMBERS / 2);
    assert!(bytes <= shown * 12, "{bytes} bytes for {shown} members");
    let (shown, bytes) = list(&mut table, "none", 1 << 9);
    assert!(shown == 0 && bytes < 100, "{bytes} bytes for no member");
    // Members move at random.
    let without = MEMBERS as usize * 12;
    let before = table.heap_bytes();
    for step in 0..2 * MEMBERS {
        let id = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let key = SortKey::from_u64(id % 977);
        table
            .set_key(&(id % MEMBERS), 0, &key, None)
            .expect("known");
    }
    assert!(table.heap_bytes() < before + without / 4);
    (0..MEMBERS).for_each(|id| assert!(table.remove(&id, None)));
    assert_eq!((table.len(), table.attr_sets()), (0, 0));
    assert!(
        table.heap_bytes() < 100_000,
        "{} bytes of none",
        table.heap_bytes()
    );
}

#[test]
fn epochs_of_a_table_stay_below_those_that_clients_take() {
    let max = EPOCH_MAX - 2 * LISTS_MAX as u64;
    let too_high = |epoch| TableError::from(ListError::EpochTooHigh { epoch, max });
    let made = |epoch: Epoch| MemberTable::<u64>::new(TableOptions::default().first_epoch(epoch));
    assert_eq!(made((max + 1).into()).err(), Some(too_high(max + 1)));
    assert_eq!(made(u64::MAX.into()).err(), Some(too_high(u64::MAX)));
    let node = "n".repeat(1025);
    let long = ListError::NodeNameTooLong {
        len: 1025,
        max: 1024,
    };
    assert_eq!(made(Epoch::new(&node, 1)).err(), Some(long.into()));

    let mut table = made(Epoch::new(&node[1..], max)).expect("just within the limits");
    let first = table.add_list(spec("first")).expect("an epoch is left");
    table
        .upsert(7, &[SortKey::from_u64(7)], Attrs::EMPTY, None)
        .expect("room");
    let none = || Err(too_high(max + 1));
    assert_eq!(table.add_list(spec("second")).map(drop), none());
    assert_eq!(
        table.set_spec(first, spec("first").descending(true)),
        none()
    );
    assert_eq!(table.revoke(first, spec("second")), none());
    assert_eq!(table.add_list(spec("first")), Ok(first)); // one more owner
    assert_eq!(table.list(first).expect("built").index_of(&7), Some(1));

    let mut file = Vec::new();
    table.save(&mut file).expect("memory takes everything");
    let load = |epoch| MemberTable::<u64>::load(&file[..], epoch).expect_err("no epoch is left");
    assert!(matches!(load(1), LoadError::Invalid { .. }));
    assert!(matches!(load(max + 1), LoadError::Epoch(_)));
}

#[test]
fn writes_tell_of_lists_that_show_a_member_elsewhere_and_of_no_others() {
    let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let [staff, owner] = [1, 2].map(Attrs::from_low);
    let plan = spec("ranks").group(Clause::new().all(owner), "owner");
    let list = table.add_list(plan.group(Clause::new().all(staff), "staff"));
    let list = list.expect("a good spec");
    let mut rows = Vec::new();
    let moved = |rows: &mut Vec<ListMove>| -> Vec<_> {
        let rows = rows.drain(..);
        rows.map(|moved| (moved.old_index, moved.index)).collect()
    };
    let key = SortKey::from_name;
    for (id, name) in [(1, "a"), (2, "c")] {
        let done = table.upsert(id, &[key(name)], staff, Some(&mut rows));
        assert_eq!(done, Ok(true));
    }
    assert_eq!(moved(&mut rows), [(None, Some(1)), (None, Some(2))]);
    assert_eq!(table.set_key(&1, 0, &key("b"), Some(&mut rows)), Ok(()));
    assert_eq!(moved(&mut rows), [], "it stays before the other one");
    assert_eq!(table.set_key(&1, 0, &key("d"), Some(&mut rows)), Ok(()));
    assert_eq!(moved(&mut rows), [(Some(1), Some(2))]);

    // Alone in its group, a member goes with its header: the index is the same, the group is not.
    assert!(table.remove(&2, Some(&mut rows)));
    assert_eq!(moved(&mut rows), [(Some(1), None)]);
    let promoted = table.set_attrs(&1, &staff, &owner, Some(&mut rows));
    assert_eq!(
        (promoted, moved(&mut rows)),
        (Ok(()), vec![(Some(1), Some(1))])
    );

    let ranks = table.list(list).expect("built");
    let groups = ["owner", "staff", "all"].map(|name| ranks.group(name).expect("known"));
    for group in groups {
        let hidden = table.set_group_hidden(list, group, true);
        assert_eq!(hidden, Ok(()));
    }
    let hidden = table.set_attrs(&1, &owner, &staff, Some(&mut rows));
    assert_eq!((hidden, moved(&mut rows)), (Ok(()), vec![]));
    let one = [key("x")];
    assert_eq!(table.upsert(3, &one, staff, Some(&mut rows)), Ok(true));
    assert_eq!(table.upsert(3, &one, owner, Some(&mut rows)), Ok(false));
    assert!(table.remove(&3, Some(&mut rows)));
    assert_eq!(moved(&mut rows), [], "no row before, and none after");
}

//! The list under churn: 100,000 operations against a sorted vector, memory that is given back,
//! snapshots that do not change.

use std::collections::{BTreeMap, BTreeSet};

use headcount::member_list::{BulkReport, NewMember, TextId};
use headcount::{GroupId, ListError, ListOptions, MemberList, Row, Snapshot, SortKey};

use crate::support::rng::Rng;

/// Draws a name: short or long, with a common prefix, equal to others, not only ASCII.
fn name(rng: &mut Rng) -> String {
    let number = rng.below(40_000);
    match rng.below(5) {
        0 => format!("{number:x}"),
        1 => format!("the very long common beginning of all names {number:05}"),
        2 => format!("Ünïcödé {}", number % 50),
        3 => format!("member {number:08}"),
        _ => ["", "a", "Zoë", "王小明"][number as usize % 4].to_owned(),
    }
}

fn one_group() -> (MemberList<u64>, GroupId) {
    let mut list = MemberList::new(ListOptions::default().headers(false));
    let group = list.add_group("all").unwrap();
    (list, group)
}

fn ids(rows: headcount::member_list::Rows<'_, u64>) -> Vec<u64> {
    let id = |row| match row {
        Row::Member { id, .. } => Some(*id),
        Row::Header { .. } => None,
    };
    rows.filter_map(id).collect()
}

#[test]
fn list_of_100_000_operations_equals_a_sorted_vec() {
    let mut rng = Rng(2026);
    let (mut list, group) = one_group();
    let mut model: Vec<(SortKey, u64)> = Vec::new();
    let mut snapshots: Vec<(Snapshot<u64>, Vec<u64>)> = Vec::new();
    for step in 0..100_000 {
        // The list grows to about 20,000 members, then shrinks, and again.
        let growing = step / 20_000 % 2 == 0;
        let id = rng.below(30_000);
        let known = list
            .get(&id)
            .map(|member| SortKey::raw(member.key).unwrap());
        let old = known.map(|key| model.binary_search(&(key, id)).unwrap());
        if let Some(at) = old {
            model.remove(at);
        }
        if growing || rng.below(4) == 0 {
            let key = SortKey::from_name(&name(&mut rng));
            let at = model.binary_search(&(key, id)).unwrap_err();
            model.insert(at, (key, id));
            let done = list.upsert(id, group, &key, 0).unwrap();
            assert_eq!(
                (done.index, done.old_index, done.is_new),
                (Some(at), old, old.is_none())
            );
        } else {
            assert_eq!(list.remove(&id), old);
        }
        if step % 9_973 == 0 {
            snapshots.push((list.snapshot(), model.iter().map(|entry| entry.1).collect()));
        }
    }
    assert!(
        ids(list.iter())
            .into_iter()
            .eq(model.iter().map(|entry| entry.1))
    );
    for (index, (_, id)) in model.iter().enumerate() {
        assert_eq!(list.index_of(id), Some(index));
    }
    for (snapshot, expected) in snapshots {
        assert_eq!(ids(snapshot.iter()), expected);
    }
}

#[test]
fn list_of_bulk_work_equals_a_sorted_map() {
    let mut rng = Rng(11);
    let mut list = MemberList::<TextId>::new(ListOptions::default().headers(false));
    let groups = ["here", "there"].map(|name| list.add_group(name).unwrap());
    let mut model: BTreeMap<TextId, (GroupId, SortKey)> = BTreeMap::new();
    let id = |rng: &mut Rng| -> TextId { format!("u{}", rng.below(60_000)).parse().unwrap() };
    for round in 0..40 {
        // Few into many and many into few, with ids that are known already or come twice.
        let count = [20_000, 3, 900, 0][round % 4];
        let load: Vec<_> = (0..count)
            .map(|_| NewMember {
                id: id(&mut rng),
                group: groups[rng.below(2) as usize],
                key: SortKey::from_name(&name(&mut rng)),
                attrs: 0,
            })
            .collect();
        let mut duplicates = Vec::new();
        for (at, member) in load.iter().enumerate() {
            if model.contains_key(&member.id) {
                duplicates.push((at, member.id.clone()));
            } else {
                model.insert(member.id.clone(), (member.group, member.key));
            }
        }
        let loaded = load.len() - duplicates.len();
        let report = BulkReport { loaded, duplicates };
        assert_eq!(list.bulk_load(load).unwrap(), report);

        let to = groups[round % 2];
        let count = [30, 5_000][round / 2 % 2];
        let moving: Vec<TextId> = (0..count).map(|_| id(&mut rng)).collect();
        let distinct: BTreeSet<_> = moving.iter().collect();
        let known = distinct
            .iter()
            .filter(|&&id| model.contains_key(id))
            .count();
        assert_eq!(list.set_group_many(&moving, to).unwrap(), known);
        for id in &moving {
            model.entry(id.clone()).and_modify(|entry| entry.0 = to);
        }
        for _ in 0..2_000 {
            let id = id(&mut rng);
            assert_eq!(list.remove(&id).is_some(), model.remove(&id).is_some());
        }
        let mut sorted: Vec<_> = model
            .iter()
            .map(|(id, (group, key))| (*group, *key, id))
            .collect();
        sorted.sort();
        let rows = list.iter().filter_map(|row| match row {
            Row::Member { id, group, .. } => Some((group, id)),
            Row::Header { .. } => None,
        });
        assert!(rows.eq(sorted.iter().map(|&(group, _, id)| (group, id))));
        for (index, (_, key, id)) in sorted.iter().enumerate() {
            assert_eq!(list.index_of(id), Some(index));
            assert_eq!(list.get(id).unwrap().key, key.as_bytes());
        }
    }
}

#[test]
fn list_moves_no_member_to_give_back_little_memory() {
    let (mut list, group) = one_group();
    for id in 0..10_000u64 {
        list.upsert(id, group, &SortKey::from_u64(id), 0).unwrap();
    }
    let full = list.heap_bytes();
    (0..10_000)
        .filter(|id| id % 2 == 0)
        .for_each(|id| _ = list.remove(&id));
    // Every second one left: at most an eighth of the slots is free.
    assert!(list.heap_bytes() < full * 3 / 4, "{}", list.heap_bytes());
    let rest = (0..10_000).filter(|id| id % 2 == 1);
    assert!(ids(list.iter()).into_iter().eq(rest));
}

#[test]
fn list_gives_memory_back_after_churn() {
    let mut rng = Rng(7);
    let (mut list, group) = one_group();
    let empty = list.heap_bytes();
    for id in 0..100_000u64 {
        list.upsert(id, group, &SortKey::from_u64(rng.below(u64::MAX)), 0)
            .unwrap();
    }
    for _ in 0..200_000 {
        let key = SortKey::from_u64(rng.below(u64::MAX));
        list.upsert(rng.below(100_000), group, &key, 0).unwrap();
    }
    let each = |list: &MemberList<u64>, bytes: usize| bytes as f64 / list.member_count() as f64;
    assert!(
        each(&list, list.order_bytes()) < 9.0,
        "{}",
        each(&list, list.order_bytes())
    );
    assert!(
        each(&list, list.heap_bytes()) < 60.0,
        "{}",
        each(&list, list.heap_bytes())
    );

    // Nine of ten leave, at random; the list returns their memory while they leave.
    for id in 0..100_000 {
        if rng.below(10) != 0 {
            list.remove(&id);
        }
    }
    assert!(
        each(&list, list.heap_bytes()) < 75.0,
        "{}",
        each(&list, list.heap_bytes())
    );
    for id in 0..100_000 {
        list.remove(&id);
    }
    assert!(list.heap_bytes() < empty + 4096, "{}", list.heap_bytes());
}

#[test]
fn list_snapshots_are_for_other_threads() {
    let (mut list, group) = one_group();
    let member = |id: u64| NewMember {
        id,
        group,
        key: SortKey::from_u64(id),
        attrs: 0,
    };
    list.bulk_load((0..20_000).map(member)).unwrap();
    let snapshot = list.snapshot();
    std::thread::scope(|scope| {
        let reader =
            scope.spawn(move || (0..20).all(|_| ids(snapshot.iter()).into_iter().eq(0..20_000)));
        for id in 0..20_000 {
            list.remove(&id);
        }
        assert!(reader.join().unwrap());
    });
    assert_eq!(list.member_count(), 0);
}

#[test]
fn list_refuses_bad_input_and_does_not_change() {
    let (mut list, group) = one_group();
    let key = SortKey::from_name("ada");
    list.upsert(1, group, &key, 0).unwrap();
    let nowhere = GroupId(9);
    assert!(matches!(
        list.upsert(2, nowhere, &key, 0),
        Err(ListError::UnknownGroup { .. })
    ));
    assert!(matches!(
        list.set_group(&1, nowhere),
        Err(ListError::UnknownGroup { .. })
    ));
    assert!(matches!(
        list.set_key(&2, &key),
        Err(ListError::UnknownMember { .. })
    ));
    let member = |id, group| NewMember {
        id,
        group,
        key,
        attrs: 0,
    };
    let load = list.bulk_load([member(3, group), member(4, nowhere)]);
    assert!(matches!(load, Err(ListError::UnknownGroup { .. })));
    assert!(matches!(
        list.remove_group(group),
        Err(ListError::GroupNotEmpty { .. })
    ));
    assert!(matches!(
        list.add_group("all"),
        Err(ListError::GroupExists { .. })
    ));
    assert!(matches!(
        list.add_group("a\u{0}b"),
        Err(ListError::BadGroupName { .. })
    ));
    assert!(matches!(
        list.reorder_groups(&[]),
        Err(ListError::BadGroupOrder { .. })
    ));
    assert!(matches!(
        list.set_payload(&1, vec![1].into()),
        Err(ListError::NoPayloads)
    ));
    assert_eq!(
        (list.len(), list.member_count(), list.index_of(&1)),
        (1, 1, Some(0))
    );
    let from = 5;
    let to = 2;
    assert_eq!(list.slice(from..to).len(), 0);
    assert_eq!(list.slice(..usize::MAX).len(), 1);
    assert!(list.row_at(usize::MAX).is_none());
}

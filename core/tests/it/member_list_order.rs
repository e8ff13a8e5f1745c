//! Rows are sorted by group, key and id, for all kinds of keys and ids.

use std::collections::{BTreeSet, HashMap};

use allocation_counter::measure;
use headcount::member_list::{GROUPS_MAX, NewMember, TextId};
use headcount::{GroupId, ListOptions, MemberList, Row, SortKey};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::rng::Rng;

fn list_of_one_group<I: FromNumber>() -> (MemberList<I>, GroupId) {
    let mut list = MemberList::new(ListOptions::default().headers(false));
    let group = list.add_group("all").unwrap();
    (list, group)
}

/// Returns the keys and ids of all rows, in the order of the list.
fn rows<I: FromNumber>(list: &MemberList<I>) -> Vec<(SortKey, I)> {
    let key = |id| SortKey::raw(list.get(id).unwrap().key).unwrap();
    let row = |row| match row {
        Row::Member { id, .. } => Some((key(id), id.clone())),
        Row::Header { .. } => None,
    };
    list.iter().filter_map(row).collect()
}

/// Packs two leaves into one. Their keys begin with 15 + `longer` bytes that all share, then four
/// of their own.
fn pack<I: FromNumber>(longer: usize) {
    let (mut list, group) = list_of_one_group::<I>();
    let shared = &"0123456789abcdef".repeat(4)[..15 + longer];
    let key = |half: char, letter: char| {
        SortKey::raw(format!("{shared}{half}{half}{half}{half}{letter}").as_bytes()).unwrap()
    };
    let mut keys = Vec::new();
    for half in ['A', 'B'] {
        for letter in 'b'..='y' {
            keys.extend([key(half, letter); 5]);
        }
    }
    let members = keys.into_iter().zip(0..).map(|(key, number)| NewMember {
        id: I::from_number(number),
        group,
        key,
        attrs: 0,
    });
    list.bulk_load(members).unwrap();
    // Four of five leave; the others need one leaf only.
    for number in (0..240).filter(|number| number % 5 != 0) {
        list.remove(&I::from_number(number));
    }
    for half in ['A', 'B'] {
        let id = I::from_number(half.into());
        let key = key(half, 'n');
        let index = list.upsert(id.clone(), group, &key, 0).unwrap().index;
        let rows = rows(&list);
        assert!(rows.is_sorted(), "{longer}");
        let expected = rows.partition_point(|row| *row < (key, id.clone()));
        assert_eq!(index, Some(expected), "{longer}");
        let first = rows.partition_point(|row| row.0 < key);
        assert_eq!(list.find_prefix(&key), [(group, first)], "{longer}");
    }
}

/// A leaf stores 16 bytes of the common prefix of its keys. Two leaves whose keys share exactly
/// these and differ after them were packed into one without comparing the keys again.
#[test]
fn leaves_whose_prefixes_differ_after_16_bytes_pack_in_order() {
    for longer in 0..=40 {
        pack::<u64>(longer);
        pack::<u128>(longer);
        pack::<TextId>(longer);
    }
}

/// Joins and leaves around a size, compared with a sorted set.
fn churn<I: FromNumber>(keys: Keys, size: usize, operations: usize) {
    let mut rng = Rng(size as u64);
    let (mut list, group) = list_of_one_group::<I>();
    let mut members: Vec<(SortKey, I)> = Vec::new();
    let mut sorted: BTreeSet<(SortKey, I)> = BTreeSet::new();
    let mut joins_of_100 = 65;
    for operation in 0..operations {
        if members.len() >= size {
            joins_of_100 = 35;
        } else if members.len() < size / 3 {
            joins_of_100 = 65;
        }
        if members.is_empty() || rng.below(100) < joins_of_100 {
            let member = (
                keys.key(rng.below(100_000)),
                I::from_number(operation as u64),
            );
            list.upsert(member.1.clone(), group, &member.0, 0).unwrap();
            sorted.insert(member.clone());
            members.push(member);
        } else {
            let at = rng.below(members.len() as u64) as usize;
            let member = members.swap_remove(at);
            assert!(list.remove(&member.1).is_some());
            sorted.remove(&member);
        }
        if operation % 500 == 0 {
            assert!(
                rows(&list).iter().eq(&sorted),
                "{keys:?} around {size}, after {operation}"
            );
        }
    }
    assert!(rows(&list).iter().eq(&sorted), "{keys:?} around {size}");
    for (index, (_, id)) in sorted.iter().enumerate() {
        assert_eq!(list.index_of(id), Some(index));
    }
}

fn churn_all<I: FromNumber>(operations: usize) {
    for keys in Keys::ALL {
        for size in [300, 700, 1500] {
            churn::<I>(keys, size, operations);
        }
    }
}

#[test]
fn lists_of_numbers_stay_in_order() {
    churn_all::<u64>(15_000);
}

#[test]
fn lists_of_uuids_stay_in_order() {
    churn_all::<u128>(15_000);
}

#[test]
fn lists_of_text_ids_stay_in_order() {
    churn_all::<TextId>(15_000);
}

#[test]
fn the_name_of_each_of_4096_groups_is_found_and_that_of_no_group_that_is_gone() {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let names: Vec<String> = (0..GROUPS_MAX).map(|at| format!("group {at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = list.set_groups(&names).unwrap();
    for (id, &group) in first.iter().enumerate() {
        list.upsert(id as u64, group, &SortKey::from_u64(0), 0)
            .unwrap();
    }
    let before = list.snapshot();
    let mut named: HashMap<GroupId, String> = HashMap::new();
    let mut gone = vec![GroupId(u32::MAX), GroupId(GROUPS_MAX as u32)];
    for (at, &group) in first.iter().enumerate() {
        let name = match at % 3 {
            0 => names[at].to_owned(),
            1 => format!("renamed {at}"),
            _ => {
                list.remove(&(at as u64));
                list.remove_group(group).unwrap();
                gone.push(group);
                continue;
            }
        };
        list.rename_group(group, &name).unwrap();
        named.insert(group, name);
    }
    for at in 0..100 {
        let name = format!("later {at}");
        named.insert(list.add_group(&name).unwrap(), name);
    }
    let mut order: Vec<GroupId> = list.groups().map(|info| info.id).collect();
    order.reverse();
    list.reorder_groups(&order).unwrap();

    let cost = measure(|| {
        assert!(gone.iter().all(|&group| list.group_name(group).is_none()));
        for (&group, name) in &named {
            assert_eq!(list.group_name(group), Some(&**name));
        }
        for (&group, name) in first.iter().zip(&names) {
            assert_eq!(before.group_name(group), Some(*name));
        }
    });
    assert_eq!(cost.count_total, 0, "a name is where the group is");
    assert_eq!(list.groups().count(), named.len());
    for info in list.groups() {
        assert_eq!(list.group_name(info.id), Some(info.name));
    }
}

#[test]
fn a_snapshot_finds_members_as_the_list_did() {
    let mut rng = Rng(7);
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let names: Vec<String> = (0..40).map(|at| format!("group {at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let groups = list.set_groups(&names).unwrap();
    for _ in 0..5_000 {
        let group = groups[rng.below(40) as usize];
        let key = SortKey::from_u64(rng.below(50));
        list.upsert(rng.below(3_000), group, &key, 0).unwrap();
    }
    list.set_group_hidden(groups[3], true).unwrap();
    list.set_group_collapsed(groups[4], true).unwrap();
    let before = list.snapshot();
    let same = before.clone();
    let found: Vec<_> = (0..3_100)
        .map(|id| {
            let member = list.get(&id);
            let member = member.map(|member| (member.group, member.attrs, member.revision));
            (list.contains(&id), member, list.index_of(&id))
        })
        .collect();
    for id in 0..3_000 {
        list.remove(&id);
    }
    assert!(found.iter().any(|(here, _, row)| *here && row.is_none()));
    for (id, expected) in (0..).zip(&found) {
        for snapshot in [&before, &same] {
            let member = snapshot.get(&id).map(|row| match row {
                Row::Member {
                    id: found,
                    group,
                    revision,
                    attrs,
                    ..
                } if *found == id => (group, attrs, revision),
                row => panic!("{row:?} of {id}"),
            });
            let found = (snapshot.contains(&id), member, snapshot.index_of(&id));
            assert_eq!(&found, expected, "{id}");
        }
    }
}

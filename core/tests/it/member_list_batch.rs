//! Batches against the same changes one by one, and their errors.

use bytes::Bytes;
use headcount::member_list::{Change, Fields, Id, RowMove, TextId, Upsert};
use headcount::{GroupId, ListError, ListOptions, MemberList, SortKey};

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::rng::Rng;

/// A list of five groups, of which one is hidden and one collapsed.
fn list<I: Id>() -> (MemberList<I>, Vec<GroupId>) {
    let mut list = MemberList::new(ListOptions::default().payloads(true));
    let names = ["admins", "äöü", "hidden", "collapsed", "offline"];
    let groups = list.set_groups(&names).expect("good names");
    list.set_group_hidden(groups[2], true).expect("known");
    list.set_group_collapsed(groups[3], true).expect("known");
    (list, groups)
}

fn any_change<I: FromNumber>(rng: &mut Rng, keys: Keys, groups: &[GroupId]) -> Change<I> {
    let id = I::from_number(rng.below(60));
    let group = groups[rng.index(groups.len())];
    let key = keys.key(rng.below(200));
    match rng.below(9) {
        0..3 => Change::Upsert {
            id,
            group,
            key,
            attrs: rng.below(3) as u32,
        },
        3 => Change::Remove(id),
        4 => Change::SetGroup(id, group),
        5 => Change::SetKey(id, key),
        6 => Change::SetAttrs(id, rng.below(3) as u32),
        7 => Change::SetPayload(id, Bytes::from(vec![b'x'; rng.index(3)])),
        _ if rng.one_in(2) => Change::Touch(id),
        _ => Change::TouchFields(id, Fields(1 << 1)),
    }
}

/// Makes the change by the single call and returns the rows that it reports.
fn single<I: Id>(list: &mut MemberList<I>, change: &Change<I>) -> Option<RowMove> {
    let moved = |upsert: Upsert| RowMove {
        old_index: upsert.old_index,
        index: upsert.index,
    };
    let stayed = |index: Option<usize>| RowMove {
        old_index: index,
        index,
    };
    match change.clone() {
        Change::Upsert {
            id,
            group,
            key,
            attrs,
        } => list.upsert(id, group, &key, attrs).ok().map(moved),
        Change::Remove(id) => list.contains(&id).then(|| RowMove {
            old_index: list.remove(&id),
            index: None,
        }),
        Change::SetGroup(id, group) => list.set_group(&id, group).ok().map(moved),
        Change::SetKey(id, key) => list.set_key(&id, &key).ok().map(moved),
        Change::SetAttrs(id, attrs) => list.set_attrs(&id, attrs).ok().map(stayed),
        Change::SetPayload(id, payload) => list.set_payload(&id, payload).ok().map(stayed),
        Change::Touch(id) => list.touch(&id).ok().map(stayed),
        Change::TouchFields(id, fields) => list.touch_fields(&id, fields).ok().map(stayed),
        other => panic!("a change that this test does not know: {other:?}"),
    }
}

fn check<I: FromNumber>(seed: u64) {
    let mut rng = Rng(seed);
    let keys = Keys::ALL[rng.index(Keys::ALL.len())];
    let (mut batched, groups) = list::<I>();
    let (mut plain, _) = list::<I>();
    for _ in 0..20 {
        let changes: Vec<Change<I>> = (0..rng.index(80))
            .map(|_| any_change(&mut rng, keys, &groups))
            .collect();
        let report = batched.apply_batch(&changes).expect("all can be applied");
        let expected: Vec<_> = changes
            .iter()
            .map(|change| single(&mut plain, change))
            .collect();
        let missing = expected.iter().filter(|moved| moved.is_none()).count();
        let rows: Vec<_> = expected
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        assert_eq!(
            (&report.rows, report.missing),
            (&rows, missing),
            "seed {seed}"
        );
        let counted = report.inserted + report.updated + report.removed + report.missing;
        assert_eq!(counted, changes.len(), "seed {seed}");
        assert!(batched.iter().eq(plain.iter()), "seed {seed}");
        assert_eq!(members(&batched), members(&plain), "seed {seed}");
    }
}

/// Returns all that the list knows of its members.
fn members<I: FromNumber>(list: &MemberList<I>) -> Vec<String> {
    let ids = (0..60).map(I::from_number);
    ids.map(|id| format!("{:?}", list.get(&id))).collect()
}

#[test]
fn list_batches_do_and_report_what_single_calls_do() {
    for seed in 0..200 {
        check::<u64>(seed);
        check::<u128>(seed);
        check::<TextId>(seed);
    }
}

#[test]
fn list_batches_are_all_or_nothing() {
    let (mut list, groups) = list::<u64>();
    let key = SortKey::from_name("Ada");
    let upsert = |id, group| Change::Upsert {
        id,
        group,
        key,
        attrs: 0,
    };
    list.apply_batch(&[upsert(1, groups[0])]).expect("good");

    let unknown = GroupId(99);
    let refused = list.apply_batch(&[Change::Remove(1), upsert(2, unknown)]);
    assert!(
        matches!(refused, Err(ListError::InBatch { at: 1, .. })),
        "{refused:?}"
    );
    let long = Change::SetPayload(1, Bytes::from(vec![0; 64 * 1024 + 1]));
    let refused = list.apply_batch(&[Change::Remove(1), Change::Touch(7), long]);
    assert!(
        matches!(refused, Err(ListError::InBatch { at: 2, .. })),
        "{refused:?}"
    );
    assert!(list.contains(&1) && !list.contains(&2));
}

//! Collections, ids and errors beside those of std: the same traits, the same meaning.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::hash::{Hash, Hasher};

use headcount::codec::{DecodeError, Envelope};
use headcount::member_list::TextId;
use headcount::presence::RestoreError;
use headcount::{ListError, MemberList, Row, SortKey, SortedSet, WindowSpec};
use proptest::prelude::*;

proptest! {
    /// Any order of steps from the two ends gives what `BTreeSet` gives, by reference and by value.
    #[test]
    fn walks_from_both_ends_meet(
        values in prop::collection::btree_set(0u32..5_000, 0..700),
        from in 0usize..800,
        len in 0usize..800,
        steps in prop::collection::vec((any::<bool>(), 0usize..40), 0..60),
    ) {
        let set: SortedSet<u32> = values.iter().copied().collect();
        let sorted: Vec<u32> = values.into_iter().collect();
        let from = from.min(sorted.len());
        let to = (from + len).min(sorted.len());
        walk(sorted.iter(), set.iter(), &steps)?;
        walk(sorted[from..to].iter(), set.slice(from..to), &steps)?;
        walk(sorted.into_iter(), set.into_iter(), &steps)?;
    }

    /// Sets compare, hash and print as `BTreeSet`s of the same elements do.
    #[test]
    fn sets_compare_as_std_sets_do(
        a in prop::collection::vec(0u8..20, 0..20),
        b in prop::collection::vec(0u8..20, 0..20),
    ) {
        let ours_a = a.iter().copied().collect();
        let ours_b = b.iter().copied().collect();
        let compared = compare::<SortedSet<u8>>(&ours_a, &ours_b);
        let std_a = a.into_iter().collect();
        let std_b = b.into_iter().collect();
        prop_assert_eq!(compared, compare::<BTreeSet<u8>>(&std_a, &std_b));
        prop_assert_eq!(format!("{ours_a:?}"), format!("{std_a:?}"));
    }
}

fn walk<T: PartialEq + std::fmt::Debug>(
    mut expected: impl DoubleEndedIterator<Item = T> + ExactSizeIterator,
    mut found: impl DoubleEndedIterator<Item = T> + ExactSizeIterator,
    steps: &[(bool, usize)],
) -> Result<(), TestCaseError> {
    for &(from_the_front, count) in steps {
        for _ in 0..count {
            prop_assert_eq!(found.len(), expected.len());
            if from_the_front {
                prop_assert_eq!(found.next(), expected.next());
            } else {
                prop_assert_eq!(found.next_back(), expected.next_back());
            }
        }
    }
    prop_assert!(found.eq(expected));
    Ok(())
}

fn compare<S: Ord + Hash>(a: &S, b: &S) -> (bool, Ordering, Option<Ordering>, bool) {
    let hash = |set: &S| {
        let mut hasher = DefaultHasher::new();
        set.hash(&mut hasher);
        hasher.finish()
    };
    (a == b, a.cmp(b), a.partial_cmp(b), hash(a) == hash(b))
}

#[test]
fn sets_are_made_and_extended_like_std_sets() {
    let mut set = SortedSet::from([3, 1, 2, 3]);
    set.extend(&[9, 0]);
    set.extend(vec![5]);
    assert_eq!(set, [0, 1, 2, 3, 5, 9].into_iter().collect());
    assert_eq!(set.iter().rev().take(2).collect::<Vec<_>>(), [&9, &5]);
    let shared = set.clone();
    let mut sum = 0;
    for value in set {
        sum += value;
    }
    assert_eq!((sum, shared.len()), (20, 6));
    let sets = HashSet::from([shared.clone(), SortedSet::default()]);
    assert!(sets.contains(&shared));
}

#[test]
fn an_iterator_that_has_begun_prints_and_clones_what_is_left() {
    let set = SortedSet::from([1, 2, 3, 4]);
    let mut by_reference = set.iter();
    let mut by_value = set.clone().into_iter();
    let taken = (by_reference.next(), by_reference.next_back());
    assert_eq!(taken, (Some(&1), Some(&4)));
    assert_eq!((by_value.next(), by_value.next_back()), (Some(1), Some(4)));
    assert_eq!(format!("{by_reference:?} {by_value:?}"), "[2, 3] [2, 3]");
    assert!(by_reference.clone().eq(&[2, 3]) && by_value.clone().eq([2, 3]));
}

#[test]
fn lists_and_ids_have_the_traits_of_std() {
    let mut list = MemberList::<TextId>::default();
    let online = list.add_group("online").unwrap();
    for name in ["ada", "bob"] {
        let id = TextId::try_from(name).unwrap();
        list.upsert(id, online, &SortKey::from_name(name), 0)
            .unwrap();
    }
    let mut ids = HashSet::new();
    for row in &list {
        if let Row::Member { id, .. } = row {
            ids.insert(id.clone());
        }
    }
    assert!(ids.contains("ada") && ids.contains("bob"));
    assert!((&list.snapshot()).into_iter().eq(&list));
    let window: WindowSpec<u64> = "c:3".parse().unwrap();
    assert_eq!(window, WindowSpec::Chunk(3));
    assert_eq!(SortKey::from_name("Ada").as_ref(), b"ada");
}

fn malformed_frame() -> DecodeError {
    let opened = Envelope::default().open(b"no frame");
    opened.unwrap_err().into()
}

#[test]
fn errors_name_the_errors_they_wrap() {
    let error = Box::new(ListError::NoPayloads);
    let in_batch = ListError::InBatch { at: 3, error };
    let source = in_batch.source().expect("the error of the change");
    assert_eq!(source.to_string(), ListError::NoPayloads.to_string());
    let malformed = malformed_frame();
    let unrestored = RestoreError::from(malformed.clone());
    let source = unrestored.source().expect("the error of decoding");
    assert_eq!(source.to_string(), malformed.to_string());
}

//! The laws of the lattice, checked against the `crdts` crate.

use std::collections::BTreeSet;

use crdts::{CmRDT, CvRDT, Dot, Orswot, VClock, orswot::Op as OrOp};
use headcount::id::Origin;
use headcount::tracker::{ApplyError, Delta, VersionVector};
use headcount::{NewEntry, ReplicaId, Tracker};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Op {
    NewEntry(usize, u8, u8, u8),
    Leave(usize, u8, u8),
    LeaveAll(usize, u8),
    Sync(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..NAMES.len();
    let key = 0..6u8;
    let owner = 0..3u8;
    prop_oneof![
        5 => (node.clone(), key.clone(), owner.clone(), any::<u8>())
            .prop_map(|(n, k, o, m)| Op::NewEntry(n, k, o, m)),
        3 => (node.clone(), key, owner.clone()).prop_map(|(n, k, o)| Op::Leave(n, k, o)),
        1 => (node.clone(), owner).prop_map(|(n, o)| Op::LeaveAll(n, o)),
        3 => (node.clone(), node).prop_map(|(from, to)| Op::Sync(from, to)),
    ]
}

fn run(nodes: &mut [Tracker], ops: &[Op]) {
    for op in ops {
        match *op {
            Op::NewEntry(n, key, owner, meta) => {
                let key = format!("k{key}");
                let owner = format!("o{owner}");
                nodes[n]
                    .upsert(&NewEntry::new("t", &key, &owner).meta(&[meta]))
                    .unwrap();
            }
            Op::Leave(n, key, owner) => {
                nodes[n].untrack("t", &format!("k{key}"), format!("o{owner}"));
            }
            Op::LeaveAll(n, owner) => {
                nodes[n].untrack_owner(format!("o{owner}"));
            }
            Op::Sync(from, to) if from != to => {
                let from = nodes[from].clone();
                nodes[to].merge(from);
            }
            Op::Sync(..) => {}
        }
    }
}

fn nodes() -> Vec<Tracker> {
    let node = |name| Tracker::new(ReplicaId::new(name, 1, 0).unwrap());
    NAMES.into_iter().map(node).collect()
}

/// Everything that a reader can see, and the fingerprints.
fn view(tracker: &Tracker) -> (VersionVector, BTreeSet<String>, BTreeSet<u64>) {
    let entry = |e: headcount::Entry<'_>| format!("{e:?} {}", e.entry_ref());
    let fingerprints = tracker
        .origins()
        .filter(|o| o.clock > 0)
        .map(|o| o.fingerprint);
    (
        tracker.version_vector(),
        tracker.list("t").map(entry).collect(),
        fingerprints.collect(),
    )
}

fn merged(a: &Tracker, b: &Tracker) -> Tracker {
    let mut merged = a.clone();
    merged.validate_merge(b).unwrap();
    merged.merge(b.clone());
    merged
}

/// Makes a holder without entries of its own, so that nothing is refused as its own.
fn observer(of: &[&Tracker]) -> Tracker {
    let mut observer = Tracker::new(ReplicaId::new("observer", 1, 0).unwrap());
    of.iter()
        .for_each(|tracker| observer.merge((*tracker).clone()));
    observer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn merge_is_commutative_associative_and_idempotent(
        ops in prop::collection::vec(op(), 0..80)
    ) {
        let mut nodes = nodes();
        run(&mut nodes, &ops);
        let [a, b, c] = [observer(&[&nodes[0]]), observer(&[&nodes[1]]), observer(&[&nodes[2]])];
        prop_assert_eq!(view(&merged(&a, &b)), view(&merged(&b, &a)));
        let left = merged(&merged(&a, &b), &c);
        prop_assert_eq!(view(&left), view(&merged(&a, &merged(&b, &c))));
        prop_assert_eq!(view(&merged(&left, &left)), view(&left));
        prop_assert_eq!(view(&merged(&left, &a)), view(&left), "nothing is taken back");
        prop_assert!(a.version_vector() <= left.version_vector());
    }

    #[test]
    fn operations_in_order_equal_the_merge(ops in prop::collection::vec(op(), 0..60)) {
        let mut nodes = nodes();
        let mut by_ops = observer(&[]);
        let mut deltas = Vec::new();
        for op in &ops {
            let before = nodes[0].clock(nodes[0].id());
            run(&mut nodes, std::slice::from_ref(op));
            if let Some(frame) = nodes[0].delta_since(nodes[0].id(), before) {
                deltas.push(Delta::new(frame));
            }
        }
        for (i, delta) in deltas.iter().enumerate() {
            if let Some(next) = deltas.get(i + 1) {
                let gap = by_ops.validate_op(next);
                prop_assert!(matches!(gap, Err(ApplyError::Gap { .. })), "{gap:?}");
            }
            prop_assert_eq!(by_ops.validate_op(delta), Ok(()));
            CmRDT::apply(&mut by_ops, delta.clone());
            let once = view(&by_ops);
            CmRDT::apply(&mut by_ops, delta.clone());
            prop_assert_eq!(view(&by_ops), once, "an operation again changes nothing");
        }
        let id = nodes[0].id().clone();
        let direct = observer(&[&nodes[0]]);
        prop_assert_eq!(by_ops.origin_info(&id), direct.origin_info(&id).map(|mut info| {
            info.horizon = by_ops.origin_info(&id).map_or(info.horizon, |by_ops| by_ops.horizon);
            info
        }));
    }

    /// Membership equals that of an observed-remove set which saw the same history.
    #[test]
    fn membership_equals_orswot(ops in prop::collection::vec(op(), 0..80)) {
        let mut nodes = nodes();
        let mut sets: Vec<Orswot<String, &str>> = vec![Orswot::new(); NAMES.len()];
        for op in &ops {
            let before: Vec<_> = nodes.iter().map(members).collect();
            run(&mut nodes, std::slice::from_ref(op));
            if let Op::Sync(from, to) = *op {
                if from != to {
                    let from = sets[from].clone();
                    sets[to].merge(from);
                }
                continue;
            }
            for (n, set) in sets.iter_mut().enumerate() {
                let now = members(&nodes[n]);
                for gone in before[n].difference(&now) {
                    let context = set.contains(gone).derive_rm_ctx();
                    set.apply(set.rm(gone.clone(), context));
                }
                for new in now.difference(&before[n]) {
                    let clock = set.read_ctx().add_clock.get(&NAMES[n]);
                    let dot = Dot::new(NAMES[n], clock + 1);
                    set.apply(OrOp::Add { dot, members: vec![new.clone()] });
                }
            }
        }
        for (node, set) in nodes.iter().zip(&sets) {
            prop_assert_eq!(members(node), set.read().val.into_iter().collect());
        }
    }

    #[test]
    fn version_vectors_convert_to_vclocks_and_back(
        clocks in prop::collection::btree_map(0..8u64, 0..u64::MAX >> 2, 0..8)
    ) {
        let origin = |i: u64| Origin {
            replica: ReplicaId::new("n", i, 0).unwrap(),
            partition: (i % 32) as u16,
        };
        let vector: VersionVector = clocks.iter().map(|(i, clock)| (origin(*i), *clock)).collect();
        let clock = VClock::from(vector.clone());
        for (i, tick) in &clocks {
            prop_assert_eq!(clock.get(&origin(*i)), *tick);
        }
        prop_assert_eq!(VersionVector::from(clock), vector);
    }
}

/// Returns every session with its replica.
fn members(tracker: &Tracker) -> BTreeSet<String> {
    let member = |e: headcount::Entry<'_>| {
        format!(
            "{} {:?} {}",
            e.replica(),
            e.key_str(),
            e.owner().escape_ascii()
        )
    };
    tracker.list("t").map(member).collect()
}

#[test]
fn a_state_that_knows_more_of_the_own_origin_is_refused() {
    let mut a = Tracker::new(ReplicaId::new("a", 1, 0).unwrap());
    let mut twin = a.clone();
    twin.track(&NewEntry::new("t", "k", "o")).unwrap();
    assert_eq!(a.validate_merge(&twin), Err(ApplyError::OwnOrigin));
    a.track(&NewEntry::new("t", "other", "o")).unwrap();
    assert_eq!(a.validate_merge(&twin), Err(ApplyError::Diverged { op: 1 }));
}

//! `SortedSet` and `MemberList` beside std's `BTreeSet`, by criterion, in the same run: medians with
//! their spread at sizes that are quick. The long table with memory and more rivals is `member_list`.
//!
//!     cargo bench -p headcount-benches --bench list
#![allow(missing_docs)]

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headcount::{GroupId, MemberList, Options, SortKey, SortedSet};
use headcount_benches::list::{Rng, members, name, pairs};

const SIZES: [usize; 2] = [10_000, 100_000];
/// Operations timed together: enough to see different places of the structure.
const BATCH: usize = 1_000;

criterion_group!(benches, insert, find, upsert);
criterion_main!(benches);

fn insert(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert (SortedSet: with index)");
    group.throughput(Throughput::Elements(BATCH as u64));
    for n in SIZES {
        let (held, new) = (pairs(n, 1), pairs(BATCH, 2));
        let ours: SortedSet<_> = held.iter().copied().collect();
        let std: BTreeSet<_> = held.into_iter().collect();
        group.bench_function(BenchmarkId::new("SortedSet", n), |b| {
            let fill = |mut set: SortedSet<_>| {
                new.iter().for_each(|&pair| _ = black_box(set.insert(pair)));
                set
            };
            b.iter_batched(
                || ours.iter().copied().collect(),
                fill,
                BatchSize::LargeInput,
            );
        });
        group.bench_function(BenchmarkId::new("BTreeSet", n), |b| {
            let fill = |mut set: BTreeSet<_>| {
                new.iter().for_each(|&pair| _ = black_box(set.insert(pair)));
                set
            };
            b.iter_batched(|| std.clone(), fill, BatchSize::LargeInput);
        });
    }
}

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find (SortedSet: its index)");
    group.throughput(Throughput::Elements(BATCH as u64));
    for n in SIZES {
        let held = pairs(n, 1);
        let mut rng = Rng::new(3);
        let asked: Vec<_> = (0..BATCH).map(|_| held[rng.below(n)]).collect();
        let ours: SortedSet<_> = held.iter().copied().collect();
        let std: BTreeSet<_> = held.into_iter().collect();
        group.bench_function(BenchmarkId::new("SortedSet", n), |b| {
            b.iter(|| {
                asked
                    .iter()
                    .filter_map(|pair| ours.index_of(pair))
                    .sum::<usize>()
            });
        });
        group.bench_function(BenchmarkId::new("BTreeSet", n), |b| {
            b.iter(|| asked.iter().filter(|pair| std.contains(pair)).count());
        });
    }
}

/// A member gets another name. The rival is what one writes by hand, and it has no indexes.
fn upsert(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rename (MemberList: with both indexes)");
    group.throughput(Throughput::Elements(BATCH as u64));
    for n in SIZES {
        let held = members(n, 1);
        let mut list = MemberList::<u64>::new(Options::default());
        let online = list.add_group("online").expect("a first group");
        for (id, name) in &held {
            rename(&mut list, online, *id, name);
        }
        let mut rng = Rng::new(4);
        group.bench_function(BenchmarkId::new("MemberList", n), |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    rename(&mut list, online, held[rng.below(n)].0, &name(&mut rng));
                }
            });
        });
        let mut keys: HashMap<u64, [u8; 12]> = held.iter().copied().collect();
        let mut order: BTreeSet<_> = held.iter().map(|&(id, name)| (name, id)).collect();
        let mut rng = Rng::new(4);
        group.bench_function(BenchmarkId::new("HashMap + BTreeSet", n), |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    let (id, name) = (held[rng.below(n)].0, name(&mut rng));
                    let old = keys.insert(id, name).expect("all are known");
                    order.remove(&(old, id));
                    order.insert((name, id));
                }
            });
        });
    }
}

fn rename(list: &mut MemberList<u64>, group: GroupId, id: u64, name: &[u8]) {
    let key = SortKey::raw(name).expect("12 bytes");
    black_box(list.upsert(id, group, &key, 0).expect("the group is there"));
}

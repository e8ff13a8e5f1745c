//! `SortedSet<(u64, u64)>` beside other ordered sets.

use std::collections::BTreeSet;
use std::hint::black_box;

use headcount::SortedSet;
use headcount_benches::list::{Rng, pairs};
use headcount_benches::memory::in_use;
use headcount_benches::meter::time_each;
use headcount_benches::table::{Goal, Table};

use crate::buckets::Buckets;
use crate::rounds;

type Pair = (u64, u64);

/// The operations that all sets have; `place` only with positions.
trait Ordered: Default {
    const NAME: &'static str;
    /// Returns whether a run at this size is worth its time.
    fn fits(_n: usize) -> bool {
        true
    }
    fn insert(&mut self, value: Pair) -> usize;
    fn remove(&mut self, value: &Pair) -> usize;
    /// Returns the position, or only the presence in sets without positions.
    fn find(&self, value: &Pair) -> usize;
    fn page(&self, from: usize, value: &Pair) -> u64;
    fn bulk(values: Vec<Pair>) -> Self;
}

impl Ordered for SortedSet<Pair> {
    const NAME: &'static str = "SortedSet";

    fn insert(&mut self, value: Pair) -> usize {
        SortedSet::insert(self, value).0
    }

    fn remove(&mut self, value: &Pair) -> usize {
        SortedSet::remove(self, value).unwrap_or(0)
    }

    fn find(&self, value: &Pair) -> usize {
        self.index_of(value).unwrap_or(0)
    }

    fn page(&self, from: usize, _value: &Pair) -> u64 {
        self.slice(from..from + 100)
            .fold(0, |sum, pair| sum ^ pair.0)
    }

    fn bulk(values: Vec<Pair>) -> Self {
        Self::from_vec(values)
    }
}

impl Ordered for BTreeSet<Pair> {
    const NAME: &'static str = "BTreeSet";

    fn insert(&mut self, value: Pair) -> usize {
        usize::from(BTreeSet::insert(self, value))
    }

    fn remove(&mut self, value: &Pair) -> usize {
        usize::from(BTreeSet::remove(self, value))
    }

    fn find(&self, value: &Pair) -> usize {
        BTreeSet::get(self, value).map_or(0, |pair| pair.1 as usize)
    }

    fn page(&self, _from: usize, value: &Pair) -> u64 {
        self.range(value..)
            .take(100)
            .fold(0, |sum, pair| sum ^ pair.0)
    }

    fn bulk(values: Vec<Pair>) -> Self {
        values.into_iter().collect()
    }
}

impl Ordered for indexset::BTreeSet<Pair> {
    const NAME: &'static str = "indexset";

    fn insert(&mut self, value: Pair) -> usize {
        // It does not return the position; finding it is part of the work.
        Self::insert(self, value);
        self.rank(&value)
    }

    fn remove(&mut self, value: &Pair) -> usize {
        let at = self.rank(value);
        Self::remove(self, value);
        at
    }

    fn find(&self, value: &Pair) -> usize {
        self.rank(value)
    }

    fn page(&self, from: usize, _value: &Pair) -> u64 {
        let to = self.len().min(from + 100);
        self.range_idx(from..to).fold(0, |sum, pair| sum ^ pair.0)
    }

    fn bulk(values: Vec<Pair>) -> Self {
        values.into_iter().collect()
    }
}

impl Ordered for Buckets<Pair> {
    const NAME: &'static str = "Discord's";

    fn insert(&mut self, value: Pair) -> usize {
        Buckets::insert(self, value)
    }

    fn remove(&mut self, value: &Pair) -> usize {
        Buckets::remove(self, value).unwrap_or(0)
    }

    fn find(&self, value: &Pair) -> usize {
        self.index_of(value).unwrap_or(0)
    }

    fn page(&self, from: usize, _value: &Pair) -> u64 {
        self.from(from).take(100).fold(0, |sum, pair| sum ^ pair.0)
    }

    fn bulk(mut values: Vec<Pair>) -> Self {
        values.sort_unstable();
        Self::from_sorted(&values)
    }
}

/// A sorted vector: the usual first choice.
#[derive(Default)]
struct Naive(Vec<Pair>);

impl Ordered for Naive {
    const NAME: &'static str = "Vec";

    fn fits(n: usize) -> bool {
        n <= 100_000
    }

    fn insert(&mut self, value: Pair) -> usize {
        let at = self.0.partition_point(|pair| *pair < value);
        self.0.insert(at, value);
        at
    }

    fn remove(&mut self, value: &Pair) -> usize {
        let at = self.0.partition_point(|pair| pair < value);
        self.0.remove(at);
        at
    }

    fn find(&self, value: &Pair) -> usize {
        self.0.partition_point(|pair| pair < value)
    }

    fn page(&self, from: usize, _value: &Pair) -> u64 {
        self.0[from..self.0.len().min(from + 100)]
            .iter()
            .fold(0, |sum, pair| sum ^ pair.0)
    }

    fn bulk(mut values: Vec<Pair>) -> Self {
        values.sort_unstable();
        Self(values)
    }
}

pub(crate) fn run(n: usize) -> Table {
    let mut table = Table::new(format!("ordered sets of (u64, u64), {n} elements"));
    let mut ours = grow::<SortedSet<Pair>>(n, &mut table);
    let mut std = grow::<BTreeSet<Pair>>(n, &mut table);
    let mut indexed = grow::<indexset::BTreeSet<Pair>>(n, &mut table);
    let mut buckets = grow::<Buckets<Pair>>(n, &mut table);
    let mut naive = grow::<Naive>(n, &mut table);
    for round in 0..rounds(n) {
        measure(&mut ours, n, round, &mut table);
        measure(&mut std, n, round, &mut table);
        measure(&mut indexed, n, round, &mut table);
        measure(&mut buckets, n, round, &mut table);
        measure(&mut naive, n, round, &mut table);
    }
    if n < 1_000_000 {
        return table;
    }
    table.goal("insert", Goal::Times(1.2, "BTreeSet"));
    table.goal(FIND, Goal::Times(1.0, "BTreeSet"));
    table.goal(FIND, Goal::Times(0.5, "indexset"));
    table.goal("slice of 100, warm", Goal::AtMost(1_000.0));
    table
}

/// The nearest operation of std is `get`.
const FIND: &str = "index_of (BTreeSet: get)";

/// Makes a set of `n` elements, inserted in random order and then changed as often.
fn grow<S: Ordered>(n: usize, table: &mut Table) -> Option<S> {
    if !S::fits(n) {
        return None;
    }
    let mut values = pairs(n, 1);
    let before = in_use();
    let each = |set: &mut S| {
        time_each(n, || {
            values
                .iter()
                .for_each(|&pair| _ = black_box(set.insert(pair)))
        })
    };
    let mut set = S::default();
    table.time("grow from empty", S::NAME, each(&mut set));
    let mut bytes = |metric: &str| {
        let bytes = in_use().saturating_sub(before);
        table.note(metric, "B", S::NAME, bytes as f64 / n as f64);
    };
    bytes("memory an element");
    let mut rng = Rng::new(3);
    for _ in 0..n {
        let at = rng.below(n);
        set.remove(&values[at]);
        values[at].0 = rng.next_u64();
        set.insert(values[at]);
    }
    bytes("memory an element, after churn");
    for &pair in &values[n / 10..] {
        set.remove(&pair);
    }
    bytes("memory, 9 of 10 removed");
    // Back to the elements that the rounds ask for.
    for pair in &values[..n / 10] {
        set.remove(pair);
    }
    for pair in pairs(n, 1) {
        set.insert(pair);
    }
    Some(set)
}

fn measure<S: Ordered>(set: &mut Option<S>, n: usize, round: u64, table: &mut Table) {
    let Some(set) = set else { return };
    let count = (n / 4).clamp(1_000, 100_000);
    let mut rng = Rng::new(round + 7);
    let known = pairs(n, 1);
    let fresh: Vec<Pair> = (0..count).map(|_| (rng.next_u64(), u64::MAX)).collect();
    let asked: Vec<(usize, Pair)> = (0..count)
        .map(|_| (rng.below(n - n.min(100) + 1), known[rng.below(n)]))
        .collect();
    let mut sum = 0;
    let each = time_each(count, || {
        fresh.iter().for_each(|&pair| sum += set.insert(pair))
    });
    table.time("insert", S::NAME, each);
    let each = time_each(count, || {
        fresh.iter().for_each(|pair| sum += set.remove(pair))
    });
    table.time("remove", S::NAME, each);
    let each = time_each(count, || {
        asked.iter().for_each(|(_, pair)| sum += set.find(pair))
    });
    table.time(FIND, S::NAME, each);
    let pages = &asked[..count / 10];
    let page = || {
        pages
            .iter()
            .fold(0, |sum, (from, pair)| sum ^ set.page(*from, pair))
    };
    let each = time_each(pages.len(), || _ = black_box(page()));
    table.time("slice of 100", S::NAME, each);
    let (from, hot) = asked[0];
    let warm = || (0..1_000).for_each(|_| _ = black_box(set.page(from, &hot)));
    let each = time_each(1_000, warm);
    table.time("slice of 100, warm", S::NAME, each);
    let each = time_each(n, || drop(black_box(S::bulk(known))));
    table.time("bulk load, unsorted", S::NAME, each);
    black_box(sum);
}

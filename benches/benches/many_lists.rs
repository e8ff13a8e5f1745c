//! The cost of a further list of a `MemberTable`: bytes for each member that it shows, and time for
//! each write, singly and in bulk.
//!
//! `cargo bench -p headcount-benches --bench many_lists [-- MEMBERS]`, 1,000,000 by default.

use std::time::{Duration, Instant};

use headcount::SortKey;
use headcount::member_list::{Attrs, Clause, ListId, ListSpec, MemberTable, TableOptions};
use headcount_benches::list::{Rng, members};
use headcount_benches::memory::{Counting, in_use};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WRITES: usize = 200_000;
const LISTS: usize = 4;
const STEP: usize = 4_000;

/// A list of half of the members, in two groups.
fn spec(at: usize) -> ListSpec<u64> {
    let bit = |bit| Attrs::of([bit]).expect("a bit");
    ListSpec::new(&format!("list {at}"), "offline")
        .admit([Clause::new().all(bit(100 + at as u16))])
        .group(Clause::new().all(bit(0)), "online")
}

/// Half of the lists, at random, and online one time in ten.
fn attrs(rng: &mut Rng) -> Attrs {
    let lists = (0..LISTS as u16)
        .filter(|_| rng.below(2) == 0)
        .map(|at| 100 + at);
    let lists: Vec<u16> = lists.collect();
    let online = (rng.below(10) == 0).then_some(0);
    Attrs::of(lists.into_iter().chain(online)).expect("known bits")
}

/// Builds a list; returns the longest step.
fn build(table: &mut MemberTable<u64>, at: usize) -> (ListId, Duration) {
    let id = table.add_list(spec(at)).expect("a good spec");
    let mut longest = Duration::ZERO;
    loop {
        let start = Instant::now();
        let left = table.build(STEP);
        longest = longest.max(start.elapsed());
        if left == 0 {
            return (id, longest);
        }
    }
}

/// Returns microseconds for each of some status changes.
fn status_changes(table: &mut MemberTable<u64>, ids: &[u64], rng: &mut Rng) -> f64 {
    let online = Attrs::of([0]).expect("a bit");
    let start = Instant::now();
    for at in 0..WRITES {
        let id = ids[rng.below(ids.len())];
        let sets = [&Attrs::EMPTY, &online];
        let set = table.set_attrs(&id, sets[at % 2], sets[1 - at % 2], None);
        set.expect("known");
    }
    start.elapsed().as_secs_f64() * 1e6 / WRITES as f64
}

fn main() {
    let number = std::env::args().find_map(|argument| argument.parse().ok());
    let number: usize = number.unwrap_or(1_000_000);
    let mut rng = Rng::new(7);
    let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let before = in_use();
    let mut ids = Vec::with_capacity(number);
    for (id, name) in members(number, 7) {
        let key = SortKey::raw(&name).expect("12 bytes");
        let attrs = attrs(&mut rng);
        table.upsert(id, &[key], attrs, None).expect("room");
        ids.push(id);
    }
    let own = in_use() - before - number * 8;
    println!(
        "{number} members: {:.1} bytes each without lists",
        own as f64 / number as f64
    );
    let mut last = status_changes(&mut table, &ids, &mut rng);
    println!("a status change without lists: {last:.2} us");
    for at in 0..LISTS {
        let memory = in_use();
        let start = Instant::now();
        let (id, longest) = build(&mut table, at);
        let took = start.elapsed();
        let shown = table.list(id).expect("built").member_count();
        let bytes = (in_use() - memory) as f64 / shown as f64;
        let change = status_changes(&mut table, &ids, &mut rng);
        println!(
            "list {at}: {shown} members in {:.0} ms, longest step {:.1} ms, {bytes:.1} bytes a member \
             shown; a status change {change:.2} us, {:+.2}",
            took.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3,
            change - last
        );
        last = change;
    }
    let many: Vec<u64> = (0..number / 10).map(|_| ids[rng.below(number)]).collect();
    let online = Attrs::of([0]).expect("a bit");
    let start = Instant::now();
    let done = table
        .set_attrs_many(&many, &Attrs::EMPTY, &online)
        .expect("room");
    println!(
        "{done} members online at once: {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
}

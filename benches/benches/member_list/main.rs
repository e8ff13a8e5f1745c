//! The member list and the set beside their rivals, in the same run.
//!
//!     cargo bench -p headcount-benches --bench member_list                 # 10k, 100k, 1M
//!     HEADCOUNT_BENCH_SIZES=10000000 cargo bench -p headcount-benches --bench member_list
//!     cargo bench -p headcount-benches --bench member_list -- ids groups   # these parts alone
//!     HEADCOUNT_BENCH_MARKDOWN=list.md cargo bench ...                     # also as a file, or ..._JSON
//!
//! Every figure is the median of rounds in which the structures take turns; the number in brackets
//! is the ratio to ours (over 1: we are ahead). The goals are those of the design, for 1,000,000
//! members and more.

#![expect(
    clippy::use_self,
    reason = "the table names each structure by its own name"
)]

mod buckets;
mod groups;
mod ids;
mod lists;
mod many;
mod redis;
mod sets;

use headcount_benches::memory::Counting;
use headcount_benches::table::{Table, save, sizes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds in which the structures take turns: short ones are many.
fn rounds(n: usize) -> u64 {
    (5_000_000 / n as u64).clamp(5, 51)
}

/// A part of the bench: its name, and what makes its tables at a size.
type Part = (&'static str, fn(usize) -> Vec<Table>);

const PARTS: [Part; 5] = [
    ("sets", |n| vec![sets::run(n)]),
    ("lists", |n| vec![lists::run(n)]),
    ("many", |n| vec![many::run(n)]),
    ("ids", ids::run),
    ("groups", |n| vec![groups::run(n)]),
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let named = |(name, _): &Part| asked.iter().any(|argument| argument == name);
    let all = !PARTS.iter().any(named);
    let mut tables = Vec::new();
    for size in sizes() {
        for part in PARTS.iter().filter(|part| all || named(part)) {
            for table in part.1(size) {
                table.print();
                tables.push(table);
            }
        }
    }
    save(&tables);
}

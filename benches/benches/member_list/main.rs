//! The member list and the set beside their rivals, in the same run.
//!
//!     cargo bench -p headcount-benches --bench member_list                 # 10k, 100k, 1M
//!     HEADCOUNT_BENCH_SIZES=10000000 cargo bench -p headcount-benches --bench member_list
//!
//! Every line is the best of several rounds in which the structures take turns; the number in
//! brackets is the ratio to ours (over 1: we are ahead).

#![expect(
    clippy::use_self,
    reason = "the table names each structure by its own name"
)]

mod lists;
mod meter;
mod redis;
mod sets;
mod table;

use headcount_benches::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let sizes = std::env::var("HEADCOUNT_BENCH_SIZES").unwrap_or("10000,100000,1000000".into());
    for size in sizes.split(',').filter_map(|size| size.trim().parse().ok()) {
        sets::run(size);
        lists::run(size);
    }
}

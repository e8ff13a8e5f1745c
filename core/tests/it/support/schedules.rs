//! Many schedules of a simulator at once.

use std::sync::atomic::{AtomicU64, Ordering};

use headcount::testing::{Failure, Stats};

/// Runs the schedules of seeds `first..first + count` on two threads.
///
/// # Panics
///
/// Panics with the first failure.
pub(crate) fn converge(
    first: u64,
    count: u64,
    simulate: impl Fn(u64) -> Result<Stats, Failure> + Sync,
) {
    let next = AtomicU64::new(first);
    let work = || -> Result<(), Failure> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(());
            }
            simulate(seed)?;
        }
    };
    let done = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let here = work();
        other.join().expect("a schedule does not panic").and(here)
    });
    if let Err(failure) = done {
        panic!("{failure}");
    }
}

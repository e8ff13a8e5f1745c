//! Memory and time of what is measured.

use std::time::{Duration, Instant};

use headcount_benches::memory::in_use;

/// Bytes that `build` leaves allocated, and what it built.
pub(crate) fn live_bytes<T>(build: impl FnOnce() -> T) -> (usize, T) {
    let before = in_use();
    let built = build();
    (in_use().saturating_sub(before), built)
}

/// Time of one of `count` operations that `work` does.
pub(crate) fn time_each(count: usize, work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed() / count.max(1) as u32
}

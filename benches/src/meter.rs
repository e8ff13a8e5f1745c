//! Memory and time of what is measured.

use std::time::{Duration, Instant};

use crate::memory::in_use;

/// Bytes that `build` leaves allocated, and what it built. Needs [`Counting`](crate::memory::Counting).
pub fn live_bytes<T>(build: impl FnOnce() -> T) -> (usize, T) {
    let before = in_use();
    let built = build();
    (in_use().saturating_sub(before), built)
}

/// Time of one of `count` operations that `work` does.
pub fn time_each(count: usize, work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed() / count.max(1) as u32
}

/// Time this thread has been on a processor, where the system tells (Linux). Costs microseconds:
/// for what takes milliseconds.
#[must_use]
pub fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let ns = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(ns))
}

//! Meters of memory and time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::memory::in_use;

/// Returns the bytes that `build` leaves allocated, and its result. Needs [`Counting`](crate::memory::Counting).
pub fn live_bytes<T>(build: impl FnOnce() -> T) -> (usize, T) {
    let before = in_use();
    let built = build();
    (in_use().saturating_sub(before), built)
}

/// The duration of some work by the clock, and on the processor if the system reports it.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// By the clock.
    pub clock: Duration,
    busy: Option<Duration>,
}

impl Took {
    /// Returns the cost of the work: the time on the processor, which a busy machine changes little; the
    /// clock for short work, because the system counts in ticks.
    #[must_use]
    pub fn cost(self) -> Duration {
        let busy = self.busy.filter(|_| self.clock.as_millis() > 50);
        busy.unwrap_or(self.clock)
    }
}

/// Does some work and returns its duration. Reading the clocks costs microseconds, none of which
/// are in [`Took::clock`].
pub fn timed<T>(work: impl FnOnce() -> T) -> Took {
    let busy = processor_time();
    let start = Instant::now();
    black_box(work());
    let clock = start.elapsed();
    let busy = processor_time().zip(busy);
    Took {
        clock,
        busy: busy.map(|(now, then)| now.saturating_sub(then)),
    }
}

/// Returns the cost of one of `count` operations that `work` does in this thread.
pub fn time_each(count: usize, work: impl FnOnce()) -> Duration {
    timed(work).cost() / count.max(1) as u32
}

/// Returns the time of this thread on a processor, if the system reports it (Linux). It costs microseconds:
/// for work of milliseconds.
#[must_use]
pub fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let ns = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(ns))
}

//! `Causes`: counters that are told apart by a label.

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};

/// A counter of events by cause.
#[derive(Debug, Clone, Copy)]
pub(super) struct Causes {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) label: &'static str,
    pub(super) values: &'static [&'static str],
}

impl Causes {
    /// Makes the counters of all causes, at zero.
    pub(super) fn register(self) -> Vec<Counter> {
        describe_counter!(self.name, self.meaning);
        let values = self.values.iter();
        values.map(|value| self.counter(value)).collect()
    }

    /// Returns the counter of a cause.
    pub(super) fn counter(self, value: &'static str) -> Counter {
        debug_assert!(self.values.contains(&value), "{} of {}", value, self.name);
        let counter = counter!(self.name, self.label => value);
        counter.increment(0);
        counter
    }
}

/// Makes a counter, at zero.
pub(super) fn counter(name: &'static str, meaning: &'static str) -> Counter {
    describe_counter!(name, meaning);
    counter!(name)
}

/// Makes a measure of times.
pub(super) fn seconds(name: &'static str, meaning: &'static str) -> Histogram {
    describe_histogram!(name, meaning);
    histogram!(name)
}

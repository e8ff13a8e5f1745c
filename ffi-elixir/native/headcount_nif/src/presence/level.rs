//! What a process watches of a topic: its entries, or how many there are.

use headcount::Presence;
use rustler::{Atom, NifUnitEnum};
use std::ops::{Index, IndexMut};
use std::time::Duration;

use crate::atoms;

#[derive(Clone, Copy, PartialEq, Eq, NifUnitEnum)]
pub(super) enum Level {
    Entries,
    Counts,
}

impl Level {
    pub(super) const ALL: [Self; 2] = [Self::Entries, Self::Counts];

    pub(super) fn watch(self, presence: &Presence, now: Duration, topic: &str) {
        match self {
            Self::Entries => presence.watch(now, topic),
            Self::Counts => presence.watch_counts(now, topic),
        }
    }

    pub(super) fn unwatch(self, presence: &Presence, now: Duration, topic: &str) {
        match self {
            Self::Entries => presence.unwatch(now, topic),
            Self::Counts => presence.unwatch_counts(now, topic),
        }
    }

    pub(super) fn is_ready(self, presence: &Presence, topic: &str) -> bool {
        let checked = match self {
            Self::Entries => presence.check_readable(topic),
            Self::Counts => presence.check_countable(topic),
        };
        checked.is_ok()
    }

    /// Returns the kind of the event.
    pub(super) fn ready(self) -> Atom {
        match self {
            Self::Entries => atoms::topic_ready(),
            Self::Counts => atoms::counts_ready(),
        }
    }
}

/// A value for each level.
#[derive(Default)]
pub(super) struct PerLevel<T> {
    entries: T,
    counts: T,
}

impl<T> Index<Level> for PerLevel<T> {
    type Output = T;

    fn index(&self, level: Level) -> &T {
        match level {
            Level::Entries => &self.entries,
            Level::Counts => &self.counts,
        }
    }
}

impl<T> IndexMut<Level> for PerLevel<T> {
    fn index_mut(&mut self, level: Level) -> &mut T {
        match level {
            Level::Entries => &mut self.entries,
            Level::Counts => &mut self.counts,
        }
    }
}

//! The settings of a roster.

use super::Status;
use crate::member_list::GroupId;

/// The treatment of the row of a user who went offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfflinePolicy {
    /// The row is removed.
    #[default]
    Remove,
    /// The row moves to this group of the list. A table has no groups of its own.
    Keep(GroupId),
    /// The row stays; the roster clears its status bits. The lists of a table put it where members
    /// without these bits belong.
    Stay,
}

/// The settings of a [`Roster`](super::Roster): how it merges sessions and what it remembers.
///
/// ```
/// use headcount::roster::{RosterOptions, Status};
///
/// let options = RosterOptions::default()
///     .priority([Status::Invisible, Status::Online, Status::Dnd, Status::Idle])
///     .last_seen_max(10_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterOptions {
    pub(super) priority: Vec<Status>,
    pub(super) offline: OfflinePolicy,
    pub(super) last_seen_max: usize,
    pub(super) status_bits: u32,
}

impl Default for RosterOptions {
    fn default() -> Self {
        Self {
            priority: vec![Status::Invisible, Status::Dnd, Status::Online, Status::Idle],
            offline: OfflinePolicy::default(),
            last_seen_max: 100_000,
            status_bits: 0,
        }
    }
}

impl RosterOptions {
    /// Sets which session of a user decides: the one whose status is first in this order. Statuses
    /// left out come last. Default: invisible, dnd, online, idle.
    #[must_use]
    pub fn priority(mut self, priority: impl IntoIterator<Item = Status>) -> Self {
        self.priority = priority.into_iter().collect();
        self
    }

    /// Sets the treatment of the row of a user who went offline. Default: it is removed.
    #[must_use]
    pub fn offline(mut self, offline: OfflinePolicy) -> Self {
        self.offline = offline;
        self
    }

    /// Sets how many last-seen times are kept, the newest. Default 100,000; 0 keeps none.
    #[must_use]
    pub fn last_seen_max(mut self, last_seen_max: usize) -> Self {
        self.last_seen_max = last_seen_max;
        self
    }

    /// Sets the attribute bits of rows that the roster owns. It writes those that the
    /// [`Placement`](super::Placement) of the deciding session has, and clears them when the user
    /// goes offline; all other bits are the application's. Default none.
    #[must_use]
    pub fn status_bits(mut self, status_bits: u32) -> Self {
        self.status_bits = status_bits;
        self
    }
}

//! The report of a Diff: what it changed for others, and what was refused.

#[cfg(feature = "serde")]
use crate::member_list::Id;

use super::{RosterError, Status};

/// A change of a user as others see it: one for each user that a Diff changed outwardly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
pub struct RosterChange<I> {
    /// The user.
    #[cfg_attr(feature = "serde", serde(with = "crate::member_list::id::serde_form"))]
    pub id: I,
    /// The outward status before.
    pub old: Status,
    /// The outward status now. Equal to `old` when only the row's content changed.
    pub new: Status,
}

/// The result of [`Roster::apply`](super::Roster::apply) and
/// [`Roster::reset`](super::Roster::reset).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it says which users were refused"]
pub struct RosterReport<I> {
    /// The users that look different to others now, in the order of their ids.
    pub changes: Vec<RosterChange<I>>,
    /// The users with a session that the mapping failed for, which does not count, or with a row
    /// that the list or table refused, which stays as it was.
    pub refused: Vec<(I, RosterError)>,
    /// The number of keys that are no id of this list or table. The roster passes over them.
    pub foreign: usize,
}

impl<I> Default for RosterReport<I> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            refused: Vec::new(),
            foreign: 0,
        }
    }
}

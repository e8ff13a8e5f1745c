//! A list behind its lock, alone or below a roster.

use std::ops::{Deref, DerefMut};

use headcount::member_list::Id;
use headcount::{MemberList, Roster};

/// A list that a `MemberList` or a `Roster` of Python holds; both see the same.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each list, behind an Arc; it moves once, when a roster is made"
)]
pub(crate) enum ListOrRoster<I: Id> {
    List(MemberList<I>),
    Roster(Roster<I>),
}

impl<I: Id> ListOrRoster<I> {
    /// The roster, if there is one.
    pub(crate) fn roster(&self) -> Option<&Roster<I>> {
        match self {
            Self::List(_) => None,
            Self::Roster(roster) => Some(roster),
        }
    }

    /// The roster, to be changed.
    pub(crate) fn roster_mut(&mut self) -> Option<&mut Roster<I>> {
        match self {
            Self::List(_) => None,
            Self::Roster(roster) => Some(roster),
        }
    }
}

impl<I: Id> Deref for ListOrRoster<I> {
    type Target = MemberList<I>;

    fn deref(&self) -> &MemberList<I> {
        match self {
            Self::List(list) => list,
            Self::Roster(roster) => roster.list(),
        }
    }
}

impl<I: Id> DerefMut for ListOrRoster<I> {
    fn deref_mut(&mut self) -> &mut MemberList<I> {
        match self {
            Self::List(list) => list,
            Self::Roster(roster) => roster.list_mut(),
        }
    }
}

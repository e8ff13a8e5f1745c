//! A list or a table behind its lock, alone or below a roster.

use std::fmt::Debug;
use std::mem;
use std::ops::{Deref, DerefMut};

use headcount::member_list::{Id, MemberTable, TableError, TableOptions};
use headcount::roster::{RosterError, RosterTarget};
use headcount::{
    EntryBuf, GroupId, ListError, ListOptions, MemberList, Placement, Roster, RosterOptions,
};

use crate::detached_drop::Content;

/// A list or a table, over which a roster can be.
pub(crate) trait Rostered<I: Id>: RosterTarget<I> + Debug + Sized {
    /// Makes one without members.
    fn empty() -> Result<Self, TableError>;

    fn into_roster(
        self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Result<Roster<I, Self>, RosterError>;

    fn of(roster: &Roster<I, Self>) -> &Self;

    fn of_mut(roster: &mut Roster<I, Self>) -> &mut Self;

    /// Returns the number of members.
    fn members(&self) -> usize;

    /// Returns the group of this name that a roster can put rows into.
    fn group_for_rows(&self, name: &str) -> Result<GroupId, ListError>;
}

impl<I: Id> Rostered<I> for MemberList<I> {
    fn empty() -> Result<Self, TableError> {
        Ok(Self::new(ListOptions::default()))
    }

    fn into_roster(
        self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Result<Roster<I, Self>, RosterError> {
        Ok(Roster::new(self, options, mapping))
    }

    fn of(roster: &Roster<I, Self>) -> &Self {
        roster.list()
    }

    fn of_mut(roster: &mut Roster<I, Self>) -> &mut Self {
        roster.list_mut()
    }

    fn members(&self) -> usize {
        self.member_count()
    }

    fn group_for_rows(&self, name: &str) -> Result<GroupId, ListError> {
        self.group(name)
    }
}

impl<I: Id> Rostered<I> for MemberTable<I> {
    fn empty() -> Result<Self, TableError> {
        Self::new(TableOptions::default())
    }

    fn into_roster(
        self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Result<Roster<I, Self>, RosterError> {
        Roster::over_table(self, options, mapping)
    }

    fn of(roster: &Roster<I, Self>) -> &Self {
        roster.table()
    }

    fn of_mut(roster: &mut Roster<I, Self>) -> &mut Self {
        roster.table_mut()
    }

    fn members(&self) -> usize {
        self.len()
    }

    /// The lists of a table choose the groups themselves.
    fn group_for_rows(&self, name: &str) -> Result<GroupId, ListError> {
        Err(ListError::UnknownGroup {
            group: name.to_owned(),
        })
    }
}

/// A list or a table that an object of Python and a `Roster` hold; both see the same.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each list, behind an Arc; it moves once, when a roster is made"
)]
pub(crate) enum Held<I: Id, L: Rostered<I>> {
    Alone(L),
    Roster(Roster<I, L>),
}

pub(crate) type ListOrRoster<I> = Held<I, MemberList<I>>;
pub(crate) type TableOrRoster<I> = Held<I, MemberTable<I>>;

impl<I: Id, L: Rostered<I>> Held<I, L> {
    /// The roster, if there is one.
    pub(crate) fn roster(&self) -> Option<&Roster<I, L>> {
        match self {
            Self::Alone(_) => None,
            Self::Roster(roster) => Some(roster),
        }
    }

    /// The roster, to be changed.
    pub(crate) fn roster_mut(&mut self) -> Option<&mut Roster<I, L>> {
        match self {
            Self::Alone(_) => None,
            Self::Roster(roster) => Some(roster),
        }
    }

    /// Makes a roster over the list or table, unless there is one; returns whether it did. The options
    /// must suit it: one whose roster is refused is lost. No group is named for a table.
    pub(crate) fn enroll(
        &mut self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Result<bool, RosterError> {
        match mem::replace(self, Self::Alone(L::empty()?)) {
            Self::Alone(target) => {
                *self = Self::Roster(target.into_roster(options, mapping)?);
                Ok(true)
            }
            roster => {
                *self = roster;
                Ok(false)
            }
        }
    }
}

impl<I: Id, L: Rostered<I> + Send> Content for Held<I, L> {
    fn parts(&self) -> usize {
        self.members()
    }
}

impl<I: Id, L: Rostered<I>> Deref for Held<I, L> {
    type Target = L;

    fn deref(&self) -> &L {
        match self {
            Self::Alone(target) => target,
            Self::Roster(roster) => L::of(roster),
        }
    }
}

impl<I: Id, L: Rostered<I>> DerefMut for Held<I, L> {
    fn deref_mut(&mut self) -> &mut L {
        match self {
            Self::Alone(target) => target,
            Self::Roster(roster) => L::of_mut(roster),
        }
    }
}

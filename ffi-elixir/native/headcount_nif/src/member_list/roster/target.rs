//! A list or a table, alone or below a roster.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use headcount::id::Origin;
use headcount::member_list::{GroupId, Id, MemberTable, TableOptions};
use headcount::roster::{OfflinePolicy, RosterReport, RosterTarget};
use headcount::{EntryBuf, ListError, MemberList, Placement, Roster, RosterOptions};
use parking_lot::Mutex;
use rustler::{Atom, Binary, Decoder, Env, Error, NifResult, Term};

use super::{Join, Leave, diff, entry, name_of, report_term};
use crate::atoms;
use crate::entries::status_of;
use crate::member_list::convert::{Checked, Sort, TermId};
use crate::member_list::refused::Refused;

/// The placements of the entries that are being applied: the mapping of Elixir made them before, as no code of it can
/// run under the lock of the list.
#[derive(Clone, Default)]
pub(crate) struct Placements(Arc<Mutex<HashMap<(Origin, u64), Placement>>>);

impl Placements {
    fn of(&self, entry: &EntryBuf) -> Option<Placement> {
        self.0.lock().get(&name_of(entry)).cloned()
    }
}

/// A list or table `L`, alone or below a roster.
#[expect(
    clippy::large_enum_variant,
    reason = "one for each list, behind an Arc; it moves once, when a roster is made"
)]
pub(crate) enum TargetOrRoster<I: Id, L> {
    Target(L),
    Roster(Roster<I, L>, Placements),
}

pub(crate) type ListOrRoster<I> = TargetOrRoster<I, MemberList<I>>;
pub(crate) type TableOrRoster<I> = TargetOrRoster<I, MemberTable<I>>;

/// A list or table, which may be below a roster.
pub(crate) trait Target<I: Id>: RosterTarget<I> + Sized {
    /// Returns an empty one, which stands in for this one for a moment.
    fn stand_in(&self) -> Self;

    /// Returns the group of a name. A table has none.
    fn group_named(&self, name: &str) -> Result<GroupId, ListError>;

    /// Makes a roster; `options` may name a group only if there are some.
    fn below(
        self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Roster<I, Self>;

    fn of(roster: &Roster<I, Self>) -> &Self;

    fn of_mut(roster: &mut Roster<I, Self>) -> &mut Self;
}

impl<I: Id> Target<I> for MemberList<I> {
    fn stand_in(&self) -> Self {
        Self::new(self.options())
    }

    fn group_named(&self, name: &str) -> Result<GroupId, ListError> {
        self.group(name)
    }

    fn below(
        self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Roster<I, Self> {
        Roster::new(self, options, mapping)
    }

    fn of(roster: &Roster<I, Self>) -> &Self {
        roster.list()
    }

    fn of_mut(roster: &mut Roster<I, Self>) -> &mut Self {
        roster.list_mut()
    }
}

impl<I: Id> Target<I> for MemberTable<I> {
    fn stand_in(&self) -> Self {
        Self::new(TableOptions::default()).expect("the defaults are good")
    }

    fn group_named(&self, name: &str) -> Result<GroupId, ListError> {
        let group = name.to_owned();
        Err(ListError::UnknownGroup { group })
    }

    fn below(
        self,
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> Option<Placement> + Send + Sync + 'static,
    ) -> Roster<I, Self> {
        Roster::over_table(self, options, mapping).expect("no group of a table was found by name")
    }

    fn of(roster: &Roster<I, Self>) -> &Self {
        roster.table()
    }

    fn of_mut(roster: &mut Roster<I, Self>) -> &mut Self {
        roster.table_mut()
    }
}

/// The treatment of the row of a user who went offline: `nil`, `:stay`, or the name of a group.
pub(super) enum Offline<'a> {
    Remove,
    Stay,
    Keep(&'a str),
}

impl<'a> Decoder<'a> for Offline<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if let Ok(group) = term.decode() {
            return Ok(Self::Keep(group));
        }
        match term.decode::<Atom>()? {
            offline if offline == atoms::nil() => Ok(Self::Remove),
            offline if offline == atoms::stay() => Ok(Self::Stay),
            _ => Err(Error::BadArg),
        }
    }
}

/// The work of entries on a roster.
pub(super) enum Change<'a> {
    /// They join, and these leave.
    Apply(Vec<Leave<'a>>),
    /// They take the place of all sessions.
    Reset,
}

/// The place of an entry as a term: `{group | nil, [sort], attrs, status, payload | nil}`.
pub(super) type Place<'a> = (
    Option<&'a str>,
    Vec<Sort>,
    Checked<u32>,
    Term<'a>,
    Option<Binary<'a>>,
);

impl<I: Id, L: Target<I>> TargetOrRoster<I, L> {
    pub(super) fn roster(&self) -> Option<&Roster<I, L>> {
        match self {
            Self::Target(_) => None,
            Self::Roster(roster, _) => Some(roster),
        }
    }

    pub(super) fn roster_mut(&mut self) -> Option<&mut Roster<I, L>> {
        match self {
            Self::Target(_) => None,
            Self::Roster(roster, _) => Some(roster),
        }
    }

    /// Puts a roster over the list or table; returns whether it had none.
    pub(super) fn enroll(
        &mut self,
        offline: &Offline<'_>,
        options: RosterOptions,
    ) -> Result<bool, ListError> {
        let options = options.offline(match offline {
            Offline::Remove => OfflinePolicy::Remove,
            Offline::Stay => OfflinePolicy::Stay,
            Offline::Keep(name) => OfflinePolicy::Keep(self.group_named(name)?),
        });
        if self.roster().is_some() {
            return Ok(false);
        }
        let stand_in = Self::Target(self.stand_in());
        if let Self::Target(target) = std::mem::replace(self, stand_in) {
            let placements = Placements::default();
            let known = placements.clone();
            let roster = target.below(options, move |entry| known.of(entry));
            *self = Self::Roster(roster, placements);
        }
        Ok(true)
    }

    /// Changes the roster by entries and their places. Returns `{[{id, old, new}], [{id, message}], foreign}`.
    pub(super) fn change<'a>(
        &mut self,
        env: Env<'a>,
        joins: Vec<Join<'a>>,
        change: Change<'a>,
        wall_s: u64,
    ) -> Term<'a>
    where
        I: TermId,
    {
        let mut refused = Vec::new();
        let mut entries = Vec::with_capacity(joins.len());
        let mut places = HashMap::new();
        for (key, origin, version, place) in joins {
            let entry = entry::<I>(key, origin, version);
            match place.map(|place| self.placement(place)) {
                Some(Ok(place)) => drop(places.insert(name_of(&entry), place)),
                Some(Err(error)) => refused.push((key, error.to_string())),
                None => {}
            }
            entries.push(entry);
        }
        let report = match self {
            Self::Target(_) => RosterReport::default(),
            Self::Roster(roster, placements) => {
                *placements.0.lock() = places;
                let report = match change {
                    Change::Apply(leaves) => roster.apply(&diff::<I>(entries, leaves), wall_s),
                    Change::Reset => roster.reset(&entries, wall_s),
                };
                placements.0.lock().clear();
                report
            }
        };
        report_term(env, &report, refused)
    }

    fn placement(&self, place: Place<'_>) -> Result<Placement, Refused> {
        let (group, keys, attrs, status, payload) = place;
        let placement = Placement::new(status_of(status).unwrap_or_default());
        let mut placement = placement.bits(attrs.value()?);
        if let Some(name) = group {
            placement = placement.group(self.group_named(name)?);
        }
        if !keys.is_empty() {
            placement = placement.keys(Sort::keys(keys)?);
        }
        Ok(match payload {
            Some(payload) => placement.payload(payload.as_slice().to_vec()),
            None => placement,
        })
    }
}

impl<I: Id, L: Target<I>> Deref for TargetOrRoster<I, L> {
    type Target = L;

    fn deref(&self) -> &L {
        match self {
            Self::Target(target) => target,
            Self::Roster(roster, _) => L::of(roster),
        }
    }
}

impl<I: Id, L: Target<I>> DerefMut for TargetOrRoster<I, L> {
    fn deref_mut(&mut self) -> &mut L {
        match self {
            Self::Target(target) => target,
            Self::Roster(roster, _) => L::of_mut(roster),
        }
    }
}

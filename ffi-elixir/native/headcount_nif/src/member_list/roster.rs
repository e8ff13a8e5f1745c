//! `Headcount.Roster`: the list of those who are present.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use headcount::id::{Dot, Origin, ReplicaId};
use headcount::member_list::Id;
use headcount::roster::{OfflinePolicy, RosterReport};
use headcount::tracker::{self, Encoding, LeaveReason};
use headcount::{EntryBuf, ListError, MemberList, NewEntry, Placement};
use headcount::{Roster, RosterOptions, TopicDiff};
use parking_lot::Mutex;
use rustler::{Atom, Binary, Encoder, Env, ResourceArc, Term};

use super::convert::{Sort, TermId};
use super::{List, each};
use crate::atoms;
use crate::entries::{status_name, status_of};
use crate::errors;
use crate::shared::{Patience, answer, twins};

/// The placements of the entries that are being applied: the mapping of Elixir made them before, as no code of it can
/// run under the lock of the list.
#[derive(Clone, Default)]
pub(crate) struct Placements(Arc<Mutex<HashMap<(Origin, u64), Placement>>>);

impl Placements {
    fn of(&self, entry: &EntryBuf) -> Option<Placement> {
        self.0.lock().get(&name_of(entry)).cloned()
    }
}

/// A list alone, or below a roster.
#[expect(
    clippy::large_enum_variant,
    reason = "one for each list, behind an Arc; it moves once, when a roster is made"
)]
pub(crate) enum ListOrRoster<I: Id> {
    List(MemberList<I>),
    Roster(Roster<I>, Placements),
}

impl<I: Id> ListOrRoster<I> {
    fn roster(&self) -> Option<&Roster<I>> {
        match self {
            Self::List(_) => None,
            Self::Roster(roster, _) => Some(roster),
        }
    }

    /// Puts a roster over the list; returns whether it had none.
    fn enroll(&mut self, options: RosterOptions) -> bool {
        let empty = Self::List(MemberList::new(self.options()));
        match std::mem::replace(self, empty) {
            Self::List(list) => {
                let placements = Placements::default();
                let known = placements.clone();
                let roster = Roster::new(list, options, move |entry| known.of(entry));
                *self = Self::Roster(roster, placements);
                true
            }
            roster @ Self::Roster(..) => {
                *self = roster;
                false
            }
        }
    }

    /// Changes the roster by entries and their places. Returns what [`roster_apply`] does.
    fn change<'a>(
        &mut self,
        env: Env<'a>,
        joins: Vec<Join<'a>>,
        change: impl FnOnce(&mut Roster<I>, Vec<EntryBuf>) -> RosterReport<I>,
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
            Self::List(_) => RosterReport::default(),
            Self::Roster(roster, placements) => {
                *placements.0.lock() = places;
                let report = change(roster, entries);
                placements.0.lock().clear();
                report
            }
        };
        report_term(env, &report, refused)
    }

    fn placement(&self, place: Place<'_>) -> Result<Placement, ListError> {
        let (group, sort, attrs, status, payload) = place;
        let placement = Placement::new(status_of(status).unwrap_or_default());
        let placement = placement.group(self.group(group)?).key(sort.0).bits(attrs);
        Ok(match payload {
            Some(payload) => placement.payload(payload.as_slice().to_vec()),
            None => placement,
        })
    }
}

impl<I: Id> Deref for ListOrRoster<I> {
    type Target = MemberList<I>;

    fn deref(&self) -> &MemberList<I> {
        match self {
            Self::List(list) => list,
            Self::Roster(roster, _) => roster.list(),
        }
    }
}

impl<I: Id> DerefMut for ListOrRoster<I> {
    fn deref_mut(&mut self) -> &mut MemberList<I> {
        match self {
            Self::List(list) => list,
            Self::Roster(roster, _) => roster.list_mut(),
        }
    }
}

/// Puts a roster over a list. Returns `:ok`, `:enrolled` if it has one, or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_new<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    offline: Option<&str>,
    priority: Option<Vec<Term<'a>>>,
    last_seen_max: Option<usize>,
    status_bits: u32,
) -> Term<'a> {
    let mut options = RosterOptions::default().status_bits(status_bits);
    if let Some(max) = last_seen_max {
        options = options.last_seen_max(max);
    }
    if let Some(priority) = priority {
        options = options.priority(priority.into_iter().filter_map(status_of));
    }
    let enrolled: Option<Result<bool, ListError>> = list.shared.write(Patience::Endless, |lists| {
        each!(Lists, lists, target => {
            let options = match offline {
                Some(name) => options.offline(OfflinePolicy::Keep(target.group(name)?)),
                None => options,
            };
            Ok(target.enroll(options))
        })
    });
    match enrolled {
        None => atoms::busy().encode(env),
        Some(Ok(true)) => atoms::ok().encode(env),
        Some(Ok(false)) => atoms::enrolled().encode(env),
        Some(Err(error)) => errors::described(env, &error),
    }
}

/// The place of an entry as a term: `{group, sort, attrs, status, payload | nil}`.
type Place<'a> = (&'a str, Sort, u32, Term<'a>, Option<Binary<'a>>);

/// `{key, origin, version, place | nil}`
type Join<'a> = (Term<'a>, &'a str, u64, Option<Place<'a>>);

/// `{key, origin, version}`
type Leave<'a> = (Term<'a>, &'a str, u64);

/// Applies the changes of a topic. Returns `{[{id, old, new}], [{id, message}], foreign}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_apply<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    joins: Vec<Join<'a>>,
    leaves: Vec<Leave<'a>>,
    wall_s: u64,
) -> Term<'a> {
    let applied = list.shared.write(Patience::Endless, |lists| {
        each!(Lists, lists, target => target.change(env, joins, |roster, joins| {
            let leaves = leaves.into_iter();
            let leaves = leaves.map(|(key, origin, version)| {
                let entry = entry_like(roster, key, origin, version);
                let reason = LeaveReason::Unknown;
                tracker::Leave { entry, reason }
            });
            let diff = TopicDiff {
                topic: "".into(),
                joins,
                leaves: leaves.collect(),
                updates: Vec::new(),
            };
            roster.apply(&diff, wall_s)
        }))
    });
    answer(env, applied)
}

/// Puts these entries in the place of all sessions. Returns what [`roster_apply`] does.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_reset<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    entries: Vec<Join<'a>>,
    wall_s: u64,
) -> Term<'a> {
    let reset = list.shared.write(Patience::Endless, |lists| {
        each!(Lists, lists, target => {
            target.change(env, entries, |roster, entries| roster.reset(&entries, wall_s))
        })
    });
    answer(env, reset)
}

/// Reads of one user, as `:bad_id` if the term is no id of the list.
macro_rules! user {
    ($env:ident, $patience:ident, $list:ident, $id:ident, |$roster:ident, $user:ident| $read:expr) => {
        answer($env, $list.shared.read($patience, |lists| each!(Lists, lists, target => {
            let Some($user) = TermId::from_term($id) else {
                return atoms::bad_id().encode($env);
            };
            target.roster().map(|$roster| $read).encode($env)
        })))
    };
}

twins! {
    /// Returns the status that others see.
    fn roster_status / "roster_status_dirty" [env, patience] (list: ResourceArc<List>, id: Term<'a>) {
        user!(env, patience, list, id, |roster, id| status_name(roster.status(&id)))
    }
}

twins! {
    /// Returns the status that the sessions of the user see.
    fn roster_own_status / "roster_own_status_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        user!(env, patience, list, id, |roster, id| status_name(roster.own_status(&id)))
    }
}

twins! {
    /// Returns seconds since 1970, or `nil`.
    fn roster_last_seen / "roster_last_seen_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        user!(env, patience, list, id, |roster, id| roster.last_seen(&id))
    }
}

twins! {
    fn roster_online_count / "roster_online_count_dirty" [env, patience] (list: ResourceArc<List>) {
        answer(env, list.shared.read(patience, |lists| {
            each!(Lists, lists, target => target.roster().map_or(0, Roster::online_count))
        }))
    }
}

/// As [`entry`], for the ids of a roster.
fn entry_like<I: TermId>(
    _roster: &Roster<I>,
    key: Term<'_>,
    origin: &str,
    version: u64,
) -> EntryBuf {
    entry::<I>(key, origin, version)
}

/// Makes an entry of a key and the two parts of its reference. A key that is no id of the list is none for the roster.
fn entry<I: TermId>(key: Term<'_>, origin: &str, version: u64) -> EntryBuf {
    let id = I::from_term(key).map(|id| id.to_text());
    let put = match &id {
        Some(id) => NewEntry::new("", id, ""),
        None => NewEntry::bytes("", &[], &[], Encoding::Bytes),
    };
    // The hash of the origin names it: a text of 11 characters.
    let replica = ReplicaId::new(origin, 0, 0).expect("the caller cuts it out of a reference");
    let partition = 0;
    let origin = Origin { replica, partition };
    EntryBuf::new(
        &put,
        Dot {
            origin,
            birth: version,
        },
        version,
    )
}

fn name_of(entry: &EntryBuf) -> (Origin, u64) {
    (entry.origin().clone(), entry.version())
}

fn report_term<'a, I: TermId>(
    env: Env<'a>,
    report: &RosterReport<I>,
    refused: Vec<(Term<'a>, String)>,
) -> Term<'a> {
    let changes = report.changes.iter();
    let changes: Vec<(Term<'a>, Atom, Atom)> = changes
        .map(|c| (c.id.to_term(env), status_name(c.old), status_name(c.new)))
        .collect();
    let rows = report.refused.iter();
    let rows = rows.map(|(id, error)| (id.to_term(env), error.to_string()));
    let refused: Vec<_> = refused.into_iter().chain(rows).collect();
    (changes, refused, report.foreign).encode(env)
}

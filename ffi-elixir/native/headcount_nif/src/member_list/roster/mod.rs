//! `Headcount.Roster`: the list of those who are present.

mod target;

use headcount::id::{Dot, Origin, ReplicaId};
use headcount::roster::{RosterReport, Status};
use headcount::tracker::{self, Encoding, LeaveReason};
use headcount::{EntryBuf, NewEntry, Roster, RosterOptions, TopicDiff};
use rustler::{Atom, Decoder, Encoder, Env, NifResult, ResourceArc, Term};

use self::target::{Change, Offline, Place};
pub(crate) use self::target::{ListOrRoster, TableOrRoster};
use super::convert::TermId;
use super::{List, Table, each};
use crate::atoms;
use crate::entries::{status_name, status_of};
use crate::errors;
use crate::shared::{Patience, answer, twins};

/// The list or table of a roster.
enum Over {
    List(ResourceArc<List>),
    Table(ResourceArc<Table>),
}

impl<'a> Decoder<'a> for Over {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        match term.decode() {
            Ok(list) => Ok(Self::List(list)),
            Err(_) => term.decode().map(Self::Table),
        }
    }
}

/// Runs the same code for a list or table of any kind of ids. `$call` is `read` or `write`.
macro_rules! with_target {
    ($call:ident, $over:expr, $patience:expr, $target:ident => $body:expr) => {
        match &$over {
            Over::List(list) => list
                .shared
                .$call($patience, |lists| each!(Lists, lists, $target => $body)),
            Over::Table(table) => table
                .shared
                .$call($patience, |tables| each!(Tables, tables, $target => $body)),
        }
    };
}

/// Puts a roster over a list or table. Returns `:ok`, `:enrolled` if it has one, or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_new<'a>(
    env: Env<'a>,
    over: Over,
    offline: Offline<'a>,
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
    let enrolled = with_target!(write, over, Patience::Endless, target => {
        target.enroll(&offline, options)
    });
    match enrolled {
        None => atoms::busy().encode(env),
        Some(Ok(true)) => atoms::ok().encode(env),
        Some(Ok(false)) => atoms::enrolled().encode(env),
        Some(Err(error)) => errors::described(env, &error),
    }
}

/// `{key, origin, version, place | nil}`
type Join<'a> = (Term<'a>, &'a str, u64, Option<Place<'a>>);

/// `{key, origin, version}`
type Leave<'a> = (Term<'a>, &'a str, u64);

/// Applies the changes of a topic. Returns `{[{id, old, new}], [{id, message}], foreign}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_apply<'a>(
    env: Env<'a>,
    over: Over,
    joins: Vec<Join<'a>>,
    leaves: Vec<Leave<'a>>,
    wall_s: u64,
) -> Term<'a> {
    let change = Change::Apply(leaves);
    let applied = with_target!(write, over, Patience::Endless, target => {
        target.change(env, joins, change, wall_s)
    });
    answer(env, applied)
}

/// Puts these entries in the place of all sessions. Returns what [`roster_apply`] does.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_reset<'a>(env: Env<'a>, over: Over, entries: Vec<Join<'a>>, wall_s: u64) -> Term<'a> {
    let reset = with_target!(write, over, Patience::Endless, target => {
        target.change(env, entries, Change::Reset, wall_s)
    });
    answer(env, reset)
}

/// Reads of one user, `None` for an id that no user can have; `:bad_id` if the term is no id of the list.
macro_rules! user {
    ($env:ident, $patience:ident, $over:ident, $id:ident, |$roster:ident, $user:ident| $read:expr) => {
        answer($env, with_target!(read, $over, $patience, target => {
            match TermId::sought($id) {
                Ok($user) => target.roster().map(|$roster| $read).encode($env),
                Err(refused) => refused.encode($env),
            }
        }))
    };
}

twins! {
    /// Returns the status that others see.
    fn roster_status / "roster_status_dirty" [env, patience] (over: Over, id: Term<'a>) {
        user!(env, patience, over, id, |roster, id| {
            status_name(id.map_or(Status::Offline, |id| roster.status(&id)))
        })
    }
}

twins! {
    /// Returns the status that the sessions of the user see.
    fn roster_own_status / "roster_own_status_dirty" [env, patience] (over: Over, id: Term<'a>) {
        user!(env, patience, over, id, |roster, id| {
            status_name(id.map_or(Status::Offline, |id| roster.own_status(&id)))
        })
    }
}

twins! {
    /// Returns whether others see that the user is here.
    fn roster_visible / "roster_visible_dirty" [env, patience] (over: Over, id: Term<'a>) {
        user!(env, patience, over, id, |roster, id| id.is_some_and(|id| roster.is_visible(&id)))
    }
}

/// Notes a time at which a user was last seen. Returns `:ok`, or `:bad_id` if the term is no id of the list.
#[rustler::nif(schedule = "DirtyCpu")]
fn roster_note_last_seen<'a>(env: Env<'a>, over: Over, id: Term<'a>, wall_s: u64) -> Term<'a> {
    let noted = with_target!(write, over, Patience::Endless, target => {
        match TermId::sought(id) {
            Ok(user) => {
                if let Some((roster, user)) = target.roster_mut().zip(user) {
                    roster.note_last_seen(user, wall_s);
                }
                atoms::ok().encode(env)
            }
            Err(refused) => refused.encode(env),
        }
    });
    answer(env, noted)
}

twins! {
    /// Returns seconds since 1970, or `nil`.
    fn roster_last_seen / "roster_last_seen_dirty" [env, patience] (over: Over, id: Term<'a>) {
        user!(env, patience, over, id, |roster, id| id.and_then(|id| roster.last_seen(&id)))
    }
}

twins! {
    fn roster_online_count / "roster_online_count_dirty" [env, patience] (over: Over) {
        answer(env, with_target!(read, over, patience, target => {
            target.roster().map_or(0, Roster::online_count)
        }))
    }
}

/// Makes the diff of a topic.
fn diff<I: TermId>(joins: Vec<EntryBuf>, leaves: Vec<Leave<'_>>) -> TopicDiff {
    let leaves = leaves.into_iter().map(|(key, origin, version)| {
        let entry = entry::<I>(key, origin, version);
        let reason = LeaveReason::Unknown;
        tracker::Leave { entry, reason }
    });
    TopicDiff {
        topic: "".into(),
        joins,
        leaves: leaves.collect(),
        updates: Vec::new(),
    }
}

/// Makes an entry of a key and the two parts of its reference. A key that is no id of the list is none for the roster.
fn entry<I: TermId>(key: Term<'_>, origin: &str, version: u64) -> EntryBuf {
    let id = I::from_term(key).map(|id| id.to_text());
    let put = match &id {
        Ok(id) => NewEntry::new("", id, ""),
        Err(_) => NewEntry::bytes("", &[], &[], Encoding::Bytes),
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

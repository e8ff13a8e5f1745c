//! Saving a list or a table in steps, and loading one.

use headcount::MemberList;
use headcount::member_list::{
    BodyFormat, Epoch, Id, IntId, LoadError, MemberTable, SaveError, SaveJob, SavedIds, TextId,
};
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};
use std::fs::File;
use std::io::{Cursor, Read};

use super::roster::{ListOrRoster, TableOrRoster};
use super::table::Ids;
use super::{List, Lists, Table, Tables, body_format, each};
use crate::entries::binary;
use crate::shared::{Patience, Shared, answer};
use crate::{atoms, errors};

enum Jobs {
    Number(SaveJob<IntId>),
    Uuid(SaveJob<u128>),
    Text(SaveJob<TextId>),
}

enum Saved {
    List(ResourceArc<List>),
    Table(ResourceArc<Table>),
}

/// A save and what is saved. The save is given up when the garbage collector takes it.
struct Save {
    saved: Saved,
    jobs: Shared<Jobs>,
}

#[rustler::resource_impl]
impl Resource for Save {}

/// Begins a save. Returns `{:ok, save}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_save<'a>(env: Env<'a>, list: ResourceArc<List>) -> Term<'a> {
    let jobs = list.shared.write(Patience::Endless, |lists| match lists {
        Lists::Number(list) => list.begin_save().map(Jobs::Number),
        Lists::Uuid(list) => list.begin_save().map(Jobs::Uuid),
        Lists::Text(list) => list.begin_save().map(Jobs::Text),
    });
    begun(env, Saved::List(list), jobs)
}

/// Begins a save. Returns `{:ok, save}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_save<'a>(env: Env<'a>, table: ResourceArc<Table>) -> Term<'a> {
    let jobs = table
        .shared
        .write(Patience::Endless, |tables| match tables {
            Tables::Number(table) => table.begin_save().map(Jobs::Number),
            Tables::Uuid(table) => table.begin_save().map(Jobs::Uuid),
            Tables::Text(table) => table.begin_save().map(Jobs::Text),
        });
    begun(env, Saved::Table(table), jobs)
}

fn begun(env: Env<'_>, saved: Saved, jobs: Option<Result<Jobs, SaveError>>) -> Term<'_> {
    let save = jobs.map(|jobs| match jobs {
        Ok(jobs) => {
            let jobs = Shared::new(jobs);
            (atoms::ok(), ResourceArc::new(Save { saved, jobs })).encode(env)
        }
        Err(error) => errors::described(env, &error),
    });
    answer(env, save)
}

/// Goes on by about so many bytes. Returns `{:ok, {is_over, data}}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn save_step<'a>(env: Env<'a>, save: ResourceArc<Save>, bytes: usize) -> Term<'a> {
    let mut data = Vec::new();
    let step = save.jobs.write(Patience::Endless, |jobs| {
        save.saved.step(jobs, bytes, &mut data)
    });
    let step = step.flatten().map(|step| match step {
        Ok(is_over) => (atoms::ok(), (is_over, binary(env, &data))).encode(env),
        Err(error) => errors::described(env, &error),
    });
    answer(env, step)
}

impl Saved {
    fn step(
        &self,
        jobs: &mut Jobs,
        bytes: usize,
        data: &mut Vec<u8>,
    ) -> Option<Result<bool, SaveError>> {
        match self {
            Self::List(list) => list
                .shared
                .write(Patience::Endless, |lists| match (jobs, lists) {
                    (Jobs::Number(job), Lists::Number(list)) => job.step(&mut **list, bytes, data),
                    (Jobs::Uuid(job), Lists::Uuid(list)) => job.step(&mut **list, bytes, data),
                    (Jobs::Text(job), Lists::Text(list)) => job.step(&mut **list, bytes, data),
                    _ => Err(SaveError::OtherTable),
                }),
            Self::Table(table) => {
                table
                    .shared
                    .write(Patience::Endless, |tables| match (jobs, tables) {
                        (Jobs::Number(job), Tables::Number(table)) => {
                            job.step(&mut **table, bytes, data)
                        }
                        (Jobs::Uuid(job), Tables::Uuid(table)) => {
                            job.step(&mut **table, bytes, data)
                        }
                        (Jobs::Text(job), Tables::Text(table)) => {
                            job.step(&mut **table, bytes, data)
                        }
                        _ => Err(SaveError::OtherTable),
                    })
            }
        }
    }
}

/// Loads a list from a path; `payloads` is `nil`, `:json` or `:raw`. Returns `{:ok, list}` or
/// `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyIo")]
fn member_list_load<'a>(
    env: Env<'a>,
    path: &str,
    payloads: Atom,
    (node, number): (&str, u64),
) -> Term<'a> {
    let payloads = body_format(payloads);
    let lists = load_lists(path, Epoch::new(node, number));
    let has_payloads = |lists: &Lists| each!(Lists, lists, list => list.options().has_payloads());
    match checked(env, lists, payloads, has_payloads) {
        Ok(lists) => {
            let shared = Shared::new(lists);
            (atoms::ok(), ResourceArc::new(List { shared, payloads })).encode(env)
        }
        Err(error) => error,
    }
}

/// Loads a table from a path; `payloads` is `nil`, `:json` or `:raw`. Returns `{:ok, table}` or
/// `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyIo")]
fn table_load<'a>(
    env: Env<'a>,
    path: &str,
    payloads: Atom,
    (node, number): (&str, u64),
) -> Term<'a> {
    let payloads = body_format(payloads);
    let tables = load_tables(path, Epoch::new(node, number));
    let has_payloads = |tables: &Tables| each!(Tables, tables, table => table.has_payloads());
    match checked(env, tables, payloads, has_payloads) {
        Ok(tables) => {
            let table = Table {
                ids: Ids::of(&tables),
                shared: Shared::new(tables),
                payloads,
            };
            (atoms::ok(), ResourceArc::new(table)).encode(env)
        }
        Err(error) => error,
    }
}

/// Returns what was loaded, if it has payloads just when the caller says so, or `{:error, {what, message}}`.
fn checked<'a, L>(
    env: Env<'a>,
    loaded: Result<L, LoadError>,
    payloads: Option<BodyFormat>,
    has_payloads: impl FnOnce(&L) -> bool,
) -> Result<L, Term<'a>> {
    let loaded = loaded.map_err(|error| errors::described(env, &error))?;
    if has_payloads(&loaded) == payloads.is_some() {
        return Ok(loaded);
    }
    let message = match payloads {
        None => "the members have payloads: say whether they are :json or :raw",
        Some(_) => "the members have no payloads",
    };
    let reason = (atoms::other_payloads(), message);
    Err((atoms::error(), reason).encode(env))
}

fn load_lists(path: &str, epoch: Epoch) -> Result<Lists, LoadError> {
    fn load<I: Id>(whole: impl Read, epoch: Epoch) -> Result<ListOrRoster<I>, LoadError> {
        MemberList::load(whole, epoch).map(ListOrRoster::Target)
    }
    let (ids, whole) = open(path)?;
    match ids {
        Some(SavedIds::U128) => load(whole, epoch).map(Lists::Uuid),
        Some(SavedIds::Text) => load(whole, epoch).map(Lists::Text),
        // The load says why it is none.
        _ => load(whole, epoch).map(Lists::Number),
    }
}

fn load_tables(path: &str, first_epoch: Epoch) -> Result<Tables, LoadError> {
    fn load<I: Id>(whole: impl Read, first_epoch: Epoch) -> Result<TableOrRoster<I>, LoadError> {
        MemberTable::load(whole, first_epoch).map(TableOrRoster::Target)
    }
    let (ids, whole) = open(path)?;
    match ids {
        Some(SavedIds::U128) => load(whole, first_epoch).map(Tables::Uuid),
        Some(SavedIds::Text) => load(whole, first_epoch).map(Tables::Text),
        // The load says why it is none.
        _ => load(whole, first_epoch).map(Tables::Number),
    }
}

/// Opens a file; returns the ids in it, unless it is neither a list nor a table, and all of its bytes.
fn open(path: &str) -> Result<(Option<SavedIds>, impl Read), LoadError> {
    let failed = |error| LoadError::Io { error, offset: 0 };
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    let bytes = (&mut file).take(SavedIds::BYTES as u64);
    { bytes }.read_to_end(&mut start).map_err(failed)?;
    let ids = SavedIds::of(&start);
    Ok((ids, Cursor::new(start).chain(file)))
}

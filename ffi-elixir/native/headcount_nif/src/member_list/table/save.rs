//! Saving a table in steps, and loading one.

use headcount::member_list::{
    BodyFormat, Epoch, Id, LoadError, MemberTable, SaveError, SaveJob, SavedIds, TextId,
};
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};
use std::fs::File;
use std::io::{Cursor, Read};

use super::{Ids, Table, Tables};
use crate::entries::binary;
use crate::member_list::body_format;
use crate::shared::{Patience, Shared, answer};
use crate::{atoms, errors};

enum Jobs {
    Number(SaveJob<u64>),
    Uuid(SaveJob<u128>),
    Text(SaveJob<TextId>),
}

/// A save and its table. The save is given up when the garbage collector takes it.
struct Save {
    table: ResourceArc<Table>,
    jobs: Shared<Jobs>,
}

#[rustler::resource_impl]
impl Resource for Save {}

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
    let save = jobs.map(|jobs| match jobs {
        Ok(jobs) => {
            let table = table.clone();
            let jobs = Shared::new(jobs);
            (atoms::ok(), ResourceArc::new(Save { table, jobs })).encode(env)
        }
        Err(error) => errors::described(env, &error),
    });
    answer(env, save)
}

/// Goes on by about so many bytes. Returns `{:ok, {is_over, data}}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_save_step<'a>(env: Env<'a>, save: ResourceArc<Save>, bytes: usize) -> Term<'a> {
    let mut data = Vec::new();
    let step = save.jobs.write(Patience::Endless, |jobs| {
        save.table
            .shared
            .write(Patience::Endless, |tables| match (jobs, tables) {
                (Jobs::Number(job), Tables::Number(table)) => job.step(table, bytes, &mut data),
                (Jobs::Uuid(job), Tables::Uuid(table)) => job.step(table, bytes, &mut data),
                (Jobs::Text(job), Tables::Text(table)) => job.step(table, bytes, &mut data),
                _ => Err(SaveError::OtherTable),
            })
    });
    let step = step.flatten().map(|step| match step {
        Ok(is_over) => (atoms::ok(), (is_over, binary(env, &data))).encode(env),
        Err(error) => errors::described(env, &error),
    });
    answer(env, step)
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
    match load(path, Epoch::new(node, number)) {
        Ok(loaded) if loaded.has_payloads != payloads.is_some() => {
            let message = match payloads {
                None => "the members have payloads: say whether they are :json or :raw",
                Some(_) => "the members have no payloads",
            };
            let reason = (atoms::other_payloads(), message);
            (atoms::error(), reason).encode(env)
        }
        Ok(loaded) => (atoms::ok(), loaded.resource(payloads)).encode(env),
        Err(error) => errors::described(env, &error),
    }
}

struct Loaded {
    tables: Tables,
    ids: Ids,
    has_payloads: bool,
}

impl Loaded {
    fn resource(self, payloads: Option<BodyFormat>) -> ResourceArc<Table> {
        ResourceArc::new(Table {
            shared: Shared::new(self.tables),
            ids: self.ids,
            payloads,
        })
    }
}

fn load(path: &str, first_epoch: Epoch) -> Result<Loaded, LoadError> {
    let failed = |error| LoadError::Io { error, offset: 0 };
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    let bytes = (&mut file).take(SavedIds::BYTES as u64);
    { bytes }.read_to_end(&mut start).map_err(failed)?;
    let ids = SavedIds::of(&start);
    let whole = Cursor::new(start).chain(file);
    Ok(match ids {
        Some(SavedIds::U128) => {
            let table = MemberTable::load(whole, first_epoch)?;
            loaded(Ids::Uuid, Tables::Uuid, table)
        }
        Some(SavedIds::Text) => {
            let table = MemberTable::load(whole, first_epoch)?;
            loaded(Ids::Text, Tables::Text, table)
        }
        // The load says why it is none.
        Some(SavedIds::U64) | None => {
            let table = MemberTable::load(whole, first_epoch)?;
            loaded(Ids::Number, Tables::Number, table)
        }
    })
}

fn loaded<I: Id>(
    ids: Ids,
    tables: impl FnOnce(MemberTable<I>) -> Tables,
    table: MemberTable<I>,
) -> Loaded {
    Loaded {
        has_payloads: table.has_payloads(),
        tables: tables(table),
        ids,
    }
}

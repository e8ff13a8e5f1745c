//! `Headcount.MemberTable`: the table, its lists and its ticks.

mod batch;
pub(crate) mod spec;
mod view;
mod write;

use headcount::Bodies;
use headcount::member_list::{
    Attrs, BodyFormat, Epoch, Id, IntId, ListId, MemberTable, TableError, TableOptions, TextId,
};
use rustler::{Atom, Encoder, Env, NifResult, Resource, ResourceArc, Term};
use std::time::Duration;

use super::convert::{TermId, map};
use super::live::{Published, Ticks};
use super::refused::Refused;
use super::roster::TableOrRoster;
use super::{SnapshotResource, Snapshots, body_format, each};
use crate::entries::binary;
use crate::shared::{Patience, Shared, answer, twins};
use crate::{atoms, errors};
use spec::{Bits, Specs, attrs};

/// A table of members whose ids are numbers, UUIDs or text.
pub(crate) enum Tables {
    Number(TableOrRoster<IntId>),
    Uuid(TableOrRoster<u128>),
    Text(TableOrRoster<TextId>),
}

/// The kind of the ids of a table, which a call knows without its lock.
pub(crate) enum Ids {
    Number,
    Uuid,
    Text,
}

impl Ids {
    pub(crate) const fn of(tables: &Tables) -> Self {
        match tables {
            Tables::Number(_) => Self::Number,
            Tables::Uuid(_) => Self::Uuid,
            Tables::Text(_) => Self::Text,
        }
    }
}

pub(crate) struct Table {
    pub(crate) shared: Shared<Tables>,
    pub(crate) ids: Ids,
    /// The kind of the payloads, if there are any.
    pub(crate) payloads: Option<BodyFormat>,
}

#[rustler::resource_impl]
impl Resource for Table {}

/// Returns `{:ok, table}`, `{:error, {what, message}}`, or `nil` for an unknown kind of ids.
#[rustler::nif]
fn table_new<'a>(
    env: Env<'a>,
    ids: Atom,
    columns: usize,
    payloads: Atom,
    shown: Bits,
    (node, number): (&str, u64),
) -> NifResult<Term<'a>> {
    let payloads = body_format(payloads);
    let shown = match attrs(shown) {
        Ok(shown) => shown,
        Err(refused) => return Ok(refused.encode(env)),
    };
    if let Some(bit) = shown.bits().find(|bit| *bit >= 32) {
        return Ok(errors::table(
            env,
            &TableError::AttrTooHigh { bit, max: 31 },
        ));
    }
    let options = TableOptions::default()
        .key_columns(columns)
        .payloads(payloads.is_some())
        .shown(shown.low())
        .first_epoch(Epoch::new(node, number));
    let ids = match ids {
        ids if ids == atoms::integer() => Ids::Number,
        ids if ids == atoms::uuid() => Ids::Uuid,
        ids if ids == atoms::text() => Ids::Text,
        _ => return Ok(atoms::nil().encode(env)),
    };
    let tables = match ids {
        Ids::Number => alone(options).map(Tables::Number),
        Ids::Uuid => alone(options).map(Tables::Uuid),
        Ids::Text => alone(options).map(Tables::Text),
    };
    let table = tables.map(|tables| {
        let shared = Shared::new(tables);
        ResourceArc::new(Table {
            shared,
            ids,
            payloads,
        })
    });
    Ok(done(env, table))
}

/// Makes a table without a roster.
fn alone<I: Id>(options: TableOptions) -> Result<TableOrRoster<I>, TableError> {
    MemberTable::new(options).map(TableOrRoster::Target)
}

/// Returns `{:ok, value}`, `:bad_id` or `{:error, {what, message}}`.
fn done<'a, R: Encoder>(env: Env<'a>, result: Result<R, impl Into<Refused>>) -> Term<'a> {
    match result {
        Ok(value) => (atoms::ok(), value).encode(env),
        Err(refused) => refused.into().encode(env),
    }
}

/// Returns `{:ok, list}`, `:bad_id` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_add_list<'a>(env: Env<'a>, table: ResourceArc<Table>, spec: Specs<'a>) -> Term<'a> {
    answer(
        env,
        table.shared.write(Patience::Endless, |tables| {
            each!(Tables, tables, table => {
                let added = spec.read().and_then(|spec| Ok(table.add_list(spec)?.to_u64()));
                done(env, added)
            })
        }),
    )
}

/// Gives a list another spec, and empties it at once with `revoke`. Returns `{:ok, nil}`, `:bad_id` or
/// `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_set_spec<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    list: u64,
    spec: Specs<'a>,
    revoke: bool,
) -> Term<'a> {
    let list = ListId::from_u64(list);
    answer(
        env,
        table.shared.write(Patience::Endless, |tables| {
            each!(Tables, tables, table => {
                let changed = spec.read().and_then(|spec| {
                    match revoke {
                        true => table.revoke(list, spec)?,
                        false => table.set_spec(list, spec)?,
                    }
                    Ok(atoms::nil())
                });
                done(env, changed)
            })
        }),
    )
}

/// Returns `{:ok, is_gone}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_remove_list<'a>(env: Env<'a>, table: ResourceArc<Table>, list: u64) -> Term<'a> {
    let list = ListId::from_u64(list);
    answer(
        env,
        table.shared.write(
            Patience::Endless,
            |tables| each!(Tables, tables, table => done(env, table.remove_list(list))),
        ),
    )
}

/// Returns how many members are left to be built.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_build(table: ResourceArc<Table>, members: usize) -> Option<usize> {
    table.shared.write(
        Patience::Endless,
        |tables| each!(Tables, tables, table => table.build(members)),
    )
}

twins! {
    /// Returns whether a list can be read and is not being built.
    fn table_is_built / "table_is_built_dirty" [env, patience] (
        table: ResourceArc<Table>, list: u64,
    ) {
        answer(env, table.shared.read(patience, |tables| each!(Tables, tables, table => {
            table.is_built(ListId::from_u64(list)).unwrap_or(false)
        })))
    }
}

/// Returns the list of a name, or `nil`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_list_named(table: ResourceArc<Table>, name: &str) -> Option<u64> {
    let list = table.shared.read(
        Patience::Endless,
        |tables| each!(Tables, tables, table => table.list_named(name)),
    );
    list.flatten().map(ListId::to_u64)
}

/// Returns all lists.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_lists(table: ResourceArc<Table>) -> Option<Vec<u64>> {
    table.shared.read(
        Patience::Endless,
        |tables| each!(Tables, tables, table => table.lists().map(ListId::to_u64).collect()),
    )
}

twins! {
    /// Returns `{members, sets of attributes, lists}`
    fn table_size / "table_size_dirty" [env, patience] (table: ResourceArc<Table>) {
        answer(env, table.shared.read(patience, |tables| each!(Tables, tables, table => {
            (table.len(), table.attr_sets(), table.lists().count())
        })))
    }
}

twins! {
    /// Returns `%{id, keys, attrs, revision, payload}`, `nil` or `:bad_id`.
    fn table_get / "table_get_dirty" [env, patience] (table: ResourceArc<Table>, id: Term<'a>) {
        answer(env, table.shared.read(patience, |tables| each!(Tables, tables, table => {
            let id = match TermId::sought(id) {
                Ok(id) => id,
                Err(refused) => return refused.encode(env),
            };
            let found = id.as_ref().and_then(|id| table.get(id)).map(|found| {
                let keys = found.keys.iter().map(|key| binary(env, key));
                let attrs: Vec<u16> = Attrs::bits(&found.attrs).collect();
                let pairs = [
                    (atoms::id(), found.id.to_term(env)),
                    (atoms::keys(), keys.collect::<Vec<_>>().encode(env)),
                    (atoms::attrs(), attrs.encode(env)),
                    (atoms::revision(), found.revision.encode(env)),
                    (atoms::payload(), binary(env, found.payload)),
                ];
                map(env, pairs)
            });
            found.encode(env)
        })))
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn table_memory(table: ResourceArc<Table>) -> Option<usize> {
    table.shared.read(
        Patience::Endless,
        |tables| each!(Tables, tables, table => table.heap_bytes()),
    )
}

/// Returns `[{list, snapshot}]` of the lists that can be read.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_snapshot(table: ResourceArc<Table>) -> Option<Vec<(u64, ResourceArc<SnapshotResource>)>> {
    macro_rules! snapshots {
        ($table:ident, $kind:ident) => {{
            let snapshot = $table.snapshot();
            let lists = $table.lists().filter_map(|id| {
                let list = Snapshots::$kind(snapshot.list(id)?.clone());
                let shared = Shared::new(list);
                Some((id.to_u64(), ResourceArc::new(SnapshotResource { shared })))
            });
            lists.collect()
        }};
    }
    table.shared.read(Patience::Endless, |tables| match tables {
        Tables::Number(table) => snapshots!(table, Number),
        Tables::Uuid(table) => snapshots!(table, Uuid),
        Tables::Text(table) => snapshots!(table, Text),
    })
}

/// Publishes what changed in all lists; `now` in milliseconds. Returns `{tick, is_empty}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_tick(table: ResourceArc<Table>, now: u64) -> Option<(ResourceArc<Published>, bool)> {
    let now = Duration::from_millis(now);
    let payloads = table.payloads;
    macro_rules! tick {
        ($table:ident, $kind:ident) => {{
            let bodies = payloads.map_or(Bodies::None, Bodies::Payloads);
            let tick = $table.tick(now, bodies);
            let is_empty = tick.is_empty();
            (Ticks::$kind(tick), is_empty)
        }};
    }
    let tick = table
        .shared
        .write(Patience::Endless, |tables| match tables {
            Tables::Number(table) => tick!(table, NumberTable),
            Tables::Uuid(table) => tick!(table, UuidTable),
            Tables::Text(table) => tick!(table, TextTable),
        });
    tick.map(|(tick, is_empty)| (ResourceArc::new(Published(tick)), is_empty))
}

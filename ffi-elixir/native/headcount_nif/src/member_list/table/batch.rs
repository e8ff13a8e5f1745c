//! Many changes and many new members of a table at once. All terms are read before the table is locked.

use headcount::member_list::{
    Fields, IntId, ListMove, NewTableMember, TableBatchReport, TableChange, TableError, TextId,
};
use rustler::schedule::consume_timeslice;
use rustler::types::tuple::get_tuple;
use rustler::{Atom, Binary, Encoder, Env, Error, NifResult, ResourceArc, Term};

use super::write::{both, moved};
use super::{Ids, Table, attrs};
use crate::member_list::convert::{Sort, TermId};
use crate::member_list::live::Kind;
use crate::member_list::write::{CHANGES_A_PERCENT, PAYLOADS_NORMAL_MAX, payload_bytes, read_all};
use crate::shared::{Patience, answer, twins};
use crate::{atoms, errors};

/// The most changes, times lists, that a normal scheduler applies at once.
const WRITES_NORMAL_MAX: usize = 1_000;

twins! {
    /// Returns `{:ok, {inserted, updated, removed, missing, [{index, {list, old_index, index}}]}}`,
    /// `{:bad_change, index}` or `{:error, {what, message}}`. There are no rows unless `rows` says so.
    fn table_apply_batch / "table_apply_batch_dirty" [env, patience] (
        table: ResourceArc<Table>, changes: Vec<Term<'a>>, rows: bool,
    ) {
        if let Patience::Moment = patience && payload_bytes(&changes) > PAYLOADS_NORMAL_MAX {
            return atoms::busy().encode(env);
        }
        match table.ids {
            Ids::Number => apply::<IntId>(env, patience, &table, &changes, rows),
            Ids::Uuid => apply::<u128>(env, patience, &table, &changes, rows),
            Ids::Text => apply::<TextId>(env, patience, &table, &changes, rows),
        }
    }
}

fn apply<'a, I: Kind>(
    env: Env<'a>,
    patience: Patience,
    table: &Table,
    changes: &[Term<'a>],
    rows: bool,
) -> Term<'a> {
    let changes = match read_all(changes, in_batch, change::<I>) {
        Err(at) => return (atoms::bad_change(), at).encode(env),
        Ok(Err(error)) => return errors::table(env, &error),
        Ok(Ok(changes)) => changes,
    };
    let mut moves = Vec::new();
    let applied = table.shared.write(patience, |tables| {
        let table = I::table(tables).expect("a table keeps its kind of ids");
        if let Patience::Moment = patience {
            let writes = changes.len() * table.lists().count().max(1);
            if writes > WRITES_NORMAL_MAX {
                return None;
            }
            // The caller has had its turn, so that others run next.
            let percent = (writes / CHANGES_A_PERCENT).clamp(1, 100);
            consume_timeslice(env, percent as i32);
        }
        Some(table.apply_batch(&changes, rows.then_some(&mut moves)))
    });
    let applied = applied.flatten().map(|applied| match applied {
        Ok(report) => batch_term(env, report, &moves),
        Err(error) => errors::table(env, &error),
    });
    answer(env, applied)
}

fn batch_term<'a>(env: Env<'a>, report: TableBatchReport, moves: &[(usize, ListMove)]) -> Term<'a> {
    let TableBatchReport {
        inserted,
        updated,
        removed,
        missing,
    } = report;
    let moves = moves.iter().map(|(at, row)| (*at, moved(row)));
    let moves: Vec<_> = moves.collect();
    (atoms::ok(), (inserted, updated, removed, missing, moves)).encode(env)
}

/// Returns `{:ok, {loaded, [{index, id}]}}`, `{:bad_change, index}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_bulk_load<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    members: Vec<Term<'a>>,
) -> Term<'a> {
    match table.ids {
        Ids::Number => load::<IntId>(env, &table, &members),
        Ids::Uuid => load::<u128>(env, &table, &members),
        Ids::Text => load::<TextId>(env, &table, &members),
    }
}

fn load<'a, I: Kind>(env: Env<'a>, table: &Table, members: &[Term<'a>]) -> Term<'a> {
    let members = match read_all(members, in_batch, new_member::<I>) {
        Err(at) => return (atoms::bad_change(), at).encode(env),
        Ok(Err(error)) => return errors::table(env, &error),
        Ok(Ok(members)) => members,
    };
    let loaded = table.shared.write(Patience::Endless, |tables| {
        let table = I::table(tables).expect("a table keeps its kind of ids");
        table.bulk_load(members)
    });
    let loaded = loaded.map(|loaded| match loaded {
        Ok(report) => {
            let twice = report.duplicates.iter();
            let twice: Vec<_> = twice.map(|(at, id)| (at, id.to_term(env))).collect();
            (atoms::ok(), (report.loaded, twice)).encode(env)
        }
        Err(error) => errors::table(env, &error),
    });
    answer(env, loaded)
}

/// Names the position of what a table refused.
fn in_batch(at: usize, error: TableError) -> TableError {
    let error = Box::new(error);
    TableError::InBatch { at, error }
}

fn id<I: TermId>(term: Term<'_>) -> NifResult<I> {
    I::from_term(term).ok_or(Error::BadArg)
}

/// Reads `{id, keys, attrs, payload | nil}`.
fn new_member<I: TermId>(term: Term<'_>) -> NifResult<Result<NewTableMember<I>, TableError>> {
    let (member, keys, bits, payload): (Term<'_>, Vec<Sort>, Vec<u16>, Option<Binary<'_>>) =
        term.decode()?;
    let id = id(member)?;
    Ok(attrs(bits).map(|attrs| NewTableMember {
        id,
        keys: keys.into_iter().map(|key| key.0).collect(),
        attrs,
        payload: payload.map(|payload| payload.as_slice().to_vec().into()),
    }))
}

/// Reads `{:remove, id}`, `{:touch, id}`, `{:set_payload, id, payload}`, `{:upsert, id, keys, attrs}`,
/// `{:set_key, id, column, key}` or `{:set_attrs, id, clear, set}`.
fn change<I: TermId>(term: Term<'_>) -> NifResult<Result<TableChange<I>, TableError>> {
    let parts = get_tuple(term)?;
    let [what, member, values @ ..] = &parts[..] else {
        return Err(Error::BadArg);
    };
    let what: Atom = what.decode()?;
    let id = id(*member)?;
    Ok(match values {
        [] if what == atoms::remove() => Ok(TableChange::Remove(id)),
        [] if what == atoms::touch() => Ok(TableChange::TouchFields(id, Fields::ALL)),
        [payload] if what == atoms::set_payload() => {
            let payload = payload.decode::<Binary<'_>>()?.as_slice().to_vec();
            Ok(TableChange::SetPayload(id, payload.into()))
        }
        [keys, bits] if what == atoms::upsert() => {
            let keys: Vec<Sort> = keys.decode()?;
            let keys = keys.into_iter().map(|key| key.0).collect();
            attrs(bits.decode()?).map(|attrs| TableChange::Upsert { id, keys, attrs })
        }
        [column, key] if what == atoms::set_key() => {
            let column = column.decode()?;
            let key = key.decode::<Sort>()?.0;
            Ok(TableChange::SetKey { id, column, key })
        }
        [clear, set] if what == atoms::set_attrs() => both(clear.decode()?, set.decode()?)
            .map(|(clear, set)| TableChange::SetAttrs { id, clear, set }),
        _ => return Err(Error::BadArg),
    })
}

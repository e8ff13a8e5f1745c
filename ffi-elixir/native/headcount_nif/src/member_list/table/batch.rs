//! Many changes and many new members of a table at once. All terms are read before the table is locked.

use headcount::member_list::{
    Fields, IntId, ListMove, NewTableMember, TableBatchReport, TableChange, TextId,
};
use rustler::schedule::consume_timeslice;
use rustler::types::tuple::get_tuple;
use rustler::{Atom, Binary, Encoder, Env, Error, NifResult, ResourceArc, Term};

use super::spec::{Bits, attrs};
use super::write::{both, moved};
use super::{Ids, Table};
use crate::member_list::convert::{Checked, Sort, TermId};
use crate::member_list::live::Kind;
use crate::member_list::refused::Refused;
use crate::member_list::write::{CHANGES_A_PERCENT, PAYLOADS_NORMAL_MAX, payload_bytes, read_all};
use crate::shared::{Patience, answer, twins};
use crate::{atoms, errors};

/// The most changes, times lists, that a normal scheduler applies at once.
const WRITES_NORMAL_MAX: usize = 1_000;

twins! {
    /// Returns `{:ok, {inserted, updated, removed, missing, [{index, {list, old_index, index}}]}}`,
    /// `{:bad_change, index}`, `{:bad_id, index}` or `{:error, {what, message}}`. There are no rows
    /// unless `rows` says so.
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
    let changes = match read_all(changes, change::<I>) {
        Err(at) => return (atoms::bad_change(), at).encode(env),
        Ok(Err(refused)) => return refused.encode(env),
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

/// Returns `{:ok, {loaded, [{index, id}]}}`, `{:bad_change, index}`, `{:bad_id, index}` or `{:error, {what, message}}`.
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
    let members = match read_all(members, new_member::<I>) {
        Err(at) => return (atoms::bad_change(), at).encode(env),
        Ok(Err(refused)) => return refused.encode(env),
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

/// Reads `{id, keys, attrs, payload | nil}`.
fn new_member<I: TermId>(term: Term<'_>) -> NifResult<Result<NewTableMember<I>, Refused>> {
    let (id, keys, bits, payload): (Term<'_>, Vec<Sort>, Bits, Option<Binary<'_>>) =
        term.decode()?;
    let read = |id| {
        Ok(NewTableMember {
            id,
            keys: Sort::keys(keys)?,
            attrs: attrs(bits)?,
            payload: payload.map(|payload| payload.as_slice().to_vec().into()),
        })
    };
    Ok(I::from_term(id).and_then(read))
}

/// Reads `{:remove, id}`, `{:touch, id}`, `{:set_payload, id, payload}`, `{:upsert, id, keys, attrs}`,
/// `{:set_key, id, column, key}` or `{:set_attrs, id, clear, set}`.
fn change<I: TermId>(term: Term<'_>) -> NifResult<Result<TableChange<I>, Refused>> {
    let parts = get_tuple(term)?;
    let [what, member, values @ ..] = &parts[..] else {
        return Err(Error::BadArg);
    };
    let what: Atom = what.decode()?;
    let id = I::from_term(*member);
    Ok(match values {
        [] if what == atoms::remove() => id.map(TableChange::Remove),
        [] if what == atoms::touch() => id.map(|id| TableChange::TouchFields(id, Fields::ALL)),
        [payload] if what == atoms::set_payload() => {
            let payload = payload.decode::<Binary<'_>>()?.as_slice().to_vec();
            id.map(|id| TableChange::SetPayload(id, payload.into()))
        }
        [keys, bits] if what == atoms::upsert() => {
            let keys: Vec<Sort> = keys.decode()?;
            let bits: Bits = bits.decode()?;
            id.and_then(|id| {
                let keys = Sort::keys(keys)?;
                let attrs = attrs(bits)?;
                Ok(TableChange::Upsert { id, keys, attrs })
            })
        }
        [column, key] if what == atoms::set_key() => {
            let column: Checked<usize> = column.decode()?;
            let key: Sort = key.decode()?;
            id.and_then(|id| {
                let column = column.value()?;
                let key = key.key()?;
                Ok(TableChange::SetKey { id, column, key })
            })
        }
        [clear, set] if what == atoms::set_attrs() => {
            let clear: Bits = clear.decode()?;
            let set: Bits = set.decode()?;
            id.and_then(|id| {
                let (clear, set) = both(clear, set)?;
                Ok(TableChange::SetAttrs { id, clear, set })
            })
        }
        _ => return Err(Error::BadArg),
    })
}

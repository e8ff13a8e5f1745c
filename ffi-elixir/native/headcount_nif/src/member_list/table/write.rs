//! Writes of members of a table.

use headcount::SortKey;
use headcount::member_list::{Attrs, Fields, IntId, ListMove, TableError, TextId};
use rustler::{Binary, Encoder, Env, ResourceArc, Term};

use super::{Ids, Table, attrs};
use crate::member_list::convert::{Sort, TermId};
use crate::member_list::each;
use crate::member_list::live::Kind;
use crate::shared::{Patience, answer, twins};
use crate::{atoms, errors};

/// The result of a call on one member.
enum Done {
    /// A flag for new members, and the moves.
    Upsert(bool, Vec<ListMove>),
    Moves(Vec<ListMove>),
    Nothing,
    BadId,
}

/// Returns `{:ok, {is_new, moves}}`, `{:ok, moves}` with moves `{list, old_index, index}`, `{:ok, nil}`, `:bad_id`,
/// `:busy` or `{:error, {what, message}}`.
fn done<'a>(env: Env<'a>, result: Option<Result<Done, TableError>>) -> Term<'a> {
    let moves = |moves: Vec<ListMove>| moves.iter().map(moved).collect::<Vec<_>>();
    match result {
        None => atoms::busy().encode(env),
        Some(Ok(Done::Upsert(is_new, found))) => (atoms::ok(), (is_new, moves(found))).encode(env),
        Some(Ok(Done::Moves(found))) => (atoms::ok(), moves(found)).encode(env),
        Some(Ok(Done::Nothing)) => (atoms::ok(), atoms::nil()).encode(env),
        Some(Ok(Done::BadId)) => atoms::bad_id().encode(env),
        Some(Err(error)) => errors::table(env, &error),
    }
}

/// Returns `{list, old_index, index}`
pub(super) fn moved(moved: &ListMove) -> (u64, Option<usize>, Option<usize>) {
    (moved.list.to_u64(), moved.old_index, moved.index)
}

/// Runs a call on the member of an id; `$moves` gets its rows.
macro_rules! on_member {
    ($env:ident, $patience:ident, $shared:ident, $term:ident, |$table:ident, $id:ident, $moves:ident| $body:expr) => {
        done($env, $shared.shared.write($patience, |tables| each!(Tables, tables, $table => {
            let mut found = Vec::new();
            let $moves = &mut found;
            match TermId::from_term($term) {
                Some($id) => {
                    let made: Result<Option<bool>, TableError> = $body;
                    made.map(|is_new| match is_new {
                        Some(is_new) => Done::Upsert(is_new, found),
                        None => Done::Moves(found),
                    })
                }
                None => Ok(Done::BadId),
            }
        })))
    };
}

twins! {
    fn table_upsert / "table_upsert_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, keys: Vec<Sort>, bits: Vec<u16>,
    ) {
        let keys: Vec<SortKey> = keys.into_iter().map(|key| key.0).collect();
        on_member!(env, patience, table, id, |table, id, moves| {
            attrs(bits).and_then(|attrs| table.upsert(id, &keys, attrs, Some(moves))).map(Some)
        })
    }
}

twins! {
    fn table_set_key / "table_set_key_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, column: usize, key: Sort,
    ) {
        on_member!(env, patience, table, id, |table, id, moves| {
            table.set_key(&id, column, &key.0, Some(moves)).map(|()| None)
        })
    }
}

twins! {
    fn table_set_attrs / "table_set_attrs_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, clear: Vec<u16>, set: Vec<u16>,
    ) {
        on_member!(env, patience, table, id, |table, id, moves| {
            both(clear, set).and_then(|(clear, set)| {
                table.set_attrs(&id, &clear, &set, Some(moves)).map(|()| None)
            })
        })
    }
}

twins! {
    /// Also returns `{:ok, nil}` when there is no such member.
    fn table_remove / "table_remove_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>,
    ) {
        done(env, table.shared.write(patience, |tables| each!(Tables, tables, table => {
            let Some(id) = TermId::from_term(id) else {
                return Ok(Done::BadId);
            };
            let mut moves = Vec::new();
            Ok(match table.remove(&id, Some(&mut moves)) {
                true => Done::Moves(moves),
                false => Done::Nothing,
            })
        })))
    }
}

twins! {
    fn table_touch / "table_touch_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>,
    ) {
        done(env, table.shared.write(patience, |tables| each!(Tables, tables, table => {
            match TermId::from_term(id) {
                Some(id) => table.touch_fields(&id, Fields::ALL).map(|()| Done::Nothing),
                None => Ok(Done::BadId),
            }
        })))
    }
}

twins! {
    fn table_set_payload / "table_set_payload_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, payload: Binary<'a>,
    ) {
        let payload = payload.as_slice().to_vec();
        done(env, table.shared.write(patience, |tables| each!(Tables, tables, table => {
            match TermId::from_term(id) {
                Some(id) => table.set_payload(&id, payload.into()).map(|()| Done::Nothing),
                None => Ok(Done::BadId),
            }
        })))
    }
}

/// Returns `{:ok, members}`, `{:bad_change, index}` with the index of the first term that is no id, or
/// `{:error, {what, message}}`. All members change at once, so the lock is held for as long as the change takes; the
/// terms are read before.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_set_attrs_many<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    ids: Vec<Term<'a>>,
    clear: Vec<u16>,
    set: Vec<u16>,
) -> Term<'a> {
    let change = match both(clear, set) {
        Ok(change) => change,
        Err(error) => return errors::table(env, &error),
    };
    match table.ids {
        Ids::Number => set_many::<IntId>(env, &table, &ids, &change),
        Ids::Uuid => set_many::<u128>(env, &table, &ids, &change),
        Ids::Text => set_many::<TextId>(env, &table, &ids, &change),
    }
}

fn set_many<'a, I: Kind>(
    env: Env<'a>,
    table: &Table,
    ids: &[Term<'a>],
    (clear, set): &(Attrs, Attrs),
) -> Term<'a> {
    let mut known = Vec::with_capacity(ids.len());
    for (index, term) in ids.iter().enumerate() {
        match I::from_term(*term) {
            Some(id) => known.push(id),
            None => return (atoms::bad_change(), index).encode(env),
        }
    }
    let changed = table.shared.write(Patience::Endless, |tables| {
        let table = I::table(tables).expect("a table keeps its kind of ids");
        table.set_attrs_many(&known, clear, set)
    });
    answer(env, changed.map(|changed| super::done(env, changed)))
}

/// Reads attributes that are cleared and set.
pub(super) fn both(clear: Vec<u16>, set: Vec<u16>) -> Result<(Attrs, Attrs), TableError> {
    Ok((attrs(clear)?, attrs(set)?))
}

//! Writes of members of a table.

use headcount::member_list::{Attrs, Fields, IntId, ListMove, TextId};
use rustler::{Binary, Encoder, Env, ResourceArc, Term};

use super::spec::{Bits, attrs};
use super::{Ids, Table};
use crate::atoms;
use crate::member_list::convert::{Checked, Sort, TermId, all_ids};
use crate::member_list::each;
use crate::member_list::live::Kind;
use crate::member_list::refused::Refused;
use crate::shared::{Patience, answer, twins};

/// The result of a call on one member.
enum Done {
    /// A flag for new members, and the moves.
    Upsert(bool, Vec<ListMove>),
    Moves(Vec<ListMove>),
    Nothing,
}

/// Returns `{:ok, {is_new, moves}}`, `{:ok, moves}` with moves `{list, old_index, index}`, `{:ok, nil}`, `:bad_id`,
/// `:busy` or `{:error, {what, message}}`.
fn done<'a>(env: Env<'a>, result: Option<Result<Done, Refused>>) -> Term<'a> {
    let moves = |moves: Vec<ListMove>| moves.iter().map(moved).collect::<Vec<_>>();
    match result {
        None => atoms::busy().encode(env),
        Some(Ok(Done::Upsert(is_new, found))) => (atoms::ok(), (is_new, moves(found))).encode(env),
        Some(Ok(Done::Moves(found))) => (atoms::ok(), moves(found)).encode(env),
        Some(Ok(Done::Nothing)) => (atoms::ok(), atoms::nil()).encode(env),
        Some(Err(refused)) => refused.encode(env),
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
            let made = TermId::from_term($term).and_then(|$id| -> Result<Option<bool>, Refused> {
                $body
            });
            made.map(|is_new| match is_new {
                Some(is_new) => Done::Upsert(is_new, found),
                None => Done::Moves(found),
            })
        })))
    };
}

twins! {
    fn table_upsert / "table_upsert_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, keys: Vec<Sort>, bits: Bits,
    ) {
        on_member!(env, patience, table, id, |table, id, moves| {
            let keys = Sort::keys(keys)?;
            Ok(Some(table.upsert(id, &keys, attrs(bits)?, Some(moves))?))
        })
    }
}

twins! {
    fn table_set_key / "table_set_key_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, column: Checked<usize>, key: Sort,
    ) {
        on_member!(env, patience, table, id, |table, id, moves| {
            table.set_key(&id, column.value()?, &key.key()?, Some(moves))?;
            Ok(None)
        })
    }
}

twins! {
    fn table_set_attrs / "table_set_attrs_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, clear: Bits, set: Bits,
    ) {
        on_member!(env, patience, table, id, |table, id, moves| {
            let (clear, set) = both(clear, set)?;
            table.set_attrs(&id, &clear, &set, Some(moves))?;
            Ok(None)
        })
    }
}

twins! {
    /// Also returns `{:ok, nil}` when there is no such member.
    fn table_remove / "table_remove_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>,
    ) {
        done(env, table.shared.write(patience, |tables| each!(Tables, tables, table => {
            let id = TermId::sought(id)?;
            let mut moves = Vec::new();
            Ok(match id.is_some_and(|id| table.remove(&id, Some(&mut moves))) {
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
            table.touch_fields(&TermId::from_term(id)?, Fields::ALL)?;
            Ok(Done::Nothing)
        })))
    }
}

twins! {
    fn table_set_payload / "table_set_payload_dirty" [env, patience] (
        table: ResourceArc<Table>, id: Term<'a>, payload: Binary<'a>,
    ) {
        let payload = payload.as_slice().to_vec();
        done(env, table.shared.write(patience, |tables| each!(Tables, tables, table => {
            table.set_payload(&TermId::from_term(id)?, payload.into())?;
            Ok(Done::Nothing)
        })))
    }
}

/// Returns `{:ok, members}`, `{:bad_id, index}` with the index of the first term that is no id, or
/// `{:error, {what, message}}`. All members change at once, so the lock is held for as long as the change takes; the
/// terms are read before.
#[rustler::nif(schedule = "DirtyCpu")]
fn table_set_attrs_many<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    ids: Vec<Term<'a>>,
    clear: Bits,
    set: Bits,
) -> Term<'a> {
    let change = match both(clear, set) {
        Ok(change) => change,
        Err(refused) => return refused.encode(env),
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
    let known: Vec<I> = match all_ids(ids) {
        Ok(ids) => ids,
        Err(refused) => return refused.encode(env),
    };
    let changed = table.shared.write(Patience::Endless, |tables| {
        let table = I::table(tables).expect("a table keeps its kind of ids");
        table.set_attrs_many(&known, clear, set)
    });
    answer(env, changed.map(|changed| super::done(env, changed)))
}

/// Reads attributes that are cleared and set.
pub(super) fn both(clear: Bits, set: Bits) -> Result<(Attrs, Attrs), Refused> {
    Ok((attrs(clear)?, attrs(set)?))
}

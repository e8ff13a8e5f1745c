//! Reads of one list of a table, and its groups. All return the value or `{:error, {what, message}}`.

use headcount::ListError;
use headcount::member_list::{ListId, MemberTable, TableError};
use rustler::{Encoder, Env, ResourceArc, Term};

use super::{Table, Tables};
use crate::member_list::convert::{RowWriter, Sort, TermId, find_all, group};
use crate::member_list::read::name_of;
use crate::member_list::{SnapshotResource, Snapshots, each};
use crate::shared::{Patience, Shared, answer, twins};
use crate::{atoms, errors};

/// Reads a list of a table.
macro_rules! view {
    ($env:ident, $patience:expr, $table:ident, $id:ident, $list:ident => $body:expr) => {
        answer($env, $table.shared.read($patience, |tables| each!(Tables, tables, table => {
            match table.list(ListId::from_u64($id)) {
                Ok($list) => $body.encode($env),
                Err(error) => errors::table($env, &error),
            }
        })))
    };
}

twins! {
    /// Returns `{rows, members}`
    fn view_size / "view_size_dirty" [env, patience] (table: ResourceArc<Table>, id: u64) {
        view!(env, patience, table, id, list => (list.len(), list.member_count()))
    }
}

/// Returns the name of a list.
#[rustler::nif(schedule = "DirtyCpu")]
fn view_name(env: Env<'_>, table: ResourceArc<Table>, id: u64) -> Term<'_> {
    answer(
        env,
        table.shared.read(Patience::Endless, |tables| {
            each!(Tables, tables, table => {
                match table.spec(ListId::from_u64(id)) {
                    Ok(spec) => spec.name().encode(env),
                    Err(error) => errors::table(env, &error),
                }
            })
        }),
    )
}

twins! {
    /// Returns the row, or `nil`.
    fn view_row_at / "view_row_at_dirty" [env, patience] (
        table: ResourceArc<Table>, id: u64, index: usize,
    ) {
        view!(env, patience, table, id, list => {
            list.row_at(index).map(|row| RowWriter::new(env, name_of!(env, list)).row(&row))
        })
    }
}

twins! {
    fn view_slice / "view_slice_dirty" [env, patience] (
        table: ResourceArc<Table>, id: u64, start: usize, amount: usize,
    ) {
        let end = start.saturating_add(amount);
        view!(env, patience, table, id, list => {
            let mut writer = RowWriter::new(env, name_of!(env, list));
            list.slice(start..end).map(|row| writer.row(&row)).collect::<Vec<_>>()
        })
    }
}

twins! {
    /// Returns the row, `nil` or `:bad_id`.
    fn view_index_of / "view_index_of_dirty" [env, patience] (
        table: ResourceArc<Table>, id: u64, member: Term<'a>,
    ) {
        view!(env, patience, table, id, list => match TermId::sought(member) {
            Ok(member) => member.and_then(|member| list.index_of(&member)).encode(env),
            Err(refused) => refused.encode(env),
        })
    }
}

twins! {
    /// Returns `[row | nil]`, or `{:bad_id, index}` with the index of the first term that is no id.
    fn view_index_of_many / "view_index_of_many_dirty" [env, patience] (
        table: ResourceArc<Table>, id: u64, members: Vec<Term<'a>>,
    ) {
        view!(env, patience, table, id, list => match find_all(&members, |ids| list.index_of_many(ids)) {
            Ok(found) => found.encode(env),
            Err(refused) => refused.encode(env),
        })
    }
}

twins! {
    /// Returns `[{index, row} | nil]`, or `{:bad_id, index}` as above.
    fn view_rows_of / "view_rows_of_dirty" [env, patience] (
        table: ResourceArc<Table>, id: u64, members: Vec<Term<'a>>,
    ) {
        view!(env, patience, table, id, list => match find_all(&members, |ids| list.rows_of(ids)) {
            Ok(rows) => RowWriter::new(env, name_of!(env, list)).found(&rows),
            Err(refused) => refused.encode(env),
        })
    }
}

twins! {
    /// Returns the name of the group, `nil` or `:bad_id`.
    fn view_group_of / "view_group_of_dirty" [env, patience] (
        table: ResourceArc<Table>, id: u64, member: Term<'a>,
    ) {
        view!(env, patience, table, id, list => match TermId::sought(member) {
            Ok(member) => {
                let group = member.and_then(|member| list.group_of(&member));
                group.and_then(name_of!(env, list)).encode(env)
            }
            Err(refused) => refused.encode(env),
        })
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn view_groups(env: Env<'_>, table: ResourceArc<Table>, id: u64) -> Term<'_> {
    view!(env, Patience::Endless, table, id, list => {
        list.groups().map(|info| group(env, &info)).collect::<Vec<_>>()
    })
}

/// Returns `[{group, row}]`
#[rustler::nif(schedule = "DirtyCpu")]
fn view_find_prefix<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    id: u64,
    prefix: Sort,
) -> Term<'a> {
    let prefix = prefix.key();
    view!(env, Patience::Endless, table, id, list => {
        let Ok(prefix) = &prefix else {
            return Term::list_new_empty(env);
        };
        let found = list.find_prefix(prefix).into_iter();
        found.map(|(group, row)| (name_of!(env, list)(group), row)).collect::<Vec<_>>()
    })
}

/// Returns `[{group, count, first row}]`
#[rustler::nif(schedule = "DirtyCpu")]
fn view_search_prefix<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    id: u64,
    prefix: Sort,
) -> Term<'a> {
    let prefix = prefix.key();
    view!(env, Patience::Endless, table, id, list => {
        let Ok(prefix) = &prefix else {
            return Term::list_new_empty(env);
        };
        let matches = list.search_prefix(prefix);
        let found = matches.groups().iter();
        let found = found.map(|found| {
            (name_of!(env, list)(found.group), found.count, found.first_index)
        });
        found.collect::<Vec<_>>()
    })
}

/// Returns the list as it is now. O(1).
#[rustler::nif(schedule = "DirtyCpu")]
fn view_snapshot(env: Env<'_>, table: ResourceArc<Table>, id: u64) -> Term<'_> {
    let id = ListId::from_u64(id);
    let frozen = table.shared.read(Patience::Endless, |tables| match tables {
        Tables::Number(table) => Ok(Snapshots::Number(table.list(id)?.snapshot())),
        Tables::Uuid(table) => Ok(Snapshots::Uuid(table.list(id)?.snapshot())),
        Tables::Text(table) => Ok(Snapshots::Text(table.list(id)?.snapshot())),
    });
    answer(
        env,
        frozen.map(|frozen| match frozen {
            Ok(frozen) => {
                let shared = Shared::new(frozen);
                ResourceArc::new(SnapshotResource { shared }).encode(env)
            }
            Err(error) => errors::table(env, &error),
        }),
    )
}

/// Hides a group or, with `collapse`, its members only. Returns `{:ok, nil}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn view_set_group<'a>(
    env: Env<'a>,
    table: ResourceArc<Table>,
    id: u64,
    name: &str,
    collapse: bool,
    value: bool,
) -> Term<'a> {
    let id = ListId::from_u64(id);
    answer(
        env,
        table.shared.write(Patience::Endless, |tables| {
            each!(Tables, tables, table => {
                let set = set_group(table, id, name, collapse, value);
                super::done(env, set.map(|()| atoms::nil()))
            })
        }),
    )
}

fn set_group<I: TermId>(
    table: &mut MemberTable<I>,
    list: ListId,
    name: &str,
    collapse: bool,
    value: bool,
) -> Result<(), TableError> {
    let unknown = || ListError::UnknownGroup {
        group: name.to_owned(),
    };
    let group = table.list(list)?.group(name).ok_or_else(unknown)?;
    match collapse {
        true => table.set_group_collapsed(list, group, value),
        false => table.set_group_hidden(list, group, value),
    }
}

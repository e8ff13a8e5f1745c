//! Reads of a list and of its snapshots.

use headcount::WindowSpec;
use headcount::member_list::IntId;
use rustler::{Encoder, Env, ResourceArc, Term};

use super::convert::{RowWriter, Sort, TermId, find_all, member};
use super::{List, Lists, SnapshotResource, Snapshots, each};
use crate::atoms;
use crate::shared::{Patience, Shared, answer, twins};

/// The name of a group as a term.
macro_rules! name_of {
    ($env:ident, $list:ident) => {
        |id| $list.group_name(id).map(|name| name.encode($env))
    };
}

pub(super) use name_of;

/// Reads that a list and a snapshot share.
macro_rules! reads {
    (
        $resource:ident, $kinds:ident, $size:ident / $size_dirty:literal,
        $row_at:ident / $row_at_dirty:literal, $slice:ident / $slice_dirty:literal
    ) => {
        twins! {
            /// Returns `{rows, members}`
            fn $size / $size_dirty [env, patience] (list: ResourceArc<$resource>) {
                answer(env, list.shared.read(patience, |lists| {
                    each!($kinds, lists, list => (list.len(), list.member_count()))
                }))
            }
        }

        twins! {
            /// Returns the row, or `nil`.
            fn $row_at / $row_at_dirty [env, patience] (
                list: ResourceArc<$resource>, index: usize,
            ) {
                answer(env, list.shared.read(patience, |lists| each!($kinds, lists, list => {
                    list.row_at(index).map(|row| RowWriter::new(env, name_of!(env, list)).row(&row))
                })))
            }
        }

        twins! {
            fn $slice / $slice_dirty [env, patience] (
                list: ResourceArc<$resource>, start: usize, amount: usize,
            ) {
                let end = start.saturating_add(amount);
                answer(env, list.shared.read(patience, |lists| each!($kinds, lists, list => {
                    let mut writer = RowWriter::new(env, name_of!(env, list));
                    list.slice(start..end).map(|row| writer.row(&row)).collect::<Vec<_>>()
                })))
            }
        }
    };
}

reads!(
    List,
    Lists,
    member_list_size / "member_list_size_dirty",
    member_list_row_at / "member_list_row_at_dirty",
    member_list_slice / "member_list_slice_dirty"
);
reads!(
    SnapshotResource,
    Snapshots,
    snapshot_size / "snapshot_size_dirty",
    snapshot_row_at / "snapshot_row_at_dirty",
    snapshot_slice / "snapshot_slice_dirty"
);

twins! {
    /// Returns `%{id, group, key, revision, attrs, payload}`, `nil` or `:bad_id`.
    fn member_list_get / "member_list_get_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        answer(env, list.shared.read(patience, |lists| each!(Lists, lists, list => {
            let id = match TermId::sought(id) {
                Ok(id) => id,
                Err(refused) => return refused.encode(env),
            };
            let found = id.as_ref().and_then(|id| list.get(id)).map(|found| {
                let group = name_of!(env, list)(found.group);
                let group = group.unwrap_or_else(|| atoms::nil().encode(env));
                let map = member(env, found.id, group, found.revision, found.attrs, found.payload);
                map.map_put(atoms::key(), binary(env, found.key)).unwrap_or(map)
            });
            found.encode(env)
        })))
    }
}

twins! {
    /// Returns the row, `nil` or `:bad_id`.
    fn member_list_index_of / "member_list_index_of_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        answer(env, list.shared.read(patience, |lists| each!(Lists, lists, list => {
            match TermId::sought(id) {
                Ok(id) => id.and_then(|id| list.index_of(&id)).encode(env),
                Err(refused) => refused.encode(env),
            }
        })))
    }
}

twins! {
    /// Returns `{index, row}` of a member, `nil` or `:bad_id`.
    fn snapshot_find / "snapshot_find_dirty" [env, patience] (
        list: ResourceArc<SnapshotResource>, id: Term<'a>,
    ) {
        answer(env, list.shared.read(patience, |lists| each!(Snapshots, lists, list => {
            match TermId::sought(id) {
                Ok(id) => {
                    let row = id.and_then(|id| Some((list.index_of(&id), list.get(&id)?)));
                    let mut writer = RowWriter::new(env, name_of!(env, list));
                    row.map(|(index, row)| (index, writer.row(&row))).encode(env)
                }
                Err(refused) => refused.encode(env),
            }
        })))
    }
}

twins! {
    /// Returns `[row | nil]`, or `{:bad_id, index}` with the index of the first term that is no id.
    fn member_list_index_of_many / "member_list_index_of_many_dirty" [env, patience] (
        list: ResourceArc<List>, ids: Vec<Term<'a>>,
    ) {
        answer(env, list.shared.read(patience, |lists| each!(Lists, lists, list => {
            match find_all(&ids, |ids| list.index_of_many(ids)) {
                Ok(found) => found.encode(env),
                Err(refused) => refused.encode(env),
            }
        })))
    }
}

twins! {
    /// Returns `[{index, row} | nil]`, or `{:bad_id, index}` as above.
    fn member_list_rows_of / "member_list_rows_of_dirty" [env, patience] (
        list: ResourceArc<List>, ids: Vec<Term<'a>>,
    ) {
        answer(env, list.shared.read(patience, |lists| each!(Lists, lists, list => {
            match find_all(&ids, |ids| list.rows_of(ids)) {
                Ok(rows) => RowWriter::new(env, name_of!(env, list)).found(&rows),
                Err(refused) => refused.encode(env),
            }
        })))
    }
}

/// Returns `[{group, row}]`
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_find_prefix<'a>(env: Env<'a>, list: ResourceArc<List>, prefix: Sort) -> Term<'a> {
    // No key begins with one that is beyond a limit.
    let Ok(prefix) = prefix.key() else {
        return Term::list_new_empty(env);
    };
    answer(
        env,
        list.shared.read(Patience::Endless, |lists| {
            each!(Lists, lists, list => {
                let named = list.find_prefix(&prefix).into_iter();
                named.map(|(group, row)| (name_of!(env, list)(group), row)).collect::<Vec<_>>()
            })
        }),
    )
}

/// Returns `[{group, count, first row | nil}]`
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_search_prefix<'a>(env: Env<'a>, list: ResourceArc<List>, prefix: Sort) -> Term<'a> {
    let Ok(prefix) = prefix.key() else {
        return Term::list_new_empty(env);
    };
    answer(
        env,
        list.shared.read(Patience::Endless, |lists| {
            each!(Lists, lists, list => {
                let matches = list.search_prefix(&prefix);
                let found = matches.groups().iter();
                let found = found.map(|found| {
                    (name_of!(env, list)(found.group), found.count, found.first_index)
                });
                found.collect::<Vec<_>>()
            })
        }),
    )
}

/// Returns the name of the window that shows a page of what a search finds, in all groups or in one, or
/// `{:error, {what, message}}`.
#[rustler::nif]
fn search_window<'a>(env: Env<'a>, prefix: Sort, page: u32, group: Option<&str>) -> Term<'a> {
    let prefix = match prefix.key() {
        Ok(prefix) => prefix,
        Err(refused) => return refused.encode(env),
    };
    let window: WindowSpec<IntId> = match group {
        Some(group) => WindowSpec::search_in(group, &prefix, page),
        None => WindowSpec::search(&prefix, page),
    };
    window.to_string().encode(env)
}

/// Groups of a snapshot.
#[rustler::nif(schedule = "DirtyCpu")]
fn snapshot_groups<'a>(env: Env<'a>, snapshot: ResourceArc<SnapshotResource>) -> Term<'a> {
    answer(
        env,
        snapshot.shared.read(Patience::Endless, |lists| {
            each!(Snapshots, lists, list => {
                list.groups().map(|info| super::convert::group(env, &info)).collect::<Vec<_>>()
            })
        }),
    )
}

/// Returns the list as it is now. O(1).
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_snapshot(list: ResourceArc<List>) -> Option<ResourceArc<SnapshotResource>> {
    let frozen = list.shared.read(Patience::Endless, |lists| match lists {
        Lists::Number(list) => Snapshots::Number(list.snapshot()),
        Lists::Uuid(list) => Snapshots::Uuid(list.snapshot()),
        Lists::Text(list) => Snapshots::Text(list.snapshot()),
    })?;
    Some(ResourceArc::new(SnapshotResource {
        shared: Shared::new(frozen),
    }))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_memory(list: ResourceArc<List>) -> Option<usize> {
    list.shared.read(
        Patience::Endless,
        |lists| each!(Lists, lists, list => list.heap_bytes()),
    )
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    rustler::NewBinary::from_slice(env, bytes).into()
}

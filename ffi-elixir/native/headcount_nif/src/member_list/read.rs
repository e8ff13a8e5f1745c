//! Reads of a list and of its snapshots.

use headcount::member_list::IntId;
use headcount::{SortKey, WindowSpec};
use rustler::{Encoder, Env, ResourceArc, Term};

use super::convert::{RowWriter, TermId, all_ids, member};
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
            let Some(id) = TermId::from_term(id) else {
                return atoms::bad_id().encode(env);
            };
            let found = list.get(&id).map(|found| {
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
            match TermId::from_term(id) {
                Some(id) => list.index_of(&id).encode(env),
                None => atoms::bad_id().encode(env),
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
            match all_ids(&ids) {
                Ok(ids) => list.index_of_many(&ids).encode(env),
                Err(at) => (atoms::bad_id(), at).encode(env),
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
            match all_ids(&ids) {
                Ok(ids) => RowWriter::new(env, name_of!(env, list)).found(&list.rows_of(&ids)),
                Err(at) => (atoms::bad_id(), at).encode(env),
            }
        })))
    }
}

/// Returns `[{group, row}]`
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_find_prefix<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    prefix: super::convert::Sort,
) -> Term<'a> {
    let prefix: SortKey = prefix.0;
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
fn member_list_search_prefix<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    prefix: super::convert::Sort,
) -> Term<'a> {
    answer(
        env,
        list.shared.read(Patience::Endless, |lists| {
            each!(Lists, lists, list => {
                let matches = list.search_prefix(&prefix.0);
                let found = matches.groups().iter();
                let found = found.map(|found| {
                    (name_of!(env, list)(found.group), found.count, found.first_index)
                });
                found.collect::<Vec<_>>()
            })
        }),
    )
}

/// Returns the name of the window that shows a page of what a search finds, in all groups or in one.
#[rustler::nif]
fn search_window(prefix: super::convert::Sort, page: u32, group: Option<&str>) -> String {
    let window: WindowSpec<IntId> = match group {
        Some(group) => WindowSpec::search_in(group, &prefix.0, page),
        None => WindowSpec::search(&prefix.0, page),
    };
    window.to_string()
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

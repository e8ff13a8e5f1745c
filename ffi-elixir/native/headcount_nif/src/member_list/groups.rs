//! Groups: by name from Elixir, by id in the crate.

use headcount::member_list::Id;
use headcount::{ListError, MemberList};
use rustler::{Encoder, Env, ResourceArc, Term};

use super::convert::all_ids;
use super::refused::Refused;
use super::{List, convert, each};
use crate::atoms;
use crate::errors;
use crate::shared::{Patience, answer};

/// Returns `:ok` or `{:error, {what, message}}`.
pub(super) fn done<'a>(env: Env<'a>, result: Option<Result<(), ListError>>) -> Term<'a> {
    match result {
        None => atoms::busy().encode(env),
        Some(Ok(())) => atoms::ok().encode(env),
        Some(Err(error)) => errors::described(env, &error),
    }
}

/// Work on whole groups marks the windows of all rows, so it runs on a dirty scheduler.
macro_rules! group_nif {
    ($name:ident($($parameters:tt)*), $list:ident => $body:expr) => {
        #[rustler::nif(schedule = "DirtyCpu")]
        fn $name<'a>(env: Env<'a>, list: ResourceArc<List>, $($parameters)*) -> Term<'a> {
            done(env, list.shared.write(Patience::Endless, |lists| each!(Lists, lists, $list => $body)))
        }
    };
}

group_nif!(member_list_add_group(name: &str), list => list.add_group(name).map(|_| ()));
group_nif!(member_list_set_groups(names: Vec<&str>), list => list.set_groups(&names).map(|_| ()));
group_nif!(member_list_rename_group(name: &str, new: &str), list => {
    list.group(name).and_then(|group| list.rename_group(group, new))
});
group_nif!(member_list_reorder_groups(names: Vec<&str>), list => reorder(list, &names));
group_nif!(member_list_move_group(name: &str, to: usize), list => {
    list.group(name).and_then(|group| list.move_group(group, to))
});
group_nif!(member_list_set_group_hidden(name: &str, hidden: bool), list => {
    list.group(name).and_then(|group| list.set_group_hidden(group, hidden))
});
group_nif!(member_list_set_group_collapsed(name: &str, collapsed: bool), list => {
    list.group(name).and_then(|group| list.set_group_collapsed(group, collapsed))
});
group_nif!(member_list_remove_group(name: &str), list => {
    list.group(name).and_then(|group| list.remove_group(group))
});

/// Returns `{:ok, members}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_merge_group<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    from: &str,
    into: &str,
) -> Term<'a> {
    let merged = list.shared.write(Patience::Endless, |lists| {
        each!(Lists, lists, list => {
            let groups = list.group(from).and_then(|from| Ok((from, list.group(into)?)));
            groups.and_then(|(from, into)| list.merge_group(from, into)).map_err(Refused::from)
        })
    });
    counted(env, merged)
}

/// Returns `{:ok, members}`, `{:bad_id, index}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_set_group_many<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    ids: Vec<Term<'a>>,
    group: &str,
) -> Term<'a> {
    let moved = list.shared.write(Patience::Endless, |lists| {
        each!(Lists, lists, list => all_ids(&ids).and_then(|ids| {
            let group = list.group(group)?;
            Ok(list.set_group_many(&ids, group)?)
        }))
    });
    counted(env, moved)
}

fn counted<'a>(env: Env<'a>, members: Option<Result<usize, Refused>>) -> Term<'a> {
    let answered = members.map(|members| match members {
        Ok(members) => (atoms::ok(), members).encode(env),
        Err(refused) => refused.encode(env),
    });
    answer(env, answered)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_groups<'a>(env: Env<'a>, list: ResourceArc<List>) -> Term<'a> {
    answer(
        env,
        list.shared.read(Patience::Endless, |lists| {
            each!(Lists, lists, list => {
                list.groups().map(|info| convert::group(env, &info)).collect::<Vec<_>>()
            })
        }),
    )
}

fn reorder<I: Id>(list: &mut MemberList<I>, names: &[&str]) -> Result<(), ListError> {
    let expected = list.groups().count();
    if names.len() > expected {
        let got = names.len();
        return Err(ListError::BadGroupOrder { expected, got });
    }
    let order = names
        .iter()
        .map(|name| list.group(name))
        .collect::<Result<Vec<_>, _>>()?;
    list.reorder_groups(&order)
}

//! Writes, one member or many at a time.

use headcount::member_list::{BatchReport, Change, NewMember, Upsert};
use headcount::{ListError, MemberList};
use rustler::schedule::consume_timeslice;
use rustler::{Binary, Encoder, Env, NifResult, ResourceArc, Term};

use super::convert::{Sort, TermId};
use super::{List, convert, each};
use crate::atoms;
use crate::errors;
use crate::shared::{Patience, answer, twins};

/// The result of a call on one member.
enum Done {
    Upsert(Upsert),
    Row(Option<usize>),
    BadId,
}

/// Returns `{:ok, upsert}`, `{:ok, row}`, `:bad_id`, `:busy` or `{:error, {what, message}}`.
fn done<'a>(env: Env<'a>, result: Option<Result<Done, ListError>>) -> Term<'a> {
    match result {
        None => atoms::busy().encode(env),
        Some(Ok(Done::Upsert(upsert))) => (atoms::ok(), convert::upsert(env, &upsert)).encode(env),
        Some(Ok(Done::Row(row))) => (atoms::ok(), row).encode(env),
        Some(Ok(Done::BadId)) => atoms::bad_id().encode(env),
        Some(Err(error)) => errors::described(env, &error),
    }
}

/// Runs a call on the member of an id.
macro_rules! on_member {
    ($env:ident, $patience:ident, $shared:ident, $term:ident, |$list:ident, $id:ident| $body:expr) => {
        done($env, $shared.shared.write($patience, |lists| each!(Lists, lists, $list => {
            match TermId::from_term($term) {
                Some($id) => $body,
                None => Ok(Done::BadId),
            }
        })))
    };
}

twins! {
    fn member_list_upsert / "member_list_upsert_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, group: &'a str, sort: Sort, attrs: u32,
    ) {
        on_member!(env, patience, list, id, |list, id| {
            let group = list.group(group);
            group.and_then(|group| list.upsert(id, group, &sort.0, attrs)).map(Done::Upsert)
        })
    }
}

twins! {
    fn member_list_set_group / "member_list_set_group_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, group: &'a str,
    ) {
        on_member!(env, patience, list, id, |list, id| {
            list.group(group).and_then(|group| list.set_group(&id, group)).map(Done::Upsert)
        })
    }
}

twins! {
    fn member_list_set_key / "member_list_set_key_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, sort: Sort,
    ) {
        on_member!(env, patience, list, id, |list, id| list.set_key(&id, &sort.0).map(Done::Upsert))
    }
}

twins! {
    fn member_list_set_attrs / "member_list_set_attrs_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, attrs: u32,
    ) {
        on_member!(env, patience, list, id, |list, id| list.set_attrs(&id, attrs).map(Done::Row))
    }
}

twins! {
    fn member_list_set_payload / "member_list_set_payload_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, payload: Binary<'a>,
    ) {
        let payload = payload.as_slice().to_vec();
        on_member!(env, patience, list, id, |list, id| {
            list.set_payload(&id, payload.into()).map(Done::Row)
        })
    }
}

twins! {
    fn member_list_touch / "member_list_touch_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        on_member!(env, patience, list, id, |list, id| list.touch(&id).map(Done::Row))
    }
}

twins! {
    fn member_list_remove / "member_list_remove_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        on_member!(env, patience, list, id, |list, id| Ok(Done::Row(list.remove(&id))))
    }
}

/// The most bytes of payloads that a normal scheduler copies for one batch.
pub(super) const PAYLOADS_NORMAL_MAX: usize = 1024 * 1024;

/// Changes that take about a hundredth of the time after which a scheduler turns to another process.
pub(super) const CHANGES_A_PERCENT: usize = 10;

twins! {
    /// Returns `{:ok, {inserted, updated, removed, missing, [{old_index, index}]}}`, `{:bad_change, index}` or
    /// `{:error, {what, message}}`.
    fn member_list_apply_batch / "member_list_apply_batch_dirty" [env, patience] (
        list: ResourceArc<List>, changes: Vec<Term<'a>>,
    ) {
        if let Patience::Moment = patience {
            if payload_bytes(&changes) > PAYLOADS_NORMAL_MAX {
                return atoms::busy().encode(env);
            }
            // The caller has had its turn, so that others run next.
            let percent = (changes.len() / CHANGES_A_PERCENT).clamp(1, 100);
            consume_timeslice(env, percent as i32);
        }
        answer(
            env,
            list.shared.write(patience, |lists| {
                each!(Lists, lists, list => {
                    match read_all(&changes, in_batch, |term| change(list, term)) {
                        Err(at) => (atoms::bad_change(), at).encode(env),
                        Ok(Err(error)) => errors::described(env, &error),
                        Ok(Ok(changes)) => match list.apply_batch(&changes) {
                            Err(error) => errors::described(env, &error),
                            Ok(report) => {
                                let BatchReport { inserted, updated, removed, missing, rows } = report;
                                let rows = rows.iter().map(|moved| (moved.old_index, moved.index));
                                let rows: Vec<_> = rows.collect();
                                (atoms::ok(), (inserted, updated, removed, missing, rows)).encode(env)
                            }
                        },
                    }
                })
            }),
        )
    }
}

/// Returns the length of all payloads of changes.
pub(super) fn payload_bytes(changes: &[Term<'_>]) -> usize {
    let payloads = changes.iter().map(|change| {
        let change = change.decode::<(rustler::Atom, Term<'_>, Binary<'_>)>();
        change.map_or(0, |(.., value)| value.len())
    });
    payloads.sum()
}

/// Returns `{:ok, {loaded, [{index, id}]}}`, `{:bad_change, index}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_bulk_load<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    members: Vec<Term<'a>>,
) -> Term<'a> {
    answer(env, list.shared.write(Patience::Endless, |lists| {
        each!(Lists, lists, list => {
            match read_all(&members, in_batch, |term| new_member(list, term)) {
                Err(at) => (atoms::bad_change(), at).encode(env),
                Ok(Err(error)) => errors::described(env, &error),
                Ok(Ok(members)) => match list.bulk_load(members) {
                    Err(error) => errors::described(env, &error),
                    Ok(report) => {
                        let twice = report.duplicates.iter();
                        let twice: Vec<_> = twice.map(|(at, id)| (at, id.to_term(env))).collect();
                        (atoms::ok(), (report.loaded, twice)).encode(env)
                    }
                },
            }
        })
    }))
}

/// Names the position of what a list refused.
fn in_batch(at: usize, error: ListError) -> ListError {
    let error = Box::new(error);
    ListError::InBatch { at, error }
}

/// Returns the changes that the terms describe, or the first error with its position; `Err` with the index of the
/// first term that is none.
pub(super) fn read_all<'a, T, E>(
    terms: &[Term<'a>],
    in_batch: impl Fn(usize, E) -> E,
    mut read: impl FnMut(Term<'a>) -> NifResult<Result<T, E>>,
) -> Result<Result<Vec<T>, E>, usize> {
    let mut all = Vec::with_capacity(terms.len());
    for (at, &term) in terms.iter().enumerate() {
        match read(term).map_err(|_| at)? {
            Ok(value) => all.push(value),
            Err(error) => return Ok(Err(in_batch(at, error))),
        }
    }
    Ok(Ok(all))
}

/// Reads `{id, group, sort, attrs}`.
fn new_member<I: TermId>(
    list: &MemberList<I>,
    term: Term<'_>,
) -> NifResult<Result<NewMember<I>, ListError>> {
    let (id, group, sort, attrs): (Term<'_>, &str, Sort, u32) = term.decode()?;
    let id = I::from_term(id).ok_or(rustler::Error::BadArg)?;
    Ok(list.group(group).map(|group| NewMember {
        id,
        group,
        key: sort.0,
        attrs,
    }))
}

/// Reads `{:upsert, {id, group, sort, attrs}}`, `{:remove, id}` or `{what, id, value}`.
fn change<I: TermId>(
    list: &MemberList<I>,
    term: Term<'_>,
) -> NifResult<Result<Change<I>, ListError>> {
    let id = |term| I::from_term(term).ok_or(rustler::Error::BadArg);
    if let Ok((what, value)) = term.decode::<(rustler::Atom, Term<'_>)>() {
        return match what {
            what if what == atoms::upsert() => {
                Ok(new_member(list, value)?.map(|new| Change::Upsert {
                    id: new.id,
                    group: new.group,
                    key: new.key,
                    attrs: new.attrs,
                }))
            }
            what if what == atoms::remove() => Ok(Ok(Change::Remove(id(value)?))),
            what if what == atoms::touch() => Ok(Ok(Change::Touch(id(value)?))),
            _ => Err(rustler::Error::BadArg),
        };
    }
    let (what, member, value): (rustler::Atom, Term<'_>, Term<'_>) = term.decode()?;
    let id = id(member)?;
    Ok(match what {
        what if what == atoms::set_group() => list
            .group(value.decode()?)
            .map(|group| Change::SetGroup(id, group)),
        what if what == atoms::set_key() => Ok(Change::SetKey(id, value.decode::<Sort>()?.0)),
        what if what == atoms::set_attrs() => Ok(Change::SetAttrs(id, value.decode()?)),
        what if what == atoms::set_payload() => {
            let payload = value.decode::<Binary<'_>>()?.as_slice().to_vec();
            Ok(Change::SetPayload(id, payload.into()))
        }
        _ => return Err(rustler::Error::BadArg),
    })
}

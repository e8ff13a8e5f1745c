//! Writes, one member or many at a time.

use headcount::MemberList;
use headcount::member_list::{BatchReport, Change, NewMember, Upsert};
use rustler::schedule::consume_timeslice;
use rustler::{Binary, Encoder, Env, NifResult, ResourceArc, Term};

use super::convert::{Checked, Sort, TermId};
use super::refused::Refused;
use super::{List, convert, each};
use crate::atoms;
use crate::errors;
use crate::shared::{Patience, answer, twins};

/// The result of a call on one member.
enum Done {
    Upsert(Upsert),
    Row(Option<usize>),
}

/// Returns `{:ok, upsert}`, `{:ok, row}`, `:bad_id`, `:busy` or `{:error, {what, message}}`.
fn done<'a>(env: Env<'a>, result: Option<Result<Done, Refused>>) -> Term<'a> {
    match result {
        None => atoms::busy().encode(env),
        Some(Ok(Done::Upsert(upsert))) => (atoms::ok(), convert::upsert(env, &upsert)).encode(env),
        Some(Ok(Done::Row(row))) => (atoms::ok(), row).encode(env),
        Some(Err(refused)) => refused.encode(env),
    }
}

/// Runs a call on the member of an id.
macro_rules! on_member {
    ($env:ident, $patience:ident, $shared:ident, $term:ident, |$list:ident, $id:ident| $body:expr) => {
        done($env, $shared.shared.write($patience, |lists| each!(Lists, lists, $list => {
            TermId::from_term($term).and_then(|$id| $body)
        })))
    };
}

twins! {
    fn member_list_upsert / "member_list_upsert_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, group: &'a str, sort: Sort, attrs: Checked<u32>,
    ) {
        on_member!(env, patience, list, id, |list, id| {
            let group = list.group(group)?;
            Ok(Done::Upsert(list.upsert(id, group, &sort.key()?, attrs.value()?)?))
        })
    }
}

twins! {
    fn member_list_set_group / "member_list_set_group_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, group: &'a str,
    ) {
        on_member!(env, patience, list, id, |list, id| {
            let group = list.group(group)?;
            Ok(Done::Upsert(list.set_group(&id, group)?))
        })
    }
}

twins! {
    fn member_list_set_key / "member_list_set_key_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, sort: Sort,
    ) {
        on_member!(env, patience, list, id, |list, id| {
            Ok(Done::Upsert(list.set_key(&id, &sort.key()?)?))
        })
    }
}

twins! {
    fn member_list_set_attrs / "member_list_set_attrs_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, attrs: Checked<u32>,
    ) {
        on_member!(env, patience, list, id, |list, id| {
            Ok(Done::Row(list.set_attrs(&id, attrs.value()?)?))
        })
    }
}

twins! {
    fn member_list_set_payload / "member_list_set_payload_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>, payload: Binary<'a>,
    ) {
        let payload = payload.as_slice().to_vec();
        on_member!(env, patience, list, id, |list, id| {
            Ok(Done::Row(list.set_payload(&id, payload.into())?))
        })
    }
}

twins! {
    fn member_list_touch / "member_list_touch_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        on_member!(env, patience, list, id, |list, id| Ok(Done::Row(list.touch(&id)?)))
    }
}

twins! {
    fn member_list_remove / "member_list_remove_dirty" [env, patience] (
        list: ResourceArc<List>, id: Term<'a>,
    ) {
        done(env, list.shared.write(patience, |lists| each!(Lists, lists, list => {
            TermId::sought(id).map(|id| Done::Row(id.and_then(|id| list.remove(&id))))
        })))
    }
}

/// The most bytes of payloads that a normal scheduler copies for one batch.
pub(super) const PAYLOADS_NORMAL_MAX: usize = 1024 * 1024;

/// Changes that take about a hundredth of the time after which a scheduler turns to another process.
pub(super) const CHANGES_A_PERCENT: usize = 10;

twins! {
    /// Returns `{:ok, {inserted, updated, removed, missing, [{old_index, index}]}}`, `{:bad_change, index}`,
    /// `{:bad_id, index}` or `{:error, {what, message}}`.
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
                    match read_all(&changes, |term| change(list, term)) {
                        Err(at) => (atoms::bad_change(), at).encode(env),
                        Ok(Err(refused)) => refused.encode(env),
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
            match read_all(&members, |term| new_member(list, term)) {
                Err(at) => (atoms::bad_change(), at).encode(env),
                Ok(Err(refused)) => refused.encode(env),
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

/// Returns the changes that the terms describe, or the first error with its position; `Err` with the index of the
/// first term that is none.
pub(super) fn read_all<'a, T>(
    terms: &[Term<'a>],
    mut read: impl FnMut(Term<'a>) -> NifResult<Result<T, Refused>>,
) -> Result<Result<Vec<T>, Refused>, usize> {
    let mut all = Vec::with_capacity(terms.len());
    for (at, &term) in terms.iter().enumerate() {
        match read(term).map_err(|_| at)? {
            Ok(value) => all.push(value),
            Err(refused) => return Ok(Err(refused.at(at))),
        }
    }
    Ok(Ok(all))
}

/// Reads `{id, group, sort, attrs}`.
fn new_member<I: TermId>(
    list: &MemberList<I>,
    term: Term<'_>,
) -> NifResult<Result<NewMember<I>, Refused>> {
    let (id, group, sort, attrs): (Term<'_>, &str, Sort, Checked<u32>) = term.decode()?;
    let read = |id| {
        Ok(NewMember {
            id,
            group: list.group(group)?,
            key: sort.key()?,
            attrs: attrs.value()?,
        })
    };
    Ok(I::from_term(id).and_then(read))
}

/// Reads `{:upsert, {id, group, sort, attrs}}`, `{:remove, id}` or `{what, id, value}`.
fn change<I: TermId>(
    list: &MemberList<I>,
    term: Term<'_>,
) -> NifResult<Result<Change<I>, Refused>> {
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
            what if what == atoms::remove() => Ok(I::from_term(value).map(Change::Remove)),
            what if what == atoms::touch() => Ok(I::from_term(value).map(Change::Touch)),
            _ => Err(rustler::Error::BadArg),
        };
    }
    let (what, member, value): (rustler::Atom, Term<'_>, Term<'_>) = term.decode()?;
    let id = I::from_term(member);
    Ok(match what {
        what if what == atoms::set_group() => {
            let group: &str = value.decode()?;
            id.and_then(|id| Ok(Change::SetGroup(id, list.group(group)?)))
        }
        what if what == atoms::set_key() => {
            let sort: Sort = value.decode()?;
            id.and_then(|id| Ok(Change::SetKey(id, sort.key()?)))
        }
        what if what == atoms::set_attrs() => {
            let attrs: Checked<u32> = value.decode()?;
            id.and_then(|id| Ok(Change::SetAttrs(id, attrs.value()?)))
        }
        what if what == atoms::set_payload() => {
            let payload = value.decode::<Binary<'_>>()?.as_slice().to_vec();
            id.map(|id| Change::SetPayload(id, payload.into()))
        }
        _ => return Err(rustler::Error::BadArg),
    })
}

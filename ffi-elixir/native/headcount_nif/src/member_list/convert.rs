//! Ids, sort keys and rows between Elixir and Rust.

use headcount::member_list::{GroupInfo, Id, IntId, TextId, Upsert};
use headcount::{GroupId, Row, SortKey};
use rustler::{Atom, Binary, Decoder, Encoder, Env, Error, NewBinary, NifResult, Term, TermType};

use super::refused::Refused;

use crate::atoms;

/// An id as a term: an integer, a UUID in its text form, or text.
pub(crate) trait TermId: Id {
    fn from_term(term: Term<'_>) -> Result<Self, Refused>;
    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a>;

    /// Reads the id of a member that is looked for; returns `None` for one that breaks a limit, as no member has it.
    fn sought(term: Term<'_>) -> Result<Option<Self>, Refused> {
        match Self::from_term(term) {
            Ok(id) => Ok(Some(id)),
            Err(Refused::NotAnId) => Err(Refused::NotAnId),
            Err(_) => Ok(None),
        }
    }
}

impl TermId for IntId {
    fn from_term(term: Term<'_>) -> Result<Self, Refused> {
        let number = term.decode::<i64>().map(Self::from);
        let number = number.or_else(|_| term.decode::<u64>().map(Self::from));
        number.map_err(|_| match term.get_type() {
            TermType::Integer => Refused::id("an integer id is from -2^63 to 2^64 - 1", term),
            _ => Refused::NotAnId,
        })
    }

    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        let number = i128::from(*self);
        match i64::try_from(number) {
            Ok(number) => number.encode(env),
            Err(_) => (number as u64).encode(env),
        }
    }
}

impl TermId for u128 {
    fn from_term(term: Term<'_>) -> Result<Self, Refused> {
        let rule = "a UUID is 36 characters of hyphenated lower-case hex";
        Self::parse_text(text(term)?).ok_or_else(|| Refused::id(rule, term))
    }

    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.to_text().encode(env)
    }
}

impl TermId for TextId {
    fn from_term(term: Term<'_>) -> Result<Self, Refused> {
        Ok(Self::new(text(term)?)?)
    }

    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.as_str().encode(env)
    }
}

fn text<'a>(term: Term<'a>) -> Result<&'a str, Refused> {
    term.decode().map_err(|_| Refused::NotAnId)
}

/// Reads the ids of members that are changed. The error has the position of the first one that is none.
pub(crate) fn all_ids<I: TermId>(terms: &[Term<'_>]) -> Result<Vec<I>, Refused> {
    let ids = terms.iter().enumerate();
    ids.map(|(at, &term)| I::from_term(term).map_err(|refused| refused.at(at)))
        .collect()
}

/// Reads the ids of members that are looked for, calls `find` with those that a member can have, and returns `None`
/// for the others. The error is that of [`all_ids`].
pub(crate) fn find_all<I: TermId, T>(
    terms: &[Term<'_>],
    find: impl FnOnce(&[I]) -> Vec<Option<T>>,
) -> Result<Vec<Option<T>>, Refused> {
    let mut ids = Vec::with_capacity(terms.len());
    let mut possible = Vec::with_capacity(terms.len());
    for (at, &term) in terms.iter().enumerate() {
        let id = I::sought(term).map_err(|refused| refused.at(at))?;
        possible.push(id.is_some());
        ids.extend(id);
    }
    let mut found = find(&ids).into_iter();
    let all = possible.into_iter();
    Ok(all
        .map(|is_possible| is_possible.then(|| found.next().flatten()).flatten())
        .collect())
}

/// A value, or `{:refused, what, message}` for one that Elixir found beyond a limit: it is refused in its turn.
pub(crate) struct Checked<T>(Result<T, Refused>);

impl<T> Checked<T> {
    pub(crate) fn value(self) -> Result<T, Refused> {
        self.0
    }
}

impl<'a, T: Decoder<'a>> Decoder<'a> for Checked<T> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if let Ok((_refused, what, message)) = term.decode::<(Atom, Atom, String)>() {
            return Ok(Self(Err(Refused::Value(what, message))));
        }
        term.decode().map(|value| Self(Ok(value)))
    }
}

/// A sort key as a term: `{:name, text}`, `{:raw, bytes}`, `{:number, n}` or `{:numbers, {n, n}}`.
struct RawSort(Result<SortKey, Refused>);

impl<'a> Decoder<'a> for RawSort {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let (kind, value): (Atom, Term<'a>) = term.decode()?;
        let key = match kind {
            kind if kind == atoms::name() => SortKey::from_name(value.decode()?),
            kind if kind == atoms::number() => SortKey::from_u64(value.decode()?),
            kind if kind == atoms::numbers() => {
                let (first, second) = value.decode()?;
                SortKey::from_u64s(first, second)
            }
            kind if kind == atoms::raw() => {
                let key = SortKey::raw(&value.decode::<Binary<'_>>()?);
                return Ok(Self(key.map_err(Refused::from)));
            }
            _ => return Err(Error::BadArg),
        };
        Ok(Self(Ok(key)))
    }
}

/// A sort key that Elixir checked.
pub(crate) struct Sort(Checked<RawSort>);

impl Sort {
    pub(crate) fn key(self) -> Result<SortKey, Refused> {
        self.0.value()?.0
    }

    /// Reads the keys of all columns.
    pub(crate) fn keys(sorts: Vec<Self>) -> Result<Vec<SortKey>, Refused> {
        sorts.into_iter().map(Self::key).collect()
    }
}

impl<'a> Decoder<'a> for Sort {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        term.decode().map(Self)
    }
}

/// Makes terms of rows; keeps the name of the group of the row before.
pub(crate) struct RowWriter<'a, F> {
    env: Env<'a>,
    name: F,
    group: Option<(GroupId, Term<'a>)>,
}

impl<'a, F: Fn(GroupId) -> Option<Term<'a>>> RowWriter<'a, F> {
    pub(crate) fn new(env: Env<'a>, name: F) -> Self {
        Self {
            env,
            name,
            group: None,
        }
    }

    /// Returns `%{group, count}` of a header, `%{id, group, revision, attrs, payload}` of a member.
    pub(crate) fn row<I: TermId>(&mut self, row: &Row<'_, I>) -> Term<'a> {
        let env = self.env;
        match *row {
            Row::Header { name, count, .. } => map(
                env,
                [
                    (atoms::group(), name.encode(env)),
                    (atoms::count(), count.encode(env)),
                ],
            ),
            Row::Member {
                id,
                group,
                revision,
                attrs,
                payload,
            } => {
                let group = self.group(group);
                member(env, id, group, revision, attrs, payload)
            }
        }
    }

    /// Returns `[{index, row} | nil]`
    pub(crate) fn found<I: TermId>(&mut self, rows: &[Option<(usize, Row<'_, I>)>]) -> Term<'a> {
        let env = self.env;
        let rows = rows.iter();
        let rows = rows.map(|row| row.as_ref().map(|(index, row)| (*index, self.row(row))));
        rows.collect::<Vec<_>>().encode(env)
    }

    fn group(&mut self, id: GroupId) -> Term<'a> {
        match self.group {
            Some((known, name)) if known == id => name,
            _ => {
                let name = (self.name)(id).unwrap_or_else(|| atoms::nil().encode(self.env));
                self.group = Some((id, name));
                name
            }
        }
    }
}

pub(crate) fn member<'a, I: TermId>(
    env: Env<'a>,
    id: &I,
    group: Term<'a>,
    revision: u32,
    attrs: u32,
    payload: &[u8],
) -> Term<'a> {
    let pairs = [
        (atoms::id(), id.to_term(env)),
        (atoms::group(), group),
        (atoms::revision(), revision.encode(env)),
        (atoms::attrs(), attrs.encode(env)),
        (atoms::payload(), NewBinary::from_slice(env, payload).into()),
    ];
    map(env, pairs)
}

/// Returns `%{name, count, first_index, hidden, collapsed}`
pub(crate) fn group<'a>(env: Env<'a>, info: &GroupInfo<'_>) -> Term<'a> {
    let pairs = [
        (atoms::name(), info.name.encode(env)),
        (atoms::count(), info.count.encode(env)),
        (atoms::first_index(), info.first_index.encode(env)),
        (atoms::hidden(), info.hidden.encode(env)),
        (atoms::collapsed(), info.collapsed.encode(env)),
    ];
    map(env, pairs)
}

/// Returns `%{index, is_new, old_index}`
pub(crate) fn upsert<'a>(env: Env<'a>, upsert: &Upsert) -> Term<'a> {
    let pairs = [
        (atoms::index(), upsert.index.encode(env)),
        (atoms::is_new(), upsert.is_new.encode(env)),
        (atoms::old_index(), upsert.old_index.encode(env)),
    ];
    map(env, pairs)
}

pub(crate) fn map<'a, const N: usize>(
    env: Env<'a>,
    pairs: [(rustler::Atom, Term<'a>); N],
) -> Term<'a> {
    let keys = pairs.map(|(key, _)| key.to_term(env));
    let values = pairs.map(|(_, value)| value);
    Term::map_from_term_arrays(env, &keys, &values).expect("the keys differ")
}

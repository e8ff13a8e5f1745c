//! Ids, sort keys and rows between Elixir and Rust.

use headcount::member_list::{GroupInfo, Id, IntId, TextId, Upsert};
use headcount::{GroupId, Row, SortKey};
use rustler::{Binary, Decoder, Encoder, Env, Error, NewBinary, NifResult, Term};

use crate::atoms;

/// An id as a term: an integer, a UUID in its text form, or text.
pub(crate) trait TermId: Id {
    /// Returns `None` when the term is no such id.
    fn from_term(term: Term<'_>) -> Option<Self>;
    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a>;
}

impl TermId for IntId {
    fn from_term(term: Term<'_>) -> Option<Self> {
        let number = term.decode::<i64>().map(Self::from);
        number
            .or_else(|_| term.decode::<u64>().map(Self::from))
            .ok()
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
    fn from_term(term: Term<'_>) -> Option<Self> {
        Self::parse_text(term.decode().ok()?)
    }

    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.to_text().encode(env)
    }
}

impl TermId for TextId {
    fn from_term(term: Term<'_>) -> Option<Self> {
        Self::new(term.decode().ok()?).ok()
    }

    fn to_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.as_str().encode(env)
    }
}

/// Returns the ids that terms are, or the index of the first one that is no such id.
pub(crate) fn all_ids<I: TermId>(terms: &[Term<'_>]) -> Result<Vec<I>, usize> {
    let ids = terms.iter().enumerate();
    ids.map(|(at, &term)| I::from_term(term).ok_or(at))
        .collect()
}

/// A sort key as a term: `{:name, text}`, `{:raw, bytes}`, `{:number, n}` or `{:numbers, {n, n}}`.
pub(crate) struct Sort(pub(crate) SortKey);

impl<'a> Decoder<'a> for Sort {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let (kind, value): (rustler::Atom, Term<'a>) = term.decode()?;
        let key = match kind {
            kind if kind == atoms::name() => SortKey::from_name(value.decode()?),
            kind if kind == atoms::number() => SortKey::from_u64(value.decode()?),
            kind if kind == atoms::numbers() => {
                let (first, second) = value.decode()?;
                SortKey::from_u64s(first, second)
            }
            _ => SortKey::raw(&value.decode::<Binary<'_>>()?).map_err(|_| Error::BadArg)?,
        };
        Ok(Self(key))
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

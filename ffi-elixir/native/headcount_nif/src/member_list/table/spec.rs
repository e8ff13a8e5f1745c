//! Specs of lists, clauses and attributes, from Elixir.

use headcount::member_list::{Attrs, Clause, ListSpec};
use rustler::{Decoder, NifResult, Term};

use crate::member_list::convert::{Checked, TermId};
use crate::member_list::refused::Refused;

/// Numbers of attributes.
pub(crate) type Bits = Checked<Vec<u16>>;

/// Reads a set of attributes.
pub(crate) fn attrs(bits: Bits) -> Result<Attrs, Refused> {
    Ok(Attrs::of(bits.value()?)?)
}

/// `{all, any, none}`, lists of attributes.
type ClauseTerm = (Bits, Bits, Bits);

fn clause((all, any, none): ClauseTerm) -> Result<Clause, Refused> {
    Ok(Clause::new()
        .all(attrs(all)?)
        .any(attrs(any)?)
        .none(attrs(none)?))
}

/// A spec whose ids are not yet of a kind: `{{name, default_group, sort_by, descending, headers}, admit, always,
/// never, [{clause, group}]}`; `admit` is a list of clauses or `nil`.
pub(crate) struct Specs<'a> {
    head: (&'a str, &'a str, Checked<usize>, bool, bool),
    admit: Option<Vec<ClauseTerm>>,
    always: Vec<Term<'a>>,
    never: Vec<Term<'a>>,
    groups: Vec<(ClauseTerm, &'a str)>,
}

impl<'a> Decoder<'a> for Specs<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let (head, admit, always, never, groups) = term.decode()?;
        Ok(Self {
            head,
            admit,
            always,
            never,
            groups,
        })
    }
}

impl Specs<'_> {
    /// Returns the spec for ids of one kind.
    pub(crate) fn read<I: TermId>(self) -> Result<ListSpec<I>, Refused> {
        let (name, default_group, sort_by, descending, headers) = self.head;
        let mut spec = ListSpec::new(name, default_group)
            .sort_by(sort_by.value()?)
            .descending(descending)
            .headers(headers)
            .always(all_of(&self.always)?)
            .never(all_of(&self.never)?);
        if let Some(admit) = self.admit {
            let clauses = admit.into_iter().map(clause);
            spec = spec.admit(clauses.collect::<Result<Vec<_>, _>>()?);
        }
        for (condition, group) in self.groups {
            spec = spec.group(clause(condition)?, group);
        }
        Ok(spec)
    }
}

fn all_of<I: TermId>(terms: &[Term<'_>]) -> Result<Vec<I>, Refused> {
    terms.iter().map(|term| I::from_term(*term)).collect()
}

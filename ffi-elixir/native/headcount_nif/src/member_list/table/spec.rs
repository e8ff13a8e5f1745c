//! Specs of lists, clauses and attributes, from Elixir.

use headcount::member_list::{Attrs, Clause, ListSpec, TableError};
use rustler::{Decoder, NifResult, Term};

use crate::member_list::convert::TermId;

/// Reads a set of attributes.
pub(crate) fn attrs(bits: Vec<u16>) -> Result<Attrs, TableError> {
    Attrs::of(bits)
}

/// `{all, any, none}`, lists of attributes.
type ClauseTerm = (Vec<u16>, Vec<u16>, Vec<u16>);

fn clause((all, any, none): &ClauseTerm) -> Result<Clause, TableError> {
    let attrs = |bits: &[u16]| Attrs::of(bits.iter().copied());
    Ok(Clause::new()
        .all(attrs(all)?)
        .any(attrs(any)?)
        .none(attrs(none)?))
}

/// A spec whose ids are not yet of a kind: `{{name, default_group, sort_by, descending, headers}, admit, always,
/// never, [{clause, group}]}`; `admit` is a list of clauses or `nil`.
pub(crate) struct Specs<'a> {
    head: (&'a str, &'a str, usize, bool, bool),
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
    /// Returns the spec for ids of one kind; `None` if it has another id.
    pub(crate) fn read<I: TermId>(&self) -> Option<Result<ListSpec<I>, TableError>> {
        let ids = |terms: &[Term<'_>]| terms.iter().map(|term| I::from_term(*term)).collect();
        let always: Option<Vec<I>> = ids(&self.always);
        let never: Option<Vec<I>> = ids(&self.never);
        Some(self.with_ids(always?, never?))
    }

    fn with_ids<I: TermId>(
        &self,
        always: Vec<I>,
        never: Vec<I>,
    ) -> Result<ListSpec<I>, TableError> {
        let (name, default_group, sort_by, descending, headers) = self.head;
        let mut spec = ListSpec::new(name, default_group)
            .sort_by(sort_by)
            .descending(descending)
            .headers(headers)
            .always(always)
            .never(never);
        if let Some(admit) = &self.admit {
            let clauses = admit.iter().map(clause).collect::<Result<Vec<_>, _>>()?;
            spec = spec.admit(clauses);
        }
        for (condition, group) in &self.groups {
            spec = spec.group(clause(condition)?, group);
        }
        Ok(spec)
    }
}

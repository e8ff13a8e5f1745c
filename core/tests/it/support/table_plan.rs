//! Specs of lists as a naive copy of a table sees them.

use std::collections::BTreeSet;

use headcount::member_list::{Attrs, Clause, ListSpec, Row};

use crate::support::list_keys::FromNumber;
use crate::support::rng::Rng;

/// Bits of all words of a set, shown ones and others.
const BITS: [u16; 7] = [0, 1, 31, 63, 64, 200, 511];
/// Bits 0 and 31 are shown, bit 1 is not.
pub(crate) const SHOWN: u32 = 1 | 1 << 31;
pub(crate) const COLUMNS: usize = 3;

pub(crate) fn attrs(mask: u64) -> Attrs {
    let bits = BITS.iter().enumerate();
    let bits = bits.filter(|(at, _)| mask >> at & 1 == 1);
    Attrs::of(bits.map(|(_, bit)| *bit)).expect("known bits")
}

/// A spec as the copy sees it.
#[derive(Clone, Debug)]
pub(crate) struct Plan<I> {
    pub(crate) name: String,
    pub(crate) column: usize,
    pub(crate) descending: bool,
    pub(crate) headers: bool,
    admit: Option<Vec<Clause>>,
    always: BTreeSet<I>,
    never: BTreeSet<I>,
    groups: Vec<(Clause, String)>,
    default_group: String,
}

impl<I: FromNumber> Plan<I> {
    pub(crate) fn random(rng: &mut Rng, name: String, groups_max: usize, columns: usize) -> Self {
        let groups = rng.index(groups_max);
        let clause = |rng: &mut Rng| {
            let mut set = || attrs(rng.below(128) & rng.below(128) & rng.below(128));
            Clause::new().all(set()).any(set()).none(set())
        };
        let ids = |rng: &mut Rng, odd: u64| {
            let few = rng.index(3);
            (0..few)
                .map(|_| I::from_number(2 * rng.below(300) + odd))
                .collect()
        };
        let clauses = rng.index(3);
        let admit = (!rng.one_in(4)).then(|| (0..clauses).map(|_| clause(rng)).collect());
        let names = ["mods", "online", "away", "offline"];
        let groups = (0..groups).map(|at| {
            let name = match at {
                0..5 => names[rng.index(4)].to_owned(),
                _ => format!("group {at}"),
            };
            (clause(rng), name)
        });
        let groups = groups.collect();
        Self {
            name,
            column: rng.index(columns),
            descending: rng.one_in(2),
            headers: !rng.one_in(4),
            admit,
            always: ids(rng, 0),
            never: ids(rng, 1),
            groups,
            default_group: names[rng.index(4)].to_owned(),
        }
    }

    pub(crate) fn spec(&self) -> ListSpec<I> {
        let mut spec = ListSpec::new(&self.name, &self.default_group)
            .sort_by(self.column)
            .descending(self.descending)
            .headers(self.headers)
            .always(self.always.clone())
            .never(self.never.clone());
        if let Some(clauses) = &self.admit {
            spec = spec.admit(clauses.clone());
        }
        for (clause, group) in &self.groups {
            spec = spec.group(*clause, group);
        }
        spec
    }

    pub(crate) fn admits(&self, id: &I, attrs: &Attrs) -> bool {
        let clauses = self.admit.as_ref();
        let admitted = clauses.is_none_or(|all| all.iter().any(|clause| clause.holds(attrs)));
        self.always.contains(id) || admitted && !self.never.contains(id)
    }

    pub(crate) fn group_of(&self, attrs: &Attrs) -> &str {
        let group = self.groups.iter().find(|(clause, _)| clause.holds(attrs));
        group.map_or(&self.default_group, |(_, group)| group)
    }

    pub(crate) fn group_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let all = self.groups.iter().map(|(_, name)| name);
        for name in all.chain([&self.default_group]) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plain<I> {
    Header(String, usize),
    Member(I, u32, u32),
}

impl<I: FromNumber> Plain<I> {
    pub(crate) fn of(row: &Row<'_, I>) -> Self {
        match *row {
            Row::Header { name, count, .. } => Self::Header(name.to_owned(), count),
            Row::Member {
                id,
                revision,
                attrs,
                ..
            } => Self::Member(id.clone(), revision, attrs),
        }
    }
}

//! The values of a `SortedSet` as its tree holds them.

use std::cmp::Ordering;
use std::sync::Arc;

use headcount::SortedSet as Tree;
use pyo3::prelude::*;

use crate::item::Item;
use crate::prefix::Prefix;

/// The place of a value in the order: by its key, if the set has a key function, then by itself.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) key: Option<Box<Item>>,
    pub(crate) item: Item,
}

/// A value of a set: the object as it was put in, and its rank; a bound to search for has no object.
#[derive(Debug)]
pub(crate) struct Entry {
    object: Option<Py<PyAny>>,
    rank: Rank,
}

/// An entry beside the prefix that decides most comparisons, before the tree shares it.
#[derive(Debug)]
pub(crate) struct Ranked {
    prefix: Prefix,
    entry: Entry,
}

impl Ranked {
    pub(crate) fn new(object: Option<&Bound<'_, PyAny>>, rank: Rank) -> Self {
        let prefix = match &rank.key {
            Some(key) => Prefix::of_keyed(key, &rank.item),
            None => Prefix::of(&rank.item),
        };
        let object = object.map(|object| object.clone().unbind());
        let entry = Entry { object, rank };
        Self { prefix, entry }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        compare((self.prefix, &self.entry), (other.prefix, &other.entry))
    }
}

fn compare(a: (Prefix, &Entry), b: (Prefix, &Entry)) -> Ordering {
    let decided = a.0.decide(b.0);
    decided.unwrap_or_else(|| a.1.rank.cmp(&b.1.rank))
}

/// An entry as the tree shares it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    prefix: Prefix,
    entry: Arc<Entry>,
}

impl From<Ranked> for Shared {
    fn from(ranked: Ranked) -> Self {
        Self {
            prefix: ranked.prefix,
            entry: Arc::new(ranked.entry),
        }
    }
}

impl Ord for Shared {
    fn cmp(&self, other: &Self) -> Ordering {
        compare((self.prefix, &self.entry), (other.prefix, &other.entry))
    }
}

impl PartialOrd for Shared {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Shared {}

impl Shared {
    pub(crate) fn new(object: Option<&Bound<'_, PyAny>>, rank: Rank) -> Self {
        Ranked::new(object, rank).into()
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let object = self.entry.object.as_ref();
        object.map(|object| object.bind(py).clone())
    }
}

/// The bytes that a collected value takes while it is sorted and put into the tree, approximately.
pub(crate) const NODE_LEN: usize = 4 * size_of::<Shared>() + 2 * size_of::<Entry>();

/// Builds a tree; of equal values the first is kept. Entries are put into memory in the order of the tree, so that
/// neighbours of a slice lie beside each other.
pub(crate) fn build(mut entries: Vec<Ranked>) -> Tree<Shared> {
    entries.sort_by(Ranked::cmp);
    entries.dedup_by(|later, kept| (*later).cmp(kept).is_eq());
    Tree::from_vec(entries.into_iter().map(Shared::from).collect())
}

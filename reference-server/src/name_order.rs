//! `NameOrder`: the order of names in member lists, the same in all rooms of a server.

use headcount::SortKey;
use headcount::member_list::Collation;

/// The order of names in member lists.
#[derive(Debug, Default)]
pub(crate) enum NameOrder {
    /// By code point, without regard to case.
    #[default]
    Unicode,
    /// That of a language.
    Collated(Box<Collation>),
}

impl NameOrder {
    /// Returns the key by which a name is sorted.
    pub(crate) fn key(&self, name: &str) -> SortKey {
        match self {
            Self::Unicode => SortKey::from_name(name),
            Self::Collated(collation) => collation.key(name),
        }
    }

    /// Returns the beginning of the keys of all names that begin with `text`.
    pub(crate) fn prefix(&self, text: &str) -> SortKey {
        match self {
            Self::Unicode => SortKey::from_name(text),
            Self::Collated(collation) => collation.prefix(text),
        }
    }
}

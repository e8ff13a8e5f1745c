//! Traits of std for lists, snapshots and windows.

use std::iter::FusedIterator;
use std::str::FromStr;

use crate::member_list::{
    Id, ListOptions, MemberList, Row, Rows, Snapshot, WindowError, WindowSpec,
};

/// An empty list with the default options.
impl<I: Id> Default for MemberList<I> {
    fn default() -> Self {
        Self::new(ListOptions::default())
    }
}

impl<'a, I: Id> IntoIterator for &'a MemberList<I> {
    type Item = Row<'a, I>;
    type IntoIter = Rows<'a, I>;

    fn into_iter(self) -> Rows<'a, I> {
        self.iter()
    }
}

impl<'a, I: Id> IntoIterator for &'a Snapshot<I> {
    type Item = Row<'a, I>;
    type IntoIter = Rows<'a, I>;

    fn into_iter(self) -> Rows<'a, I> {
        self.iter()
    }
}

impl<I> FusedIterator for Rows<'_, I> {}

/// Reads the canonical name of a window, as [`WindowSpec::parse`] does.
impl<I: Id> FromStr for WindowSpec<I> {
    type Err = WindowError;

    fn from_str(name: &str) -> Result<Self, WindowError> {
        Self::parse(name)
    }
}

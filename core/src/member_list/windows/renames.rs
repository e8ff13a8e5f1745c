//! The order in which a viewer is told of windows that became others.
//!
//! A client takes one frame after another. So a window that gets a name which another one has yet to
//! leave must come after that one, else the client takes two windows for one. Where names go in a
//! ring there is no such order: then each of these names is again the name of a row, and its window
//! keeps it.

use std::iter::successors;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;
use crate::member_list::windows::registry::Opened;
use crate::member_list::windows::spec::{WindowError, WindowSpec};

/// A window read for an answer, and the name its client asks by. Until it is held, nothing
/// has changed for the viewer: a `RowSource` that panics spoils no answer but this one.
pub(crate) struct Shown<I> {
    pub(crate) asked: WindowSpec<I>,
    /// The name by which the viewer holds it.
    pub(crate) held: WindowSpec<I>,
    pub(crate) opened: Opened<I>,
}

/// The names of a few windows, each with the name that it gets.
pub(crate) struct Renames<I>(Vec<(WindowSpec<I>, WindowSpec<I>)>);

impl<I: Id> Renames<I> {
    /// Takes the names, which differ, and the names that these windows get.
    pub(crate) fn new(names: impl Iterator<Item = (WindowSpec<I>, WindowSpec<I>)>) -> Self {
        Self(names.collect())
    }

    /// Returns the windows that must leave their names one after another, the last one first, before
    /// the one at `at` can get its new name. Never more than there are windows.
    fn before(&self, at: usize) -> impl Iterator<Item = usize> {
        let leaves = |name: &WindowSpec<I>| {
            let mut names = self.0.iter();
            names.position(|(from, to)| from == name && from != to)
        };
        let before = move |at: &usize| {
            let (from, to) = &self.0[*at];
            leaves(to).filter(|_| from != to)
        };
        successors(before(&at), before).take(self.0.len())
    }

    /// Returns the window that has the name which the one at `at` gets, if names go in a ring
    /// through both.
    pub(crate) fn ring(&self, at: usize) -> Option<usize> {
        let mut before = self.before(at);
        let next = before.next()?;
        (next == at || before.any(|other| other == at)).then_some(next)
    }

    /// Sorts these windows, given in the order of the names, so that those which leave a name come
    /// before those which get it. O(windows^2).
    pub(crate) fn put_leaving_first<T>(&self, windows: &mut Vec<T>) {
        if is_broken(Fault::RenameInOrder) {
            return;
        }
        let numbered = windows.drain(..).enumerate();
        let mut sorted: Vec<_> = numbered
            .map(|(at, it)| (self.before(at).count(), it))
            .collect();
        sorted.sort_by_key(|(depth, _)| *depth);
        windows.extend(sorted.into_iter().map(|(_, it)| it));
    }
}

/// Puts the windows of an answer in the order in which a client can take them. Windows whose names go
/// in a ring are read by `show` under the names that they have.
pub(crate) fn put_in_order<I: Id>(
    shown: &mut Vec<Shown<I>>,
    mut show: impl FnMut(&WindowSpec<I>) -> Result<Opened<I>, WindowError>,
) -> Result<(), WindowError> {
    let renames = |shown: &[Shown<I>]| {
        let names = shown.iter();
        Renames::new(names.map(|it| (it.asked.clone(), it.opened.handle.spec().clone())))
    };
    let found = renames(shown);
    for (at, it) in shown.iter_mut().enumerate() {
        if found.ring(at).is_some() {
            it.opened = show(&it.asked)?;
        }
    }
    renames(shown).put_leaving_first(shown);
    Ok(())
}

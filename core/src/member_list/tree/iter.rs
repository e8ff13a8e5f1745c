//! Walks over a range of entries, one leaf at a time.

use std::ops::{Bound, RangeBounds};

use super::{Tree, TreeContext};

/// The runs that cover a range of entries, in order.
#[derive(Clone, Debug)]
pub(crate) struct Runs<'a, R> {
    tree: &'a Tree<R>,
    next: usize,
    end: usize,
}

impl<R> Tree<R> {
    /// The runs over `from..to`; the caller keeps the range within `len`.
    pub(crate) fn runs(&self, from: usize, to: usize) -> Runs<'_, R> {
        Runs {
            tree: self,
            next: from,
            end: to.min(self.len),
        }
    }
}

impl<R> Tree<R> {
    /// All entries in order.
    pub(crate) fn entries<K: TreeContext<Run = R>>(&self) -> impl Iterator<Item = K::Entry> {
        let mut runs = self.runs(0, self.len);
        std::iter::from_fn(move || runs.next_run(K::len))
            .flat_map(|(run, range)| range.map(move |at| K::entry(run, at).clone()))
    }
}

impl<'a, R> Runs<'a, R> {
    /// The next run with the entries of it that are in the range. `len` gives a run's length.
    /// O(log n) a leaf.
    pub(crate) fn next_run(
        &mut self,
        len: impl Fn(&R) -> usize,
    ) -> Option<(&'a R, std::ops::Range<usize>)> {
        if self.next >= self.end {
            return None;
        }
        let (run, at) = self.tree.select(self.next)?;
        let to = len(run).min(at + (self.end - self.next));
        self.next += to - at;
        Some((run, at..to))
    }
}

impl<'a, R> Runs<'a, R> {
    /// The last run with the entries of it that are in the range; those before it are still to
    /// come. O(log n) a leaf.
    pub(crate) fn last_run(&mut self) -> Option<(&'a R, std::ops::Range<usize>)> {
        let last = self.end.checked_sub(1).filter(|last| *last >= self.next)?;
        let (run, at) = self.tree.select(last)?;
        let from = at.saturating_sub(last - self.next);
        self.end -= at + 1 - from;
        Some((run, from..at + 1))
    }
}

/// Cuts a range of positions to what exists.
pub(crate) fn clip(range: impl RangeBounds<usize>, len: usize) -> (usize, usize) {
    let from = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&at) => at.saturating_add(1),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => len,
    };
    let to = to.min(len);
    (from.min(to), to)
}

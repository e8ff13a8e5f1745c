//! `SortedSet`: the counted tree as a plain ordered set that knows positions.

mod iter;
mod plain;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Index, RangeBounds};

use crate::member_list::limits::SORTED_SET_MAX;
use crate::member_list::tree::{Tree, clip, is_due};
use plain::{Plain, Run};

pub use iter::{IntoIter, Iter};

/// An ordered set that knows positions: it finds the position of an element, and the element at a
/// position.
///
/// It is a counted B+ tree (Bayer and McCreight's B-tree with subtree counts, Knuth vol. 3,
/// 6.2.3 and 6.2.4): insertions and removals return positions, [`get`](Self::get) finds by
/// position, and all of it costs O(log n). `clone` is O(1): the clone shares all nodes, and later
/// writes on either side copy only the few nodes on their path. That is why elements are `Clone`.
///
/// # Example
///
/// ```
/// use headcount::SortedSet;
///
/// let mut set = SortedSet::new();
/// assert_eq!(set.insert("mallory"), (0, true));
/// assert_eq!(set.insert("alice"), (0, true));
/// assert_eq!(set.insert("mallory"), (1, false));
/// assert_eq!(set.index_of("mallory"), Some(1));
/// assert_eq!(set.get(0), Some(&"alice"));
///
/// let before = set.clone(); // O(1)
/// assert_eq!(set.remove("alice"), Some(0));
/// assert_eq!((set.len(), before.len()), (1, 2));
/// assert!(before.iter().rev().eq(&["mallory", "alice"]));
/// assert_eq!(set, SortedSet::from(["mallory"]));
/// ```
#[derive(Clone)]
pub struct SortedSet<T> {
    tree: Tree<Run<T>>,
}

impl<T> SortedSet<T> {
    /// Makes an empty set. It owns no memory. O(1).
    #[must_use]
    pub fn new() -> Self {
        Self {
            tree: Tree::default(),
        }
    }

    /// Returns how many elements the set has. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Returns whether the set has no elements. O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the element at a position, counted from 0. O(log n).
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.tree.select(index).map(|(run, at)| &run[at])
    }

    /// Returns the least element. O(log n).
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.get(0)
    }

    /// Returns the greatest element. O(log n).
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Returns the elements at a range of positions, in order. Positions past the end are left out.
    /// O(log n) to find the first one and once per 128 elements, O(1) otherwise.
    ///
    /// ```
    /// use headcount::SortedSet;
    ///
    /// let set: SortedSet<u32> = (0..1000).collect();
    /// assert!(set.slice(500..503).eq(&[500, 501, 502]));
    /// assert_eq!(set.slice(990..2000).len(), 10);
    /// ```
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Iter<'_, T> {
        let (from, to) = clip(range, self.len());
        Iter::new(&self.tree, from, to)
    }

    /// Returns all elements in order. O(n).
    pub fn iter(&self) -> Iter<'_, T> {
        self.slice(..)
    }

    /// Removes all elements. O(n), O(1) if a clone still has them.
    pub fn clear(&mut self) {
        self.tree = Tree::default();
    }

    /// Returns the heap memory of the tree in bytes, without what the elements own. O(n / 128).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.tree.heap_bytes()
    }
}

impl<T: Ord + Clone> SortedSet<T> {
    /// Inserts an element. Returns its position, and whether it is new: an equal element that the
    /// set has already stays. O(log n).
    ///
    /// # Panics
    ///
    /// Panics if the set has [`SORTED_SET_MAX`] elements.
    pub fn insert(&mut self, value: T) -> (usize, bool) {
        assert_room(self.len());
        let probe = value.clone();
        let mut context = Plain::<T, T>::default();
        let inserted = self.tree.insert(&mut context, &probe, value);
        self.check_when_due();
        match inserted {
            Ok(index) => (index, true),
            Err(index) => (index, false),
        }
    }

    /// Removes an element and returns the position it had. O(log n).
    pub fn remove<Q: Ord + ?Sized>(&mut self, value: &Q) -> Option<usize>
    where
        T: Borrow<Q>,
    {
        let mut context = Plain::<T, Q>::default();
        let removed = self.tree.remove_equal(&mut context, value);
        self.check_when_due();
        removed.map(|(_, index)| index)
    }

    /// Removes and returns the element at a position. O(log n).
    pub fn remove_at(&mut self, index: usize) -> Option<T> {
        let mut context = Plain::<T, T>::default();
        let removed = self.tree.remove(&mut context, index);
        self.check_when_due();
        removed
    }

    /// Checks the tree after a write, in tests and now and then: see [`is_due`].
    fn check_when_due(&self) {
        if is_due(self.len()) {
            self.tree.check(&Plain::<T, T>::default());
        }
    }

    /// Returns the position of an element. O(log n).
    pub fn index_of<Q: Ord + ?Sized>(&self, value: &Q) -> Option<usize>
    where
        T: Borrow<Q>,
    {
        self.rank(value).ok()
    }

    /// Returns the position of an element, or `Err` with the position it would have: the number of
    /// elements before it. O(log n).
    ///
    /// # Errors
    ///
    /// The set does not have the element.
    pub fn rank<Q: Ord + ?Sized>(&self, value: &Q) -> Result<usize, usize>
    where
        T: Borrow<Q>,
    {
        self.tree.rank(&Plain::<T, Q>::default(), value)
    }

    /// Returns whether the set has an element. O(log n).
    pub fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.rank(value).is_ok()
    }

    /// Builds a set from elements in any order; of equal ones the first is kept. O(n) when they
    /// are sorted, O(n log n) otherwise.
    ///
    /// ```
    /// use headcount::SortedSet;
    ///
    /// let set = SortedSet::from_vec(vec![3, 1, 2, 3]);
    /// assert!(set.iter().eq(&[1, 2, 3]));
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if there are more than [`SORTED_SET_MAX`] elements.
    #[must_use]
    pub fn from_vec(mut values: Vec<T>) -> Self {
        if !values.is_sorted_by(|a, b| a < b) {
            values.sort();
            values.dedup_by(|later, kept| later == kept);
        }
        assert_room(values.len().saturating_sub(1));
        let mut context = Plain::<T, T>::default();
        let set = Self {
            tree: Tree::build(&mut context, values.into_iter()),
        };
        set.check_when_due();
        set
    }
}

/// Checks that there is room for one element beside `len`: positions are 32-bit numbers.
#[inline]
fn assert_room(len: usize) {
    assert!(
        len < SORTED_SET_MAX,
        "a sorted set has at most {SORTED_SET_MAX} elements"
    );
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for SortedSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl<T: Eq> Eq for SortedSet<T> {}

impl<T: PartialOrd> PartialOrd for SortedSet<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.iter().partial_cmp(other)
    }
}

impl<T: Ord> Ord for SortedSet<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl<T: Hash> Hash for SortedSet<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|value| value.hash(state));
    }
}

impl<T> Index<usize> for SortedSet<T> {
    type Output = T;

    /// # Panics
    ///
    /// Panics when the position is not below `len`, as slices do.
    fn index(&self, index: usize) -> &T {
        self.get(index).expect("position within the set")
    }
}

impl<T: Ord + Clone> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::from_vec(values.into_iter().collect())
    }
}

impl<T: Ord + Clone, const N: usize> From<[T; N]> for SortedSet<T> {
    fn from(values: [T; N]) -> Self {
        Self::from_vec(values.into())
    }
}

impl<T: Ord + Clone> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

impl<'a, T: Ord + Copy> Extend<&'a T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Clone> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    /// Returns the elements in order, cloned: other sets may share them.
    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self.tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_refused_elements_that_positions_cannot_count() {
        assert_room(SORTED_SET_MAX - 1);
        let refused = std::panic::catch_unwind(|| assert_room(SORTED_SET_MAX));
        assert!(refused.is_err());
    }
}

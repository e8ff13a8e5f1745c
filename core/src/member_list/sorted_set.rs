//! `SortedSet`: the counted tree as a plain ordered set that knows positions.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::{Index, RangeBounds};

use arrayvec::ArrayVec;

use crate::member_list::limits::SORTED_SET_MAX;
use crate::member_list::tree::{FANOUT, Parent, Tree, TreeContext, clip, is_due};

type Run<T> = ArrayVec<T, FANOUT>;

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
        Iter {
            tree: &self.tree,
            from,
            to,
            front: [].iter(),
            back: [].iter(),
        }
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
        let mut context = Plain::<T, T>(PhantomData, PhantomData);
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
        let mut context = Plain::<T, Q>(PhantomData, PhantomData);
        let removed = self.tree.remove_equal(&mut context, value);
        self.check_when_due();
        removed.map(|(_, index)| index)
    }

    /// Removes and returns the element at a position. O(log n).
    pub fn remove_at(&mut self, index: usize) -> Option<T> {
        let mut context = Plain::<T, T>(PhantomData, PhantomData);
        let removed = self.tree.remove(&mut context, index);
        self.check_when_due();
        removed
    }

    /// Checks the tree after a write, in tests and now and then: see [`is_due`].
    fn check_when_due(&self) {
        if is_due(self.len()) {
            self.tree.check(&Plain::<T, T>(PhantomData, PhantomData));
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
        self.tree
            .rank(&Plain::<T, Q>(PhantomData, PhantomData), value)
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
        let mut context = Plain::<T, T>(PhantomData, PhantomData);
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
        IntoIter {
            from: 0,
            to: self.len(),
            tree: self.tree,
            front: Vec::new().into_iter(),
            back: Vec::new().into_iter(),
        }
    }
}

/// Takes the elements of a leaf that are in `from..to`, from the position `from` on, and moves
/// `from` past them. O(log n).
fn take_front<'a, T>(tree: &'a Tree<Run<T>>, from: &mut usize, to: usize) -> Option<&'a [T]> {
    let left = to - *from;
    let (run, start) = tree.select(*from).filter(|_| left > 0)?;
    let end = run.len().min(start + left);
    *from += end - start;
    Some(&run[start..end])
}

/// Takes the elements of a leaf that are in `from..to`, up to the position `to`, and moves `to`
/// before them. O(log n).
fn take_back<'a, T>(tree: &'a Tree<Run<T>>, from: usize, to: &mut usize) -> Option<&'a [T]> {
    let left = *to - from;
    let (run, last) = tree.select(to.checked_sub(1)?).filter(|_| left > 0)?;
    let start = (last + 1).saturating_sub(left);
    *to -= last + 1 - start;
    Some(&run[start..=last])
}

/// The iterator over the elements of a [`SortedSet`] in order, or over a [slice](SortedSet::slice)
/// of them.
///
/// It walks from both ends: O(log n) once per 128 elements, O(1) otherwise.
#[must_use = "iterators are lazy"]
pub struct Iter<'a, T> {
    tree: &'a Tree<Run<T>>,
    /// The positions that are neither in `front` nor in `back`, nor taken.
    from: usize,
    to: usize,
    front: std::slice::Iter<'a, T>,
    back: std::slice::Iter<'a, T>,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            front: self.front.clone(),
            back: self.back.clone(),
            ..*self
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.front.len() == 0 {
            match take_front(self.tree, &mut self.from, self.to) {
                Some(run) => self.front = run.iter(),
                None => return self.back.next(),
            }
        }
        self.front.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.front.len() + (self.to - self.from) + self.back.len();
        (left, Some(left))
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.back.len() == 0 {
            match take_back(self.tree, self.from, &mut self.to) {
                Some(run) => self.back = run.iter(),
                None => return self.front.next_back(),
            }
        }
        self.back.next_back()
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> FusedIterator for Iter<'_, T> {}

/// The iterator over the elements of a [`SortedSet`] by value, in order, from both ends.
#[must_use = "iterators are lazy"]
#[derive(Clone)]
pub struct IntoIter<T> {
    tree: Tree<Run<T>>,
    /// The positions that are neither in `front` nor in `back`, nor taken.
    from: usize,
    to: usize,
    front: std::vec::IntoIter<T>,
    back: std::vec::IntoIter<T>,
}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = Iter {
            tree: &self.tree,
            from: self.from,
            to: self.to,
            front: self.front.as_slice().iter(),
            back: self.back.as_slice().iter(),
        };
        between.fmt(f)
    }
}

impl<T: Clone> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.front.len() == 0 {
            match take_front(&self.tree, &mut self.from, self.to) {
                Some(run) => self.front = Vec::from(run).into_iter(),
                None => return self.back.next(),
            }
        }
        self.front.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.front.len() + (self.to - self.from) + self.back.len();
        (left, Some(left))
    }
}

impl<T: Clone> DoubleEndedIterator for IntoIter<T> {
    fn next_back(&mut self) -> Option<T> {
        if self.back.len() == 0 {
            match take_back(&self.tree, self.from, &mut self.to) {
                Some(run) => self.back = Vec::from(run).into_iter(),
                None => return self.front.next_back(),
            }
        }
        self.back.next_back()
    }
}

impl<T: Clone> ExactSizeIterator for IntoIter<T> {}

impl<T: Clone> FusedIterator for IntoIter<T> {}

/// Elements up to this size, in bytes, are cheaper to compare than to guess about, unless they are
/// hardly more than a pointer to what is compared.
const SMALL: usize = 32;

/// Returns whether elements are compared in [`count_less`], not in a binary search.
const fn compares_in_place<T>() -> bool {
    let is_pointer = std::mem::needs_drop::<T>() && size_of::<T>() <= size_of::<String>();
    size_of::<T>() <= SMALL && !is_pointer
}

/// Elements of a sorted run that are less than the probe. It compares every 16th, then the 16
/// between two of those: more comparisons than a binary search, but none waits for the result of
/// another, so the processor fetches all of them from memory at once and mispredicts nothing.
#[inline]
fn count_less<T: Borrow<Q>, Q: Ord + ?Sized>(run: &[T], probe: &Q) -> usize {
    const STEP: usize = 16;
    let less = |entry: &T| usize::from(entry.borrow() < probe);
    let blocks: usize = run.iter().skip(STEP - 1).step_by(STEP).map(less).sum();
    let start = blocks * STEP;
    let block = &run[start..run.len().min(start + STEP)];
    start + block.iter().map(less).sum::<usize>()
}

/// The context of a tree whose leaves hold the elements themselves: nothing follows their moves.
struct Plain<T, Q: ?Sized>(PhantomData<T>, PhantomData<Q>);

impl<T: Clone + Borrow<Q>, Q: Ord + ?Sized> TreeContext for Plain<T, Q> {
    const LEAF: usize = FANOUT;
    const WINDOW: usize = 2;
    type Run = Run<T>;
    type Entry = T;
    type Probe<'p>
        = &'p Q
    where
        Self: 'p;

    fn empty(&self) -> Run<T> {
        ArrayVec::new()
    }

    fn len(run: &Run<T>) -> usize {
        run.len()
    }

    fn entry(run: &Run<T>, at: usize) -> &T {
        &run[at]
    }

    #[inline]
    fn rank(&self, run: &Run<T>, probe: &Q) -> Result<usize, usize> {
        if !compares_in_place::<T>() {
            return run.binary_search_by(|entry| entry.borrow().cmp(probe));
        }
        let at = count_less(run, probe);
        match run.get(at) {
            Some(entry) if entry.borrow() == probe => Ok(at),
            _ => Err(at),
        }
    }

    fn insert(&self, run: &mut Run<T>, at: usize, entry: T) {
        run.insert(at, entry);
    }

    fn set(&self, run: &mut Run<T>, at: usize, entry: T) {
        run[at] = entry;
    }

    fn replace(run: &mut Run<T>, at: usize, entry: T) {
        run[at] = entry;
    }

    fn remove(&self, run: &mut Run<T>, at: usize) -> T {
        run.remove(at)
    }

    fn split_off(&self, run: &mut Run<T>, at: usize) -> Run<T> {
        run.drain(at..).collect()
    }

    fn fill(&self, run: &mut Run<T>, entries: impl Iterator<Item = T>) {
        run.extend(entries);
    }

    fn append(&self, run: &mut Run<T>, tail: Run<T>) {
        run.extend(tail);
    }

    fn node(&mut self) -> u32 {
        0
    }

    fn free(&mut self, _node: u32) {}

    fn adopt(&mut self, _child: u32, _parent: Parent) {}

    fn entered(&mut self, _run: &Run<T>, _at: usize, _leaf: u32) {}

    fn placed(&mut self, _run: &Run<T>, _from: usize, _leaf: u32) {}

    fn check_run(&self, run: &Run<T>) {
        let ascends = |a: &T, b: &T| self.is_before(a, b);
        assert!(run.is_sorted_by(ascends), "a run out of order");
    }

    fn is_before(&self, a: &T, b: &T) -> bool {
        a.borrow() < b.borrow()
    }

    fn parent(&self, _node: u32) -> Option<Parent> {
        None
    }

    fn leaf(&self, _entry: &T) -> Option<u32> {
        None
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

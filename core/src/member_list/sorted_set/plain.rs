//! Leaves that hold the elements of a `SortedSet` themselves.

use std::borrow::Borrow;
use std::marker::PhantomData;

use arrayvec::ArrayVec;

use crate::member_list::tree::{FANOUT, Parent, TreeContext};

/// The elements of a leaf, in order.
pub(super) type Run<T> = ArrayVec<T, FANOUT>;

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
pub(super) struct Plain<T, Q: ?Sized>(PhantomData<T>, PhantomData<Q>);

impl<T, Q: ?Sized> Default for Plain<T, Q> {
    fn default() -> Self {
        Self(PhantomData, PhantomData)
    }
}

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

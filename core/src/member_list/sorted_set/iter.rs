//! The iterators of a `SortedSet`.

use std::fmt;
use std::iter::FusedIterator;

use super::plain::Run;
use crate::member_list::tree::Tree;

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

/// The iterator over the elements of a [`SortedSet`](super::SortedSet) in order, or over a
/// [slice](super::SortedSet::slice) of them.
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

impl<'a, T> Iter<'a, T> {
    /// Returns an iterator over the elements at the positions `from..to`.
    pub(super) fn new(tree: &'a Tree<Run<T>>, from: usize, to: usize) -> Self {
        Self {
            tree,
            from,
            to,
            front: [].iter(),
            back: [].iter(),
        }
    }
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

/// The iterator over the elements of a [`SortedSet`](super::SortedSet) by value, in order, from both ends.
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

impl<T> IntoIter<T> {
    /// Returns an iterator over all elements.
    pub(super) fn new(tree: Tree<Run<T>>) -> Self {
        Self {
            from: 0,
            to: tree.len(),
            tree,
            front: Vec::new().into_iter(),
            back: Vec::new().into_iter(),
        }
    }
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

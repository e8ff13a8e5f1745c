//! A growable column that can be shared with readers in O(1) and copied page by page.

use std::array;
use std::mem::take;
use triomphe::Arc;

use arrayvec::ArrayVec;

/// Values in a page: what one write copies while a reader holds the column.
const PAGE: usize = 128;
/// Pages below one directory.
const DIR: usize = 256;

/// Places past the end hold defaults: a page without a length needs no look at it.
type Page<T> = [T; PAGE];
type Dir<T> = ArrayVec<Arc<Page<T>>, DIR>;

/// A vector in copy-on-write pages. `clone` is O(1); afterwards the first write to a page copies
/// that page, the directory above it and the root (one pointer per 32,768 values).
#[derive(Clone, Debug)]
pub(crate) struct CowVec<T> {
    root: Arc<Vec<Arc<Dir<T>>>>,
    len: usize,
}

impl<T> Default for CowVec<T> {
    fn default() -> Self {
        Self {
            root: Arc::default(),
            len: 0,
        }
    }
}

impl<T> CowVec<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Heap bytes of the pages, without what the values own. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        let pages = self.len.div_ceil(PAGE) * (size_of::<Page<T>>() + 8);
        let dirs = self.root.len() * (size_of::<Dir<T>>() + 8);
        pages + dirs + self.root.capacity() * size_of::<usize>()
    }
}

impl<T> std::ops::Index<usize> for CowVec<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.root[at / (PAGE * DIR)][at / PAGE % DIR][at % PAGE]
    }
}

impl<T: Clone + Default> CowVec<T> {
    /// Lets go of the directories that end before a place: nothing before it is read again.
    pub(crate) fn forget_before(&mut self, at: usize) {
        let forgotten = at / (PAGE * DIR);
        let root = Arc::make_mut(&mut self.root);
        let empty = Arc::new(Dir::new());
        for dir in root.iter_mut().take(forgotten).rev() {
            if dir.is_empty() {
                break;
            }
            *dir = Arc::clone(&empty);
        }
    }

    /// The value at a place, for writing. Copies its page if a reader shares it.
    pub(crate) fn at_mut(&mut self, at: usize) -> &mut T {
        let dir = Arc::make_mut(&mut Arc::make_mut(&mut self.root)[at / (PAGE * DIR)]);
        &mut Arc::make_mut(&mut dir[at / PAGE % DIR])[at % PAGE]
    }

    pub(crate) fn push(&mut self, value: T) {
        let at = self.len % PAGE;
        self.open_page()[at] = value;
        self.len += 1;
    }

    /// Adds values at the end, page by page. O(values).
    pub(crate) fn extend(&mut self, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter().peekable();
        while values.peek().is_some() {
            let at = self.len % PAGE;
            let mut added = 0;
            for (place, value) in self.open_page()[at..].iter_mut().zip(&mut values) {
                *place = value;
                added += 1;
            }
            self.len += added;
        }
    }

    /// The page that the next value goes to.
    fn open_page(&mut self) -> &mut Page<T> {
        let root = Arc::make_mut(&mut self.root);
        if self.len.is_multiple_of(PAGE * DIR) {
            root.push(Arc::new(Dir::new()));
        }
        let dir = Arc::make_mut(root.last_mut().expect("a directory was just made sure of"));
        if self.len.is_multiple_of(PAGE) {
            dir.push(Arc::new(array::from_fn(|_| T::default())));
        }
        Arc::make_mut(dir.last_mut().expect("a page was just made sure of"))
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let root = Arc::make_mut(&mut self.root);
        let dir = Arc::make_mut(root.last_mut()?);
        let value = take(&mut Arc::make_mut(dir.last_mut()?)[last % PAGE]);
        if last.is_multiple_of(PAGE) {
            dir.pop();
        }
        if dir.is_empty() {
            root.pop();
            if root.len() < root.capacity() / 4 {
                root.shrink_to_fit();
            }
        }
        self.len = last;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_independent() {
        let mut column = CowVec::default();
        column.push(0);
        column.extend(1..PAGE * DIR + 9);
        column.extend([]);
        (PAGE * DIR + 9..PAGE * DIR * 2 + 3).for_each(|value| column.push(value));
        let before = column.clone();
        *column.at_mut(70) = 7;
        column.push(1);
        while column.len() > 5 {
            column.pop();
        }
        assert_eq!(
            (before.len(), before[70], before[PAGE * DIR + 1]),
            (PAGE * DIR * 2 + 3, 70, PAGE * DIR + 1)
        );
        assert_eq!((column.len(), column[4]), (5, 4));
    }
}

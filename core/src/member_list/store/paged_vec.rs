//! Columns of the member table that only the writer reads: pages instead of one vector, so that
//! growing neither copies nor over-allocates.

/// Values in a page.
const PAGE: usize = 4096;

/// A growable column in pages; the last page grows like a vector.
#[derive(Debug)]
pub(crate) struct Column<T> {
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Column<T> {
    pub(crate) fn push(&mut self, value: T) {
        if self.len.is_multiple_of(PAGE) {
            // Only the first page grows bit by bit, for the sake of small lists.
            self.pages
                .push(Vec::with_capacity(if self.len == 0 { 0 } else { PAGE }));
        }
        let page = self.pages.last_mut().expect("a page was just made sure of");
        if page.len() == page.capacity() {
            page.reserve_exact(page.len().clamp(4, PAGE - page.len()));
        }
        page.push(value);
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let page = self.pages.last_mut()?;
        let value = page.pop();
        if page.is_empty() {
            self.pages.pop();
        }
        self.len -= 1;
        value
    }

    /// Heap bytes of the pages. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        let last = self.pages.last().map_or(0, Vec::capacity);
        let full = self.pages.len().saturating_sub(1) * PAGE;
        (full + last) * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> std::ops::Index<usize> for Column<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl<T> std::ops::IndexMut<usize> for Column<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / PAGE][at % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks() {
        let mut column = Column::default();
        (0..3 * PAGE + 1).for_each(|value| column.push(value));
        column[PAGE] = 7;
        assert_eq!(
            (column[0], column[PAGE], column[3 * PAGE]),
            (0, 7, 3 * PAGE)
        );
        assert!(column.heap_bytes() < (4 * PAGE + 100) * size_of::<usize>());
        while column.len > 1 {
            column.pop();
        }
        assert_eq!((column.pop(), column.pop()), (Some(0), None));
        assert_eq!(column.pages.len(), 0);
    }
}

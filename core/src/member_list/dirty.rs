//! What changed since the last publication, as the writes report it.

/// Marks kept one by one; with more than this the whole list counts as changed.
const MARKS_MAX: usize = 16_384;

/// A row that changed its place or its content. Indexes are those of the moment of the write:
/// `old` before it, `new` after it. `old` only: the row went; `new` only: it came; both and equal:
/// its content changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) old: Option<usize>,
    pub(crate) new: Option<usize>,
}

/// The marks since they were last taken. A list that never publishes collects nothing.
#[derive(Debug)]
pub(crate) struct Dirty {
    /// Everything may have changed; `marks` is empty.
    all: bool,
    marks: Vec<Mark>,
}

/// What [`Dirty::take`] hands over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    /// Everything may have changed.
    All,
    /// These rows, in the order of the writes.
    Rows(Vec<Mark>),
}

impl Dirty {
    /// Until the first [`take`](Self::take) everything counts as changed.
    pub(crate) fn new() -> Self {
        Self {
            all: true,
            marks: Vec::new(),
        }
    }

    /// Whether everything counts as changed already, so that marks say nothing new.
    pub(crate) fn is_all(&self) -> bool {
        self.all
    }

    /// A row went, came, moved or changed. O(1).
    pub(crate) fn mark(&mut self, old: Option<usize>, new: Option<usize>) {
        if self.all || (old, new) == (None, None) {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            return self.mark_all();
        }
        self.marks.push(Mark { old, new });
    }

    /// Bulk work: everything may have changed. O(1).
    pub(crate) fn mark_all(&mut self) {
        self.all = true;
        self.marks = Vec::new();
    }

    /// Hands over what was marked and begins anew.
    pub(crate) fn take(&mut self) -> Changes {
        let marks = std::mem::take(&mut self.marks);
        match std::mem::take(&mut self.all) {
            true => Changes::All,
            false => Changes::Rows(marks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_bounded() {
        let mut dirty = Dirty::new();
        dirty.mark(None, Some(1));
        assert_eq!(dirty.take(), Changes::All);
        dirty.mark(Some(1), None);
        dirty.mark(None, None);
        assert_eq!(
            dirty.take(),
            Changes::Rows(vec![Mark {
                old: Some(1),
                new: None
            }])
        );
        (0..=MARKS_MAX).for_each(|at| dirty.mark(None, Some(at)));
        assert_eq!(dirty.take(), Changes::All);
    }
}

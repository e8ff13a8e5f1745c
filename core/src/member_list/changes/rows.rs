//! What changed since the last publication, as the writes report it: which rows, which slots.

use hashbrown::HashSet;

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

/// The marks since they were last cleared. A list that never publishes collects nothing.
#[derive(Debug)]
pub(crate) struct Dirty {
    /// Everything may have changed; `marks` is empty.
    all: bool,
    marks: Vec<Mark>,
}

/// What [`Dirty::changes`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changes<'a> {
    /// Everything may have changed.
    All,
    /// These rows, in the order of the writes.
    Rows(&'a [Mark]),
}

impl Dirty {
    /// Until the first [`clear`](Self::clear) everything counts as changed.
    pub(crate) fn new() -> Self {
        Self {
            all: true,
            marks: Vec::new(),
        }
    }

    /// Returns whether everything counts as changed already, so that marks say nothing new.
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

    /// Shows what was marked.
    pub(crate) fn changes(&self) -> Changes<'_> {
        match self.all {
            true => Changes::All,
            false => Changes::Rows(&self.marks),
        }
    }

    /// Forgets what was marked: it was published.
    pub(crate) fn clear(&mut self) {
        (self.all, self.marks) = (false, Vec::new());
    }
}

/// The slots written since they were last cleared. Does nothing until somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    on: bool,
    /// Too many to name.
    all: bool,
    slots: Vec<u32>,
    renames: u64,
}

/// What [`Writes::written`] shows.
#[derive(Debug)]
pub(crate) struct Written {
    /// `None`: any may have been.
    slots: Option<HashSet<u32>>,
    renames: u64,
}

impl Writes {
    /// Another member is in this slot, or its content changed. O(1).
    pub(crate) fn note(&mut self, slot: u32) {
        if !self.on || self.all {
            return;
        }
        if self.slots.len() == MARKS_MAX {
            (self.all, self.slots) = (true, Vec::new());
            return;
        }
        self.slots.push(slot);
    }

    /// A member went to another slot, of which its row shows nothing. O(1).
    pub(crate) const fn renamed(&mut self) {
        self.renames += 1;
    }

    /// Whether somebody looks from now on.
    pub(crate) fn watch(&mut self, on: bool) {
        if !on {
            self.clear();
        }
        self.on = on;
    }

    /// Shows what was noted. O(notes).
    pub(crate) fn written(&self) -> Written {
        let known = self.on && !self.all;
        Written {
            slots: known.then(|| self.slots.iter().copied().collect()),
            renames: self.renames,
        }
    }

    /// Forgets what was noted: it was published.
    pub(crate) fn clear(&mut self) {
        (self.all, self.slots) = (false, Vec::new());
    }

    /// Returns what to go by between two ticks: any may have been written.
    pub(crate) const fn unknown(&self) -> Written {
        Written {
            slots: None,
            renames: self.renames,
        }
    }
}

impl Written {
    /// The slots written since the last tick, if who read when `renames` was said can go by them.
    pub(crate) fn since(&self, renames: u64) -> Option<&HashSet<u32>> {
        self.slots.as_ref().filter(|_| self.renames == renames)
    }

    pub(crate) const fn renames(&self) -> u64 {
        self.renames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_noted_while_somebody_watches() {
        let mut writes = Writes::default();
        writes.note(1);
        assert!(writes.written().since(0).is_none());
        writes.watch(true);
        writes.note(2);
        assert!(writes.unknown().since(0).is_none());
        assert_eq!(writes.written().since(0), Some(&HashSet::from([2])));
        writes.clear();
        writes.renamed();
        let written = writes.written();
        assert_eq!((written.renames(), written.since(0)), (1, None));
        assert_eq!(written.since(1), Some(&HashSet::new()));
        (0..=MARKS_MAX as u32).for_each(|slot| writes.note(slot));
        assert!(writes.slots.is_empty() && writes.written().since(1).is_none());
        writes.clear();
        assert!(writes.written().since(1).is_some());
    }

    #[test]
    fn marks_are_bounded() {
        let mut dirty = Dirty::new();
        dirty.mark(None, Some(1));
        assert_eq!(dirty.changes(), Changes::All);
        dirty.clear();
        dirty.mark(Some(1), None);
        dirty.mark(None, None);
        let old = Some(1);
        let new = None;
        assert_eq!(dirty.changes(), Changes::Rows(&[Mark { old, new }]));
        (0..=MARKS_MAX).for_each(|at| dirty.mark(None, Some(at)));
        assert_eq!(dirty.changes(), Changes::All);
    }
}

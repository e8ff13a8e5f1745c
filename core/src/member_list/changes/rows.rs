//! The rows that changed since the last tick, as the writes report them.

use std::ops::Range;

use crate::fault::{Fault, is_broken};

/// Marks noted one by one; with more than this the whole list counts as changed.
const MARKS_MAX: usize = 16_384;

/// A row that changed its place or its content. Indexes are those of the moment of the write:
/// `old` before it, `new` after it. `old` only: the row went; `new` only: it came; both and equal:
/// its content changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    old: Option<usize>,
    new: Option<usize>,
}

/// The marks since the last tick. A list that never publishes collects nothing.
#[derive(Debug)]
pub(crate) struct RowMarks {
    /// Everything may have changed; `marks` is empty.
    all: bool,
    /// Something changed, if only members without rows.
    touched: bool,
    marks: Vec<Mark>,
}

impl Default for RowMarks {
    /// Until the first [`clear`](RowMarks::clear) everything counts as changed.
    fn default() -> Self {
        Self {
            all: true,
            touched: true,
            marks: Vec::new(),
        }
    }
}

impl RowMarks {
    /// Returns whether everything counts as changed already, so that further marks add nothing.
    pub(crate) const fn is_all(&self) -> bool {
        self.all
    }

    /// Notes that a row went, came, moved or changed. O(1).
    pub(crate) fn mark(&mut self, old: Option<usize>, new: Option<usize>) {
        self.touched = true;
        let is_forgotten = old == new && is_broken(Fault::ForgetRowChange);
        if self.all || (old, new) == (None, None) || is_forgotten {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            return self.mark_all();
        }
        self.marks.push(Mark { old, new });
    }

    /// Notes bulk work: everything may have changed. O(1).
    pub(crate) fn mark_all(&mut self) {
        self.touched = true;
        if is_broken(Fault::ForgetBulk) {
            return;
        }
        self.all = true;
        self.marks = Vec::new();
    }

    /// Forgets all marks, which were published.
    pub(crate) fn clear(&mut self) {
        (self.all, self.touched) = (false, false);
        self.marks = Vec::new();
    }

    /// Sorts and joins the marks. O(marks log marks).
    pub(crate) fn dirty(&self) -> DirtyRows {
        if self.all {
            let everything = 0..usize::MAX;
            return DirtyRows {
                ranges: Vec::from([everything]),
                bulk: true,
                touched: true,
            };
        }
        // Rows fit 32 bits, so a range is one number, and numbers are sorted fastest.
        let packed = |mark: &Mark| {
            let (start, end) = match (mark.old, mark.new) {
                (Some(_), Some(new)) if is_broken(Fault::MarkNewPlaceOnly) => (new, new + 1),
                (Some(old), Some(new)) => (old.min(new), old.max(new) + 1),
                (at, other) => (at.or(other).unwrap_or(usize::MAX), usize::MAX),
            };
            let half = |row: usize| u64::from(u32::try_from(row).unwrap_or(u32::MAX));
            half(start) << 32 | half(end)
        };
        let mut sorted: Vec<u64> = self.marks.iter().map(packed).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for packed in sorted {
            let start = (packed >> 32) as usize;
            let end = packed as u32 as usize;
            match ranges.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => ranges.push(start..end),
            }
        }
        DirtyRows {
            ranges,
            bulk: false,
            touched: self.touched,
        }
    }
}

/// The indexes whose row may be another one than at the last tick.
///
/// A write leaves the rows outside its own range where they are, so the union of the ranges of
/// all writes, each in the indexes of its moment, covers every row that is another one now.
#[derive(Clone, Debug, Default)]
pub(crate) struct DirtyRows {
    /// Ascending, disjoint.
    ranges: Vec<Range<usize>>,
    bulk: bool,
    touched: bool,
}

impl DirtyRows {
    /// Returns whether there was bulk work, of which changed windows are sent whole.
    pub(crate) const fn is_bulk(&self) -> bool {
        self.bulk
    }

    /// Returns whether anything changed, members without rows included.
    pub(crate) const fn is_touched(&self) -> bool {
        self.touched
    }

    /// Returns whether one of `rows` may be another one. O(log ranges).
    pub(crate) fn touch(&self, rows: &Range<usize>) -> bool {
        let first = self.ranges.partition_point(|range| range.end <= rows.start);
        self.ranges
            .get(first)
            .is_some_and(|range| range.start < rows.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(marks: &[(Option<usize>, Option<usize>)]) -> RowMarks {
        let mut rows = RowMarks::default();
        rows.clear();
        for &(old, new) in marks {
            rows.mark(old, new);
        }
        rows
    }

    #[test]
    fn marks_are_bounded() {
        let mut rows = RowMarks::default();
        rows.mark(None, Some(1));
        assert!(rows.is_all() && rows.marks.is_empty());
        rows.clear();
        rows.mark(Some(1), None);
        rows.mark(None, None);
        let old = Some(1);
        let new = None;
        assert_eq!(rows.marks, [Mark { old, new }]);
        (0..=MARKS_MAX).for_each(|at| rows.mark(None, Some(at)));
        assert!(rows.is_all() && rows.marks.is_empty());
    }

    #[test]
    fn ranges_are_joined() {
        let rows = marked(&[
            (Some(40), Some(40)),
            (Some(19), Some(12)),
            (Some(10), Some(11)),
            (None, Some(300)),
            (Some(500), None),
        ])
        .dirty();
        assert_eq!(rows.ranges, [10..20, 40..41, 300..u32::MAX as usize]);
        for (range, touched) in [
            (0..10, false),
            (19..40, true),
            (20..40, false),
            (41..300, false),
        ] {
            assert_eq!(rows.touch(&range), touched, "{range:?}");
        }
        assert!(rows.touch(&(1_000..1_001)));
        assert!(RowMarks::default().dirty().touch(&(7..8)));
        assert!(!DirtyRows::default().touch(&(0..usize::MAX)));
    }
}

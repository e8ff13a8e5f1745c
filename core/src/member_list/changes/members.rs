//! What the writes of a list note for the next tick beyond the rows they touched: which members
//! left their place, and which parts of bodies changed. Bounded in memory.

use std::ops::Range;

use hashbrown::HashMap;

use crate::member_list::Id;
use crate::member_list::changes::rows::{Changes, Mark};

/// Members kept by id before the marks give up on detail.
const IDS_MAX: usize = 65_536;

/// A set of fields of a member's body, as bits. What a bit means is up to the
/// [`RowSource`](crate::member_list::RowSource).
///
/// ```
/// use headcount::member_list::Fields;
///
/// const NAME: Fields = Fields(1);
/// const STATUS: Fields = Fields(2);
/// assert!(Fields::ALL.intersects(NAME) && !NAME.intersects(STATUS));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fields(pub u64);

impl Fields {
    /// The whole body.
    pub const ALL: Self = Self(u64::MAX);
    /// Nothing of the body.
    pub const NONE: Self = Self(0);

    /// Returns whether the two sets share a field. O(1).
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What is known of single members since the last tick. Does nothing until somebody watches: a
/// list without viewers pays one branch for each change.
#[derive(Clone, Debug)]
pub(crate) struct Marks<I> {
    watched: bool,
    /// True if an anchored window is watched: only they ask who moved.
    anchored: bool,
    /// Members that left a place, and the first place they left.
    moved: ById<I, u64>,
    /// Changed parts of bodies.
    fields: ById<I, Fields>,
}

/// Up to a bound what is known of each; beyond it, "maybe any".
#[derive(Clone, Debug)]
struct ById<I, V> {
    known: HashMap<I, V>,
    overflow: bool,
}

/// Where a member was at the last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldPlace {
    /// It never left its place.
    Kept,
    /// It was here; it may have come back.
    Was(u64),
    /// Too much moved to know.
    Unknown,
}

impl<I, V> Default for ById<I, V> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            overflow: false,
        }
    }
}

impl<I> Default for Marks<I> {
    fn default() -> Self {
        Self {
            watched: false,
            anchored: false,
            moved: ById::default(),
            fields: ById::default(),
        }
    }
}

impl<I: Id> Marks<I> {
    /// A member is about to leave the list, and its place.
    pub(crate) fn removed(&mut self, id: &I, place: impl FnOnce() -> u64) {
        self.left(id, place);
    }

    /// A member is about to leave the place named by `place`, any hash of group and key.
    pub(crate) fn moved(&mut self, id: &I, place: impl FnOnce() -> u64) {
        if self.anchored {
            self.left(id, place);
        }
    }

    fn left(&mut self, id: &I, place: impl FnOnce() -> u64) {
        if self.watched && self.moved.has_room_for(id) && !self.moved.known.contains_key(id) {
            self.moved.known.insert(id.clone(), place());
        }
    }

    /// Members moved that nobody names.
    pub(crate) fn moved_many(&mut self) {
        self.moved = ById {
            known: HashMap::new(),
            overflow: self.watched,
        };
    }

    /// A member came in. One that was removed since the last tick may come back with any body.
    pub(crate) fn inserted(&mut self, id: &I) {
        if self.moved.overflow || self.moved.known.contains_key(id) {
            self.fields(id, Fields::ALL);
        }
    }

    /// These fields of a member's body changed.
    pub(crate) fn fields(&mut self, id: &I, fields: Fields) {
        if self.watched && fields != Fields::NONE && self.fields.has_room_for(id) {
            let known = self.fields.known.get(id).map_or(0, |known| known.0);
            self.fields
                .known
                .insert(id.clone(), Fields(known | fields.0));
        }
    }

    /// Whether somebody looks from now on, and at an anchored window. When nobody does any more,
    /// all marks are dropped.
    pub(crate) fn watch(&mut self, watched: bool, anchored: bool) {
        if watched != self.watched {
            *self = Self::default();
        }
        (self.watched, self.anchored) = (watched, anchored);
    }

    /// Forgets what was noted, which was published; keeps room for as much.
    pub(crate) fn clear(&mut self) {
        self.moved = ById::with_capacity(self.moved.known.len());
        self.fields = ById::with_capacity(self.fields.known.len());
    }

    /// The place a member had, if it may have left it.
    pub(crate) fn old_place(&self, id: &I) -> OldPlace {
        match self.moved.known.get(id) {
            Some(&place) => OldPlace::Was(place),
            None if self.moved.overflow => OldPlace::Unknown,
            None => OldPlace::Kept,
        }
    }

    /// The fields of a member's body that changed.
    pub(crate) fn changed_fields(&self, id: &I) -> Fields {
        let other = if self.fields.overflow {
            Fields::ALL
        } else {
            Fields::NONE
        };
        self.fields.known.get(id).copied().unwrap_or(other)
    }
}

impl<I: Id, V> ById<I, V> {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            known: HashMap::with_capacity(capacity),
            overflow: false,
        }
    }

    /// Returns whether `id` can be noted; gives up on all detail when the bound is reached.
    fn has_room_for(&mut self, id: &I) -> bool {
        if !self.overflow && self.known.len() >= IDS_MAX && !self.known.contains_key(id) {
            *self = Self {
                known: HashMap::new(),
                overflow: true,
            };
        }
        !self.overflow
    }
}

/// The indexes whose row may be another one than at the last tick.
///
/// A write leaves the rows outside its own range where they are, so the union of the ranges of
/// all writes, each in the indexes of its moment, covers every row that is another one now.
#[derive(Debug)]
pub(crate) struct DirtyRows {
    /// Ascending, disjoint.
    ranges: Vec<Range<usize>>,
    /// Bulk work: what changed is sent whole.
    pub(crate) bulk: bool,
}

impl DirtyRows {
    /// Sorts and joins what the writes reported. O(marks log marks).
    pub(crate) fn new(changes: Changes<'_>) -> Self {
        let Changes::Rows(marks) = changes else {
            let everything = 0..usize::MAX;
            return Self {
                ranges: Vec::from([everything]),
                bulk: true,
            };
        };
        // Rows fit 32 bits, so a range is one number, and numbers are sorted fastest.
        let packed = |mark: &Mark| {
            let (start, end) = match (mark.old, mark.new) {
                (Some(old), Some(new)) => (old.min(new), old.max(new) + 1),
                (at, other) => (at.or(other).unwrap_or(usize::MAX), usize::MAX),
            };
            let half = |row: usize| u64::from(u32::try_from(row).unwrap_or(u32::MAX));
            half(start) << 32 | half(end)
        };
        let mut sorted: Vec<u64> = marks.iter().map(packed).collect();
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
        Self {
            ranges,
            bulk: false,
        }
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

    fn watched() -> Marks<u64> {
        let mut marks = Marks::default();
        marks.watch(true, true);
        marks
    }

    #[test]
    fn nobody_watching_costs_nothing() {
        let mut marks = Marks::<u64>::default();
        marks.fields(&1, Fields::ALL);
        marks.moved(&1, || 5);
        assert_eq!(marks.changed_fields(&1), Fields::NONE);
        assert_eq!(marks.old_place(&1), OldPlace::Kept);
    }

    #[test]
    fn memory_is_bounded_and_coarse_marks_cover_the_fine_ones() {
        let mut marks = watched();
        for id in 0..100_000 {
            marks.fields(&id, Fields(1));
            marks.moved(&id, || 1);
        }
        assert!(marks.fields.known.len() <= IDS_MAX && marks.moved.known.len() <= IDS_MAX);
        assert_eq!(marks.changed_fields(&99_999), Fields::ALL);
        assert_eq!(marks.old_place(&5), OldPlace::Unknown);
        marks.clear();
        assert_eq!(marks.changed_fields(&99_999), Fields::NONE);
        assert_eq!(marks.old_place(&5), OldPlace::Kept);
    }

    #[test]
    fn the_first_old_place_counts() {
        let mut marks = watched();
        marks.moved(&7, || 1);
        marks.moved(&7, || 2);
        assert_eq!(marks.old_place(&7), OldPlace::Was(1));
        assert_eq!(marks.old_place(&8), OldPlace::Kept);
    }

    #[test]
    fn ranges_are_joined() {
        let mark = |old, new| Mark { old, new };
        let rows = DirtyRows::new(Changes::Rows(&[
            mark(Some(40), Some(40)),
            mark(Some(19), Some(12)),
            mark(Some(10), Some(11)),
            mark(None, Some(300)),
            mark(Some(500), None),
        ]));
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
        assert!(DirtyRows::new(Changes::All).touch(&(7..8)));
    }
}

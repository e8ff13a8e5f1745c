//! The members that left their place since the last tick, and the parts of bodies that changed.
//! Bounded in memory.

use hashbrown::HashMap;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;

/// Members noted by id before the marks give up on detail.
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

/// The changes of single members since the last tick. It notes nothing while no viewer watches: a
/// list without viewers pays one branch for each change.
#[derive(Clone, Debug)]
pub(crate) struct MemberMarks<I> {
    watched: bool,
    /// True if an anchored window is watched: only these need the members that moved.
    anchored: bool,
    /// Members that left a place, and the first place they left.
    moved: ById<I, u64>,
    /// Changed parts of bodies.
    fields: ById<I, Fields>,
}

/// A note for each of a bounded number of members; beyond the bound, "maybe any".
#[derive(Clone, Debug)]
struct ById<I, V> {
    known: HashMap<I, V>,
    overflow: bool,
}

/// The place of a member at the last tick.
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

impl<I> Default for MemberMarks<I> {
    fn default() -> Self {
        Self {
            watched: false,
            anchored: false,
            moved: ById::default(),
            fields: ById::default(),
        }
    }
}

impl<I: Id> MemberMarks<I> {
    /// Notes that a member is about to leave the list, and the place it has.
    pub(crate) fn removed(&mut self, id: &I, place: impl FnOnce() -> u64) {
        self.left(id, place);
    }

    /// Notes that a member is about to leave the place named by `place`, any hash of group and key.
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

    /// Notes that any member may have moved.
    pub(crate) fn moved_many(&mut self) {
        self.moved = ById {
            known: HashMap::new(),
            overflow: self.watched,
        };
    }

    /// Notes a new member. One that was removed since the last tick may come back with any body.
    pub(crate) fn inserted(&mut self, id: &I) {
        if self.moved.overflow || self.moved.known.contains_key(id) {
            self.fields(id, Fields::ALL);
        }
    }

    /// Notes that these fields of a member's body changed.
    pub(crate) fn fields(&mut self, id: &I, fields: Fields) {
        if self.watched && fields != Fields::NONE && self.fields.has_room_for(id) {
            let known = self.fields.known.get(id);
            let known = known.filter(|_| !is_broken(Fault::LastFieldsOnly));
            let known = known.map_or(0, |known| known.0);
            self.fields
                .known
                .insert(id.clone(), Fields(known | fields.0));
        }
    }

    pub(crate) const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Starts or ends noting, as viewers hold windows, and anchored ones, from now on. Drops all
    /// marks when that changes.
    pub(crate) fn watch(&mut self, watched: bool, anchored: bool) {
        if watched != self.watched {
            *self = Self::default();
        }
        (self.watched, self.anchored) = (watched, anchored);
    }

    /// Forgets the notes, which a tick has published; keeps room for as many.
    pub(crate) fn clear(&mut self) {
        self.moved = ById::with_capacity(self.moved.known.len());
        self.fields = ById::with_capacity(self.fields.known.len());
    }

    /// Returns the place a member had, if it may have left it.
    pub(crate) fn old_place(&self, id: &I) -> OldPlace {
        match self.moved.known.get(id) {
            Some(&place) => OldPlace::Was(place),
            None if self.moved.overflow => OldPlace::Unknown,
            None => OldPlace::Kept,
        }
    }

    /// Returns the fields of a member's body that changed.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> MemberMarks<u64> {
        let mut marks = MemberMarks::default();
        marks.watch(true, true);
        marks
    }

    #[test]
    fn without_viewers_nothing_is_noted() {
        let mut marks = MemberMarks::<u64>::default();
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
}

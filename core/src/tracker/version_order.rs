//! The entries of one origin in the order of their versions, linked through their rows.

use super::slab::NIL;
use super::store::Store;

#[derive(Debug, Clone)]
pub(super) struct VersionOrder {
    oldest: u32,
    newest: u32,
}

/// Walks under way between which entries move.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursors(Vec<Cursor>);

/// The place of a walk that continues while entries are written. It steps aside when its entry
/// moves.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    token: u64,
    /// The next entry, or `NIL` at the end.
    index: u32,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the oldest entry on.
    Newer,
    /// From the newest entry on.
    Older,
}

impl VersionOrder {
    pub(super) fn new() -> Self {
        Self {
            oldest: NIL,
            newest: NIL,
        }
    }

    /// Returns the entry with the least version, or `NIL`.
    #[inline]
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// Returns the entry with the greatest version, or `NIL`.
    #[inline]
    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// Puts an entry at the newest end. O(1).
    #[inline]
    pub(super) fn append(&mut self, store: &mut Store, index: u32) {
        let row = store.links_mut(index);
        row.older = self.newest;
        row.newer = NIL;
        if self.newest == NIL {
            self.oldest = index;
        } else {
            store.links_mut(self.newest).newer = index;
        }
        self.newest = index;
    }

    /// Takes an entry out. O(1).
    #[inline]
    pub(super) fn unlink(&mut self, store: &mut Store, index: u32) {
        let older = store.row(index).older;
        let newer = store.row(index).newer;
        if older == NIL {
            self.oldest = newer;
        } else {
            store.links_mut(older).newer = newer;
        }
        if newer == NIL {
            self.newest = older;
        } else {
            store.links_mut(newer).older = older;
        }
    }

    /// Returns the entries with a version above `after`, oldest first. O(entries found).
    pub(super) fn newer_than(&self, store: &Store, after: u64) -> Vec<u32> {
        let mut found = Vec::new();
        let mut index = self.newest;
        while index != NIL && store.row(index).version > after {
            found.push(index);
            index = store.row(index).older;
        }
        found.reverse();
        found
    }

    /// Returns all entries, oldest first.
    pub(super) fn entries<'a>(&self, store: &'a Store) -> impl Iterator<Item = u32> + use<'a> {
        let entry = |index: u32| (index != NIL).then_some(index);
        std::iter::successors(entry(self.oldest), move |&i| entry(store.row(i).newer))
    }

    /// Returns the versions of all entries, oldest first.
    pub(super) fn versions<'a>(&self, store: &'a Store) -> impl Iterator<Item = u64> + use<'a> {
        self.entries(store).map(|index| store.row(index).version)
    }
}

impl Cursors {
    /// Begins a walk over all entries. The token names it.
    pub(super) fn begin(&mut self, order: &VersionOrder, token: u64, direction: Direction) {
        let index = match direction {
            Direction::Newer => order.oldest,
            Direction::Older => order.newest,
        };
        self.0.push(Cursor {
            token,
            index,
            direction,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the entry that a walk comes to next: `NIL` at its end, `None` when there is no such
    /// walk.
    pub(super) fn get(&self, token: u64) -> Option<u32> {
        let cursor = self.0.iter().find(|cursor| cursor.token == token)?;
        Some(cursor.index)
    }

    pub(super) fn set(&mut self, token: u64, index: u32) {
        if let Some(cursor) = self.0.iter_mut().find(|cursor| cursor.token == token) {
            cursor.index = index;
        }
    }

    pub(super) fn end(&mut self, token: u64) {
        self.0.retain(|cursor| cursor.token != token);
    }

    /// Lets the walks that come to an entry next go on beside it, before it is unlinked.
    pub(super) fn step_aside(&mut self, store: &Store, index: u32) {
        let row = store.row(index);
        for cursor in &mut self.0 {
            if cursor.index == index {
                cursor.index = match cursor.direction {
                    Direction::Newer => row.newer,
                    Direction::Older => row.older,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{EntryVersions, NewEntry};
    use super::*;

    fn filled(versions: impl Iterator<Item = u64>) -> (Store, VersionOrder, Vec<u32>) {
        let mut store = Store::new();
        let mut order = VersionOrder::new();
        let mut entries = Vec::new();
        for version in versions {
            let put = NewEntry::new("room", "ann", "phone");
            let location = store.locate(put.topic, put.encoding, put.key);
            let index = store.insert(location, &put, 0, EntryVersions::new(version));
            order.append(&mut store, index);
            entries.push(index);
        }
        (store, order, entries)
    }

    #[test]
    fn the_newest_entries_are_found_from_the_end() {
        let (mut store, mut order, entries) = filled(1..=5);
        assert_eq!(order.newer_than(&store, 3), entries[3..]);
        order.unlink(&mut store, entries[4]);
        order.unlink(&mut store, entries[0]);
        order.unlink(&mut store, entries[2]);
        assert_eq!(order.versions(&store).collect::<Vec<_>>(), [2, 4]);
        assert_eq!((order.oldest(), order.newest()), (entries[1], entries[3]));
        order.unlink(&mut store, entries[1]);
        order.unlink(&mut store, entries[3]);
        assert_eq!((order.oldest(), order.newest()), (NIL, NIL));
    }

    #[test]
    fn a_cursor_steps_aside_when_its_entry_moves() {
        let (mut store, mut order, entries) = filled(1..=3);
        let mut cursors = Cursors::default();
        cursors.begin(&order, 7, Direction::Newer);
        cursors.begin(&order, 8, Direction::Older);
        cursors.set(7, entries[1]);
        cursors.set(8, entries[1]);
        cursors.step_aside(&store, entries[1]);
        order.unlink(&mut store, entries[1]);
        order.append(&mut store, entries[1]);
        assert_eq!(cursors.get(7), Some(entries[2]));
        assert_eq!(cursors.get(8), Some(entries[0]));
        cursors.end(7);
        assert_eq!((cursors.get(7), cursors.get(8)), (None, Some(entries[0])));
    }
}

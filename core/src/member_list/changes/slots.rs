//! The slots of the member table that were written since the last tick.

use hashbrown::HashSet;

/// Slots noted one by one; with more than this any slot may have been written.
const SLOTS_MAX: usize = 16_384;

/// The slots written since the last tick. Notes nothing while no viewer watches.
#[derive(Debug, Default)]
pub(crate) struct SlotMarks {
    watched: bool,
    /// Too many to name.
    all: bool,
    slots: Vec<u32>,
    renumberings: u64,
}

impl SlotMarks {
    /// Notes that a slot has another member, or its member another content. O(1).
    pub(crate) fn mark(&mut self, slot: u32) {
        if !self.watched || self.all {
            return;
        }
        if self.slots.len() == SLOTS_MAX {
            self.all = true;
            self.slots = Vec::new();
            return;
        }
        self.slots.push(slot);
    }

    /// Notes that a member went to another slot, of which its row shows nothing. O(1).
    pub(crate) const fn renumbered(&mut self) {
        self.renumberings += 1;
    }

    /// Starts or ends noting, as viewers hold windows from now on.
    pub(crate) fn watch(&mut self, watched: bool) {
        if !watched {
            self.clear();
        }
        self.watched = watched;
    }

    /// Forgets all marks, which were published.
    pub(crate) fn clear(&mut self) {
        self.all = false;
        self.slots = Vec::new();
    }

    /// Returns the marked slots. O(marks).
    pub(crate) fn written(&self) -> WrittenSlots {
        let known = self.watched && !self.all;
        WrittenSlots {
            slots: known.then(|| self.slots.iter().copied().collect()),
            renumberings: self.renumberings,
        }
    }

    /// Returns that any slot may have been written: true between two ticks and after bulk work.
    pub(crate) const fn unknown(&self) -> WrittenSlots {
        WrittenSlots {
            slots: None,
            renumberings: self.renumberings,
        }
    }
}

/// The slots written between two ticks.
#[derive(Clone, Debug)]
pub(crate) struct WrittenSlots {
    /// `None`: any may have been.
    slots: Option<HashSet<u32>>,
    renumberings: u64,
}

impl WrittenSlots {
    /// Returns the slots written since the last tick, or `None` if any may have been, or slots
    /// were renumbered since `renumberings`.
    pub(crate) fn since(&self, renumberings: u64) -> Option<&HashSet<u32>> {
        self.slots
            .as_ref()
            .filter(|_| self.renumberings == renumberings)
    }

    /// Returns how often members had changed their slots by now.
    pub(crate) const fn renumberings(&self) -> u64 {
        self.renumberings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_marked_while_windows_are_watched() {
        let mut marks = SlotMarks::default();
        marks.mark(1);
        assert!(marks.written().since(0).is_none());
        marks.watch(true);
        marks.mark(2);
        assert!(marks.unknown().since(0).is_none());
        assert_eq!(marks.written().since(0), Some(&HashSet::from([2])));
        marks.clear();
        marks.renumbered();
        let written = marks.written();
        assert_eq!((written.renumberings(), written.since(0)), (1, None));
        assert_eq!(written.since(1), Some(&HashSet::new()));
        (0..=SLOTS_MAX as u32).for_each(|slot| marks.mark(slot));
        assert!(marks.slots.is_empty() && marks.written().since(1).is_none());
        marks.clear();
        assert!(marks.written().since(1).is_some());
    }
}

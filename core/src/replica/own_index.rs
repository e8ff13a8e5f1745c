//! `OwnIndex`: the partitions that this replica occupies, as others have been told of them.

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use super::message::{INDEX_TOGGLES_MAX, Position, Row};
use super::partition_set::PartitionSet;
use crate::codec::Shape;
use crate::fault::{Fault, is_broken};

/// The number of Beats after a change with which its row is shown.
pub(super) const ROW_BEATS: u64 = 2;

/// Returns the share of one occupied partition in the hash of a set, which is the xor of all
/// shares.
pub(super) fn set_share(partition: u16) -> u64 {
    xxh3_64(&partition.to_le_bytes())
}

/// Returns the share of one position in the sum of all, which wraps.
pub(super) fn sum_share(partition: u16, position: Position) -> u64 {
    let mut bytes = [0; 26];
    bytes[..2].copy_from_slice(&partition.to_le_bytes());
    bytes[2..10].copy_from_slice(&position.life.to_le_bytes());
    bytes[10..18].copy_from_slice(&position.clock.to_le_bytes());
    bytes[18..].copy_from_slice(&position.fingerprint.to_le_bytes());
    xxh3_64(&bytes)
}

/// The chain of toggles by which this replica occupies and vacates partitions, and the position of
/// each occupied one that others were last shown.
///
/// The version counts the toggles. A partition that is occupied by toggle n begins its life number
/// n.
#[derive(Debug, Clone)]
pub(crate) struct OwnIndex {
    set: PartitionSet,
    version: u64,
    /// The last toggles, up to `version`.
    log: VecDeque<u16>,
    set_hash: u64,
    shown: BTreeMap<u16, Shown>,
    sum: u64,
}

/// The position of an occupied partition that others were shown.
#[derive(Debug, Clone, Copy)]
struct Shown {
    position: Position,
    /// The number of the last Beat before it.
    seq: u64,
}

impl Shown {
    fn row(&self, partition: u16) -> Row {
        let position = self.position;
        Row {
            partition,
            position,
        }
    }
}

impl OwnIndex {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            set: PartitionSet::new(shape),
            version: 0,
            log: VecDeque::new(),
            set_hash: 0,
            shown: BTreeMap::new(),
            sum: 0,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn set(&self) -> &PartitionSet {
        &self.set
    }

    /// Returns the xor of the shares of all occupied partitions.
    pub(super) fn set_hash(&self) -> u64 {
        self.set_hash
    }

    /// Returns the wrapping sum of the shares of all positions shown.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the position of a partition that others were last shown; `None` if it is vacated.
    /// O(log n).
    pub(crate) fn position(&self, partition: u16) -> Option<Position> {
        self.shown.get(&partition).map(|shown| shown.position)
    }

    /// Shows a partition at a clock, after Beat number `seq`; if it is not occupied, a new life
    /// begins. Returns its position. O(log n).
    pub(super) fn show(
        &mut self,
        partition: u16,
        clock: u64,
        fingerprint: u64,
        seq: u64,
    ) -> Position {
        let life = match self.shown.get(&partition) {
            Some(before) => {
                let share = sum_share(partition, before.position);
                self.sum = self.sum.wrapping_sub(share);
                before.position.life
            }
            None => self.toggle(partition),
        };
        let life = if is_broken(Fault::NoLives) { 1 } else { life };
        let position = Position {
            life,
            clock,
            fingerprint,
        };
        self.sum = self.sum.wrapping_add(sum_share(partition, position));
        self.shown.insert(partition, Shown { position, seq });
        position
    }

    /// Ends the life of a partition. Returns whether it was occupied. O(log n).
    pub(super) fn vacate(&mut self, partition: u16) -> bool {
        let Some(shown) = self.shown.remove(&partition) else {
            return false;
        };
        let share = sum_share(partition, shown.position);
        self.sum = self.sum.wrapping_sub(share);
        self.toggle(partition);
        true
    }

    fn toggle(&mut self, partition: u16) -> u64 {
        self.set.toggle(partition);
        self.set_hash ^= set_share(partition);
        self.version += 1;
        self.log.push_back(partition);
        if self.log.len() > INDEX_TOGGLES_MAX {
            self.log.pop_front();
        }
        self.version
    }

    /// Returns the toggles after a version, or `None` if they are no longer remembered. O(toggles).
    pub(super) fn toggles_since(&self, version: u64) -> Option<Vec<u16>> {
        let count = usize::try_from(self.version.checked_sub(version)?).ok()?;
        let first = self.log.len().checked_sub(count)?;
        Some(self.log.range(first..).copied().collect())
    }

    /// Returns the positions that were shown after Beat number `since` - those before the first Beat
    /// for 0 -, the oldest first, each with the number of the last Beat before it. O(n log n).
    pub(super) fn history_since(&self, since: u64) -> Vec<(u64, Row)> {
        let changed = self.shown.iter().filter(|(_, shown)| shown.seq >= since);
        let rows = changed.map(|(partition, shown)| (shown.seq, shown.row(*partition)));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|(seq, _)| *seq);
        rows
    }

    /// Returns the positions that are shown again with Beat number `seq`: those of partitions that
    /// have been quiet for one beat, and each of the others once in `sweep_beats` beats. O(n).
    pub(super) fn rows_due(&self, seq: u64, sweep_beats: u64) -> Vec<Row> {
        let turn = seq % sweep_beats;
        let due = self.shown.iter().filter(|(partition, shown)| {
            let is_swept = set_share(**partition) % sweep_beats == turn;
            shown.seq + ROW_BEATS == seq || is_swept && !is_broken(Fault::SweepNothing)
        });
        due.map(|(partition, shown)| shown.row(*partition))
            .collect()
    }

    /// Shows the position of a partition again, after Beat number `seq`: a holder that asked may have
    /// missed what came meanwhile, or have something else.
    pub(super) fn touch(&mut self, partition: u16, seq: u64) {
        if let Some(shown) = self.shown.get_mut(&partition)
            && !is_broken(Fault::ServeUnseen)
        {
            shown.seq = seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Mode;

    /// An index computed from the list of all that happened.
    #[derive(Default)]
    struct Model {
        toggles: Vec<u16>,
        shown: BTreeMap<u16, (Position, u64)>,
    }

    impl Model {
        fn set_hash(&self) -> u64 {
            let shares = self.shown.keys().map(|partition| set_share(*partition));
            shares.fold(0, |hash, share| hash ^ share)
        }

        fn sum(&self) -> u64 {
            let shares = self.shown.iter();
            let shares = shares.map(|(partition, shown)| sum_share(*partition, shown.0));
            shares.fold(0, u64::wrapping_add)
        }
    }

    proptest! {
        #[test]
        fn the_index_is_what_a_naive_list_says(
            bits in 0u8..7,
            steps in vec((any::<u16>(), 0u8..4), 0..200),
        ) {
            let shape = Shape::from_bits(bits, Mode::All).unwrap();
            let mut index = OwnIndex::new(shape);
            let mut model = Model::default();
            for (step, (number, choice)) in steps.iter().enumerate() {
                let partition = number & (shape.partitions() - 1) as u16;
                let seq = step as u64 / 3;
                if *choice == 0 {
                    let was_occupied = model.shown.remove(&partition).is_some();
                    if was_occupied {
                        model.toggles.push(partition);
                    }
                    prop_assert_eq!(index.vacate(partition), was_occupied);
                } else {
                    let clock = 1 + step as u64;
                    let life = model.shown.get(&partition).map(|(position, _)| position.life);
                    let life = life.unwrap_or_else(|| {
                        model.toggles.push(partition);
                        model.toggles.len() as u64
                    });
                    let position = Position { life, clock, fingerprint: u64::from(*number) };
                    model.shown.insert(partition, (position, seq));
                    let shown = index.show(partition, clock, position.fingerprint, seq);
                    prop_assert_eq!(shown, position);
                }
                prop_assert_eq!(index.version(), model.toggles.len() as u64);
                prop_assert_eq!(index.set_hash(), model.set_hash());
                prop_assert_eq!(index.sum(), model.sum());
                prop_assert!(index.set().iter().eq(model.shown.keys().copied()));
                let expected = model.shown.get(&partition).map(|shown| shown.0);
                prop_assert_eq!(index.position(partition), expected);
            }
            for version in 0..=index.version() {
                let expected = model.toggles[version as usize..].to_vec();
                prop_assert_eq!(index.toggles_since(version), Some(expected));
            }
            prop_assert_eq!(index.toggles_since(index.version() + 1), None);
            for since in 0..70 {
                let rows = index.history_since(since).into_iter();
                let rows = rows.map(|(seq, row)| (seq, row.partition, row.position));
                let expected = model.shown.iter().filter(|(_, shown)| shown.1 >= since);
                let expected = expected.map(|(partition, (position, seq))| (*seq, *partition, *position));
                let mut expected: Vec<_> = expected.collect();
                expected.sort_by_key(|(seq, partition, _)| (*seq, *partition));
                prop_assert!(rows.eq(expected));
            }
        }
    }

    #[test]
    fn toggles_beyond_the_log_are_forgotten() {
        let mut index = OwnIndex::new(Shape::default());
        for _ in 0..INDEX_TOGGLES_MAX / 2 + 1 {
            index.show(3, 1, 0, 0);
            index.vacate(3);
        }
        assert_eq!(index.toggles_since(1), None);
        let toggles = index.toggles_since(2).unwrap();
        assert_eq!(toggles.len(), INDEX_TOGGLES_MAX);
    }
}

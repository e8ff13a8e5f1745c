//! `Holdings`: how far this node is with the partitions of another replica, and the sum of it.

use std::collections::BTreeMap;

use super::message::Position;
use super::own_index::sum_share;

/// The positions held of one replica.
#[derive(Debug, Clone, Default)]
pub(super) struct Holdings {
    positions: BTreeMap<u16, Position>,
    sum: u64,
}

impl Holdings {
    pub(super) fn get(&self, partition: u16) -> Option<Position> {
        self.positions.get(&partition).copied()
    }

    /// Returns the sum of the shares of all positions, as the replica itself makes it.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, Position)> + '_ {
        let positions = self.positions.iter();
        positions.map(|(partition, position)| (*partition, *position))
    }

    /// Notes what is held of a partition now. O(log n).
    pub(super) fn set(&mut self, partition: u16, position: Option<Position>) {
        let before = match position {
            Some(position) => {
                self.sum = self.sum.wrapping_add(sum_share(partition, position));
                self.positions.insert(partition, position)
            }
            None => self.positions.remove(&partition),
        };
        if let Some(before) = before {
            self.sum = self.sum.wrapping_sub(sum_share(partition, before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Shape;
    use crate::replica::own_index::OwnIndex;

    #[test]
    fn the_sum_is_that_of_the_origin_when_all_is_held() {
        let mut index = OwnIndex::new(Shape::default());
        let mut holdings = Holdings::default();
        for step in 0..40 {
            let partition = (step * 7 % 5) as u16;
            if step % 6 == 5 {
                index.vacate(partition);
                holdings.set(partition, None);
            } else {
                let position = index.show(partition, step + 1, step * 3, 0);
                holdings.set(partition, Some(position));
            }
            assert_eq!(holdings.sum(), index.sum(), "step {step}");
        }
        let rows = index.history_since(0).into_iter();
        let rows = rows.map(|(_, row)| (row.partition, row.position));
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), holdings.positions);
        let held = holdings.iter().next().map(|(partition, _)| partition);
        holdings.set(held.unwrap(), None);
        assert_ne!(holdings.sum(), index.sum());
    }
}

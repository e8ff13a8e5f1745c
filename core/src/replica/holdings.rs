//! `Holdings`: how far this node is with the partitions of another replica, and the sum of it.

use std::collections::BTreeMap;

use super::message::Position;
use super::own_index::sum_share;

/// The positions held of one replica.
#[derive(Debug, Clone, Default)]
pub(super) struct Holdings {
    /// By the number of the page.
    pages: BTreeMap<u16, Page>,
    sum: u64,
}

/// The positions of up to 64 partitions with subsequent numbers. A cluster has as many positions as
/// nodes times partitions: a page takes few bytes besides them.
#[derive(Debug, Clone, Default)]
struct Page {
    /// A bit for each partition that has a position.
    held: u64,
    /// In the order of the partitions.
    positions: Vec<Position>,
}

impl Page {
    const LEN: u16 = u64::BITS as u16;

    /// Returns the place of a partition's position, or `Err` with that where it would be.
    fn place(&self, partition: u16) -> Result<usize, usize> {
        let bit = 1 << (partition % Self::LEN);
        let place = (self.held & (bit - 1)).count_ones() as usize;
        if self.held & bit == 0 {
            Err(place)
        } else {
            Ok(place)
        }
    }

    fn insert(&mut self, partition: u16, position: Position) -> Option<Position> {
        match self.place(partition) {
            Ok(place) => Some(std::mem::replace(&mut self.positions[place], position)),
            Err(place) => {
                self.positions.reserve_exact(1);
                self.positions.insert(place, position);
                self.held |= 1 << (partition % Self::LEN);
                None
            }
        }
    }

    fn remove(&mut self, partition: u16) -> Option<Position> {
        let place = self.place(partition).ok()?;
        self.held &= !(1 << (partition % Self::LEN));
        Some(self.positions.remove(place))
    }

    fn partitions(&self) -> impl Iterator<Item = u16> + '_ {
        (0..Self::LEN).filter(|bit| self.held & (1 << bit) != 0)
    }
}

impl Holdings {
    pub(super) fn get(&self, partition: u16) -> Option<Position> {
        let page = self.pages.get(&(partition / Page::LEN))?;
        Some(page.positions[page.place(partition).ok()?])
    }

    /// Returns the sum of the shares of all positions, as the replica itself makes it.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, Position)> + '_ {
        self.pages.iter().flat_map(|(number, page)| {
            let partitions = page.partitions().map(move |bit| number * Page::LEN + bit);
            partitions.zip(page.positions.iter().copied())
        })
    }

    /// Notes what is held of a partition now. O(log n).
    pub(super) fn set(&mut self, partition: u16, position: Option<Position>) {
        let number = partition / Page::LEN;
        let before = match position {
            Some(position) => {
                self.sum = self.sum.wrapping_add(sum_share(partition, position));
                let page = self.pages.entry(number).or_default();
                page.insert(partition, position)
            }
            None => self.remove(partition),
        };
        if let Some(before) = before {
            self.sum = self.sum.wrapping_sub(sum_share(partition, before));
        }
    }

    fn remove(&mut self, partition: u16) -> Option<Position> {
        let number = partition / Page::LEN;
        let page = self.pages.get_mut(&number)?;
        let before = page.remove(partition);
        if page.held == 0 {
            self.pages.remove(&number);
        }
        before
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
        let rows: BTreeMap<_, _> = rows.collect();
        assert_eq!(rows, holdings.iter().collect());
        let held = holdings.iter().next().map(|(partition, _)| partition);
        holdings.set(held.unwrap(), None);
        assert_ne!(holdings.sum(), index.sum());
    }

    #[test]
    fn positions_are_those_of_a_map_by_partition() {
        let mut holdings = Holdings::default();
        let mut map = BTreeMap::new();
        let mut number = 1_u32;
        for step in 0..20_000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let partition = (number >> 16) as u16 % 300;
            let position = (number & 3 != 0).then_some(Position {
                life: step,
                clock: u64::from(number),
                fingerprint: 0,
            });
            holdings.set(partition, position);
            match position {
                Some(position) => map.insert(partition, position),
                None => map.remove(&partition),
            };
            assert_eq!(holdings.get(partition), position);
        }
        assert!(holdings.iter().eq(map), "in the order of the partitions");
        for partition in 0..300 {
            holdings.set(partition, None);
        }
        assert!(holdings.pages.is_empty() && holdings.sum() == 0);
    }
}

//! How many entries are below each child of an inner node.

use super::FAN;

/// Children whose sum is kept.
const BLOCK: usize = 16;

/// The entries below each child, and their sums by blocks: a position is found from, or leads to,
/// a few dozen numbers instead of all. Zero past the last child.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    blocks: [u32; FAN / BLOCK],
    each: [u32; FAN],
}

impl Counts {
    pub(super) const EMPTY: Self = Self {
        blocks: [0; FAN / BLOCK],
        each: [0; FAN],
    };

    pub(super) fn get(&self, pos: usize) -> u32 {
        self.each[pos]
    }

    pub(super) fn all(&self) -> &[u32; FAN] {
        &self.each
    }

    pub(super) fn sum(&self) -> u32 {
        self.blocks.iter().sum()
    }

    /// Entries before a child. Adds up whole blocks of lanes, as a loop of unknown length costs
    /// more than what it leaves out.
    #[inline]
    pub(super) fn before(&self, pos: usize) -> usize {
        let block = pos / BLOCK;
        let mut sum = 0;
        for (at, &count) in self.blocks.iter().enumerate() {
            sum += if at < block { count } else { 0 };
        }
        for (at, &count) in self.of(block).iter().enumerate() {
            sum += if at < pos % BLOCK { count } else { 0 };
        }
        sum as usize
    }

    /// The child that holds the entry at `index`, which is below [`sum`](Self::sum), and the index
    /// inside it.
    #[inline]
    pub(super) fn select(&self, index: usize) -> (usize, usize) {
        let (block, rest) = passed(&self.blocks, index as u32);
        let (at, rest) = passed(self.of(block), rest);
        (block * BLOCK + at, rest as usize)
    }

    pub(super) fn set(&mut self, pos: usize, count: u32) {
        let block = &mut self.blocks[pos / BLOCK];
        *block = *block - self.each[pos] + count;
        self.each[pos] = count;
    }

    pub(super) fn increment(&mut self, pos: usize) {
        self.blocks[pos / BLOCK] += 1;
        self.each[pos] += 1;
    }

    pub(super) fn decrement(&mut self, pos: usize) {
        self.blocks[pos / BLOCK] -= 1;
        self.each[pos] -= 1;
    }

    /// Makes room for a child at `pos`; the last place is free.
    pub(super) fn insert(&mut self, pos: usize, count: u32) {
        self.each.copy_within(pos..FAN - 1, pos + 1);
        self.each[pos] = count;
        self.add_up();
    }

    pub(super) fn remove(&mut self, pos: usize) {
        self.each.copy_within(pos + 1.., pos);
        self.each[FAN - 1] = 0;
        self.add_up();
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let mut tail = Self::EMPTY;
        tail.each[..FAN - at].copy_from_slice(&self.each[at..]);
        tail.add_up();
        self.each[at..].fill(0);
        self.add_up();
        tail
    }

    /// Adds the first `more` counts of another node after the `len` of this one.
    pub(super) fn append(&mut self, len: usize, tail: &Self, more: usize) {
        self.each[len..len + more].copy_from_slice(&tail.each[..more]);
        self.add_up();
    }

    fn of(&self, block: usize) -> &[u32] {
        &self.each[block * BLOCK..][..BLOCK]
    }

    fn add_up(&mut self) {
        for (sum, counts) in self.blocks.iter_mut().zip(self.each.chunks(BLOCK)) {
            *sum = counts.iter().sum();
        }
    }
}

/// How many of the counts an index passes, and what is left of it. No branch depends on them.
#[inline]
fn passed(counts: &[u32], index: u32) -> (usize, u32) {
    let (mut at, mut sum, mut before) = (0, 0, 0);
    for &count in &counts[..counts.len() - 1] {
        sum += count;
        let passes = sum <= index;
        at += usize::from(passes);
        before = if passes { sum } else { before };
    }
    (at, index - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `counts` must say, computed the long way.
    fn check(counts: &Counts, expected: &[u32]) {
        let mut index = 0;
        for (pos, &count) in expected.iter().enumerate() {
            assert_eq!((counts.get(pos), counts.before(pos)), (count, index));
            for rest in 0..count as usize {
                assert_eq!(counts.select(index + rest), (pos, rest));
            }
            index += count as usize;
        }
        assert_eq!(counts.sum() as usize, index);
        assert!(counts.all()[expected.len()..].iter().all(|&rest| rest == 0));
    }

    #[test]
    fn blocks_follow_every_change() {
        let (mut counts, mut expected) = (Counts::EMPTY, Vec::new());
        for at in 0..FAN {
            let (pos, count) = (at * 7 % (at + 1), at as u32 % 5 + 1);
            counts.insert(pos, count);
            expected.insert(pos, count);
        }
        check(&counts, &expected);
        for pos in [0, 15, 16, 127] {
            counts.increment(pos);
            counts.set(pos, counts.get(pos) + 3);
            counts.decrement(pos);
            expected[pos] += 3;
        }
        check(&counts, &expected);
        for pos in [127, 16, 3, 0] {
            counts.remove(pos);
            expected.remove(pos);
        }
        let tail = counts.split_off(50);
        check(&counts, &expected[..50]);
        check(&tail, &expected[50..]);
        counts.append(50, &tail, 20);
        check(&counts, &expected[..70]);
    }
}

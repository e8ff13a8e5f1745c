//! The number of entries below each child of an inner node.

use super::FANOUT;

/// Children before which the sum is kept.
const BLOCK: usize = 8;
const BLOCKS: usize = FANOUT / BLOCK;

/// The entries below each child, and how many are before every eighth child: a position is found
/// from, or leads to, a few numbers instead of all. No step has a branch that depends on them.
#[derive(Clone, Debug)]
pub(super) struct ChildCounts {
    /// Entries before the first child of each block.
    starts: [u32; BLOCKS],
    /// Zero past the last child.
    each: [u32; FANOUT],
}

impl ChildCounts {
    pub(super) const EMPTY: Self = Self {
        starts: [0; BLOCKS],
        each: [0; FANOUT],
    };

    pub(super) fn get(&self, pos: usize) -> u32 {
        self.each[pos]
    }

    pub(super) fn all(&self) -> &[u32; FANOUT] {
        &self.each
    }

    pub(super) fn sum(&self) -> u32 {
        self.starts[BLOCKS - 1] + self.block(BLOCKS - 1).iter().sum::<u32>()
    }

    /// Entries before a child.
    #[inline]
    pub(super) fn before(&self, pos: usize) -> usize {
        let mut sum = self.starts[pos / BLOCK];
        for (at, &count) in self.block(pos / BLOCK).iter().enumerate() {
            sum += if at < pos % BLOCK { count } else { 0 };
        }
        sum as usize
    }

    /// The child that holds the entry at `index`, which is below [`sum`](Self::sum), and the index
    /// inside it.
    #[inline]
    pub(super) fn select(&self, index: usize) -> (usize, usize) {
        let index = index as u32;
        let reached = self.starts[1..]
            .iter()
            .map(|&start| u32::from(start <= index));
        let block = reached.sum::<u32>() as usize;
        let mut pos = block * BLOCK;
        let mut before = self.starts[block];
        let mut sum = before;
        for &count in &self.block(block)[..BLOCK - 1] {
            sum += count;
            let passes = sum <= index;
            pos += usize::from(passes);
            before = if passes { sum } else { before };
        }
        (pos, (index - before) as usize)
    }

    pub(super) fn set(&mut self, pos: usize, count: u32) {
        self.add(pos, count.wrapping_sub(self.each[pos]));
    }

    /// Adds to the count of a child, modulo 2^32: `u32::MAX` takes one away.
    #[inline]
    pub(super) fn add(&mut self, pos: usize, more: u32) {
        self.each[pos] = self.each[pos].wrapping_add(more);
        for (block, start) in self.starts.iter_mut().enumerate() {
            let more = if block > pos / BLOCK { more } else { 0 };
            *start = start.wrapping_add(more);
        }
    }

    /// Makes room for a child at `pos`; the last place is free.
    pub(super) fn insert(&mut self, pos: usize, count: u32) {
        self.each.copy_within(pos..FANOUT - 1, pos + 1);
        self.each[pos] = count;
        self.add_up();
    }

    pub(super) fn remove(&mut self, pos: usize) {
        self.each.copy_within(pos + 1.., pos);
        self.each[FANOUT - 1] = 0;
        self.add_up();
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let mut tail = Self::EMPTY;
        tail.each[..FANOUT - at].copy_from_slice(&self.each[at..]);
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

    fn block(&self, block: usize) -> &[u32] {
        &self.each[block * BLOCK..][..BLOCK]
    }

    fn add_up(&mut self) {
        let mut sum = 0;
        for (start, counts) in self.starts.iter_mut().zip(self.each.chunks(BLOCK)) {
            *start = sum;
            sum += counts.iter().sum::<u32>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks `counts` against sums computed the long way.
    fn check(counts: &ChildCounts, expected: &[u32]) {
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
    fn starts_follow_every_change() {
        let mut counts = ChildCounts::EMPTY;
        let mut expected = Vec::new();
        for at in 0..FANOUT {
            let pos = at * 7 % (at + 1);
            let count = at as u32 % 5 + 1;
            counts.insert(pos, count);
            expected.insert(pos, count);
        }
        check(&counts, &expected);
        for pos in [0, 15, 16, 127] {
            counts.add(pos, 1);
            counts.set(pos, counts.get(pos) + 3);
            counts.add(pos, u32::MAX);
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

//! The rows of the groups of a list, in order, with their sums.

/// A sequence of row counts that answers sums of its beginning, and the place of a row, in
/// O(log groups): a Fenwick tree (P. M. Fenwick, "A new data structure for cumulative frequency
/// tables", 1994).
#[derive(Clone, Debug, Default)]
pub(crate) struct RowCounts {
    rows: Vec<u32>,
    /// At `n`, the rows of the `lowest_bit(n + 1)` groups that end with the n-th.
    sums: Vec<u32>,
}

impl RowCounts {
    /// Makes the counts of `rows`. O(groups).
    pub(crate) fn new(rows: Vec<u32>) -> Self {
        let mut sums = rows.clone();
        for at in 1..=sums.len() {
            let above = at + lowest_bit(at);
            if above <= sums.len() {
                sums[above - 1] += sums[at - 1];
            }
        }
        Self { rows, sums }
    }

    /// Adds a group without rows at the end. O(log groups).
    pub(crate) fn push_empty(&mut self) {
        let at = self.rows.len() + 1;
        let covered = self.before(at - 1) - self.before(at - lowest_bit(at));
        self.rows.push(0);
        self.sums.push(covered as u32);
    }

    /// Returns the rows of a group. O(1).
    pub(crate) fn get(&self, pos: usize) -> u32 {
        self.rows[pos]
    }

    /// Returns the rows of all groups, in order.
    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.rows
    }

    /// Sets the rows of a group. O(log groups).
    pub(crate) fn set(&mut self, pos: usize, rows: u32) {
        let change = rows.wrapping_sub(self.rows[pos]);
        self.rows[pos] = rows;
        let mut at = pos + 1;
        while at <= self.sums.len() {
            self.sums[at - 1] = self.sums[at - 1].wrapping_add(change);
            at += lowest_bit(at);
        }
    }

    /// Returns the rows before a group. O(log groups).
    pub(crate) fn before(&self, pos: usize) -> usize {
        let mut sum = 0;
        let mut at = pos;
        while at > 0 {
            sum += self.sums[at - 1] as usize;
            at -= lowest_bit(at);
        }
        sum
    }

    /// Returns the group that has a row, and the place of the row in it. O(log groups).
    pub(crate) fn locate(&self, row: usize) -> Option<(usize, usize)> {
        let mut at = 0;
        let mut rest = row;
        let mut step = (self.sums.len() + 1).next_power_of_two() / 2;
        while step > 0 {
            if let Some(&sum) = self
                .sums
                .get(at + step - 1)
                .filter(|&&sum| sum as usize <= rest)
            {
                at += step;
                rest -= sum as usize;
            }
            step /= 2;
        }
        (at < self.rows.len()).then_some((at, rest))
    }
}

const fn lowest_bit(at: usize) -> usize {
    at & at.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counts: &RowCounts, expected: &[u32]) {
        assert_eq!(counts.as_slice(), expected);
        let mut row = 0;
        for (pos, &rows) in expected.iter().enumerate() {
            assert_eq!((counts.get(pos), counts.before(pos)), (rows, row));
            for rest in 0..rows as usize {
                assert_eq!(counts.locate(row + rest), Some((pos, rest)));
            }
            row += rows as usize;
        }
        assert_eq!(counts.locate(row), None);
    }

    #[test]
    fn sums_and_places_are_those_of_a_plain_sequence() {
        let mut seed = 7_u64;
        let mut random = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % bound
        };
        for groups in (0..70_u32).chain([4_096]) {
            let mut expected: Vec<u32> = (0..groups).map(|_| random(4) as u32).collect();
            let mut counts = RowCounts::new(expected.clone());
            check(&counts, &expected);
            for _ in 0..groups.min(20) {
                let pos = random(u64::from(groups)) as usize;
                expected[pos] = random(4) as u32;
                counts.set(pos, expected[pos]);
                counts.push_empty();
                expected.push(0);
            }
            check(&counts, &expected);
        }
    }
}

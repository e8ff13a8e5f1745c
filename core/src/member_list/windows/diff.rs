//! From the rows of a window to its next rows in as few steps as possible.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::fault::{Fault, is_broken};

/// A row as the diff sees it: a key, and a content to compare.
pub(crate) trait Diffable {
    type Key: Eq + Hash;
    fn key(&self) -> &Self::Key;
    /// Returns whether `other`, a row of the same key, shows the same.
    fn same_content(&self, other: &Self) -> bool;
}

/// The steps of one DELTA as positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// Positions in the old rows, strictly descending.
    pub(crate) deletes: Vec<u32>,
    /// Positions in the new rows, strictly ascending; with the old position if the row was there.
    pub(crate) inserts: Vec<(u32, Option<u32>)>,
    /// (new position, old position) of kept rows whose content changed, ascending.
    pub(crate) updates: Vec<(u32, u32)>,
}

impl Script {
    /// Returns whether nothing changes.
    pub(crate) const fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.inserts.is_empty() && self.updates.is_empty()
    }
}

/// The script that leads from `old` to `new`, of which each was at that [position](positions)
/// among the old. No key may occur twice in either.
///
/// The rows kept are a longest common subsequence. As keys are unique, that is a longest
/// increasing subsequence of old positions in new order (Fredman 1975): O(C log C) for C rows.
pub(crate) fn script<R: Diffable>(old: &[R], new: &[R], was: &[Option<u32>]) -> Script {
    let stayed = |(at, was): &(usize, &Option<u32>)| **was == Some(*at as u32);
    let head = was.iter().enumerate().take_while(stayed).count();
    let tail = was[head..]
        .iter()
        .rev()
        .zip((head..old.len()).rev())
        .take_while(|&(was, at)| *was == Some(at as u32))
        .count();
    let old_mid = &old[head..old.len() - tail];
    let new_mid = &was[head..was.len() - tail];

    let mut script = Script::default();
    let update = |old_at: usize, new_at: usize, out: &mut Vec<(u32, u32)>| {
        if !old[old_at].same_content(&new[new_at]) {
            out.push((new_at as u32, old_at as u32));
        }
    };
    for at in 0..head {
        update(at, at, &mut script.updates);
    }
    if !old_mid.is_empty() || !new_mid.is_empty() {
        let kept = longest_increasing(new_mid);
        let mut old_kept = vec![false; old_mid.len()];
        let mut next_kept = kept.iter().copied().peekable();
        script.inserts.reserve(new_mid.len() - kept.len());
        script.deletes.reserve(old_mid.len() - kept.len());
        for (at, was) in new_mid.iter().enumerate() {
            if next_kept.next_if_eq(&at).is_some() {
                let was = was.expect("a kept row was in the old rows") as usize;
                old_kept[was - head] = true;
                update(was, head + at, &mut script.updates);
            } else {
                script.inserts.push(((head + at) as u32, *was));
            }
        }
        let gone = old_kept
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, kept)| !**kept);
        script
            .deletes
            .extend(gone.map(|(at, _)| (head + at) as u32));
    }
    for back in (1..=tail).rev() {
        update(old.len() - back, new.len() - back, &mut script.updates);
    }
    if is_broken(Fault::LoseDelete) {
        script.deletes.pop();
    }
    if is_broken(Fault::LoseUpdate) {
        script.updates.pop();
    }
    script
}

/// For each of the longest increasing subsequence of the present values: its position. Patience
/// sorting, O(n log n).
pub(crate) fn longest_increasing(values: &[Option<u32>]) -> Vec<usize> {
    let mut pile_tops: Vec<usize> = Vec::new();
    let mut before: Vec<usize> = vec![usize::MAX; values.len()];
    let is_below = |top: usize, value| values[top].is_some_and(|v| v < value);
    for (at, value) in values.iter().enumerate() {
        let Some(value) = *value else { continue };
        // Most rows keep their order.
        let pile = match pile_tops.last() {
            Some(&top) if is_below(top, value) => pile_tops.len(),
            _ => pile_tops.partition_point(|&top| is_below(top, value)),
        };
        if pile > 0 {
            before[at] = pile_tops[pile - 1];
        }
        if pile == pile_tops.len() {
            pile_tops.push(at);
        } else {
            pile_tops[pile] = at;
        }
    }
    let mut run = Vec::with_capacity(pile_tops.len());
    let mut at = pile_tops.last().copied().unwrap_or(usize::MAX);
    while at != usize::MAX {
        run.push(at);
        at = before[at];
    }
    run.reverse();
    run
}

/// For each new row its position among the old rows.
pub(crate) fn positions<R: Diffable>(old: &[R], new: &[R]) -> Vec<Option<u32>> {
    if old.is_empty() {
        return vec![None; new.len()];
    }
    let old_at: HashMap<&R::Key, u32> = old
        .iter()
        .enumerate()
        .map(|(at, row)| (row.key(), at as u32))
        .collect();
    new.iter()
        .map(|row| old_at.get(row.key()).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Diffable for (u8, u8) {
        type Key = u8;
        fn key(&self) -> &u8 {
            &self.0
        }
        fn same_content(&self, other: &Self) -> bool {
            self.1 == other.1
        }
    }

    fn apply(old: &[(u8, u8)], new: &[(u8, u8)], script: &Script) -> Vec<(u8, u8)> {
        let mut rows = old.to_vec();
        for &at in &script.deletes {
            rows.remove(at as usize);
        }
        for &(at, was) in &script.inserts {
            let row = new[at as usize];
            assert_eq!(was, old.iter().position(|r| r.0 == row.0).map(|p| p as u32));
            rows.insert(at as usize, row);
        }
        for &(at, was) in &script.updates {
            assert_eq!(rows[at as usize].0, old[was as usize].0);
            rows[at as usize].1 = new[at as usize].1;
        }
        rows
    }

    /// Longest common subsequence by the textbook table.
    fn lcs(old: &[(u8, u8)], new: &[(u8, u8)]) -> usize {
        let mut table = vec![vec![0usize; new.len() + 1]; old.len() + 1];
        for (i, a) in old.iter().enumerate() {
            for (j, b) in new.iter().enumerate() {
                table[i + 1][j + 1] = if a.0 == b.0 {
                    table[i][j] + 1
                } else {
                    table[i][j + 1].max(table[i + 1][j])
                };
            }
        }
        table[old.len()][new.len()]
    }

    fn rows() -> impl Strategy<Value = Vec<(u8, u8)>> {
        proptest::collection::vec((0u8..24, 0u8..3), 0..24).prop_map(|mut rows| {
            let mut seen = std::collections::HashSet::new();
            rows.retain(|r| seen.insert(r.0));
            rows
        })
    }

    proptest! {
        #[test]
        fn list_script_leads_to_the_new_rows_in_fewest_steps(old in rows(), new in rows()) {
            let script = script(&old, &new, &positions(&old, &new));
            prop_assert_eq!(script.is_empty(), old == new);
            prop_assert_eq!(&apply(&old, &new, &script), &new);
            prop_assert!(script.deletes.is_sorted_by(|a, b| a > b));
            prop_assert!(script.inserts.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(script.updates.is_sorted_by(|a, b| a.0 < b.0));
            let kept = lcs(&old, &new);
            prop_assert_eq!(script.deletes.len(), old.len() - kept);
            prop_assert_eq!(script.inserts.len(), new.len() - kept);
        }
    }
}

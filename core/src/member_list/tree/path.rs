//! Finding entries: by comparison from the root down, and by climbing from a leaf up.

use super::{Keeper, NOWHERE, Node, ROOT, Tree};

/// The node ids from a leaf up to its root, found in the parent table without comparing keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climb {
    /// `ids[0]` is the leaf, `ids[depth - 1]` the root.
    ids: [u32; DEPTH],
    depth: usize,
    /// What stands in the parent table for the root.
    top: u32,
}

/// No tree is deeper: u32::MAX entries in nodes a quarter full need 8 levels.
const DEPTH: usize = 16;

impl Climb {
    /// Climbs from a leaf. O(log n).
    pub(crate) fn new(leaf: u32, parents: &[u32]) -> Self {
        let mut climb = Self {
            ids: [NOWHERE; DEPTH],
            depth: 0,
            top: NOWHERE,
        };
        let mut id = leaf;
        while id < ROOT && climb.depth < DEPTH {
            climb.ids[climb.depth] = id;
            climb.depth += 1;
            id = parents[id as usize];
        }
        climb.top = id;
        climb
    }

    /// The nodes of the climb without the root, the leaf first.
    pub(super) fn below_root(&self) -> &[u32] {
        &self.ids[..self.depth.saturating_sub(1)]
    }

    /// What stands in the parent table for the root of the tree the leaf is in.
    pub(crate) fn top(&self) -> u32 {
        self.top
    }
}

impl<R> Tree<R> {
    /// The index of an entry, by comparisons, or `Err(index)` where it would go. O(log n).
    pub(crate) fn rank<K: Keeper<Run = R>>(
        &self,
        keeper: &K,
        probe: K::Probe<'_>,
    ) -> Result<usize, usize> {
        let Some(mut node) = self.root.as_ref() else {
            return Err(0);
        };
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    return match keeper.rank(&leaf.run, probe) {
                        Ok(at) => Ok(before + at),
                        Err(at) => Err(before + at),
                    };
                }
                Node::Inner(inner) => {
                    let pos = keeper
                        .rank(&inner.firsts, probe)
                        .unwrap_or_else(|at| at.saturating_sub(1));
                    before += inner.before(pos);
                    node = &inner.kids[pos];
                }
            }
        }
    }

    /// The run and the place in it of the entry at `index`, which is below `len`. O(log n).
    pub(crate) fn select(&self, index: usize) -> Option<(&R, usize)> {
        if index >= self.len {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut rest = index;
        loop {
            match node {
                Node::Leaf(leaf) => return Some((&leaf.run, rest)),
                Node::Inner(inner) => {
                    let (pos, below) = inner.select(rest);
                    node = &inner.kids[pos];
                    rest = below;
                }
            }
        }
    }

    /// The index of the first entry of the leaf a climb began at, and the leaf's run. O(log n),
    /// no comparisons.
    pub(crate) fn descend(&self, climb: &Climb) -> Option<(usize, &R)> {
        let mut node = self.root.as_ref()?;
        let mut before = 0;
        for &id in climb.ids[..climb.depth.saturating_sub(1)].iter().rev() {
            let Node::Inner(inner) = node else {
                return None;
            };
            let pos = inner.find(id)?;
            before += inner.before(pos);
            node = &inner.kids[pos];
        }
        match node {
            Node::Leaf(leaf) => Some((before, &leaf.run)),
            Node::Inner(_) => None,
        }
    }
}

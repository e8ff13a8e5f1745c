//! Finding entries: by comparison from the root down, and by climbing from a leaf up.

use super::{NO_NODE, Node, ROOT_BIT, Tree, TreeContext};

/// The place of a node: its parent, and which child it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The node above; from [`ROOT_BIT`] on there is none.
    pub(crate) id: u32,
    /// Which of its children this is.
    pub(crate) pos: u32,
}

impl Parent {
    /// No parent: a root of no tree yet.
    pub(crate) const NONE: Self = Self {
        id: NO_NODE,
        pos: 0,
    };
}

/// The way from a leaf up to its root, found in the parent table without comparing keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climb {
    /// Which child of its parent each node is, the leaf first. The root is none.
    descent: [u32; DEPTH],
    depth: usize,
    /// The value of the root in the parent table.
    top: u32,
}

/// No tree is deeper: u32::MAX entries in nodes a quarter full need 8 levels.
const DEPTH: usize = 16;

impl Climb {
    /// Climbs from a leaf. O(log n).
    pub(crate) fn new(leaf: u32, parents: &[Parent]) -> Self {
        let mut descent = [0; DEPTH];
        let mut depth = 0;
        let mut parent = parents[leaf as usize];
        while parent.id < ROOT_BIT && depth < DEPTH {
            descent[depth] = parent.pos;
            depth += 1;
            parent = parents[parent.id as usize];
        }
        Self {
            descent,
            depth,
            top: parent.id,
        }
    }

    /// Which child to go to at each level, the one above the leaf first.
    pub(super) fn descent(&self) -> &[u32] {
        &self.descent[..self.depth]
    }

    /// Returns the value in the parent table of the root of the tree that the leaf is in.
    pub(crate) fn top(&self) -> u32 {
        self.top
    }
}

impl<R> Tree<R> {
    /// The index of an entry, by comparisons, or `Err(index)` where it would go. O(log n).
    pub(crate) fn rank<K: TreeContext<Run = R>>(
        &self,
        context: &K,
        probe: K::Probe<'_>,
    ) -> Result<usize, usize> {
        let Some((before, run)) = self.seek(context, probe) else {
            return Err(0);
        };
        match context.rank(run, probe) {
            Ok(at) => Ok(before + at),
            Err(at) => Err(before + at),
        }
    }

    /// The index of the first entry of the leaf that an entry is in or would go to, and the leaf's
    /// run, which is not read. O(log n).
    #[inline]
    pub(crate) fn seek<K: TreeContext<Run = R>>(
        &self,
        context: &K,
        probe: K::Probe<'_>,
    ) -> Option<(usize, &R)> {
        let mut node = self.root.as_ref()?;
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(leaf) => return Some((before, &leaf.run)),
                Node::Inner(inner) => {
                    let pos = context
                        .rank(&inner.separators, probe)
                        .unwrap_or_else(|at| at.saturating_sub(1));
                    before += inner.counts.before(pos);
                    node = &inner.children[pos];
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
                    let (pos, below) = inner.counts.select(rest);
                    node = &inner.children[pos];
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
        for &pos in climb.descent().iter().rev() {
            let Node::Inner(inner) = node else {
                return None;
            };
            let pos = pos as usize;
            before += inner.counts.before(pos);
            node = inner.children.get(pos)?;
        }
        match node {
            Node::Leaf(leaf) => Some((before, &leaf.run)),
            Node::Inner(_) => None,
        }
    }
}

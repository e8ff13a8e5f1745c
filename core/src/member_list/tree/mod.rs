//! The counted B+ tree below [`SortedSet`](crate::member_list::SortedSet) and
//! [`MemberList`](crate::member_list::MemberList).
//!
//! * Leaves hold up to [`TreeContext::LEAF`] entries, inner nodes [`FANOUT`] children. An inner
//!   node keeps the number of entries below each child, so the position of an entry is a sum over
//!   at most a few numbers of each node.
//! * Separators are the first entries of the children, kept in the same kind of run as leaf
//!   entries; one search serves both.
//! * Nodes are reference-counted: cloning a [`Tree`] is O(1), and a write copies only the nodes on
//!   its path that a clone still shares.
//! * A [`TreeContext`] knows the entries, compares them, and is told when entries or nodes move.

mod build;
mod check;
mod child_counts;
mod edit;
mod iter;
mod rebalance;
mod search;

use triomphe::Arc;

use arrayvec::ArrayVec;

pub(crate) use check::{CHECKED, is_due};
use child_counts::ChildCounts;
pub(crate) use iter::{Runs, clip};
pub(crate) use search::{Climb, Parent};

/// Children of an inner node, at most.
pub(crate) const FANOUT: usize = 128;

/// The parent of a node that is a root, or the leaf of an entry that is in no tree.
pub(crate) const NO_NODE: u32 = u32::MAX;

/// From here on, a parent is no node: the one above it is a root.
pub(crate) const ROOT_BIT: u32 = 1 << 31;

/// The owner of the entries: tells the tree how to read them, and is told when they move.
pub(crate) trait TreeContext {
    /// Entries in a leaf, at most; [`FANOUT`] or more.
    const LEAF: usize;
    /// Neighbouring leaves that are looked at together when one lost an entry; if they fit into
    /// one leaf less, they are packed. More make the tree denser and removals slower.
    const WINDOW: usize;
    /// A sorted run of at most `LEAF` entries.
    type Run: Clone;
    /// The entry of a run.
    type Entry: Clone;
    /// The value by which entries are searched.
    type Probe<'p>: Copy
    where
        Self: 'p;

    /// An empty run.
    fn empty(&self) -> Self::Run;
    /// Entries in the run.
    fn len(run: &Self::Run) -> usize;
    /// The entry at a position of the run.
    fn entry(run: &Self::Run, at: usize) -> &Self::Entry;
    /// `Ok(position)` of the entry equal to the probe, or `Err(position)` where it would go.
    fn rank(&self, run: &Self::Run, probe: Self::Probe<'_>) -> Result<usize, usize>;
    /// Puts an entry in; the run has room and stays sorted.
    fn insert(&self, run: &mut Self::Run, at: usize, entry: Self::Entry);
    /// Replaces an entry; the run stays sorted.
    fn set(&self, run: &mut Self::Run, at: usize, entry: Self::Entry);
    /// Replaces an entry by one that compares the same.
    fn replace(run: &mut Self::Run, at: usize, entry: Self::Entry);
    /// Takes an entry out.
    fn remove(&self, run: &mut Self::Run, at: usize) -> Self::Entry;
    /// Cuts the run at a position and returns the tail.
    fn split_off(&self, run: &mut Self::Run, at: usize) -> Self::Run;
    /// Fills an empty run with sorted entries.
    fn fill(&self, run: &mut Self::Run, entries: impl Iterator<Item = Self::Entry>);
    /// Adds a run that sorts after this one; there is room.
    fn append(&self, run: &mut Self::Run, tail: Self::Run);

    /// A fresh node id.
    fn node(&mut self) -> u32;
    /// The node is gone.
    fn free(&mut self, node: u32);
    /// `child` now hangs below another node, or below nothing.
    fn adopt(&mut self, child: u32, parent: Parent);
    /// The entry at this place of the run is new in this leaf.
    fn entered(&mut self, run: &Self::Run, at: usize, leaf: u32);
    /// The entries `from..` of the run are now in this leaf.
    fn placed(&mut self, run: &Self::Run, from: usize, leaf: u32);

    /// Panics unless the entries of the run ascend and the notes of the run about them are true.
    fn check_run(&self, run: &Self::Run);
    /// Checks a run that was just written, where [`CHECKED`]. O(length).
    fn check_written(&self, run: &Self::Run) {
        if CHECKED {
            self.check_run(run);
        }
    }
    /// Returns whether one entry sorts before another.
    fn is_before(&self, a: &Self::Entry, b: &Self::Entry) -> bool;
    /// Returns where a node that is no root hangs, if that was noted.
    fn parent(&self, node: u32) -> Option<Parent>;
    /// The leaf of an entry, if that was noted.
    fn leaf(&self, entry: &Self::Entry) -> Option<u32>;
}

/// A leaf: a run of entries under an id.
#[derive(Clone, Debug)]
pub(crate) struct Leaf<R> {
    pub(crate) id: u32,
    pub(crate) run: R,
}

/// An inner node. `counts`, `ids`, `separators` and `children` are parallel.
#[derive(Clone, Debug)]
pub(crate) struct Inner<R> {
    id: u32,
    counts: ChildCounts,
    ids: [u32; FANOUT],
    /// The first entry below each child.
    separators: R,
    children: ArrayVec<Node<R>, FANOUT>,
}

/// A shared node.
#[derive(Clone, Debug)]
pub(crate) enum Node<R> {
    Leaf(Arc<Leaf<R>>),
    Inner(Arc<Inner<R>>),
}

/// A counted tree. `clone` is O(1) and gives an independent tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree<R> {
    root: Option<Node<R>>,
    len: usize,
}

impl<R> Default for Tree<R> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<R> Tree<R> {
    /// Entries in the tree. O(1).
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The id of the root node, [`NO_NODE`] when the tree is empty.
    pub(crate) fn root_id(&self) -> u32 {
        self.root.as_ref().map_or(NO_NODE, Node::id)
    }

    /// Nodes of the tree as (leaves, inner nodes). O(leaves).
    pub(crate) fn nodes(&self) -> (usize, usize) {
        fn walk<R>(node: &Node<R>, sum: &mut (usize, usize)) {
            match node {
                Node::Leaf(_) => sum.0 += 1,
                Node::Inner(inner) => {
                    sum.1 += 1;
                    inner.children.iter().for_each(|child| walk(child, sum));
                }
            }
        }
        let mut sum = (0, 0);
        if let Some(root) = &self.root {
            walk(root, &mut sum);
        }
        sum
    }

    /// Heap bytes of the nodes, without what entries own. O(leaves).
    pub(crate) fn heap_bytes(&self) -> usize {
        let (leaves, inners) = self.nodes();
        // A reference count lies before each node.
        leaves * (size_of::<Leaf<R>>() + 8) + inners * (size_of::<Inner<R>>() + 8)
    }
}

impl<R> Node<R> {
    fn id(&self) -> u32 {
        match self {
            Self::Leaf(leaf) => leaf.id,
            Self::Inner(inner) => inner.id,
        }
    }

    /// Entries of a leaf, children of an inner node.
    fn width<K: TreeContext<Run = R>>(&self) -> usize {
        match self {
            Self::Leaf(leaf) => K::len(&leaf.run),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    /// The most `width` may be.
    fn capacity<K: TreeContext<Run = R>>(&self) -> usize {
        match self {
            Self::Leaf(_) => K::LEAF,
            Self::Inner(_) => FANOUT,
        }
    }

    /// The first entry below this node, which is not empty.
    fn first<K: TreeContext<Run = R>>(&self) -> K::Entry {
        self.first_entry::<K>().clone()
    }

    fn first_entry<K: TreeContext<Run = R>>(&self) -> &K::Entry {
        match self {
            Self::Leaf(leaf) => K::entry(&leaf.run, 0),
            Self::Inner(inner) => K::entry(&inner.separators, 0),
        }
    }

    /// Entries below this node.
    fn count<K: TreeContext<Run = R>>(&self) -> u32 {
        match self {
            Self::Leaf(leaf) => K::len(&leaf.run) as u32,
            Self::Inner(inner) => inner.counts.sum(),
        }
    }
}

//! Insertion and removal, one pass from the root down.

use triomphe::Arc;

use super::{Climb, Inner, Leaf, Node, Parent, Tree, TreeContext};

/// True if the path so far runs along the left or right edge of the tree.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub(super) left: bool,
    pub(super) right: bool,
}

impl<R: Clone> Tree<R> {
    /// Puts an entry in and returns its index, or `Err(index)` of the equal entry. O(log n).
    pub(crate) fn insert<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        probe: K::Probe<'_>,
        entry: K::Entry,
    ) -> Result<usize, usize> {
        let Some(root) = &mut self.root else {
            let mut leaf = Leaf {
                id: context.node(),
                run: context.empty(),
            };
            context.insert(&mut leaf.run, 0, entry);
            context.placed(&leaf.run, 0, leaf.id);
            context.adopt(leaf.id, Parent::NONE);
            self.root = Some(Node::Leaf(Arc::new(leaf)));
            self.len = 1;
            return Ok(0);
        };
        if root.width::<K>() == root.capacity::<K>() {
            root.grow(context);
        }
        let edge = Edge {
            left: true,
            right: true,
        };
        let index = root.insert(context, probe, entry, edge)?;
        self.len += 1;
        Ok(index)
    }

    /// Takes out the entry at `index`. O(log n).
    pub(crate) fn remove<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        index: usize,
    ) -> Option<K::Entry> {
        if index >= self.len {
            return None;
        }
        self.remove_by(context, &mut ByIndex(index))
            .map(|(entry, _)| entry)
    }

    /// Takes out the entry equal to the probe and returns it with its index. O(log n).
    pub(crate) fn remove_equal<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        probe: K::Probe<'_>,
    ) -> Option<(K::Entry, usize)> {
        self.remove_by(context, &mut ByProbe(probe))
    }

    /// Takes out an entry of the leaf a climb began at and returns it with its index. O(log n),
    /// no comparisons.
    pub(crate) fn remove_below<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        climb: &Climb,
        place: impl Fn(&R) -> Option<usize>,
    ) -> Option<(K::Entry, usize)> {
        self.remove_by(
            context,
            &mut ByClimb {
                descent: climb.descent(),
                place,
            },
        )
    }

    fn remove_by<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        descent: &mut impl Descent<K>,
    ) -> Option<(K::Entry, usize)> {
        let removed = self.root.as_mut()?.remove(context, descent)?;
        self.len -= 1;
        self.lower(context);
        Some(removed)
    }

    /// Renames an entry of the leaf a climb began at, and its copy among the separators.
    /// `rename` says at which place of the leaf's run it did so. O(log n).
    pub(crate) fn rename<K: TreeContext<Run = R>>(
        &mut self,
        climb: &Climb,
        entry: &K::Entry,
        rename: impl Fn(&mut R) -> Option<usize>,
    ) {
        if let Some(root) = &mut self.root {
            root.rename::<K>(climb.descent(), entry, rename);
        }
    }

    /// Drops roots that have become superfluous.
    fn lower<K: TreeContext<Run = R>>(&mut self, context: &mut K) {
        if self.len == 0 {
            if let Some(root) = self.root.take() {
                context.free(root.id());
            }
            return;
        }
        while let Some(Node::Inner(inner)) = &self.root {
            if inner.children.len() > 1 {
                break;
            }
            let child = inner.children[0].clone();
            context.free(inner.id);
            context.adopt(child.id(), Parent::NONE);
            self.root = Some(child);
        }
    }
}

impl<R: Clone> Node<R> {
    /// Puts a new inner node above a full root.
    fn grow<K: TreeContext<Run = R>>(&mut self, context: &mut K) {
        let mut inner = Inner::empty(context);
        inner.insert_child(context, 0, self.clone());
        context.adopt(inner.id, Parent::NONE);
        *self = Self::Inner(Arc::new(inner));
    }

    /// Inserts below this node, which is not full.
    fn insert<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        probe: K::Probe<'_>,
        entry: K::Entry,
        edge: Edge,
    ) -> Result<usize, usize> {
        match self {
            Self::Leaf(leaf) => {
                let at = match context.rank(&leaf.run, probe) {
                    Ok(at) => return Err(at),
                    Err(at) => at,
                };
                let leaf = Arc::make_mut(leaf);
                context.insert(&mut leaf.run, at, entry);
                context.entered(&leaf.run, at, leaf.id);
                Ok(at)
            }
            Self::Inner(inner) => Arc::make_mut(inner).insert(context, probe, entry, edge),
        }
    }

    /// Renames an entry and returns its place in this node: zero is the first.
    fn rename<K: TreeContext<Run = R>>(
        &mut self,
        descent: &[u32],
        entry: &K::Entry,
        rename: impl Fn(&mut R) -> Option<usize>,
    ) -> Option<usize> {
        match self {
            Self::Leaf(leaf) => rename(&mut Arc::make_mut(leaf).run),
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let (&pos, below) = descent.split_last()?;
                let pos = pos as usize;
                if inner
                    .children
                    .get_mut(pos)?
                    .rename::<K>(below, entry, rename)?
                    != 0
                {
                    return Some(usize::MAX);
                }
                K::replace(&mut inner.separators, pos, entry.clone());
                Some(pos)
            }
        }
    }

    /// Removes the entry at the end of the way, and returns it with its index below this node;
    /// `None`, and nothing is changed, when the way leads to no entry.
    fn remove<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        descent: &mut impl Descent<K>,
    ) -> Option<(K::Entry, usize)> {
        match self {
            Self::Leaf(leaf) => {
                let at = descent.entry(context, &leaf.run)?;
                Some((context.remove(&mut Arc::make_mut(leaf).run, at), at))
            }
            Self::Inner(inner) => Arc::make_mut(inner).remove(context, descent),
        }
    }
}

impl<R: Clone> Inner<R> {
    fn insert<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        probe: K::Probe<'_>,
        entry: K::Entry,
        edge: Edge,
    ) -> Result<usize, usize> {
        let mut pos = self.child_of(context, probe);
        let mut below = self.edge_of(pos, edge);
        if self.children[pos].width::<K>() == self.capacity::<K>(pos) {
            self.make_room(context, pos, probe, below);
            pos = self.child_of(context, probe);
            below = self.edge_of(pos, edge);
        }
        let before = self.counts.before(pos);
        let at = self.children[pos]
            .insert(context, probe, entry, below)
            .map_err(|at| before + at)?;
        self.counts.add(pos, 1);
        if at == 0 {
            let first = self.children[pos].first::<K>();
            context.set(&mut self.separators, pos, first);
        }
        Ok(before + at)
    }

    fn remove<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        descent: &mut impl Descent<K>,
    ) -> Option<(K::Entry, usize)> {
        let pos = descent.child(context, self)?;
        let before = self.counts.before(pos);
        let (entry, at) = self.children[pos].remove(context, descent)?;
        self.counts.add(pos, u32::MAX);
        if self.counts.get(pos) == 0 {
            let child = self.remove_child(context, pos);
            context.free(child.id());
        } else {
            if at == 0 {
                let first = self.children[pos].first::<K>();
                context.set(&mut self.separators, pos, first);
            }
            self.rebalance(context, pos);
        }
        Some((entry, before + at))
    }

    /// The child in which the probe is or belongs.
    pub(super) fn child_of<K: TreeContext<Run = R>>(
        &self,
        context: &K,
        probe: K::Probe<'_>,
    ) -> usize {
        match context.rank(&self.separators, probe) {
            Ok(at) => at,
            Err(at) => at.saturating_sub(1),
        }
    }

    fn edge_of(&self, pos: usize, edge: Edge) -> Edge {
        Edge {
            left: edge.left && pos == 0,
            right: edge.right && pos + 1 == self.children.len(),
        }
    }
}

/// The way in which a removal finds its entry.
trait Descent<K: TreeContext> {
    /// The child to go to.
    fn child(&mut self, context: &K, inner: &Inner<K::Run>) -> Option<usize>;
    /// The entry of the leaf that was reached.
    fn entry(&self, context: &K, run: &K::Run) -> Option<usize>;
}

/// By counting.
struct ByIndex(usize);

impl<K: TreeContext> Descent<K> for ByIndex {
    fn child(&mut self, _keeper: &K, inner: &Inner<K::Run>) -> Option<usize> {
        let (pos, rest) = inner.counts.select(self.0);
        self.0 = rest;
        Some(pos)
    }

    fn entry(&self, _keeper: &K, _run: &K::Run) -> Option<usize> {
        Some(self.0)
    }
}

/// By comparison.
struct ByProbe<P>(P);

impl<'p, K: TreeContext> Descent<K> for ByProbe<K::Probe<'p>> {
    fn child(&mut self, context: &K, inner: &Inner<K::Run>) -> Option<usize> {
        match context.rank(&inner.separators, self.0) {
            Ok(at) => Some(at),
            Err(at) => at.checked_sub(1),
        }
    }

    fn entry(&self, context: &K, run: &K::Run) -> Option<usize> {
        context.rank(run, self.0).ok()
    }
}

/// By the way up from the leaf.
struct ByClimb<'a, F> {
    descent: &'a [u32],
    place: F,
}

impl<K: TreeContext, F: Fn(&K::Run) -> Option<usize>> Descent<K> for ByClimb<'_, F> {
    fn child(&mut self, _keeper: &K, inner: &Inner<K::Run>) -> Option<usize> {
        let (&pos, below) = self.descent.split_last()?;
        self.descent = below;
        Some(pos as usize).filter(|&pos| pos < inner.children.len())
    }

    fn entry(&self, _keeper: &K, run: &K::Run) -> Option<usize> {
        (self.place)(run)
    }
}

//! Insertion and removal, one pass from the root down.

use triomphe::Arc;

use super::{Climb, Inner, Keeper, Leaf, Node, Parent, Tree};

/// Whether the path so far runs along the left or right edge of the tree.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub(super) left: bool,
    pub(super) right: bool,
}

impl<R: Clone> Tree<R> {
    /// Puts an entry in and returns its index, or `Err(index)` of the equal entry. O(log n).
    pub(crate) fn insert<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        probe: K::Probe<'_>,
        entry: K::Entry,
    ) -> Result<usize, usize> {
        let Some(root) = &mut self.root else {
            let mut leaf = Leaf {
                id: keeper.node(),
                run: keeper.empty(),
            };
            keeper.insert(&mut leaf.run, 0, entry);
            keeper.placed(&leaf.run, 0, leaf.id);
            keeper.adopt(leaf.id, Parent::NONE);
            self.root = Some(Node::Leaf(Arc::new(leaf)));
            self.len = 1;
            return Ok(0);
        };
        if root.width::<K>() == root.capacity::<K>() {
            root.grow(keeper);
        }
        let edge = Edge {
            left: true,
            right: true,
        };
        let index = root.insert(keeper, probe, entry, edge)?;
        self.len += 1;
        Ok(index)
    }

    /// Takes out the entry at `index`. O(log n).
    pub(crate) fn remove<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        index: usize,
    ) -> Option<K::Entry> {
        if index >= self.len {
            return None;
        }
        self.remove_by(keeper, &mut ByIndex(index))
            .map(|(entry, _)| entry)
    }

    /// Takes out the entry equal to the probe and returns it with its index. O(log n).
    pub(crate) fn remove_equal<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        probe: K::Probe<'_>,
    ) -> Option<(K::Entry, usize)> {
        self.remove_by(keeper, &mut ByProbe(probe))
    }

    /// Takes out an entry of the leaf a climb began at and returns it with its index. O(log n),
    /// no comparisons.
    pub(crate) fn remove_below<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        climb: &Climb,
        place: impl Fn(&R) -> Option<usize>,
    ) -> Option<(K::Entry, usize)> {
        self.remove_by(
            keeper,
            &mut ByClimb {
                way: climb.way(),
                place,
            },
        )
    }

    fn remove_by<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        way: &mut impl Way<K>,
    ) -> Option<(K::Entry, usize)> {
        let removed = self.root.as_mut()?.remove(keeper, way)?;
        self.len -= 1;
        self.lower(keeper);
        Some(removed)
    }

    /// Renames an entry of the leaf a climb began at, and where it stands as a separator.
    /// `rename` says at which place of the leaf's run it did so. O(log n).
    pub(crate) fn rename<K: Keeper<Run = R>>(
        &mut self,
        climb: &Climb,
        entry: &K::Entry,
        rename: impl Fn(&mut R) -> Option<usize>,
    ) {
        if let Some(root) = &mut self.root {
            root.rename::<K>(climb.way(), entry, rename);
        }
    }

    /// Drops roots that have become superfluous.
    fn lower<K: Keeper<Run = R>>(&mut self, keeper: &mut K) {
        if self.len == 0 {
            if let Some(root) = self.root.take() {
                keeper.free(root.id());
            }
            return;
        }
        while let Some(Node::Inner(inner)) = &self.root {
            if inner.kids.len() > 1 {
                break;
            }
            let kid = inner.kids[0].clone();
            keeper.free(inner.id);
            keeper.adopt(kid.id(), Parent::NONE);
            self.root = Some(kid);
        }
    }
}

impl<R: Clone> Node<R> {
    /// Puts a new inner node above a full root.
    fn grow<K: Keeper<Run = R>>(&mut self, keeper: &mut K) {
        let mut inner = Inner::empty(keeper);
        inner.insert_kid(keeper, 0, self.clone());
        keeper.adopt(inner.id, Parent::NONE);
        *self = Self::Inner(Arc::new(inner));
    }

    /// Inserts below this node, which is not full.
    fn insert<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        probe: K::Probe<'_>,
        entry: K::Entry,
        edge: Edge,
    ) -> Result<usize, usize> {
        match self {
            Self::Leaf(leaf) => {
                let at = match keeper.rank(&leaf.run, probe) {
                    Ok(at) => return Err(at),
                    Err(at) => at,
                };
                let leaf = Arc::make_mut(leaf);
                keeper.insert(&mut leaf.run, at, entry);
                keeper.entered(&leaf.run, at, leaf.id);
                Ok(at)
            }
            Self::Inner(inner) => Arc::make_mut(inner).insert(keeper, probe, entry, edge),
        }
    }

    /// Renames an entry and says at which place of this node it stands: zero is the first.
    fn rename<K: Keeper<Run = R>>(
        &mut self,
        way: &[u32],
        entry: &K::Entry,
        rename: impl Fn(&mut R) -> Option<usize>,
    ) -> Option<usize> {
        match self {
            Self::Leaf(leaf) => rename(&mut Arc::make_mut(leaf).run),
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let (&pos, below) = way.split_last()?;
                let pos = pos as usize;
                if inner.kids.get_mut(pos)?.rename::<K>(below, entry, rename)? != 0 {
                    return Some(usize::MAX);
                }
                K::replace(&mut inner.firsts, pos, entry.clone());
                Some(pos)
            }
        }
    }

    /// Removes the entry at the end of the way, and returns it with its index below this node;
    /// `None`, and nothing is changed, when the way leads to no entry.
    fn remove<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        way: &mut impl Way<K>,
    ) -> Option<(K::Entry, usize)> {
        match self {
            Self::Leaf(leaf) => {
                let at = way.entry(keeper, &leaf.run)?;
                Some((keeper.remove(&mut Arc::make_mut(leaf).run, at), at))
            }
            Self::Inner(inner) => Arc::make_mut(inner).remove(keeper, way),
        }
    }
}

impl<R: Clone> Inner<R> {
    fn insert<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        probe: K::Probe<'_>,
        entry: K::Entry,
        edge: Edge,
    ) -> Result<usize, usize> {
        let mut pos = self.child_of(keeper, probe);
        let mut below = self.edge_of(pos, edge);
        if self.kids[pos].width::<K>() == self.capacity::<K>(pos) {
            self.relieve(keeper, pos, probe, below);
            pos = self.child_of(keeper, probe);
            below = self.edge_of(pos, edge);
        }
        let before = self.counts.before(pos);
        let at = self.kids[pos]
            .insert(keeper, probe, entry, below)
            .map_err(|at| before + at)?;
        self.counts.add(pos, 1);
        if at == 0 {
            let first = self.kids[pos].first::<K>();
            keeper.set(&mut self.firsts, pos, first);
        }
        Ok(before + at)
    }

    fn remove<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        way: &mut impl Way<K>,
    ) -> Option<(K::Entry, usize)> {
        let pos = way.child(keeper, self)?;
        let before = self.counts.before(pos);
        let (entry, at) = self.kids[pos].remove(keeper, way)?;
        self.counts.add(pos, u32::MAX);
        if self.counts.get(pos) == 0 {
            let kid = self.remove_kid(keeper, pos);
            keeper.free(kid.id());
        } else {
            if at == 0 {
                let first = self.kids[pos].first::<K>();
                keeper.set(&mut self.firsts, pos, first);
            }
            self.mend(keeper, pos);
        }
        Some((entry, before + at))
    }

    /// The child in which the probe is or belongs.
    pub(super) fn child_of<K: Keeper<Run = R>>(&self, keeper: &K, probe: K::Probe<'_>) -> usize {
        match keeper.rank(&self.firsts, probe) {
            Ok(at) => at,
            Err(at) => at.saturating_sub(1),
        }
    }

    fn edge_of(&self, pos: usize, edge: Edge) -> Edge {
        Edge {
            left: edge.left && pos == 0,
            right: edge.right && pos + 1 == self.kids.len(),
        }
    }
}

/// How a removal finds its entry.
trait Way<K: Keeper> {
    /// The child to go to.
    fn child(&mut self, keeper: &K, inner: &Inner<K::Run>) -> Option<usize>;
    /// The entry of the leaf that was reached.
    fn entry(&self, keeper: &K, run: &K::Run) -> Option<usize>;
}

/// By counting.
struct ByIndex(usize);

impl<K: Keeper> Way<K> for ByIndex {
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

impl<'p, K: Keeper> Way<K> for ByProbe<K::Probe<'p>> {
    fn child(&mut self, keeper: &K, inner: &Inner<K::Run>) -> Option<usize> {
        match keeper.rank(&inner.firsts, self.0) {
            Ok(at) => Some(at),
            Err(at) => at.checked_sub(1),
        }
    }

    fn entry(&self, keeper: &K, run: &K::Run) -> Option<usize> {
        keeper.rank(run, self.0).ok()
    }
}

/// By the way up from the leaf.
struct ByClimb<'a, F> {
    way: &'a [u32],
    place: F,
}

impl<K: Keeper, F: Fn(&K::Run) -> Option<usize>> Way<K> for ByClimb<'_, F> {
    fn child(&mut self, _keeper: &K, inner: &Inner<K::Run>) -> Option<usize> {
        let (&pos, below) = self.way.split_last()?;
        self.way = below;
        Some(pos as usize).filter(|&pos| pos < inner.kids.len())
    }

    fn entry(&self, _keeper: &K, run: &K::Run) -> Option<usize> {
        (self.place)(run)
    }
}

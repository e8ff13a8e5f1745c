//! Insertion and removal, one pass from the root down.

use std::sync::Arc;

use super::{Climb, Inner, Keeper, Leaf, NOWHERE, Node, Tree};

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
            keeper.adopt(leaf.id, NOWHERE);
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

    /// Takes out an entry of the leaf a climb began at and returns it with its index. O(log n),
    /// no comparisons.
    pub(crate) fn remove_below<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        climb: &Climb,
        place: impl Fn(&R) -> usize,
    ) -> Option<(K::Entry, usize)> {
        self.remove_by(
            keeper,
            &mut ByClimb {
                ids: climb.below_root(),
                place,
            },
        )
    }

    fn remove_by<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        way: &mut impl Way<R>,
    ) -> Option<(K::Entry, usize)> {
        let removed = self.root.as_mut()?.remove(keeper, way);
        self.len -= 1;
        self.lower(keeper);
        Some(removed)
    }

    /// Renames an entry of the leaf a climb began at, and where it stands as a separator.
    /// O(log n).
    pub(crate) fn rename(&mut self, climb: &Climb, rename: impl Fn(&mut R)) {
        let mut node = self.root.as_mut();
        let mut ids = climb.below_root().iter().rev();
        while let Some(place) = node.take() {
            match place {
                Node::Leaf(leaf) => rename(&mut Arc::make_mut(leaf).run),
                Node::Inner(inner) => {
                    let inner = Arc::make_mut(inner);
                    rename(&mut inner.firsts);
                    let pos = ids.next().and_then(|&id| inner.find(id));
                    node = pos.map(|pos| &mut inner.kids[pos]);
                }
            }
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
            keeper.adopt(kid.id(), NOWHERE);
            self.root = Some(kid);
        }
    }
}

impl<R: Clone> Node<R> {
    /// Puts a new inner node above a full root.
    fn grow<K: Keeper<Run = R>>(&mut self, keeper: &mut K) {
        let mut inner = Inner::empty(keeper);
        inner.insert_kid(keeper, 0, self.clone());
        keeper.adopt(inner.id, NOWHERE);
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

    /// Removes the entry at the end of the way, and returns it with its index below this node.
    fn remove<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        way: &mut impl Way<R>,
    ) -> (K::Entry, usize) {
        match self {
            Self::Leaf(leaf) => {
                let run = &mut Arc::make_mut(leaf).run;
                let at = way.entry(run);
                (keeper.remove(run, at), at)
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
        let before = self.before(pos);
        let at = self.kids[pos]
            .insert(keeper, probe, entry, below)
            .map_err(|at| before + at)?;
        self.counts[pos] += 1;
        if at == 0 {
            let first = self.kids[pos].first::<K>();
            keeper.set(&mut self.firsts, pos, first);
        }
        Ok(before + at)
    }

    fn remove<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        way: &mut impl Way<R>,
    ) -> (K::Entry, usize) {
        let pos = way.child(self);
        let before = self.before(pos);
        let (entry, at) = self.kids[pos].remove(keeper, way);
        self.counts[pos] -= 1;
        if self.counts[pos] == 0 {
            let kid = self.remove_kid(keeper, pos);
            keeper.free(kid.id());
        } else {
            if at == 0 {
                let first = self.kids[pos].first::<K>();
                keeper.set(&mut self.firsts, pos, first);
            }
            self.mend(keeper, pos);
        }
        (entry, before + at)
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
trait Way<R> {
    /// The child to go to.
    fn child(&mut self, inner: &Inner<R>) -> usize;
    /// The entry of the leaf that was reached.
    fn entry(&self, run: &R) -> usize;
}

/// By counting.
struct ByIndex(usize);

impl<R> Way<R> for ByIndex {
    fn child(&mut self, inner: &Inner<R>) -> usize {
        let (pos, rest) = inner.select(self.0);
        self.0 = rest;
        pos
    }

    fn entry(&self, _run: &R) -> usize {
        self.0
    }
}

/// By the ids of the nodes from below the root down to the leaf.
struct ByClimb<'a, F> {
    /// The leaf first.
    ids: &'a [u32],
    place: F,
}

impl<R, F: Fn(&R) -> usize> Way<R> for ByClimb<'_, F> {
    fn child(&mut self, inner: &Inner<R>) -> usize {
        let (&id, below) = self
            .ids
            .split_last()
            .expect("a climb is as long as the way down");
        self.ids = below;
        inner
            .find(id)
            .expect("the parent table names the parent of each node")
    }

    fn entry(&self, run: &R) -> usize {
        (self.place)(run)
    }
}

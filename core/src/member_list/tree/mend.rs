//! Splits, merges and shifts between neighbours: what keeps nodes neither full nor empty.

use triomphe::Arc;

use arrayvec::ArrayVec;

use super::write::Edge;
use super::{Counts, FAN, Inner, Keeper, Leaf, Node, Parent};

/// An inner node with fewer children than this merges with a neighbour, if both fit.
const FEW: usize = FAN / 3;

/// What two or more neighbours may hold together to be worth packing into one less: not quite
/// everything, so that the next inserts find room.
const fn packed(leaves: usize, capacity: usize) -> usize {
    leaves * (capacity - capacity / 32)
}

impl<R: Clone> Inner<R> {
    pub(super) fn empty<K: Keeper<Run = R>>(keeper: &mut K) -> Self {
        Self {
            id: keeper.node(),
            counts: Counts::EMPTY,
            ids: [0; FAN],
            firsts: keeper.empty(),
            kids: ArrayVec::new(),
        }
    }

    /// Hangs a child in at a position; there is room.
    pub(super) fn insert_kid<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        pos: usize,
        kid: Node<R>,
    ) {
        let len = self.kids.len();
        self.counts.insert(pos, kid.count::<K>());
        self.ids.copy_within(pos..len, pos + 1);
        self.ids[pos] = kid.id();
        keeper.insert(&mut self.firsts, pos, kid.first::<K>());
        self.kids.insert(pos, kid);
        self.adopt(keeper, pos);
    }

    pub(super) fn remove_kid<K: Keeper<Run = R>>(&mut self, keeper: &mut K, pos: usize) -> Node<R> {
        let len = self.kids.len();
        self.counts.remove(pos);
        self.ids.copy_within(pos + 1..len, pos);
        keeper.remove(&mut self.firsts, pos);
        let kid = self.kids.remove(pos);
        self.adopt(keeper, pos);
        kid
    }

    /// Says of the children from `from` on that they are here.
    fn adopt<K: Keeper<Run = R>>(&self, keeper: &mut K, from: usize) {
        for (pos, &kid) in self.ids[..self.kids.len()].iter().enumerate().skip(from) {
            let parent = Parent {
                id: self.id,
                pos: pos as u32,
            };
            keeper.adopt(kid, parent);
        }
    }

    /// Writes the count and first entry of a child anew.
    fn recount<K: Keeper<Run = R>>(&mut self, keeper: &K, pos: usize) {
        self.counts.set(pos, self.kids[pos].count::<K>());
        let first = self.kids[pos].first::<K>();
        keeper.set(&mut self.firsts, pos, first);
    }

    /// Makes room in the full child at `pos`: entries go to a neighbour, else the child splits.
    /// At the edges of the tree, where sorted loads arrive, nearly everything stays in one half,
    /// so that sorted loads leave full nodes behind.
    pub(super) fn relieve<K: Keeper<Run = R>>(
        &mut self,
        keeper: &mut K,
        pos: usize,
        probe: K::Probe<'_>,
        edge: Edge,
    ) {
        if edge.left || edge.right {
            let run = match &self.kids[pos] {
                Node::Leaf(leaf) => &leaf.run,
                Node::Inner(inner) => &inner.firsts,
            };
            let at = keeper.rank(run, probe).unwrap_or_else(|at| at);
            let full = self.capacity::<K>(pos);
            if edge.right && at == full {
                return self.split(keeper, pos, full - 1);
            }
            if edge.left && at == 0 {
                return self.split(keeper, pos, 1);
            }
        }
        if matches!(self.kids[pos], Node::Leaf(_)) {
            let room = |at: usize| K::LEAF - self.counts.get(at) as usize;
            if pos > 0 && room(pos - 1) >= K::LEAF / 16 {
                return self.shift_left(keeper, pos, room(pos - 1).div_ceil(2));
            }
            if pos + 1 < self.kids.len() && room(pos + 1) >= K::LEAF / 16 {
                return self.shift_right(keeper, pos, room(pos + 1).div_ceil(2));
            }
        }
        self.split(keeper, pos, self.capacity::<K>(pos) / 2);
    }

    /// What the child at `pos` can hold.
    pub(super) fn capacity<K: Keeper<Run = R>>(&self, pos: usize) -> usize {
        self.kids[pos].capacity::<K>()
    }

    /// Makes fewer of the children around `pos`, which lost an entry, if that is possible.
    pub(super) fn mend<K: Keeper<Run = R>>(&mut self, keeper: &mut K, pos: usize) {
        if matches!(self.kids[pos], Node::Leaf(_)) {
            // The counts tell how full leaves are without a look at the leaves.
            let window = K::WINDOW.min(self.kids.len());
            let start = pos.saturating_sub(window / 2).min(self.kids.len() - window);
            let held: u32 = self.counts.all()[start..start + window].iter().sum();
            if held as usize <= packed(window - 1, K::LEAF) {
                self.pack(keeper, start, window);
            }
            return;
        }
        let width = self.kids[pos].width::<K>();
        if width > FEW {
            return;
        }
        let fits = |at: usize| {
            let other = self.kids.get(at).map(Node::width::<K>);
            other.is_some_and(|other| other + width <= packed(1, FAN))
        };
        if pos > 0 && fits(pos - 1) {
            self.merge(keeper, pos - 1);
        } else if fits(pos + 1) {
            self.merge(keeper, pos);
        }
    }

    /// Packs `window` leaves, which hold little enough, into one less.
    fn pack<K: Keeper<Run = R>>(&mut self, keeper: &mut K, start: usize, window: usize) {
        let Some(leaves) = window.checked_sub(1).filter(|&leaves| leaves > 0) else {
            return;
        };
        let held: u32 = self.counts.all()[start..start + window].iter().sum();
        let share = (held as usize).div_ceil(leaves);
        let (mut at, mut end) = (start, start + window);
        while at + 1 < end {
            let need = share.saturating_sub(self.counts.get(at) as usize);
            if need == 0 {
                at += 1;
            } else if need >= self.counts.get(at + 1) as usize {
                self.merge(keeper, at);
                end -= 1;
            } else {
                self.shift_left(keeper, at + 1, need);
                at += 1;
            }
        }
    }

    /// Cuts the child at `pos` in two.
    fn split<K: Keeper<Run = R>>(&mut self, keeper: &mut K, pos: usize, at: usize) {
        let tail = match &mut self.kids[pos] {
            Node::Leaf(leaf) => {
                let leaf = Arc::make_mut(leaf);
                let run = keeper.split_off(&mut leaf.run, at);
                let id = keeper.node();
                keeper.placed(&run, 0, id);
                Node::Leaf(Arc::new(Leaf { id, run }))
            }
            Node::Inner(inner) => {
                let tail = Arc::make_mut(inner).split_off(keeper, at);
                Node::Inner(Arc::new(tail))
            }
        };
        self.insert_kid(keeper, pos + 1, tail);
        self.counts
            .set(pos, self.counts.get(pos) - self.counts.get(pos + 1));
    }

    fn split_off<K: Keeper<Run = R>>(&mut self, keeper: &mut K, at: usize) -> Self {
        let len = self.kids.len();
        let mut tail = Self::empty(keeper);
        tail.counts = self.counts.split_off(at);
        tail.ids[..len - at].copy_from_slice(&self.ids[at..len]);
        tail.firsts = keeper.split_off(&mut self.firsts, at);
        tail.kids = self.kids.drain(at..).collect();
        tail.adopt(keeper, 0);
        tail
    }

    /// Moves the child at `pos + 1` into the child at `pos`; they fit.
    fn merge<K: Keeper<Run = R>>(&mut self, keeper: &mut K, pos: usize) {
        let gone = self.remove_kid(keeper, pos + 1);
        let gone_id = gone.id();
        match (&mut self.kids[pos], gone) {
            (Node::Leaf(into), Node::Leaf(from)) => {
                let into = Arc::make_mut(into);
                let at = K::len(&into.run);
                keeper.append(&mut into.run, Arc::unwrap_or_clone(from).run);
                keeper.placed(&into.run, at, into.id);
            }
            (Node::Inner(into), Node::Inner(from)) => {
                let into = Arc::make_mut(into);
                let from = Arc::unwrap_or_clone(from);
                let (len, more) = (into.kids.len(), from.kids.len());
                into.counts.append(len, &from.counts, more);
                into.ids[len..len + more].copy_from_slice(&from.ids[..more]);
                keeper.append(&mut into.firsts, from.firsts);
                into.kids.extend(from.kids);
                into.adopt(keeper, len);
            }
            _ => unreachable!("children of one node are of one kind"),
        }
        keeper.free(gone_id);
        self.counts.set(pos, self.kids[pos].count::<K>());
    }

    /// Moves `share` entries from the front of the leaf at `pos` to the leaf before it.
    fn shift_left<K: Keeper<Run = R>>(&mut self, keeper: &mut K, pos: usize, share: usize) {
        let (left, right) = self.leaves(pos - 1);
        let rest = keeper.split_off(&mut right.run, share);
        let moved = std::mem::replace(&mut right.run, rest);
        let at = K::len(&left.run);
        keeper.append(&mut left.run, moved);
        keeper.placed(&left.run, at, left.id);
        self.recount(keeper, pos - 1);
        self.recount(keeper, pos);
    }

    /// Moves `share` entries from the back of the leaf at `pos` to the leaf after it.
    fn shift_right<K: Keeper<Run = R>>(&mut self, keeper: &mut K, pos: usize, share: usize) {
        let (left, right) = self.leaves(pos);
        let keep = K::len(&left.run) - share;
        let moved = keeper.split_off(&mut left.run, keep);
        keeper.placed(&moved, 0, right.id);
        let old = std::mem::replace(&mut right.run, moved);
        keeper.append(&mut right.run, old);
        self.recount(keeper, pos);
        self.recount(keeper, pos + 1);
    }

    /// The neighbouring leaves at `pos` and `pos + 1`, for writing.
    fn leaves(&mut self, pos: usize) -> (&mut Leaf<R>, &mut Leaf<R>) {
        match &mut self.kids[pos..pos + 2] {
            [Node::Leaf(left), Node::Leaf(right)] => (Arc::make_mut(left), Arc::make_mut(right)),
            _ => unreachable!("only leaves shift entries"),
        }
    }
}

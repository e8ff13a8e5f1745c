//! Splits, merges and shifts between neighbours: what keeps nodes neither full nor empty.

use triomphe::Arc;

use arrayvec::ArrayVec;

use super::edit::Edge;
use super::{ChildCounts, FANOUT, Inner, Leaf, Node, Parent, TreeContext};

/// An inner node with fewer children than this merges with a neighbour, if both fit.
const FEW: usize = FANOUT / 3;

/// Returns what two or more neighbours may hold together to be worth packing into one less: not
/// quite everything, so that the next inserts find room.
const fn packed(leaves: usize, capacity: usize) -> usize {
    leaves * (capacity - capacity / 32)
}

impl<R: Clone> Inner<R> {
    pub(super) fn empty<K: TreeContext<Run = R>>(context: &mut K) -> Self {
        Self {
            id: context.node(),
            counts: ChildCounts::EMPTY,
            ids: [0; FANOUT],
            separators: context.empty(),
            children: ArrayVec::new(),
        }
    }

    /// Hangs a child in at a position; there is room.
    pub(super) fn insert_child<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        pos: usize,
        child: Node<R>,
    ) {
        let len = self.children.len();
        self.counts.insert(pos, child.count::<K>());
        self.ids.copy_within(pos..len, pos + 1);
        self.ids[pos] = child.id();
        context.insert(&mut self.separators, pos, child.first::<K>());
        self.children.insert(pos, child);
        self.adopt(context, pos);
    }

    pub(super) fn remove_child<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        pos: usize,
    ) -> Node<R> {
        let len = self.children.len();
        self.counts.remove(pos);
        self.ids.copy_within(pos + 1..len, pos);
        context.remove(&mut self.separators, pos);
        let child = self.children.remove(pos);
        self.adopt(context, pos);
        child
    }

    /// Says of the children from `from` on that they are here.
    fn adopt<K: TreeContext<Run = R>>(&self, context: &mut K, from: usize) {
        for (pos, &child) in self.ids[..self.children.len()]
            .iter()
            .enumerate()
            .skip(from)
        {
            let parent = Parent {
                id: self.id,
                pos: pos as u32,
            };
            context.adopt(child, parent);
        }
    }

    /// Writes the count and first entry of a child again.
    fn recount<K: TreeContext<Run = R>>(&mut self, context: &K, pos: usize) {
        self.counts.set(pos, self.children[pos].count::<K>());
        let first = self.children[pos].first::<K>();
        context.set(&mut self.separators, pos, first);
    }

    /// Makes room in the full child at `pos`: entries go to a neighbour, else the child splits.
    /// At the edges of the tree, where sorted loads arrive, nearly everything stays in one half,
    /// so that sorted loads leave full nodes behind.
    pub(super) fn make_room<K: TreeContext<Run = R>>(
        &mut self,
        context: &mut K,
        pos: usize,
        probe: K::Probe<'_>,
        edge: Edge,
    ) {
        if edge.left || edge.right {
            let run = match &self.children[pos] {
                Node::Leaf(leaf) => &leaf.run,
                Node::Inner(inner) => &inner.separators,
            };
            let at = context.rank(run, probe).unwrap_or_else(|at| at);
            let full = self.capacity::<K>(pos);
            if edge.right && at == full {
                return self.split(context, pos, full - 1);
            }
            if edge.left && at == 0 {
                return self.split(context, pos, 1);
            }
        }
        if matches!(self.children[pos], Node::Leaf(_)) {
            let room = |at: usize| K::LEAF - self.counts.get(at) as usize;
            if pos > 0 && room(pos - 1) >= K::LEAF / 16 {
                return self.shift_left(context, pos, room(pos - 1).div_ceil(2));
            }
            if pos + 1 < self.children.len() && room(pos + 1) >= K::LEAF / 16 {
                return self.shift_right(context, pos, room(pos + 1).div_ceil(2));
            }
        }
        self.split(context, pos, self.capacity::<K>(pos) / 2);
    }

    /// Returns what the child at `pos` can hold.
    pub(super) fn capacity<K: TreeContext<Run = R>>(&self, pos: usize) -> usize {
        self.children[pos].capacity::<K>()
    }

    /// Makes fewer of the children around `pos`, which lost an entry, if that is possible.
    pub(super) fn rebalance<K: TreeContext<Run = R>>(&mut self, context: &mut K, pos: usize) {
        if matches!(self.children[pos], Node::Leaf(_)) {
            // The counts tell how full leaves are without a look at the leaves.
            let window = K::WINDOW.min(self.children.len());
            let start = pos
                .saturating_sub(window / 2)
                .min(self.children.len() - window);
            let held: u32 = self.counts.all()[start..start + window].iter().sum();
            if held as usize <= packed(window - 1, K::LEAF) {
                self.pack(context, start, window);
            }
            return;
        }
        let width = self.children[pos].width::<K>();
        if width > FEW {
            return;
        }
        let fits = |at: usize| {
            let other = self.children.get(at).map(Node::width::<K>);
            other.is_some_and(|other| other + width <= packed(1, FANOUT))
        };
        if pos > 0 && fits(pos - 1) {
            self.merge(context, pos - 1);
        } else if fits(pos + 1) {
            self.merge(context, pos);
        }
    }

    /// Packs `window` leaves, which hold little enough, into one less.
    fn pack<K: TreeContext<Run = R>>(&mut self, context: &mut K, start: usize, window: usize) {
        let Some(leaves) = window.checked_sub(1).filter(|&leaves| leaves > 0) else {
            return;
        };
        let held: u32 = self.counts.all()[start..start + window].iter().sum();
        let share = (held as usize).div_ceil(leaves);
        let mut at = start;
        let mut end = start + window;
        while at + 1 < end {
            let need = share.saturating_sub(self.counts.get(at) as usize);
            if need == 0 {
                at += 1;
            } else if need >= self.counts.get(at + 1) as usize {
                self.merge(context, at);
                end -= 1;
            } else {
                self.shift_left(context, at + 1, need);
                at += 1;
            }
        }
    }

    /// Cuts the child at `pos` in two.
    fn split<K: TreeContext<Run = R>>(&mut self, context: &mut K, pos: usize, at: usize) {
        let tail = match &mut self.children[pos] {
            Node::Leaf(leaf) => {
                let leaf = Arc::make_mut(leaf);
                let run = context.split_off(&mut leaf.run, at);
                let id = context.node();
                context.placed(&run, 0, id);
                Node::Leaf(Arc::new(Leaf { id, run }))
            }
            Node::Inner(inner) => {
                let tail = Arc::make_mut(inner).split_off(context, at);
                Node::Inner(Arc::new(tail))
            }
        };
        self.insert_child(context, pos + 1, tail);
        self.counts
            .set(pos, self.counts.get(pos) - self.counts.get(pos + 1));
    }

    fn split_off<K: TreeContext<Run = R>>(&mut self, context: &mut K, at: usize) -> Self {
        let len = self.children.len();
        let mut tail = Self::empty(context);
        tail.counts = self.counts.split_off(at);
        tail.ids[..len - at].copy_from_slice(&self.ids[at..len]);
        tail.separators = context.split_off(&mut self.separators, at);
        tail.children = self.children.drain(at..).collect();
        tail.adopt(context, 0);
        tail
    }

    /// Moves the child at `pos + 1` into the child at `pos`; they fit.
    fn merge<K: TreeContext<Run = R>>(&mut self, context: &mut K, pos: usize) {
        let gone = self.remove_child(context, pos + 1);
        let gone_id = gone.id();
        match (&mut self.children[pos], gone) {
            (Node::Leaf(into), Node::Leaf(from)) => {
                let into = Arc::make_mut(into);
                let at = K::len(&into.run);
                context.append(&mut into.run, Arc::unwrap_or_clone(from).run);
                context.placed(&into.run, at, into.id);
            }
            (Node::Inner(into), Node::Inner(from)) => {
                let into = Arc::make_mut(into);
                let from = Arc::unwrap_or_clone(from);
                let len = into.children.len();
                let more = from.children.len();
                into.counts.append(len, &from.counts, more);
                into.ids[len..len + more].copy_from_slice(&from.ids[..more]);
                context.append(&mut into.separators, from.separators);
                into.children.extend(from.children);
                into.adopt(context, len);
            }
            _ => unreachable!("children of one node are of one kind"),
        }
        context.free(gone_id);
        self.counts.set(pos, self.children[pos].count::<K>());
    }

    /// Moves `share` entries from the front of the leaf at `pos` to the leaf before it.
    fn shift_left<K: TreeContext<Run = R>>(&mut self, context: &mut K, pos: usize, share: usize) {
        let (left, right) = self.leaves(pos - 1);
        let rest = context.split_off(&mut right.run, share);
        let moved = std::mem::replace(&mut right.run, rest);
        let at = K::len(&left.run);
        context.append(&mut left.run, moved);
        context.placed(&left.run, at, left.id);
        self.recount(context, pos - 1);
        self.recount(context, pos);
    }

    /// Moves `share` entries from the back of the leaf at `pos` to the leaf after it.
    fn shift_right<K: TreeContext<Run = R>>(&mut self, context: &mut K, pos: usize, share: usize) {
        let (left, right) = self.leaves(pos);
        let keep = K::len(&left.run) - share;
        let moved = context.split_off(&mut left.run, keep);
        context.placed(&moved, 0, right.id);
        let old = std::mem::replace(&mut right.run, moved);
        context.append(&mut right.run, old);
        self.recount(context, pos);
        self.recount(context, pos + 1);
    }

    /// The neighbouring leaves at `pos` and `pos + 1`, for writing.
    fn leaves(&mut self, pos: usize) -> (&mut Leaf<R>, &mut Leaf<R>) {
        match &mut self.children[pos..pos + 2] {
            [Node::Leaf(left), Node::Leaf(right)] => (Arc::make_mut(left), Arc::make_mut(right)),
            _ => unreachable!("only leaves shift entries"),
        }
    }
}

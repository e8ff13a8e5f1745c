//! Building a tree from sorted entries, bottom up, and taking one apart.

use triomphe::Arc;

use super::{FANOUT, Inner, Leaf, Node, Parent, Tree, TreeContext};

/// Returns how many entries a bulk build puts into a node of this capacity: nearly all, with room
/// for some inserts before anything splits.
const fn filled(capacity: usize) -> usize {
    capacity * 15 / 16
}

impl<R: Clone> Tree<R> {
    /// A tree of sorted, distinct entries. O(n), no comparisons but those of the run itself.
    pub(crate) fn build<K: TreeContext<Run = R>>(
        context: &mut K,
        entries: impl ExactSizeIterator<Item = K::Entry>,
    ) -> Self {
        let len = entries.len();
        let mut entries = entries;
        let mut level = Vec::with_capacity(len.div_ceil(filled(K::LEAF)));
        for size in shares(len, filled(K::LEAF)) {
            let mut leaf = Leaf {
                id: context.node(),
                run: context.empty(),
            };
            context.fill(&mut leaf.run, entries.by_ref().take(size));
            context.placed(&leaf.run, 0, leaf.id);
            context.adopt(leaf.id, Parent::NONE);
            level.push(Node::Leaf(Arc::new(leaf)));
        }
        while level.len() > 1 {
            let mut children = std::mem::take(&mut level).into_iter();
            for size in shares(children.len(), filled(FANOUT)) {
                let mut inner = Inner::empty(context);
                for pos in 0..size {
                    let child = children.next().expect("the shares add up to the children");
                    inner.insert_child(context, pos, child);
                }
                context.adopt(inner.id, Parent::NONE);
                level.push(Node::Inner(Arc::new(inner)));
            }
        }
        Self {
            root: level.pop(),
            len,
        }
    }

    /// Gives back the ids of all nodes of a tree that is about to be dropped. O(leaves).
    pub(crate) fn retire<K: TreeContext<Run = R>>(&mut self, context: &mut K) {
        fn walk<R, K: TreeContext<Run = R>>(node: &Node<R>, context: &mut K) {
            context.free(node.id());
            if let Node::Inner(inner) = node {
                inner.children.iter().for_each(|child| walk(child, context));
            }
        }
        if let Some(root) = self.root.take() {
            walk(&root, context);
        }
        self.len = 0;
    }
}

/// Cuts `len` things into even shares of at most `most`.
fn shares(len: usize, most: usize) -> impl Iterator<Item = usize> {
    let parts = len.div_ceil(most);
    (0..parts).map(move |part| (part + 1) * len / parts - part * len / parts)
}

//! The invariants of a tree. Tests check them while they write, other builds never do.

use std::cell::Cell;

use super::{FANOUT, Node, Parent, Tree, TreeContext};

/// True if trees are checked: in debug builds with the feature `testing`, which all tests of this
/// crate have.
pub(crate) const CHECKED: bool = cfg!(all(debug_assertions, any(test, feature = "testing")));

/// Up to this many entries are checked after every write.
const SMALL: usize = 1024;
/// Of more entries, this many are checked for a write on average.
const SHARE: usize = 128;
/// Of more than this many entries, so many are.
const LARGE: usize = 1 << 17;
const SHARE_OF_LARGE: usize = 16;

thread_local! {
    static DUE: Cell<usize> = const { Cell::new(0) };
}

/// Returns whether a tree or list of `len` entries is to be checked as a whole after this write:
/// always up to 1,024 entries, else at every `len / 128`th call on this thread, of more than 131,072
/// entries at every `len / 16`th. Whole checks are O(len), so they cost O(1) a write.
pub(crate) fn is_due(len: usize) -> bool {
    CHECKED
        && DUE.with(|due| {
            let share = if len > LARGE { SHARE_OF_LARGE } else { SHARE };
            let sum = due.get() + share;
            let is_due = len <= SMALL || sum >= len;
            if len > SMALL {
                due.set(if is_due { 0 } else { sum });
            }
            is_due
        })
}

/// The last entry and the depth that a walk through a tree has seen.
struct Seen<'a, E> {
    /// The last entry.
    last: Option<&'a E>,
    /// The depth of the leaves.
    depth: Option<usize>,
}

impl<R> Tree<R> {
    /// Checks the whole tree: entries ascend from run to run, runs and back-references are right,
    /// inner nodes know their children, no node is empty or too full, all leaves are equally deep.
    /// The caller checks the owner of the root. O(n).
    ///
    /// # Panics
    ///
    /// Panics if anything of that is not so.
    pub(crate) fn check<K: TreeContext<Run = R>>(&self, context: &K) {
        let mut seen = Seen {
            last: None,
            depth: None,
        };
        let mut len = 0;
        if let Some(root) = &self.root {
            assert!(
                matches!(root, Node::Leaf(_)) || root.width::<K>() > 1,
                "a root of one child"
            );
            len = root.check(context, 0, &mut seen);
        }
        assert_eq!(self.len, len, "entries of the tree");
    }
}

impl<R> Node<R> {
    /// Checks everything below this node and returns how many entries there are.
    fn check<'a, K: TreeContext<Run = R>>(
        &'a self,
        context: &K,
        depth: usize,
        seen: &mut Seen<'a, K::Entry>,
    ) -> usize {
        let width = self.width::<K>();
        assert!(
            (1..=self.capacity::<K>()).contains(&width),
            "a node of {width} entries or children"
        );
        let inner = match self {
            Self::Leaf(leaf) => {
                assert_eq!(*seen.depth.get_or_insert(depth), depth, "depth of a leaf");
                check_leaf(context, leaf.id, &leaf.run, seen);
                return width;
            }
            Self::Inner(inner) => inner,
        };
        context.check_run(&inner.separators);
        assert_eq!(K::len(&inner.separators), width, "first entries");
        let mut before = 0;
        for (pos, child) in inner.children.iter().enumerate() {
            assert_eq!(inner.ids[pos], child.id(), "id of a child");
            if let Some(parent) = context.parent(child.id()) {
                let here = Parent {
                    id: inner.id,
                    pos: pos as u32,
                };
                assert_eq!(parent, here, "parent of a node");
            }
            let noted = K::entry(&inner.separators, pos);
            let first = child.first_entry::<K>();
            let differ = context.is_before(noted, first) || context.is_before(first, noted);
            assert!(!differ, "first entry of a child");
            assert_eq!(inner.counts.before(pos), before, "entries before a child");
            let below = child.check(context, depth + 1, seen);
            assert_eq!(inner.counts.get(pos) as usize, below, "entries of a child");
            before += below;
        }
        let rest = &inner.counts.all()[width..FANOUT];
        assert!(rest.iter().all(|&count| count == 0), "counts of nobody");
        assert_eq!(inner.counts.sum() as usize, before, "entries of a node");
        before
    }
}

fn check_leaf<'a, K: TreeContext>(
    context: &K,
    id: u32,
    run: &'a K::Run,
    seen: &mut Seen<'a, K::Entry>,
) {
    context.check_run(run);
    if let Some(last) = seen.last {
        let ascends = context.is_before(last, K::entry(run, 0));
        assert!(ascends, "a leaf that begins before the one before it ends");
    }
    for entry in (0..K::len(run)).map(|at| K::entry(run, at)) {
        let leaf = context.leaf(entry);
        assert!(leaf.is_none_or(|leaf| leaf == id), "leaf of an entry");
        seen.last = Some(entry);
    }
}

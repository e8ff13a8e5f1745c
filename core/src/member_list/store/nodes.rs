//! The ids of the nodes of all trees of a store, and the parent of each.

use crate::member_list::store::groups::GroupId;
use crate::member_list::tree::{Climb, NO_NODE, Parent, ROOT_BIT};

/// Node ids and the tree of nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// The parent of each node; for roots [`ROOT_BIT`] and the group.
    pub(crate) parents: Vec<Parent>,
    free: Vec<u32>,
}

impl Nodes {
    /// The group that a climb ended at.
    pub(crate) fn owner(climb: &Climb) -> GroupId {
        GroupId(climb.top() & !ROOT_BIT)
    }

    /// Gives an id to a new node.
    pub(super) fn add(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.parents.push(Parent::NONE);
            (self.parents.len() - 1) as u32
        })
    }

    /// Takes back the id of a node that is gone.
    pub(super) fn remove(&mut self, node: u32) {
        self.free.push(node);
    }

    /// The nodes that have an id.
    pub(super) fn len(&self) -> usize {
        self.parents.len() - self.free.len()
    }

    /// Heap bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        self.parents.capacity() * size_of::<Parent>() + self.free.capacity() * size_of::<u32>()
    }

    /// Forgets all ids when no node is left.
    pub(super) fn trim(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    /// Checks that a root, if it is one, names the group of its tree.
    ///
    /// # Panics
    ///
    /// Panics if it does not.
    pub(crate) fn check_owner(&self, root: u32, group: GroupId) {
        if root != NO_NODE {
            let parent = self.parents[root as usize].id;
            assert_eq!(parent, ROOT_BIT | group.0, "group of a root");
        }
    }

    /// Notes the group of the tree of a root; [`NO_NODE`] is no root.
    pub(crate) fn own(&mut self, root: u32, group: GroupId) {
        if root != NO_NODE {
            self.parents[root as usize].id = ROOT_BIT | group.0;
        }
    }
}

//! What must be true of a list. Tests check it while they write, other builds never do.

use crate::member_list::store::table::Table;
use crate::member_list::tree::is_due;
use crate::member_list::{Id, MemberList};

impl<I: Id> MemberList<I> {
    /// Checks the list after a write, in debug builds with the feature `testing`: up to 1,024
    /// members always, a longer list once in n / 128 writes, which is O(1) a write. Each run of
    /// slots is checked in addition whenever it is written, O(128). Other builds check nothing.
    ///
    /// # Panics
    ///
    /// Panics if anything that [`check`](Self::check) looks at is not so.
    #[inline]
    pub(super) fn check_when_due(&self) {
        if is_due(self.table.len()) {
            self.check();
        }
    }

    /// Checks that the members of each group ascend by key and id, that tags and scales say what
    /// the keys say, that counts, parents, leaves, rows and the index of ids are right, and that
    /// nothing else is left of the members that are gone. O(n).
    fn check(&self) {
        let mut members = 0;
        let mut nodes = 0;
        for &group in self.groups.order() {
            let tree = &self.groups[group].tree;
            tree.check(&self.table);
            self.table.nodes.check_owner(tree.root_id(), group);
            for slot in tree.entries::<Table<I>>() {
                let id = &self.table.cells[slot as usize].id;
                assert_eq!(self.table.slot(id), Some(slot), "slot of an id");
            }
            members += tree.len();
            let (leaves, inners) = tree.nodes();
            nodes += leaves + inners;
        }
        self.groups.check_rows();
        self.table.check(members, nodes);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::{GroupId, ListOptions, NewMember, SortKey};
    use super::*;

    fn list() -> MemberList<u64> {
        let mut list = MemberList::new(ListOptions::default());
        let groups = ["a", "b"].map(|name| list.add_group(name).unwrap());
        let members = (0..1000).map(|id| NewMember {
            id,
            group: groups[id as usize % 2],
            key: SortKey::from_u64(id),
            attrs: 0,
        });
        list.bulk_load(members).unwrap();
        list
    }

    /// Returns what the check says of a list in which something was broken.
    fn broken(break_it: impl FnOnce(&mut MemberList<u64>)) -> String {
        let mut list = list();
        list.check();
        break_it(&mut list);
        let panic = catch_unwind(AssertUnwindSafe(|| list.check())).unwrap_err();
        match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
        }
    }

    #[test]
    fn the_check_sees_what_is_wrong() {
        let slot = |list: &MemberList<u64>, id| list.table.slot(&id).unwrap();
        let key_changed = broken(|list| {
            let slot = slot(list, 500);
            list.table.set_key(slot, &501u64.to_be_bytes());
        });
        assert!(key_changed.contains("tag of a key"), "{key_changed}");
        let detached = broken(|list| list.table.detach(slot(list, 500)));
        assert!(detached.contains("leaf of an entry"), "{detached}");
        let id_changed = broken(|list| {
            let slot = slot(list, 500);
            list.table.cells.at_mut(slot as usize).id = 5000;
        });
        assert!(id_changed.contains("slot of an id"), "{id_changed}");
        let moved = broken(|list| list.table.nodes.parents[2].pos += 1);
        assert!(moved.contains("parent of a node"), "{moved}");
        let owned = broken(|list| {
            let root = list.groups[GroupId(0)].tree.root_id();
            list.table.nodes.own(root, GroupId(1));
        });
        assert!(owned.contains("group of a root"), "{owned}");
    }
}

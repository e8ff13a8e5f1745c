//! The invariants of a store. Tests check them while they write, other builds never do.

use crate::member_list::Id;
use crate::member_list::store::Store;
use crate::member_list::store::table::Table;
use crate::member_list::tree::is_due;

impl<I: Id> Store<I> {
    /// Checks the store after a write, in debug builds with the feature `testing`: up to 1,024
    /// members always, a longer list once in n / 128 writes, one of more than 131,072 once in n / 16,
    /// which is O(1) a write. Each run of slots is checked in addition whenever it is written,
    /// O(128). Other builds check nothing.
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

    /// Checks that the members of each group ascend by key and id, that tags and scales fit the
    /// keys, that counts, parents, leaves, rows and the index of ids are right, and that nothing
    /// else is left of the members that are gone. O(n).
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

    use super::*;
    use crate::member_list::changes::Changes;
    use crate::member_list::store::{GroupId, NewMember};
    use crate::member_list::{ListOptions, SortKey};

    fn store() -> Store<u64> {
        let mut store = Store::new(ListOptions::default());
        let groups = ["a", "b"].map(|name| store.regroup(|groups| groups.add(name)).unwrap());
        let members = (0..1000).map(|id| NewMember {
            id,
            group: groups[id as usize % 2],
            key: SortKey::from_u64(id),
            attrs: 0,
        });
        store.bulk_load(members, &mut Changes::default()).unwrap();
        store
    }

    /// Returns the message of the check for a store that `break_it` has broken.
    fn broken(break_it: impl FnOnce(&mut Store<u64>)) -> String {
        let mut store = store();
        store.check();
        break_it(&mut store);
        let panic = catch_unwind(AssertUnwindSafe(|| store.check())).unwrap_err();
        match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
        }
    }

    #[test]
    fn the_check_sees_what_is_wrong() {
        let slot = |store: &Store<u64>, id| store.table.slot(&id).unwrap();
        let key_changed = broken(|store| {
            let slot = slot(store, 500);
            store.table.set_key(slot, &501u64.to_be_bytes());
        });
        assert!(key_changed.contains("tag of a key"), "{key_changed}");
        let detached = broken(|store| store.table.detach(slot(store, 500)));
        assert!(detached.contains("leaf of an entry"), "{detached}");
        let id_changed = broken(|store| {
            let slot = slot(store, 500);
            store.table.cells.at_mut(slot as usize).id = 5000;
        });
        assert!(id_changed.contains("slot of an id"), "{id_changed}");
        let moved = broken(|store| store.table.nodes.parents[2].pos += 1);
        assert!(moved.contains("parent of a node"), "{moved}");
        let owned = broken(|store| {
            let root = store.groups[GroupId(0)].tree.root_id();
            store.table.nodes.own(root, GroupId(1));
        });
        assert!(owned.contains("group of a root"), "{owned}");
    }
}

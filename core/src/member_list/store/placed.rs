//! The order of a placed list: its members are found by key and id, none knows its place in it.

use std::cmp::Ordering;

use hashbrown::HashMap;
use triomphe::Arc;

use crate::member_list::changes::Changes;
use crate::member_list::store::classes::Classes;
use crate::member_list::store::cow_vec::CowVec;
use crate::member_list::store::groups::{GroupId, Groups};
use crate::member_list::store::key_table::ColumnRef;
use crate::member_list::store::leaf::{LeafSlots, Needle, SLOTS};
use crate::member_list::store::slot_runs::slot_runs;
use crate::member_list::store::staging::sort;
use crate::member_list::store::table::{Cell, Table, rank};
use crate::member_list::tree::{NO_NODE, Parent, Tree, TreeContext};
use crate::member_list::{Id, ListError};

/// The order of the members of one list.
#[derive(Debug)]
pub(crate) struct PlacedOrder<I> {
    /// The key column that the members are sorted by.
    column: usize,
    /// The column of verdicts of classes.
    verdicts: usize,
    /// Members that are always in the list, or never, whatever their attributes.
    personal: HashMap<I, bool>,
    /// The order knows the members of the slots before this one.
    cursor: usize,
    groups: Arc<Groups>,
    /// Members, shown or not.
    members: usize,
}

impl<I: Id> PlacedOrder<I> {
    /// Makes an order that knows no member yet.
    pub(crate) fn new(
        column: usize,
        verdicts: usize,
        personal: HashMap<I, bool>,
        groups: Groups,
    ) -> Self {
        Self {
            column,
            verdicts,
            personal,
            cursor: 0,
            groups: Arc::new(groups),
            members: 0,
        }
    }

    pub(crate) const fn verdicts(&self) -> usize {
        self.verdicts
    }

    /// Returns whether the order knows the member in a slot, if it admits it.
    pub(crate) const fn covers(&self, slot: u32) -> bool {
        (slot as usize) < self.cursor
    }

    /// Returns the number of slots that the order has still to go over.
    pub(crate) fn behind(&self, table: &Table<I>) -> usize {
        table.slots().saturating_sub(self.cursor)
    }

    /// Goes over the next slots, at most `max`. Afterwards the order knows their members; one that
    /// has gone over all slots knows all members from then on. O(max log n).
    pub(crate) fn advance(&mut self, table: &Table<I>, classes: &Classes, max: usize) {
        let end = table.slots().min(self.cursor.saturating_add(max));
        for slot in self.cursor as u32..end as u32 {
            if table.is_free(slot) {
                continue;
            }
            let id = &table.cells[slot as usize].id;
            if let Some(group) = self.group_in(classes, table.class(slot), id) {
                self.insert(table, slot, group);
            }
        }
        self.cursor = match end == table.slots() {
            true => usize::MAX,
            false => end,
        };
    }

    /// Fills a group with the members of a saved order, which is checked. O(members).
    pub(crate) fn restore_group(
        &mut self,
        table: &Table<I>,
        classes: &Classes,
        group: GroupId,
        slots: &[u32],
    ) -> Result<(), &'static str> {
        let mut sorted = Sorted::new(table, self.column);
        let is_here = |slot: &u32| {
            let id = &table.cells[*slot as usize].id;
            self.group_in(classes, table.class(*slot), id) == Some(group)
        };
        check_saved(table, slots, is_here, |a, b| sorted.order(a, b))?;
        let groups = Arc::make_mut(&mut self.groups);
        groups.at_mut(group).tree = Tree::build(&mut sorted, slots.iter().copied());
        groups.recount(group);
        self.members += slots.len();
        Ok(())
    }

    /// Checks that the saved order has all members that it admits; it knows all members from then
    /// on. O(classes).
    pub(crate) fn end_restore(
        &mut self,
        table: &Table<I>,
        classes: &Classes,
    ) -> Result<(), &'static str> {
        let mut admitted = classes.admitted(self.verdicts) as isize;
        for (id, &is_in) in &self.personal {
            if let Some(slot) = table.slot(id) {
                let verdict = classes.verdict(table.class(slot), self.verdicts);
                admitted += isize::from(is_in) - isize::from(verdict.is_admitted());
            }
        }
        if self.members as isize != admitted {
            return Err("a list lacks members that belong there");
        }
        self.cursor = usize::MAX;
        Ok(())
    }

    /// Forgets all members, for good.
    pub(crate) fn clear(&mut self) {
        let groups = Arc::make_mut(&mut self.groups);
        groups.clear();
        self.cursor = 0;
        self.members = 0;
    }

    /// Returns the group of a member that the order knows, if the list admits it. O(1).
    #[inline]
    pub(crate) fn group_of(
        &self,
        table: &Table<I>,
        classes: &Classes,
        slot: u32,
    ) -> Option<GroupId> {
        let id = &table.cells[slot as usize].id;
        let known = self.covers(slot).then(|| table.class(slot));
        self.group_in(classes, known?, id)
    }

    /// Returns the group that a member would have in a class. O(1).
    #[inline]
    pub(crate) fn group_in(&self, classes: &Classes, class: u32, id: &I) -> Option<GroupId> {
        let verdict = classes.verdict(class, self.verdicts);
        let personal = match self.personal.is_empty() {
            true => None,
            false => self.personal.get(id).copied(),
        };
        let admitted = personal.unwrap_or_else(|| verdict.is_admitted());
        admitted.then(|| self.groups.id_at(verdict.group()))
    }

    /// Returns whether the order knows all members.
    pub(crate) const fn is_complete(&self) -> bool {
        self.cursor == usize::MAX
    }

    /// Hides and collapses the groups that are so in another table of groups.
    pub(crate) fn take_flags_of(&mut self, old: &Groups) {
        let groups = Arc::make_mut(&mut self.groups);
        for info in old.infos().filter(|info| info.hidden || info.collapsed) {
            if let Some(id) = groups.by_name(info.name) {
                let group = groups.at_mut(id);
                (group.hidden, group.collapsed) = (info.hidden, info.collapsed);
                groups.recount(id);
            }
        }
    }

    /// Takes out the members that get another place in other classes, given by slot, and returns
    /// those that the list then admits; `None` if no member moves. The table still has the old
    /// classes. O(k log n) or O(n + k), whichever is less.
    pub(crate) fn leave_classes(
        &mut self,
        table: &Table<I>,
        classes: &Classes,
        moves: &[(u32, u32)],
    ) -> Option<Vec<(GroupId, u32)>> {
        let mut leaving = Vec::new();
        let mut entering = Vec::new();
        let mut moved = false;
        for &(slot, class) in moves.iter().filter(|(slot, _)| self.covers(*slot)) {
            let id = &table.cells[slot as usize].id;
            let before = self.group_in(classes, table.class(slot), id);
            let after = self.group_in(classes, class, id);
            if before != after {
                moved = true;
                leaving.extend(before.map(|group| (group, slot)));
                entering.extend(after.map(|group| (group, slot)));
            }
        }
        leaving.sort_unstable();
        for share in leaving.chunk_by(|a, b| a.0 == b.0) {
            let slots: Vec<u32> = share.iter().map(|(_, slot)| *slot).collect();
            self.remove_many(table, &slots, share[0].0);
        }
        moved.then_some(entering)
    }

    /// Puts members into groups. O(k log n) or O(n + k log k), whichever is less.
    pub(crate) fn enter_sorted(&mut self, table: &Table<I>, entering: &[(GroupId, u32)]) {
        let mut by_group = entering.to_vec();
        by_group.sort_unstable();
        let sorted = Sorted::new(table, self.column);
        for share in by_group.chunk_by(|a, b| a.0 == b.0) {
            let key = |slot| sorted.keys.key_of(slot);
            let slots = sort(share.iter().copied(), key, |a, b| sorted.order(a, b));
            self.insert_many(table, &slots, share[0].0);
        }
    }

    /// Puts new members, sorted by the key of this order and by id, into the groups that admit them;
    /// those of slots that the order does not know yet come later. Returns whether any came in.
    /// O(k log n) or O(n + k), whichever is less.
    pub(crate) fn enter_new(&mut self, table: &Table<I>, classes: &Classes, slots: &[u32]) -> bool {
        let placed = slots.iter().filter_map(|&slot| {
            let group = self.group_of(table, classes, slot)?;
            Some((group, slot))
        });
        let mut placed: Vec<(GroupId, u32)> = placed.collect();
        // Stable: within a group they stay sorted.
        placed.sort_by_key(|(group, _)| *group);
        for share in placed.chunk_by(|a, b| a.0 == b.0) {
            let slots: Vec<u32> = share.iter().map(|(_, slot)| *slot).collect();
            self.insert_many(table, &slots, share[0].0);
        }
        !placed.is_empty()
    }

    /// Returns the key that a member is sorted by.
    pub(crate) fn key<'t>(&self, table: &'t Table<I>, slot: u32) -> &'t [u8] {
        table.column(self.column).key_of(slot)
    }

    pub(crate) const fn column(&self) -> usize {
        self.column
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) const fn shared_groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Members, shown or not. O(1).
    pub(crate) const fn member_count(&self) -> usize {
        self.members
    }

    /// Works on a copy of the group table, so that an error leaves no trace. O(groups).
    pub(crate) fn regroup<T>(
        &mut self,
        work: impl FnOnce(&mut Groups) -> Result<T, ListError>,
    ) -> Result<T, ListError> {
        let mut groups = (*self.groups).clone();
        let done = work(&mut groups)?;
        self.groups = Arc::new(groups);
        Ok(done)
    }

    /// Puts a member into a group and returns its row. O(log n).
    pub(crate) fn insert(&mut self, table: &Table<I>, slot: u32, group: GroupId) -> Option<usize> {
        let context = &mut Sorted::new(table, self.column);
        let groups = Arc::make_mut(&mut self.groups);
        let needle = Needle::new(context.keys.key_of(slot));
        let probe = (&needle, Some(&context.cells[slot as usize].id));
        let tree = &mut groups.at_mut(group).tree;
        let at = tree.insert(context, probe, slot);
        let at = at.expect("a member is put into a list once");
        groups.recount(group);
        self.members += 1;
        self.groups.member_row(group, at)
    }

    /// Takes a member out of a group, while the table still has the key it is sorted by. Returns
    /// the row it had. O(log n).
    pub(crate) fn remove(&mut self, table: &Table<I>, slot: u32, group: GroupId) -> Option<usize> {
        let context = &mut Sorted::new(table, self.column);
        let groups = Arc::make_mut(&mut self.groups);
        let needle = Needle::new(context.keys.key_of(slot));
        let probe = (&needle, Some(&context.cells[slot as usize].id));
        let tree = &mut groups.at_mut(group).tree;
        let (_, at) = tree
            .remove_equal(context, probe)
            .expect("a member is in the group of its class, by its key");
        let at = match groups.descending() {
            true => groups[group].tree.len() - at,
            false => at,
        };
        groups.recount(group);
        self.members -= 1;
        self.groups.shown_row(group, at)
    }

    /// Returns the row of a member of a group. O(log n).
    pub(crate) fn row_of(&self, table: &Table<I>, slot: u32, group: GroupId) -> Option<usize> {
        let context = Sorted::new(table, self.column);
        let needle = Needle::new(context.keys.key_of(slot));
        let id = &context.cells[slot as usize].id;
        let at = self.groups[group].tree.rank(&context, (&needle, Some(id)));
        self.groups.member_row(group, at.ok()?)
    }

    /// Takes many members out of a group: one by one if they are few, else the tree is built
    /// again. The slots ascend; the table still has the keys that they are sorted by. O(k log n) or
    /// O(n), whichever is less.
    pub(crate) fn remove_many(&mut self, table: &Table<I>, slots: &[u32], group: GroupId) {
        if self.groups[group].tree.len() / 16 > slots.len() {
            for &slot in slots {
                self.remove(table, slot, group);
            }
            return;
        }
        let mut leaving = vec![0_u64; table.slots().div_ceil(64)];
        for slot in slots {
            leaving[*slot as usize / 64] |= 1 << (slot % 64);
        }
        let stays = |slot: &u32| leaving[*slot as usize / 64] & 1 << (slot % 64) == 0;
        let all = self.groups[group].tree.entries::<Sorted<'_, I>>();
        let stay: Vec<u32> = all.filter(stays).collect();
        self.rebuild(table, stay, group);
    }

    /// Puts many members into a group, likewise. The slots are sorted by key and id. O(k log n) or
    /// O(n + k), whichever is less.
    pub(crate) fn insert_many(&mut self, table: &Table<I>, slots: &[u32], group: GroupId) {
        if self.groups[group].tree.len() / 16 > slots.len() {
            for &slot in slots {
                self.insert(table, slot, group);
            }
            return;
        }
        let context = Sorted::new(table, self.column);
        let old = self.groups[group].tree.entries::<Sorted<'_, I>>();
        let all = context.merge(old.collect(), slots);
        self.rebuild(table, all, group);
    }

    fn rebuild(&mut self, table: &Table<I>, slots: Vec<u32>, group: GroupId) {
        let groups = Arc::make_mut(&mut self.groups);
        let tree = &mut groups.at_mut(group).tree;
        self.members = self.members + slots.len() - tree.len();
        *tree = Tree::build(&mut Sorted::new(table, self.column), slots.into_iter());
        groups.recount(group);
    }

    /// Returns the heap memory of the trees in bytes. O(n / 128).
    pub(crate) fn heap_bytes(&self) -> usize {
        let order = self.groups.order().iter();
        order.map(|&id| self.groups[id].tree.heap_bytes()).sum()
    }

    /// Checks order, counts and rows. O(n).
    ///
    /// # Panics
    ///
    /// Panics if one of them is wrong.
    pub(crate) fn check(&self, table: &Table<I>) {
        let context = Sorted::new(table, self.column);
        let mut members = 0;
        for &group in self.groups.order() {
            self.groups[group].tree.check(&context);
            members += self.groups[group].tree.len();
        }
        assert_eq!(members, self.members, "members of a placed list");
        self.groups.check_rows();
    }
}

/// Members of a saved order that are checked at once, while they are in the caches.
const CHECKED_AT_ONCE: usize = 128;

/// Checks that a saved order has members only, which are where they should be, and ascend.
pub(super) fn check_saved<I: Id>(
    table: &Table<I>,
    slots: &[u32],
    is_here: impl Fn(&u32) -> bool,
    order: impl Fn(u32, u32) -> Ordering,
) -> Result<(), &'static str> {
    let is_member = |slot: &u32| (*slot as usize) < table.slots() && !table.is_free(*slot);
    let mut before = None;
    for some in slots.chunks(CHECKED_AT_ONCE) {
        if !some.iter().all(is_member) {
            return Err("a list has a member that there is not");
        }
        if !some.iter().all(&is_here) {
            return Err("a list has a member that does not belong there");
        }
        let ascends = |a: u32, b: u32| order(a, b).is_lt();
        let follows = before.is_none_or(|before| ascends(before, some[0]));
        if !follows || !some.is_sorted_by(|a, b| ascends(*a, *b)) {
            return Err("a list is not sorted");
        }
        before = some.last().copied();
    }
    Ok(())
}

/// Notes the header of a group that won or lost one member.
pub(crate) fn mark_header<I: Id>(
    groups: &Groups,
    group: GroupId,
    won: bool,
    changes: &mut Changes<I>,
) {
    if changes.is_everything() || !groups.headers() || groups[group].hidden {
        return;
    }
    let row = Some(groups.first_row(group));
    match (groups[group].tree.len(), won) {
        (0, _) => changes.row(row, None),
        (1, true) => changes.row(None, row),
        _ => changes.row(row, row),
    }
}

/// The members of a table, sorted by one of their keys and by id.
pub(crate) struct Sorted<'a, I> {
    cells: &'a CowVec<Cell<I>>,
    keys: ColumnRef<'a>,
}

impl<'a, I: Id> Sorted<'a, I> {
    pub(crate) fn new(table: &'a Table<I>, column: usize) -> Self {
        Self {
            cells: &table.cells,
            keys: table.column(column),
        }
    }

    /// Sorts members. O(k log k).
    pub(crate) fn sort(&self, slots: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
        let all = slots.map(|slot| (GroupId(0), slot));
        sort(all, |slot| self.keys.key_of(slot), |a, b| self.order(a, b))
    }

    /// Returns the order of two members.
    pub(crate) fn order(&self, a: u32, b: u32) -> Ordering {
        let id = |slot: u32| &self.cells[slot as usize].id;
        let by_key = self.keys.key_of(a).cmp(self.keys.key_of(b));
        by_key.then_with(|| id(a).cmp(id(b)))
    }

    /// Merges two sorted sequences of slots. O(length).
    fn merge(&self, old: Vec<u32>, new: &[u32]) -> Vec<u32> {
        let mut merged = Vec::with_capacity(old.len() + new.len());
        let mut new = new.iter().copied().peekable();
        for slot in old {
            while let Some(other) = new.next_if(|&other| self.order(other, slot).is_lt()) {
                merged.push(other);
            }
            merged.push(slot);
        }
        merged.extend(new);
        merged
    }
}

impl<I: Id> TreeContext for Sorted<'_, I> {
    slot_runs!();

    // Nodes and members know no place, so there is nothing to note.

    fn node(&mut self) -> u32 {
        NO_NODE
    }

    fn free(&mut self, _node: u32) {}

    fn adopt(&mut self, _child: u32, _parent: Parent) {}

    fn entered(&mut self, _run: &LeafSlots, _at: usize, _leaf: u32) {}

    fn placed(&mut self, _run: &LeafSlots, _from: usize, _leaf: u32) {}

    fn parent(&self, _node: u32) -> Option<Parent> {
        None
    }

    fn leaf(&self, _slot: &u32) -> Option<u32> {
        None
    }
}

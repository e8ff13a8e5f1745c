//! The lists of a table: their orders, and what writes of members do to them.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::member_list::changes::members::Fields;
use crate::member_list::frames::model::Epoch;
use crate::member_list::limits::{KEY_COLUMNS_MAX, LISTS_MAX, TABLE_EPOCH_MAX};
use crate::member_list::options::ResumeLimits;
use crate::member_list::store::classes::{Classes, Rules};
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::place;
use crate::member_list::store::placed::{PlacedOrder, Sorted, mark_header};
use crate::member_list::store::table::Table;
use crate::member_list::table::list::{List, ListId, ListMove, Ruled};
use crate::member_list::table::spec::ListSpec;
use crate::member_list::{Id, TableError};

/// The lists of a table.
#[derive(Debug)]
pub(super) struct Lists<I> {
    lists: Vec<Option<List<I>>>,
    /// The ids that lists get next at the places of those that were removed.
    free: Vec<ListId>,
    by_name: HashMap<Arc<str>, ListId>,
    /// The epoch that the next list or spec begins.
    next_epoch: Epoch,
    /// What each list keeps for clients that are away.
    resume: ResumeLimits,
}

/// A member that was taken out of an order and is to be put in again.
pub(super) struct Leaving {
    list: usize,
    is_next: bool,
    before: Option<GroupId>,
    after: Option<GroupId>,
    old_row: Option<usize>,
}

/// The new places of a member: its class, and the key columns that change, as bits.
pub(super) struct Move {
    pub(super) slot: u32,
    pub(super) class: u32,
    pub(super) columns: u8,
}

impl Move {
    /// Every key changes, or the member goes.
    pub(super) const ALL_COLUMNS: u8 = u8::MAX;

    /// Returns whether the key changes that an order is sorted by.
    const fn has_key_of<I: Id>(&self, order: &PlacedOrder<I>) -> bool {
        self.columns >> order.column() & 1 == 1
    }

    /// Returns whether the member, which is still in its old place, may get another one in an order.
    fn concerns<I: Id>(&self, order: &PlacedOrder<I>, table: &Table<I>, classes: &Classes) -> bool {
        let verdict = |class| classes.verdict(class, order.verdicts());
        let old = table.class(self.slot);
        order.covers(self.slot) && (self.has_key_of(order) || verdict(old) != verdict(self.class))
    }
}

impl<I: Id> Lists<I> {
    pub(super) fn new(first_epoch: Epoch, resume: ResumeLimits) -> Self {
        Self {
            lists: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            next_epoch: first_epoch,
            resume,
        }
    }

    pub(super) fn get(&self, id: ListId) -> Result<&List<I>, TableError> {
        let list = self.lists.get(id.place()).and_then(Option::as_ref);
        let unknown = TableError::UnknownList { list: id.to_u64() };
        list.filter(|list| list.id() == id).ok_or(unknown)
    }

    pub(super) fn get_mut(&mut self, id: ListId) -> Result<&mut List<I>, TableError> {
        let list = self.lists.get_mut(id.place()).and_then(Option::as_mut);
        let unknown = TableError::UnknownList { list: id.to_u64() };
        list.filter(|list| list.id() == id).ok_or(unknown)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<ListId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &List<I>> {
        self.lists.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut List<I>> {
        self.lists.iter_mut().flatten()
    }

    /// The rules of all lists, by their columns of verdicts.
    pub(super) fn rules(&self) -> impl Iterator<Item = (usize, &Rules)> {
        self.iter().flat_map(List::rules)
    }

    /// Returns the epoch of a list or spec that begins.
    pub(super) fn epoch(&mut self) -> Epoch {
        take_epoch(&mut self.next_epoch)
    }

    /// Sets what lists keep for clients that are away.
    pub(super) fn set_resume(&mut self, limits: ResumeLimits) {
        self.resume = limits;
        for list in self.iter_mut() {
            list.windows.set_resume(limits);
        }
    }

    /// Checks that there is an epoch for one more list or spec, beside those that are being built.
    pub(super) fn check_epochs(&self) -> Result<(), TableError> {
        Ok(self.next_epoch.check(TABLE_EPOCH_MAX)?)
    }

    pub(super) const fn next_epoch(&self) -> u64 {
        self.next_epoch.number
    }

    /// Adds a list of a saved table, without orders.
    pub(super) fn add_saved(&mut self, name: Arc<str>) -> Result<ListId, TableError> {
        if self.by_name.contains_key(&name) {
            let name = name.to_string();
            return Err(TableError::ListExists { name });
        }
        if self.lists.len() == LISTS_MAX {
            return Err(TableError::TooManyLists { max: LISTS_MAX });
        }
        self.check_epochs()?;
        let id = ListId::new(self.lists.len(), 0);
        self.lists.push(Some(List::new(id, self.resume)));
        self.by_name.insert(name, id);
        Ok(id)
    }

    /// Adds a list, or one more owner to the list of an equal spec.
    pub(super) fn add(
        &mut self,
        spec: ListSpec<I>,
        columns: usize,
        classes: &mut Classes,
    ) -> Result<ListId, TableError> {
        spec.check(columns)?;
        if let Some(id) = self.by_name(spec.name()) {
            let list = self.get_mut(id)?;
            let newest = list.next.as_ref().or(list.current.as_ref());
            if newest.is_none_or(|ruled| *ruled.spec != spec) {
                let name = spec.name().to_owned();
                return Err(TableError::ListExists { name });
            }
            list.owners += 1;
            return Ok(id);
        }
        if self.free.is_empty() && self.lists.len() == LISTS_MAX {
            return Err(TableError::TooManyLists { max: LISTS_MAX });
        }
        self.check_epochs()?;
        let fresh = ListId::new(self.lists.len(), 0);
        let id = self.free.last().copied().unwrap_or(fresh);
        let mut list = List::new(id, self.resume);
        let name = spec.shared_name().clone();
        list.start(Arc::new(spec), classes)?;
        if self.free.pop().is_none() {
            self.lists.push(None);
        }
        self.lists[id.place()] = Some(list);
        self.by_name.insert(name, id);
        Ok(id)
    }

    /// Starts to build a list by another spec, beside the order that is read.
    pub(super) fn set_spec(
        &mut self,
        id: ListId,
        spec: ListSpec<I>,
        columns: usize,
        classes: &mut Classes,
    ) -> Result<(), TableError> {
        let list = self.get(id)?;
        if list.is_building() {
            return Err(list.building());
        }
        self.replace(id, spec, columns, classes)
    }

    /// Likewise, and empties the order that is read at once.
    pub(super) fn revoke(
        &mut self,
        id: ListId,
        spec: ListSpec<I>,
        columns: usize,
        classes: &mut Classes,
    ) -> Result<(), TableError> {
        self.replace(id, spec, columns, classes)?;
        let epoch = self.epoch();
        let list = self.get_mut(id)?;
        if let Some(current) = &mut list.current {
            current.order.clear();
            let name = current.spec.shared_name().clone();
            list.windows.new_epoch(name, epoch);
            list.changes.moved_many();
        }
        Ok(())
    }

    fn replace(
        &mut self,
        id: ListId,
        spec: ListSpec<I>,
        columns: usize,
        classes: &mut Classes,
    ) -> Result<(), TableError> {
        spec.check(columns)?;
        let owners = self.get(id)?.owners;
        if owners > 1 {
            let name = self.get(id)?.spec().name().to_owned();
            return Err(TableError::ListShared { name, owners });
        }
        if self.by_name(spec.name()).is_some_and(|other| other != id) {
            let name = spec.name().to_owned();
            return Err(TableError::ListExists { name });
        }
        self.check_epochs()?;
        let name = spec.shared_name().clone();
        self.get_mut(id)?.start(Arc::new(spec), classes)?;
        self.by_name.retain(|_, other| *other != id);
        self.by_name.insert(name, id);
        Ok(())
    }

    /// Takes one owner from a list; the last one takes the list along. Returns whether the list is
    /// gone.
    pub(super) fn remove(&mut self, id: ListId) -> Result<bool, TableError> {
        let list = self.get_mut(id)?;
        list.owners -= 1;
        if list.owners > 0 {
            return Ok(false);
        }
        self.lists[id.place()] = None;
        self.by_name.retain(|_, other| *other != id);
        self.free.push(id.next());
        Ok(true)
    }

    /// Goes on building lists, for at most `max` members, and returns how many are left.
    pub(super) fn build(&mut self, table: &Table<I>, classes: &Classes, max: usize) -> usize {
        let mut room = max;
        let mut left = 0;
        for place in 0..self.lists.len() {
            let Some(list) = &mut self.lists[place] else {
                continue;
            };
            let Some(next) = &mut list.next else {
                continue;
            };
            let behind = next.order.behind(table);
            next.order.advance(table, classes, room);
            room -= behind.min(room);
            left += next.order.behind(table);
            if next.order.is_complete() {
                list.swap(take_epoch(&mut self.next_epoch));
            }
        }
        left
    }

    /// Takes a member that is about to move out of all orders in which it will be elsewhere.
    pub(super) fn leave(&mut self, table: &Table<I>, classes: &Classes, to: &Move) -> Vec<Leaving> {
        let id = &table.cells[to.slot as usize].id;
        let class = table.class(to.slot);
        let mut leaving = Vec::new();
        for (at, list) in self.lists.iter_mut().enumerate() {
            let Some(list) = list else { continue };
            let changes = &mut list.changes;
            let current = list.current.iter_mut().map(|ruled| (false, ruled));
            let next = list.next.iter_mut().map(|ruled| (true, ruled));
            for (is_next, Ruled { order, .. }) in current.chain(next) {
                if !to.concerns(order, table, classes) {
                    continue;
                }
                let before = order.group_in(classes, class, id);
                let after = order.group_in(classes, to.class, id);
                if before == after && (before.is_none() || !to.has_key_of(order)) {
                    continue;
                }
                let mut old_row = None;
                if let Some(group) = before {
                    let place = || place(group, order.key(table, to.slot));
                    match after {
                        _ if is_next => {}
                        Some(_) => changes.moved(id, place),
                        None => changes.removed(id, place),
                    }
                    old_row = order.remove(table, to.slot, group);
                }
                leaving.push(Leaving {
                    list: at,
                    is_next,
                    before,
                    after,
                    old_row,
                });
            }
        }
        leaving
    }

    /// Puts a member that has moved into all orders that it left, or is new in.
    pub(super) fn enter(
        &mut self,
        table: &Table<I>,
        slot: u32,
        leaving: &[Leaving],
        mut rows: Option<&mut Vec<ListMove>>,
    ) {
        let id = &table.cells[slot as usize].id;
        for left in leaving {
            let Some(list) = &mut self.lists[left.list] else {
                continue;
            };
            let ruled = match left.is_next {
                true => &mut list.next,
                false => &mut list.current,
            };
            let Some(Ruled { order, .. }) = ruled else {
                continue;
            };
            let index = left
                .after
                .and_then(|group| order.insert(table, slot, group));
            if left.is_next {
                continue;
            }
            let changes = &mut list.changes;
            if left.before.is_none() {
                changes.inserted(id);
            }
            changes.row(left.old_row, index);
            if left.before != left.after {
                for (group, won) in [(left.before, false), (left.after, true)] {
                    if let Some(group) = group {
                        mark_header(order.groups(), group, won, changes);
                    }
                }
            }
            let is_elsewhere =
                index != left.old_row || index.is_some() && left.before != left.after;
            if let Some(rows) = rows.as_mut().filter(|_| is_elsewhere) {
                rows.push(ListMove {
                    list: list.id(),
                    old_index: left.old_row,
                    index,
                });
            }
        }
    }

    /// Puts a new member into all orders that admit it.
    pub(super) fn enter_new(
        &mut self,
        table: &Table<I>,
        classes: &Classes,
        slot: u32,
        rows: Option<&mut Vec<ListMove>>,
    ) {
        let mut entering = Vec::new();
        for (at, list) in self.lists.iter_mut().enumerate() {
            let Some(list) = list else { continue };
            list.changes.slot(slot);
            for (is_next, order) in list.orders() {
                let after = order.group_of(table, classes, slot);
                if after.is_some() {
                    entering.push(Leaving {
                        list: at,
                        is_next,
                        before: None,
                        after,
                        old_row: None,
                    });
                }
            }
        }
        self.enter(table, slot, &entering, rows);
    }

    /// Takes a member that leaves the table out of all orders.
    pub(super) fn leave_for_good(
        &mut self,
        table: &Table<I>,
        classes: &Classes,
        slot: u32,
        mut rows: Option<&mut Vec<ListMove>>,
    ) {
        let id = &table.cells[slot as usize].id;
        for list in self.lists.iter_mut().flatten() {
            if let Some(Ruled { order, .. }) = &mut list.current
                && let Some(group) = order.group_of(table, classes, slot)
            {
                let changes = &mut list.changes;
                changes.removed(id, || place(group, order.key(table, slot)));
                let old_index = order.remove(table, slot, group);
                changes.row(old_index, None);
                mark_header(order.groups(), group, false, changes);
                if let Some(rows) = rows.as_mut().filter(|_| old_index.is_some()) {
                    rows.push(ListMove {
                        list: list.id(),
                        old_index,
                        index: None,
                    });
                }
            }
            if let Some(Ruled { order, .. }) = &mut list.next
                && let Some(group) = order.group_of(table, classes, slot)
            {
                order.remove(table, slot, group);
            }
        }
    }

    /// Notes that the content of a member changed, in the lists that viewers watch.
    pub(super) fn revised(
        &mut self,
        table: &Table<I>,
        classes: &Classes,
        slot: u32,
        fields: Fields,
    ) {
        let id = &table.cells[slot as usize].id;
        for list in self.lists.iter_mut().flatten() {
            let changes = &mut list.changes;
            if !changes.is_watched() {
                continue;
            }
            changes.slot(slot);
            changes.fields(id, fields);
            let Some(Ruled { order, .. }) = &list.current else {
                continue;
            };
            if let Some(group) = order.group_of(table, classes, slot) {
                let row = order.row_of(table, slot, group);
                changes.row(row, row);
            }
        }
    }

    /// Puts new members, sorted by their first key and by id, into all orders that admit them, as
    /// one change for viewers. O(k log k) for each key column, and for each list O(k log n) or
    /// O(n + k), whichever is less.
    pub(super) fn enter_many(&mut self, table: &Table<I>, classes: &Classes, slots: Range<u32>) {
        let mut by_column: [Vec<u32>; KEY_COLUMNS_MAX] = Default::default();
        by_column[0] = slots.clone().collect();
        for list in self.lists.iter_mut().flatten() {
            let mut has_changed = false;
            for (is_next, order) in list.orders() {
                let sorted = &mut by_column[order.column()];
                if sorted.is_empty() {
                    *sorted = Sorted::new(table, order.column()).sort(slots.clone());
                }
                has_changed |= order.enter_new(table, classes, sorted) && !is_next;
            }
            if has_changed {
                list.changes.everything();
            }
        }
    }

    /// Reads what these moves need of the orders that they change, ahead of them. Returns a number
    /// made of all that was read. O(moves x lists, and moves x log n for each of those).
    pub(super) fn fetch(&self, table: &Table<I>, classes: &Classes, moves: &[Move]) -> u32 {
        let orders = self.iter().flat_map(|list| {
            let ruled = list.current.iter().chain(&list.next);
            ruled.map(|ruled| &ruled.order)
        });
        orders.fold(0, |sum, order| {
            let moves = moves.iter().filter(|to| to.concerns(order, table, classes));
            sum ^ order.fetch(table, classes, moves.map(|to| to.slot))
        })
    }

    /// Takes a member out of all orders before it goes to another slot, silently.
    pub(super) fn lift(&mut self, table: &Table<I>, classes: &Classes, slot: u32) {
        for list in self.lists.iter_mut().flatten() {
            for (_, order) in list.orders() {
                if let Some(group) = order.group_of(table, classes, slot) {
                    order.remove(table, slot, group);
                }
            }
        }
    }

    /// Puts a member into all orders in its new slot, silently.
    pub(super) fn lower(&mut self, table: &Table<I>, classes: &Classes, slot: u32) {
        for list in self.lists.iter_mut().flatten() {
            list.changes.renumbered();
            for (_, order) in list.orders() {
                if let Some(group) = order.group_of(table, classes, slot) {
                    order.insert(table, slot, group);
                }
            }
        }
    }

    /// Moves many members to other classes, as one change for viewers. `moves` are slots and their
    /// new classes, by slot; the table still has the old ones. `revised` says that some have another
    /// content.
    pub(super) fn reclass(
        &mut self,
        table: &mut Table<I>,
        classes: &Classes,
        moves: &[(u32, u32)],
        revised: bool,
    ) {
        let mut all_entering = Vec::new();
        for (at, list) in self.lists.iter_mut().enumerate() {
            let Some(list) = list else { continue };
            let mut has_moved = false;
            for (is_next, order) in list.orders() {
                let entering = order.leave_classes(table, classes, moves);
                has_moved |= !is_next && entering.is_some();
                all_entering.extend(entering.map(|entering| (at, is_next, entering)));
            }
            if has_moved {
                list.changes.moved_many();
            } else if revised {
                list.changes.everything();
            }
        }
        for &(slot, class) in moves {
            table.set_class(slot, class);
        }
        for (at, is_next, entering) in all_entering {
            let list = self.lists[at].iter_mut().flat_map(List::orders);
            for (_, order) in list.filter(|(next, _)| *next == is_next) {
                order.enter_sorted(table, &entering);
            }
        }
    }
}

/// Returns the next epoch; the one after it follows.
fn take_epoch(next: &mut Epoch) -> Epoch {
    let epoch = next.clone();
    next.number += 1;
    epoch
}

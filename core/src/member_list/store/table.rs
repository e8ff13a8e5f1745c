//! The member table: what the list knows of each member, by slot.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

use crate::member_list::Id;
use crate::member_list::store::cow_vec::CowVec;
use crate::member_list::store::id_index::Index;
use crate::member_list::store::kept_pages::KeptPages;
use crate::member_list::store::key_table::{ColumnRef, KeyColumn, Keys};
use crate::member_list::store::leaf::{LeafSlots, Needle, SLOTS};
use crate::member_list::store::nodes::Nodes;
use crate::member_list::store::paged_vec::Column;
use crate::member_list::store::slot_runs::slot_runs;
use crate::member_list::store::staging::{Staged, StagedMember};
use crate::member_list::tree::{NO_NODE, Parent, Tree, TreeContext};

/// The part of a member that readers of snapshots see.
#[derive(Clone, Debug)]
pub(crate) struct Cell<I> {
    pub(crate) id: I,
    pub(crate) revision: u32,
    pub(crate) attrs: u32,
}

/// An unused cell, which holds no member.
impl<I: Id> Default for Cell<I> {
    fn default() -> Self {
        Self {
            id: I::nobody(),
            revision: 0,
            attrs: 0,
        }
    }
}

/// Members by slot, slots by id, and where in the trees each member is.
#[derive(Debug)]
pub(crate) struct Table<I> {
    /// Every write must also be noted in the [`Changes`](crate::member_list::changes::Changes).
    pub(crate) cells: CowVec<Cell<I>>,
    pub(crate) payloads: Option<CowVec<Bytes>>,
    pub(super) keys: Keys,
    /// The keys of further columns, by which placed lists are sorted.
    more_keys: Vec<Keys<()>>,
    /// The class of the attributes of each member, where members have more than their cell shows.
    classes: Option<Column<u32>>,
    /// There is or was a member with an id below 0.
    pub(super) negative: bool,
    pub(super) free: Vec<u32>,
    pub(super) index: Index,
    pub(super) hasher: DefaultHashBuilder,
    pub(crate) nodes: Nodes,
    /// Pages that a save has still to read.
    pub(super) kept: Option<Box<KeptPages>>,
}

/// Up to this many members with equal tags are all compared, more are searched.
const FEW_EQUAL: usize = 4;

/// The index names members that have no slot yet by this bit and their position. Slots are below
/// [`MEMBERS_MAX`](crate::member_list::limits::MEMBERS_MAX).
const CLAIMED: u32 = 1 << 31;

/// Members that a bulk load copies into the table at once.
const FILLED_AT_ONCE: usize = 256;

/// Free slots that are no reason to move members, beside one in [`SPARE_SHARE`] of all slots.
const SPARE: usize = 64;
const SPARE_SHARE: usize = 8;

impl<I: Id> Table<I> {
    pub(crate) fn new(payloads: bool) -> Self {
        Self {
            cells: CowVec::default(),
            payloads: payloads.then(CowVec::default),
            keys: Keys::default(),
            more_keys: Vec::new(),
            classes: None,
            negative: false,
            free: Vec::new(),
            index: Index::default(),
            hasher: DefaultHashBuilder::default(),
            nodes: Nodes::default(),
            kept: None,
        }
    }

    /// Makes a table of members with several keys and a class of attributes.
    pub(crate) fn with_columns(payloads: bool, columns: usize) -> Self {
        Self {
            more_keys: (1..columns).map(|_| Keys::default()).collect(),
            classes: Some(Column::default()),
            ..Self::new(payloads)
        }
    }

    /// Slots, free ones included. O(1).
    pub(crate) fn slots(&self) -> usize {
        self.cells.len()
    }

    /// Returns whether a member has an id below 0, or had one. O(1).
    pub(crate) const fn has_negative_ids(&self) -> bool {
        self.negative
    }

    /// Members. O(1).
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The slot of a member. O(1).
    pub(crate) fn slot(&self, id: &I) -> Option<u32> {
        self.index.find(self.hasher.hash_one(id), |slot| {
            self.cells[slot as usize].id == *id
        })
    }

    /// A slot for a new member. It is in no tree yet. O(1).
    pub(crate) fn add(&mut self, id: I, key: &[u8], revision: u32, attrs: u32) -> u32 {
        self.negative |= id.is_negative();
        let hash = self.hasher.hash_one(&id);
        let cell = Cell {
            id,
            revision,
            attrs,
        };
        let slot = if let Some(slot) = self.free.pop() {
            *self.cells.at_mut(slot as usize) = cell;
            self.set_key(slot, key);
            slot
        } else {
            self.push_slot(cell, key)
        };
        let cells = &self.cells;
        let hasher = &self.hasher;
        self.index
            .insert(hash, slot, |slot| hasher.hash_one(&cells[slot as usize].id));
        slot
    }

    /// Adds a slot at the end.
    pub(super) fn push_slot(&mut self, cell: Cell<I>, key: &[u8]) -> u32 {
        self.cells.push(cell);
        self.keys.push(key);
        self.more_keys
            .iter_mut()
            .for_each(|keys| keys.push_key(&[]));
        if let Some(classes) = &mut self.classes {
            classes.push(0);
        }
        if let Some(payloads) = &mut self.payloads {
            payloads.push(Bytes::new());
        }
        (self.cells.len() - 1) as u32
    }

    /// Enters the ids of members that are about to get slots into the index, for now under
    /// [`CLAIMED`] and their positions. Gives their hashes in the order in which the index is best
    /// visited, and the positions, ascending, of those that were left out: they are members
    /// already, or come after a member of the same id. O(k), and O(n) if the index must grow.
    pub(crate) fn claim(&mut self, new: &[StagedMember<I>]) -> (Vec<(u64, u32)>, Vec<u32>) {
        let cells = &self.cells;
        let hasher = &self.hasher;
        self.index
            .reserve(new.len(), |slot| hasher.hash_one(&cells[slot as usize].id));
        let id = |slot: u32| match slot.checked_sub(CLAIMED) {
            None => &cells[slot as usize].id,
            Some(at) => &new[at as usize].id,
        };
        let hashes = new.iter().enumerate();
        let hashes = hashes.map(|(at, row)| (hasher.hash_one(&row.id), at as u32));
        let hashes = self.index.by_place(hashes);
        let mut left_out = Vec::new();
        for &(hash, at) in &hashes {
            let same = |slot| *id(slot) == new[at as usize].id;
            if self.index.find(hash, same).is_some() {
                left_out.push(at);
            } else {
                self.index
                    .insert(hash, CLAIMED | at, |slot| hasher.hash_one(id(slot)));
            }
        }
        left_out.sort_unstable();
        (hashes, left_out)
    }

    /// Fills the next slots with members that were claimed, in this order, and returns the first
    /// slot. They are in no tree yet. O(k).
    pub(crate) fn fill(
        &mut self,
        staged: &Staged<I>,
        hashes: &[(u64, u32)],
        order: &[u32],
        revision: u32,
    ) -> u32 {
        let base = self.cells.len() as u32;
        let mut slots = vec![NO_NODE; staged.rows.len()];
        for (slot, &at) in (base..).zip(order) {
            slots[at as usize] = slot;
        }
        for &(hash, at) in hashes {
            let slot = slots[at as usize];
            if slot != NO_NODE {
                self.index.rename(hash, CLAIMED | at, slot);
            }
        }
        // Rows come from all over the memory: a short loop fetches many of them at once.
        let mut rows = Vec::with_capacity(FILLED_AT_ONCE);
        for some in order.chunks(FILLED_AT_ONCE) {
            rows.extend(some.iter().map(|&at| staged.rows[at as usize].clone()));
            for row in &rows {
                self.negative |= row.id.is_negative();
                self.keys.push_from(&row.key, &staged.long);
            }
            self.cells.extend(rows.drain(..).map(|row| Cell {
                id: row.id,
                revision,
                attrs: row.attrs,
            }));
        }
        for (column, keys) in self.more_keys.iter_mut().zip(&staged.more_keys) {
            for &at in order {
                column.push_key_from(&keys.cells[at as usize], &keys.long);
            }
        }
        if let Some(classes) = &mut self.classes {
            (order.iter()).for_each(|&at| classes.push(staged.classes[at as usize]));
        }
        if let Some(payloads) = &mut self.payloads {
            let payload = |&at: &u32| staged.payloads.get(at as usize).cloned();
            payloads.extend(order.iter().map(|at| payload(at).unwrap_or_default()));
        }
        base
    }

    /// Forgets a member that is in no tree any more. O(1).
    pub(crate) fn drop_slot(&mut self, slot: u32) {
        self.keep(slot);
        let hash = self.hasher.hash_one(&self.cells[slot as usize].id);
        let cells = &self.cells;
        let hasher = &self.hasher;
        self.index
            .remove(hash, slot, |slot| hasher.hash_one(&cells[slot as usize].id));
        self.set_key(slot, &[]);
        self.more_keys
            .iter_mut()
            .for_each(|keys| keys.set(slot, &[]));
        self.keys.set_leaf(slot, NO_NODE);
        if let Some(payloads) = &mut self.payloads {
            *payloads.at_mut(slot as usize) = Bytes::new();
        }
        self.keys.set_free(slot, self.free.len());
        self.free.push(slot);
        self.cut_free_end();
    }

    /// Gives the member of the last slot a free slot further on the front, when free slots are
    /// many; the caller tells the tree. Returns the old and the new slot.
    pub(crate) fn compact(&mut self) -> Option<(u32, u32)> {
        let (from, to) = self.next_compaction()?;
        self.keep(from);
        self.keep(to);
        self.free.pop();
        self.keys.take(from, to);
        self.more_keys
            .iter_mut()
            .for_each(|keys| keys.take(from, to));
        if let Some(classes) = &mut self.classes {
            classes[to as usize] = classes[from as usize];
        }
        self.keys.set_leaf(to, self.keys.leaf(from));
        let cell = self.cells[from as usize].clone();
        self.index.rename(self.hasher.hash_one(&cell.id), from, to);
        *self.cells.at_mut(to as usize) = cell;
        if let Some(payloads) = &mut self.payloads {
            let payload = payloads[from as usize].clone();
            *payloads.at_mut(to as usize) = payload;
        }
        Some((from, to))
    }

    /// Returns the slots between which [`compact`](Self::compact) would move a member.
    pub(crate) fn next_compaction(&self) -> Option<(u32, u32)> {
        let is_due = self.free.len() > self.cells.len() / SPARE_SHARE + SPARE;
        let to = *self.free.last().filter(|_| is_due)?;
        Some(((self.cells.len() - 1) as u32, to))
    }

    /// Gives back the last slot, which `compact` emptied.
    pub(crate) fn pop_slot(&mut self) {
        self.pop_columns();
        self.cut_free_end();
    }

    fn pop_columns(&mut self) {
        self.keep(self.cells.len() as u32 - 1);
        self.cells.pop();
        self.keys.pop();
        self.more_keys.iter_mut().for_each(Keys::pop);
        if let Some(classes) = &mut self.classes {
            classes.pop();
        }
        if let Some(payloads) = &mut self.payloads {
            payloads.pop();
        }
    }

    /// Gives back free slots at the end.
    pub(super) fn cut_free_end(&mut self) {
        while let Some(last) = self.cells.len().checked_sub(1) {
            let Some(place) = self.keys.free_place(last as u32) else {
                break;
            };
            self.free.swap_remove(place);
            if let Some(&moved) = self.free.get(place) {
                self.keys.set_free(moved, place);
            }
            self.pop_columns();
        }
        if self.free.capacity() > 4 * self.free.len() + SPARE {
            self.free.shrink_to(2 * self.free.len());
        }
        self.nodes.trim();
    }

    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        self.keys.key(slot)
    }

    pub(crate) fn set_key(&mut self, slot: u32, key: &[u8]) {
        self.set_key_in(0, slot, key);
    }

    /// The key columns of a member. O(1).
    pub(crate) const fn columns(&self) -> usize {
        1 + self.more_keys.len()
    }

    /// The keys of a column. O(1).
    pub(crate) fn column(&self, column: usize) -> ColumnRef<'_> {
        match column.checked_sub(1) {
            None => ColumnRef::First(&self.keys),
            Some(more) => ColumnRef::Other(&self.more_keys[more]),
        }
    }

    pub(crate) fn set_key_in(&mut self, column: usize, slot: u32, key: &[u8]) {
        self.keep(slot);
        match column.checked_sub(1) {
            None => self.keys.set(slot, key),
            Some(more) => self.more_keys[more].set(slot, key),
        }
    }

    /// The class of a member's attributes; 0 in tables without classes.
    #[inline]
    pub(crate) fn class(&self, slot: u32) -> u32 {
        let classes = self.classes.as_ref();
        classes.map_or(0, |classes| classes[slot as usize])
    }

    /// Returns whether members have classes of attributes beside what their cells show.
    pub(crate) const fn has_classes(&self) -> bool {
        self.classes.is_some()
    }

    pub(crate) fn set_class(&mut self, slot: u32, class: u32) {
        self.keep(slot);
        if let Some(classes) = &mut self.classes {
            classes[slot as usize] = class;
        }
    }

    /// Keeps the page of a slot that is about to change for the save that has still to read it.
    #[inline]
    fn keep(&mut self, slot: u32) {
        if self.kept.is_some() {
            self.keep_page(slot);
        }
    }

    #[cold]
    fn keep_page(&mut self, slot: u32) {
        let kept = self.kept.as_ref().filter(|kept| kept.is_wanted());
        let Some(kept) = kept else {
            self.kept = None;
            return;
        };
        let Some(page) = kept.missing(slot) else {
            return;
        };
        let bytes = self.page(page, kept.slots());
        if let Some(kept) = &mut self.kept {
            kept.keep(page, bytes);
        }
    }

    /// Returns whether a slot has no member. O(1).
    pub(crate) fn is_free(&self, slot: u32) -> bool {
        self.keys.free_place(slot).is_some()
    }

    /// The leaf a member is in.
    pub(crate) fn leaf(&self, slot: u32) -> u32 {
        self.keys.leaf(slot)
    }

    /// Says that a member is about to leave its tree in bulk.
    pub(crate) fn detach(&mut self, slot: u32) {
        self.keys.set_leaf(slot, NO_NODE);
    }

    pub(crate) fn is_detached(&self, slot: u32) -> bool {
        self.leaf(slot) == NO_NODE
    }

    /// One revision more. The page is copied if a snapshot shares it.
    pub(crate) fn revise(&mut self, slot: u32) -> &mut Cell<I> {
        let cell = self.cells.at_mut(slot as usize);
        cell.revision = cell.revision.wrapping_add(1);
        cell
    }

    /// Puts a member that is in no tree into one and returns its index there. O(log n).
    pub(crate) fn insert_into(
        &mut self,
        tree: &mut Tree<LeafSlots>,
        slot: u32,
        key: &[u8],
    ) -> usize {
        let id = self.cells[slot as usize].id.clone();
        let needle = Needle::new(key);
        tree.insert(self, (&needle, Some(&id)), slot)
            .expect("ids are unique, so no entry is equal")
    }

    /// Returns the order of two members.
    pub(crate) fn order(&self, a: u32, b: u32) -> Ordering {
        let id = |slot: u32| &self.cells[slot as usize].id;
        let by_key = self.key(a).cmp(self.key(b));
        by_key.then_with(|| id(a).cmp(id(b)))
    }

    /// Merges two sorted sequences of slots. O(length).
    pub(crate) fn merge(&self, a: &[u32], b: &[u32]) -> Vec<u32> {
        let mut merged = Vec::with_capacity(a.len() + b.len());
        let mut rest = b;
        for &slot in a {
            let before = rest
                .iter()
                .take_while(|&&other| self.order(other, slot).is_lt())
                .count();
            merged.extend(&rest[..before]);
            merged.push(slot);
            rest = &rest[before..];
        }
        merged.extend(rest);
        merged
    }

    /// Checks that the index, free slots and free nodes fit what the trees of all groups hold:
    /// these many members and nodes. O(free slots).
    ///
    /// # Panics
    ///
    /// Panics if they do not.
    pub(crate) fn check(&self, members: usize, nodes: usize) {
        assert_eq!(self.index.len(), members, "ids in the index");
        assert_eq!(self.cells.len(), members + self.free.len(), "slots");
        if let Some(payloads) = &self.payloads {
            assert_eq!(payloads.len(), self.cells.len(), "payloads");
        }
        for (place, &slot) in self.free.iter().enumerate() {
            assert_eq!(self.keys.free_place(slot), Some(place), "a free slot");
        }
        assert_eq!(self.nodes.len(), nodes, "nodes");
    }

    /// Heap bytes, without what ids, long keys and payloads own. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        self.cells.heap_bytes()
            + self.payloads.as_ref().map_or(0, CowVec::heap_bytes)
            + self.keys.heap_bytes()
            + self.more_keys.iter().map(Keys::heap_bytes).sum::<usize>()
            + self.classes.as_ref().map_or(0, Column::heap_bytes)
            + self.free.capacity() * 4
            + self.kept.as_ref().map_or(0, |kept| kept.heap_bytes())
            + self.index.heap_bytes()
            + self.nodes.heap_bytes()
    }
}

impl<I: Id> TreeContext for Table<I> {
    slot_runs!();

    fn node(&mut self) -> u32 {
        self.nodes.add()
    }

    fn free(&mut self, node: u32) {
        self.nodes.remove(node);
    }

    fn adopt(&mut self, child: u32, parent: Parent) {
        self.nodes.parents[child as usize] = parent;
    }

    fn entered(&mut self, run: &LeafSlots, at: usize, leaf: u32) {
        self.keys.set_leaf(run.slots()[at], leaf);
    }

    fn placed(&mut self, run: &LeafSlots, from: usize, leaf: u32) {
        for &slot in &run.slots()[from..] {
            self.keys.set_leaf(slot, leaf);
        }
    }

    fn parent(&self, node: u32) -> Option<Parent> {
        self.nodes.parents.get(node as usize).copied()
    }

    fn leaf(&self, &slot: &u32) -> Option<u32> {
        Some(self.keys.leaf(slot))
    }
}

/// Returns the place of a key and an id in a run, or where they would go. Without an id, the key is
/// before all its members.
#[inline]
pub(super) fn rank<I: Id>(
    cells: &CowVec<Cell<I>>,
    keys: &impl KeyColumn,
    run: &LeafSlots,
    (needle, id): (&Needle<'_>, Option<&I>),
) -> Result<usize, usize> {
    let range = run.narrow(keys, needle);
    let start = range.start;
    if range.is_empty() {
        return Err(start);
    }
    let compare = |slot: u32| {
        let by_key = keys.compare(slot, needle.key(), needle.head());
        by_key.then_with(|| match id {
            Some(id) => cells[slot as usize].id.cmp(id),
            None => Ordering::Greater,
        })
    };
    let equal = &run.slots()[range];
    if equal.len() > FEW_EQUAL {
        let found = equal.binary_search_by(|&slot| compare(slot));
        return found.map(|at| start + at).map_err(|at| start + at);
    }
    // No comparison waits for another, so their keys are fetched at the same time.
    let orders = equal.iter().map(|&slot| compare(slot));
    let (less, same) = orders.fold((0, false), |(less, same), order| {
        (less + usize::from(order.is_lt()), same | order.is_eq())
    });
    if same {
        Ok(start + less)
    } else {
        Err(start + less)
    }
}

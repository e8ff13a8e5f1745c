//! The member table: what the list knows of each member, by slot.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

use super::Id;
use super::cow::CowVec;
use super::dirty::Writes;
use super::group::GroupId;
use super::index::Index;
use super::keys::Keys;
use super::run::{Needle, Run, SLOTS};
use super::tree::{Climb, Keeper, NOWHERE, ROOT, Tree};

/// The part of a member that readers of snapshots see.
#[derive(Clone, Debug)]
pub(crate) struct Cell<I> {
    pub(crate) id: I,
    pub(crate) revision: u32,
    pub(crate) attrs: u32,
}

/// Members by slot, slots by id, and where in the trees each member is.
#[derive(Debug)]
pub(crate) struct Table<I> {
    /// Who writes to one says so to `writes`.
    pub(crate) cells: CowVec<Cell<I>>,
    pub(crate) payloads: Option<CowVec<Bytes>>,
    keys: Keys,
    free: Vec<u32>,
    index: Index,
    hasher: DefaultHashBuilder,
    pub(crate) nodes: Nodes,
    pub(crate) writes: Writes,
}

/// Free slots that are no reason to move members.
const SPARE: usize = 64;

/// Node ids and the tree of nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// The parent of each node; for roots [`ROOT`] and the group.
    pub(crate) parents: Vec<u32>,
    free: Vec<u32>,
}

impl Nodes {
    /// The group that a climb ended at.
    pub(crate) fn owner(climb: &Climb) -> GroupId {
        GroupId(climb.top() & !ROOT)
    }

    /// Forgets all ids when no node is left.
    fn trim(&mut self) {
        if self.free.len() == self.parents.len() {
            *self = Self::default();
        }
    }

    /// Says whose tree a root belongs to; [`NOWHERE`] is no root.
    pub(crate) fn own(&mut self, root: u32, group: GroupId) {
        if root != NOWHERE {
            self.parents[root as usize] = ROOT | group.0;
        }
    }
}

impl<I: Id> Table<I> {
    pub(crate) fn new(payloads: bool) -> Self {
        Self {
            cells: CowVec::default(),
            payloads: payloads.then(CowVec::default),
            keys: Keys::default(),
            free: Vec::new(),
            index: Index::default(),
            hasher: DefaultHashBuilder::default(),
            nodes: Nodes::default(),
            writes: Writes::default(),
        }
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
        let hash = self.hasher.hash_one(&id);
        let cell = Cell {
            id,
            revision,
            attrs,
        };
        let slot = if let Some(slot) = self.free.pop() {
            *self.cells.at_mut(slot as usize) = cell;
            slot
        } else {
            self.cells.push(cell);
            self.keys.push();
            if let Some(payloads) = &mut self.payloads {
                payloads.push(Bytes::new());
            }
            (self.cells.len() - 1) as u32
        };
        self.writes.note(slot);
        self.set_key(slot, key);
        let (cells, hasher) = (&self.cells, &self.hasher);
        self.index
            .insert(hash, slot, |slot| hasher.hash_one(&cells[slot as usize].id));
        slot
    }

    /// Makes room for that many more members in the index. O(n).
    pub(crate) fn reserve(&mut self, more: usize) {
        let (cells, hasher) = (&self.cells, &self.hasher);
        self.index
            .reserve(more, |slot| hasher.hash_one(&cells[slot as usize].id));
    }

    /// Forgets a member that is in no tree any more. O(1).
    pub(crate) fn drop_slot(&mut self, slot: u32) {
        let hash = self.hasher.hash_one(&self.cells[slot as usize].id);
        let (cells, hasher) = (&self.cells, &self.hasher);
        self.index
            .remove(hash, slot, |slot| hasher.hash_one(&cells[slot as usize].id));
        self.set_key(slot, &[]);
        self.keys.set_leaf(slot, NOWHERE);
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
        if self.free.len() <= self.cells.len() / 32 + SPARE {
            return None;
        }
        let to = self.free.pop()?;
        let from = (self.cells.len() - 1) as u32;
        self.keys.take(from, to);
        self.keys.set_leaf(to, self.keys.leaf(from));
        let cell = self.cells[from as usize].clone();
        self.index.rename(self.hasher.hash_one(&cell.id), from, to);
        *self.cells.at_mut(to as usize) = cell;
        self.writes.renamed();
        if let Some(payloads) = &mut self.payloads {
            let payload = payloads[from as usize].clone();
            *payloads.at_mut(to as usize) = payload;
        }
        Some((from, to))
    }

    /// Gives back the last slot, which `compact` emptied.
    pub(crate) fn pop_slot(&mut self) {
        self.cells.pop();
        self.keys.pop();
        if let Some(payloads) = &mut self.payloads {
            payloads.pop();
        }
        self.cut_free_end();
    }

    /// Gives back free slots at the end.
    fn cut_free_end(&mut self) {
        while let Some(last) = self.cells.len().checked_sub(1) {
            let Some(place) = self.keys.free_place(last as u32) else {
                break;
            };
            self.free.swap_remove(place);
            if let Some(&moved) = self.free.get(place) {
                self.keys.set_free(moved, place);
            }
            self.cells.pop();
            self.keys.pop();
            if let Some(payloads) = &mut self.payloads {
                payloads.pop();
            }
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
        self.keys.set(slot, key);
    }

    /// The leaf a member is in.
    pub(crate) fn leaf(&self, slot: u32) -> u32 {
        self.keys.leaf(slot)
    }

    /// One revision more. The page is copied if a snapshot shares it.
    pub(crate) fn revise(&mut self, slot: u32) -> &mut Cell<I> {
        self.writes.note(slot);
        let cell = self.cells.at_mut(slot as usize);
        cell.revision = cell.revision.wrapping_add(1);
        cell
    }

    /// How a member stands to a key and an id; without an id, before all members of that key.
    fn compare(&self, slot: u32, key: &[u8], id: Option<&I>) -> Ordering {
        self.key(slot).cmp(key).then_with(|| match id {
            Some(id) => self.cells[slot as usize].id.cmp(id),
            None => Ordering::Greater,
        })
    }

    /// Puts a member that is in no tree into one and returns its index there. O(log n).
    pub(crate) fn insert_into(&mut self, tree: &mut Tree<Run>, slot: u32, key: &[u8]) -> usize {
        let id = self.cells[slot as usize].id.clone();
        let needle = Needle::new(key);
        tree.insert(self, (&needle, Some(&id)), slot)
            .expect("ids are unique, so no entry is equal")
    }

    /// How two members stand to each other.
    pub(crate) fn order(&self, a: u32, b: u32) -> Ordering {
        self.compare(a, self.key(b), Some(&self.cells[b as usize].id))
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

    /// Heap bytes, without what ids, long keys and payloads own. O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        self.cells.heap_bytes()
            + self.payloads.as_ref().map_or(0, CowVec::heap_bytes)
            + self.keys.heap_bytes()
            + self.free.capacity() * 4
            + self.index.heap_bytes()
            + (self.nodes.parents.capacity() + self.nodes.free.capacity()) * 4
    }
}

impl<I: Id> Keeper for Table<I> {
    const LEAF: usize = SLOTS;
    const WINDOW: usize = 6;
    type Run = Run;
    type Entry = u32;
    type Probe<'p> = (&'p Needle<'p>, Option<&'p I>);

    fn empty(&self) -> Run {
        Run::EMPTY
    }

    fn len(run: &Run) -> usize {
        run.slots().len()
    }

    fn entry(run: &Run, at: usize) -> &u32 {
        &run.slots()[at]
    }

    fn rank(&self, run: &Run, (needle, id): Self::Probe<'_>) -> Result<usize, usize> {
        let range = run.narrow(&self.keys, needle);
        let start = range.start;
        if range.is_empty() {
            return Err(start);
        }
        let key = needle.key();
        match run.slots()[range].binary_search_by(|&slot| self.compare(slot, key, id)) {
            Ok(at) => Ok(start + at),
            Err(at) => Err(start + at),
        }
    }

    fn insert(&self, run: &mut Run, at: usize, slot: u32) {
        run.insert(&self.keys, at, slot);
    }

    fn set(&self, run: &mut Run, at: usize, slot: u32) {
        run.set(&self.keys, at, slot);
    }

    fn remove(&self, run: &mut Run, at: usize) -> u32 {
        run.remove(at)
    }

    fn split_off(&self, run: &mut Run, at: usize) -> Run {
        run.split_off(at)
    }

    fn fill(&self, run: &mut Run, slots: impl Iterator<Item = u32>) {
        run.fill(&self.keys, slots);
    }

    fn append(&self, run: &mut Run, tail: Run) {
        run.append(&self.keys, &tail);
    }

    fn node(&mut self) -> u32 {
        self.nodes.free.pop().unwrap_or_else(|| {
            self.nodes.parents.push(NOWHERE);
            (self.nodes.parents.len() - 1) as u32
        })
    }

    fn free(&mut self, node: u32) {
        self.nodes.free.push(node);
    }

    fn adopt(&mut self, child: u32, parent: u32) {
        self.nodes.parents[child as usize] = parent;
    }

    fn entered(&mut self, run: &Run, at: usize, leaf: u32) {
        self.keys.set_leaf(run.slots()[at], leaf);
    }

    fn placed(&mut self, run: &Run, from: usize, leaf: u32) {
        for &slot in &run.slots()[from..] {
            self.keys.set_leaf(slot, leaf);
        }
    }
}

//! Publication of all lists of a table at one moment.

use std::cell::{Cell, RefCell};

use hashbrown::HashMap;

use crate::member_list::changes::members::Fields;
use crate::member_list::frames::model::Bundle;
use crate::member_list::table::list::ListId;
use crate::member_list::windows::bodies::{BodyFormat, RowSource};
use crate::member_list::windows::tick::Tick;
use crate::member_list::{Id, Viewer};

/// Bytes of bodies that are kept for a tick.
const CACHE_MAX: usize = 64 << 20;

/// One publication of the lists of a table that viewers watch. Cheap to share: viewers on any
/// thread take their bundles from it.
#[derive(Debug)]
pub struct TableTick<I> {
    ticks: HashMap<ListId, Tick<I>>,
    /// The lists by the serial numbers of their windows, by which viewers know them.
    by_source: HashMap<u64, ListId>,
}

impl<I> Default for TableTick<I> {
    fn default() -> Self {
        Self {
            ticks: HashMap::new(),
            by_source: HashMap::new(),
        }
    }
}

impl<I: Id> TableTick<I> {
    pub(super) fn add(&mut self, list: ListId, tick: Tick<I>) {
        self.by_source.insert(tick.source, list);
        self.ticks.insert(list, tick);
    }

    /// Returns the publication of one list, if viewers watch it.
    #[must_use]
    pub fn list(&self, list: ListId) -> Option<&Tick<I>> {
        self.ticks.get(&list)
    }

    /// Returns whether no viewer gets anything from this tick, so that the caller need not ask
    /// them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ticks.values().all(Tick::is_empty)
    }

    /// Returns the bundle for a viewer of one of the lists; see [`Viewer::bundle`]. `None` if it has
    /// none.
    #[must_use = "it is handed out once"]
    pub fn bundle(&self, viewer: &mut Viewer<I>) -> Option<Bundle<I>> {
        let list = self.by_source.get(&viewer.source()?)?;
        viewer.bundle(self.ticks.get(list)?)
    }
}

/// Bodies by member and fields.
type KnownBodies<I> = HashMap<(I, u64), Box<[u8]>>;

/// Bodies, each written once in a tick for the same fields.
pub(super) struct BodyCache<'a, I> {
    source: &'a dyn RowSource<I>,
    bodies: RefCell<KnownBodies<I>>,
    room: Cell<usize>,
}

impl<'a, I: Id> BodyCache<'a, I> {
    pub(super) fn new(source: &'a dyn RowSource<I>) -> Self {
        Self {
            source,
            bodies: RefCell::default(),
            room: Cell::new(CACHE_MAX),
        }
    }
}

impl<I: Id> RowSource<I> for BodyCache<'_, I> {
    fn write_body(&self, id: &I, fields: Fields, out: &mut Vec<u8>) {
        let key = (id.clone(), fields.0);
        if let Some(body) = self.bodies.borrow().get(&key) {
            return out.extend_from_slice(body);
        }
        let start = out.len();
        self.source.write_body(id, fields, out);
        let body = &out[start..];
        let cost = body.len() + size_of::<(I, u64, Box<[u8]>)>();
        if let Some(room) = self.room.get().checked_sub(cost) {
            self.room.set(room);
            self.bodies.borrow_mut().insert(key, body.into());
        }
    }

    fn format(&self) -> BodyFormat {
        self.source.format()
    }
}

//! Publication of all lists of a table at one moment.

use std::fmt;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::member_list::changes::members::Fields;
use crate::member_list::frames::model::Bundle;
use crate::member_list::store::classes::Classes;
use crate::member_list::store::table::Table;
use crate::member_list::table::list::{List, ListId};
use crate::member_list::windows::bodies::{Bodies, BodyFormat, RowSource, SharedBodies};
use crate::member_list::windows::registry::Windows;
use crate::member_list::windows::resume::bound;
use crate::member_list::windows::tick::Tick;
use crate::member_list::windows::work::ListWork;
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

/// A tick of the lists of a table under way.
#[derive(Debug)]
pub(super) struct TableWork<'a, I> {
    lists: Vec<(ListId, ListWork<'a, I>)>,
    /// The windows of lists that have nothing to say.
    quiet: Vec<&'a mut Windows<I>>,
    resume_bytes_max: usize,
}

impl<'a, I: Id> TableWork<'a, I> {
    pub(super) const fn new(resume_bytes_max: usize) -> Self {
        Self {
            lists: Vec::new(),
            quiet: Vec::new(),
            resume_bytes_max,
        }
    }

    /// Begins the tick of one list.
    pub(super) fn begin(
        &mut self,
        list: &'a mut List<I>,
        table: &'a Table<I>,
        classes: &'a Classes,
        now: Duration,
    ) {
        let id = list.id();
        if !list.is_ticking() {
            self.quiet.push(&mut list.windows);
        } else if let Ok(live) = list.live(table, classes) {
            self.lists.push((id, ListWork::begin(live, now)));
        }
    }

    /// Steps up to `count` windows of one list; returns whether there are more.
    fn step(&self, count: usize, bodies: Bodies<'_, I>) -> bool {
        let mut lists = self.lists.iter().map(|(_, list)| list);
        match lists.find(|list| list.is_left()) {
            Some(list) => list.step(count, bodies) || lists.any(ListWork::is_left),
            None => false,
        }
    }

    pub(super) fn finish(self, bodies: Bodies<'_, I>) -> TableTick<I> {
        let mut ticks = TableTick::default();
        let mut all = self.quiet;
        for (id, list) in self.lists {
            let (tick, windows) = list.finish(bodies);
            ticks.add(id, tick);
            all.push(windows);
        }
        bound(&mut all, self.resume_bytes_max);
        ticks
    }
}

/// A tick of a table that several threads make together; see
/// [`MemberTable::begin_tick`](crate::member_list::MemberTable::begin_tick).
///
/// While it lives, nobody can write to the table. Dropped unfinished, it publishes nothing: the next
/// tick publishes the same changes.
#[must_use = "a tick is published by `finish`"]
pub struct TableTickWork<'a, I> {
    work: TableWork<'a, I>,
    bodies: SharedBodies<'a, I>,
    cache: Option<SharedCache<'a, I>>,
}

impl<'a, I: Id> TableTickWork<'a, I> {
    pub(super) fn new(work: TableWork<'a, I>, bodies: SharedBodies<'a, I>) -> Self {
        let cache = match bodies {
            SharedBodies::Source(source) => Some(BodyCache::new(source)),
            SharedBodies::None | SharedBodies::Payloads(_) => None,
        };
        Self {
            work,
            bodies,
            cache,
        }
    }

    /// Brings up to `windows` more windows of one list to what it shows; see
    /// [`TickWork::step`](crate::member_list::TickWork::step).
    pub fn step(&self, windows: usize) -> bool {
        self.work.step(windows, cached(self.bodies, &self.cache))
    }

    /// Publishes the tick; see [`TickWork::finish`](crate::member_list::TickWork::finish).
    #[must_use = "it is handed out once"]
    pub fn finish(self) -> TableTick<I> {
        self.work.finish(cached(self.bodies, &self.cache))
    }
}

impl<I> fmt::Debug for TableTickWork<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.work.lists.len();
        write!(f, "<TableTickWork {lists} lists, {:?}>", self.bodies)
    }
}

/// Returns the bodies as the cache gives them, if there is one.
fn cached<'b, 'a, I: Id>(
    bodies: SharedBodies<'a, I>,
    cache: &'b Option<SharedCache<'a, I>>,
) -> Bodies<'b, I> {
    match cache {
        Some(cache) => Bodies::Source(cache),
        None => bodies.into(),
    }
}

/// Bodies that several threads may ask for at the same time.
type SharedCache<'a, I> = BodyCache<'a, I, dyn RowSource<I> + Sync + 'a>;

/// Bodies by member and fields, and the bytes there is room for.
struct KnownBodies<I> {
    bodies: HashMap<(I, u64), Box<[u8]>>,
    room: usize,
}

/// Bodies, each written once in a tick for the same fields. Threads that ask for the same body at
/// the same time may both write it.
pub(super) struct BodyCache<'a, I, S: ?Sized> {
    source: &'a S,
    known: Mutex<KnownBodies<I>>,
}

impl<'a, I: Id, S: RowSource<I> + ?Sized> BodyCache<'a, I, S> {
    pub(super) fn new(source: &'a S) -> Self {
        let known = KnownBodies {
            bodies: HashMap::new(),
            room: CACHE_MAX,
        };
        Self {
            source,
            known: Mutex::new(known),
        }
    }
}

impl<I: Id, S: RowSource<I> + ?Sized> RowSource<I> for BodyCache<'_, I, S> {
    fn write_body(&self, id: &I, fields: Fields, out: &mut Vec<u8>) {
        let key = (id.clone(), fields.0);
        if let Some(body) = self.known.lock().bodies.get(&key) {
            return out.extend_from_slice(body);
        }
        let start = out.len();
        self.source.write_body(id, fields, out);
        let body = &out[start..];
        let cost = body.len() + size_of::<(I, u64, Box<[u8]>)>();
        let known = &mut *self.known.lock();
        if let Some(room) = known.room.checked_sub(cost) {
            known.room = room;
            known.bodies.insert(key, body.into());
        }
    }

    fn format(&self) -> BodyFormat {
        self.source.format()
    }
}

//! Publication: what changed since the last tick, for every watched window, encoded for all.
//!
//! [`Windows`] is the registry of watched windows; a window is in it as long as a viewer holds its
//! [`Handle`]. For each it keeps the rows as they were last published, and the version they had.
//! A viewer may hold an older version than the newest: one that opened the window between two
//! ticks was given the rows of that moment. So a window has a few *bases*, and a tick makes one
//! frame for each base that no longer shows what the list shows.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::counts::{CountsPublisher, CountsStep};
use super::dirty::{Changes, Written};
use super::frame::{Counts, CountsTable, Frame, GroupCount, Shared};
use super::marks::{DirtyRows, Marks};
use super::reread::Reread;
use super::rows::{Bodies, Content};
use super::watched::{Handle, Outcome, Watched, WindowBase, WindowStep};
use super::window::{RowKey, WindowError, WindowSpec};
use super::{GroupId, Id, MemberList};

/// What one publication says. Cheap to share: viewers on any thread take their bundles from it.
#[derive(Debug)]
pub struct Tick<I> {
    pub(crate) list: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) serial: u64,
    pub(crate) counts: Option<CountsStep>,
    /// By window.
    pub(crate) frames: HashMap<u64, WindowFrames<I>>,
    /// New first indexes since the last publication of counts, if they go out with this tick.
    pub(crate) bases: Option<HashMap<u64, u64>>,
    /// The full group table, when a viewer needs it with every frame.
    pub(crate) groups: Option<Arc<Shared<Counts>>>,
}

/// The frames of one window.
#[derive(Debug)]
pub(crate) struct WindowFrames<I> {
    steps: Vec<WindowStep<I>>,
    /// Versions that need no frame now and may start one later.
    current: Vec<u64>,
}

impl<I> Tick<I> {
    /// Version of the list at this tick.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Totals and groups, if it was time to say them and something changed.
    pub fn counts(&self) -> Option<&Shared<Counts>> {
        self.counts.as_ref().map(|step| &*step.full)
    }

    /// All frames of the tick, each once however many viewers get it. In no particular order.
    pub fn frames(&self) -> impl Iterator<Item = &Shared<Frame<I>>> {
        self.frames
            .values()
            .flat_map(|frames| &frames.steps)
            .map(|step| &*step.frame)
    }

    /// Whether no viewer gets anything from this tick, so that asking them can be spared.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.counts.is_none() && self.bases.is_none()
    }

    pub(crate) fn frame_from(
        &self,
        handle: &Handle<I>,
        version: u64,
    ) -> Option<&Arc<Shared<Frame<I>>>> {
        let frames = self.frames.get(&handle.serial)?;
        frames
            .steps
            .iter()
            .find(|step| step.from == version)
            .map(|step| &step.frame)
    }

    /// Whether frames of this tick and later ones cannot start from `version` any more.
    pub(crate) fn is_past(&self, handle: &Handle<I>, version: u64) -> bool {
        self.frames
            .get(&handle.serial)
            .is_some_and(|frames| !frames.current.contains(&version))
    }

    pub(crate) fn base_index(&self, handle: &Handle<I>) -> Option<u64> {
        self.bases.as_ref()?.get(&handle.serial).copied()
    }
}

/// The registry of watched windows of one list.
#[derive(Debug)]
pub(crate) struct Windows<I> {
    pub(crate) list: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) counts: CountsPublisher,
    /// Held by every viewer that needs whole rows and the group table with every frame.
    pub(crate) whole_rows: Arc<()>,
    ticks: u64,
    handles: u64,
    watched: HashMap<WindowSpec<I>, Watched<I>>,
    /// Windows whose anchor went away, opened anew under the same name before the tick.
    detached: Vec<Watched<I>>,
    /// First indexes that changed since counts were last published, by handle.
    slid: HashMap<u64, u64>,
}

impl<I: Id> Default for Windows<I> {
    fn default() -> Self {
        Self {
            list: Arc::from(""),
            epoch: 1,
            version: 0,
            counts: CountsPublisher::default(),
            whole_rows: Arc::new(()),
            ticks: 0,
            handles: 0,
            watched: HashMap::new(),
            detached: Vec::new(),
            slid: HashMap::new(),
        }
    }
}

impl<I: Id> Windows<I> {
    /// Publishes: see [`MemberList::tick`](super::MemberList::tick).
    pub(crate) fn tick(&mut self, now: Duration, content: &Content<'_, I>) -> Tick<I> {
        self.ticks += 1;
        self.version += 1;
        self.drop_unwatched();
        let mut tick = Tick {
            list: self.list.clone(),
            epoch: self.epoch,
            version: self.version,
            serial: self.ticks,
            counts: None,
            frames: HashMap::new(),
            bases: None,
            groups: None,
        };
        if !content.dirty.is_empty() {
            self.step_windows(content, &mut tick);
            if Arc::strong_count(&self.whole_rows) > 1 {
                tick.groups = Some(Arc::new(Shared::new(content.list.counts(self.version))));
            }
        }
        if !self.watched.is_empty() && self.counts.is_due(now) {
            tick.counts = self.counts.publish(content.list.counts(self.version));
            tick.bases = Some(std::mem::take(&mut self.slid)).filter(|slid| !slid.is_empty());
            if tick.counts.is_some() || tick.bases.is_some() {
                self.counts.sent(now);
            }
        }
        tick
    }

    /// Whether a viewer still holds a window. O(watched windows).
    pub(crate) fn drop_unwatched(&mut self) {
        self.watched
            .retain(|_, window| Arc::strong_count(&window.handle) > 1);
        self.detached
            .retain(|window| Arc::strong_count(&window.handle) > 1);
    }

    pub(crate) fn is_watched(&self) -> bool {
        !self.watched.is_empty() || !self.detached.is_empty()
    }

    pub(crate) fn has_anchored(&self) -> bool {
        let anchored = |spec: &WindowSpec<I>| matches!(spec, WindowSpec::Anchored { .. });
        self.watched.keys().any(anchored) || !self.detached.is_empty()
    }

    pub(crate) const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Ends the epoch: every viewer has to get everything anew.
    pub(crate) fn new_epoch(&mut self, list: Arc<str>, epoch: u64) {
        let (ticks, handles) = (self.ticks, self.handles);
        *self = Self {
            list,
            epoch,
            ticks,
            handles,
            version: self.version,
            ..Self::default()
        };
    }

    /// Starts to watch a window, or joins those who do. O(log n + rows of the window).
    ///
    /// The answer is what the list shows now, which may be ahead of what the last tick published.
    pub(crate) fn open(
        &mut self,
        spec: &WindowSpec<I>,
        content: &Content<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        let index = match spec {
            WindowSpec::Chunk(_) => 0,
            WindowSpec::Anchored { anchor, .. } => content
                .list
                .row_index(anchor)
                .ok_or(WindowError::UnknownAnchor)?,
        };
        if self
            .watched
            .get(spec)
            .is_some_and(|window| window.anchor_left(index, content))
        {
            self.detached.extend(self.watched.remove(spec));
        }
        let range = spec.range(index, content.list.len());
        let mut rows = Vec::with_capacity(range.len());
        content.list.read_window(range.clone(), &mut rows);
        let version = &mut self.version;
        let mut next_version = || {
            *version += 1;
            *version
        };
        let window = match self.watched.entry(spec.clone()) {
            Entry::Occupied(window) => {
                let window = window.into_mut();
                window.refresh(rows, content.written.renames(), next_version);
                window
            }
            Entry::Vacant(vacant) => {
                self.handles += 1;
                let base = WindowBase::new(next_version(), rows, content.written.renames());
                vacant.insert(Watched::new(self.handles, spec, base))
            }
        };
        let before = window.base_index;
        window.place(range.start, content.list);
        if window.base_index != before {
            self.slid.insert(window.handle.serial, window.base_index);
        }
        let frame = window.sync(content);
        Ok(Opened {
            handle: window.handle.clone(),
            version: frame.new_version,
            base_index: window.base_index,
            frame,
        })
    }

    fn step_windows(&mut self, content: &Content<'_, I>, tick: &mut Tick<I>) {
        let mut reread = Reread::default();
        let mut moving: Vec<(WindowSpec<I>, RowKey<I>)> = Vec::new();
        for (spec, window) in &mut self.watched {
            let before = window.base_index;
            let steps = match window.step(self.version, content, &mut reread) {
                Outcome::Reanchor(anchor) => {
                    moving.push((spec.clone(), anchor));
                    continue;
                }
                Outcome::Steps(steps) => steps,
            };
            if window.base_index != before {
                self.slid.insert(window.handle.serial, window.base_index);
            }
            if !steps.is_empty() {
                let frames = WindowFrames {
                    steps,
                    current: window.versions(),
                };
                tick.frames.insert(window.handle.serial, frames);
            }
        }
        // The same list gives the same versions, wherever it runs.
        moving.sort_unstable();
        let mut orphans = Vec::new();
        for (spec, anchor) in moving {
            orphans.extend(self.watched.remove(&spec).map(|window| (window, anchor)));
        }
        for window in std::mem::take(&mut self.detached) {
            let WindowSpec::Anchored { anchor, .. } = window.handle.spec() else {
                continue;
            };
            // Without a new one the old anchor is back: the window joins its successor.
            let anchor = window.new_anchor(content).unwrap_or_else(|| anchor.clone());
            orphans.push((window, anchor));
        }
        for (window, anchor) in orphans {
            self.rename(&window, anchor, content, tick);
        }
    }

    /// Lets a window whose anchor is gone become the window around `anchor`.
    fn rename(
        &mut self,
        window: &Watched<I>,
        anchor: RowKey<I>,
        content: &Content<'_, I>,
        tick: &mut Tick<I>,
    ) {
        let spec = window.handle.spec().reanchored(anchor);
        if self.open(&spec, content).is_err() {
            // The list has no row left: its viewers have to ask again.
            let ended = WindowFrames {
                steps: Vec::new(),
                current: Vec::new(),
            };
            tick.frames.insert(window.handle.serial, ended);
            window.handle.end();
            return;
        }
        tick.version = self.version;
        if let Some(target) = self.watched.get(&spec) {
            let steps = window.rename_to(target, content);
            tick.frames.insert(
                window.handle.serial,
                WindowFrames {
                    steps,
                    current: Vec::new(),
                },
            );
        }
    }
}

/// A window as a viewer got it.
pub(crate) struct Opened<I> {
    pub(crate) handle: Arc<Handle<I>>,
    pub(crate) version: u64,
    pub(crate) base_index: u64,
    pub(crate) frame: Arc<Shared<Frame<I>>>,
}

impl<I: Id> MemberList<I> {
    /// Publishes what changed since the last tick: the frames of all watched windows, and, at most
    /// once a second of `now`, totals and groups. `now` is any clock that does not run backwards.
    ///
    /// O(U log U) for U changes since the last tick, plus O(rows) for each window that is watched
    /// and in reach of a change. `bodies` is asked once for each row that is sent.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount::{Bodies, MemberList, Options, SortKey, Viewer, WindowSpec};
    ///
    /// let mut list = MemberList::<u64>::new(Options::default());
    /// let online = list.add_group("online")?;
    /// let mut viewers = [Viewer::new(), Viewer::new()];
    /// for viewer in &mut viewers {
    ///     viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
    /// }
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    /// let tick = list.tick(Duration::from_millis(250), Bodies::None);
    /// assert_eq!(tick.frames().count(), 1); // one for both
    /// assert!(viewers.iter_mut().all(|viewer| viewer.bundle(&tick).is_some()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tick(&mut self, now: Duration, bodies: Bodies<'_, I>) -> Tick<I> {
        let mut changes = self.dirty.take();
        if !self.windows.is_watched() {
            changes = Changes::Rows(Vec::new());
        }
        let dirty = DirtyRows::new(changes);
        let marks = self.marks.take();
        let mut written = self.table.writes.take();
        if dirty.bulk {
            written = self.table.writes.unknown();
        }
        let mut windows = std::mem::take(&mut self.windows);
        let content = self.content(bodies, &marks, &dirty, &written, &windows);
        let tick = windows.tick(now, &content);
        self.watch(windows.is_watched(), windows.has_anchored());
        self.windows = windows;
        tick
    }

    /// Names the list for its viewers and begins an epoch: everybody gets everything anew. Epochs
    /// must grow; a list handed over from elsewhere goes on with a higher one. O(1).
    ///
    /// Without this call the name is empty and the epoch 1.
    pub fn begin_epoch(&mut self, name: &str, epoch: u64) {
        self.windows.new_epoch(name.into(), epoch);
    }

    /// Shows one viewer a window as the list is now.
    pub(crate) fn open_window(
        &mut self,
        spec: &WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        let mut windows = std::mem::take(&mut self.windows);
        if !windows.is_watched() {
            // Windows are read as the list is now: what was noted before is in them.
            self.dirty.take();
        }
        let anchored = windows.has_anchored() || matches!(spec, WindowSpec::Anchored { .. });
        self.watch(true, anchored);
        let marks = std::mem::take(&mut self.marks);
        let written = self.table.writes.unknown();
        let nothing = DirtyRows::new(Changes::Rows(Vec::new()));
        let content = self.content(bodies, &marks, &nothing, &written, &windows);
        let opened = windows.open(spec, &content);
        (self.windows, self.marks) = (windows, marks);
        opened
    }

    /// Says to the writes whether somebody looks, and at an anchored window.
    fn watch(&mut self, watched: bool, anchored: bool) {
        self.marks.watch(watched, anchored);
        self.table.writes.watch(watched);
    }

    /// Totals and groups for one viewer.
    pub(crate) fn open_counts(&mut self) -> Arc<Shared<Counts>> {
        let counts = self.counts(0);
        let Windows {
            counts: publisher,
            version,
            ..
        } = &mut self.windows;
        publisher.for_open(counts, || {
            *version += 1;
            *version
        })
    }

    /// Another window where the one with a lost anchor was.
    pub(crate) fn fallback(&self, spec: &WindowSpec<I>, base_index: u64) -> WindowSpec<I> {
        let mut row = Vec::with_capacity(1);
        if let Some(last) = self.len().checked_sub(1) {
            let at = (base_index as usize).min(last);
            self.read_window(at..at + 1, &mut row);
        }
        row.pop()
            .map_or(WindowSpec::Chunk(0), |row| spec.reanchored(row.key))
    }

    pub(crate) fn row_index(&self, key: &RowKey<I>) -> Option<usize> {
        match key {
            RowKey::Header(name) => self.header_index(self.group(name).ok()?),
            RowKey::Member(id) => self.index_of(id),
        }
    }

    /// Names the place of a member: the same number as long as group and key are the same.
    pub(crate) fn place_of(&self, id: &I) -> Option<u64> {
        self.get(id).map(|member| place(member.group, member.key))
    }

    fn content<'a>(
        &'a self,
        bodies: Bodies<'a, I>,
        marks: &'a Marks<I>,
        dirty: &'a DirtyRows,
        written: &'a Written,
        windows: &Windows<I>,
    ) -> Content<'a, I> {
        let whole_rows = Arc::strong_count(&windows.whole_rows) > 1;
        Content {
            list: self,
            bodies,
            marks,
            dirty,
            written,
            whole_rows,
            buffer: RefCell::default(),
            arena: RefCell::default(),
        }
    }

    pub(crate) fn counts(&self, version: u64) -> Counts {
        let groups = self.groups().map(|group| GroupCount {
            group: group.name.into(),
            count: group.count as u32,
            hidden: group.hidden,
            collapsed: group.collapsed,
        });
        Counts {
            version,
            rows: self.len() as u64,
            members: self.member_count() as u64,
            headers: self.options().headers,
            table: CountsTable::Full(groups.collect()),
        }
    }
}

/// A number for a place in the order.
pub(crate) fn place(group: GroupId, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, u64::from(group.0))
}

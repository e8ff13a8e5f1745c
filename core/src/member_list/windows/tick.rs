//! Publication: what changed since the last tick, for every watched window, encoded for all.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::member_list::changes::members::DirtyRows;
use crate::member_list::changes::rows::{Changes, Written};
use crate::member_list::frames::model::{Counts, CountsTable, Frame, GroupCount, Shared};
use crate::member_list::windows::counts::CountsStep;
use crate::member_list::windows::handle::{Handle, Known};
use crate::member_list::windows::registry::{Opened, Windows};
use crate::member_list::windows::row::{Bodies, FrameBuilder};
use crate::member_list::windows::spec::{RowKey, WindowError, WindowSpec};
use crate::member_list::windows::window::WindowStep;
use crate::member_list::{GroupId, Id, MemberList};

/// What one publication says. Cheap to share: viewers on any thread take their bundles from it.
#[derive(Debug)]
pub struct Tick<I> {
    pub(crate) list: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) serial: u64,
    /// The last tick before this one that said something.
    pub(crate) previous: u64,
    pub(crate) counts: Option<CountsStep>,
    /// The full counts of the last publication, for viewers that missed it.
    pub(crate) known_counts: Option<Arc<Shared<Counts>>>,
    /// By window.
    pub(crate) frames: HashMap<u64, WindowFrames<I>>,
    /// New first indexes since the last publication of counts, if they go out with this tick.
    pub(crate) bases: Option<HashMap<u64, u64>>,
    /// The full group table, when a viewer needs it with every frame.
    pub(crate) groups: Option<Arc<Shared<Counts>>>,
    /// Kept by viewers that have taken all up to this tick.
    pub(crate) mark: Weak<()>,
    /// True if a viewer has not taken an earlier tick that said something.
    pub(crate) leaves_behind: bool,
}

/// The frames of one window.
#[derive(Debug)]
pub(crate) struct WindowFrames<I> {
    pub(crate) steps: Vec<WindowStep<I>>,
    /// For viewers that hold none of the versions `steps` start from.
    pub(crate) sync: Option<Arc<Shared<Frame<I>>>>,
    /// Versions that need no frame now and may start one later.
    pub(crate) current: Vec<u64>,
    /// The window that `steps` lead to, if it is another one.
    pub(crate) renamed: Option<Known<I>>,
}

impl<I> Tick<I> {
    /// Returns the version of the list at this tick.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns totals and groups, if it was time to say them and something changed.
    #[must_use]
    pub fn counts(&self) -> Option<&Shared<Counts>> {
        self.counts.as_ref().map(|step| &*step.full)
    }

    /// Returns all frames of the tick, each once however many viewers get it. In no particular
    /// order.
    pub fn frames(&self) -> impl Iterator<Item = &Shared<Frame<I>>> {
        self.frames.values().flat_map(|frames| {
            let steps = frames.steps.iter().map(|step| &*step.frame);
            steps.chain(frames.sync.as_deref())
        })
    }

    /// Returns whether no viewer gets anything from this tick, so that asking them can be spared.
    ///
    /// While a viewer has not taken an earlier tick that said something, no tick is empty: asked
    /// again, the viewer gets what it missed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.says_something() && !self.leaves_behind
    }

    pub(crate) fn says_something(&self) -> bool {
        !self.frames.is_empty() || self.counts.is_some() || self.bases.is_some()
    }

    /// Returns the frame that starts from `version` of a window.
    pub(crate) fn frame_from(
        &self,
        handle: &Handle<I>,
        version: u64,
    ) -> Option<&Arc<Shared<Frame<I>>>> {
        let steps = &self.frames.get(&handle.serial)?.steps;
        let step = steps.iter().find(|step| step.from == version)?;
        Some(&step.frame)
    }

    /// Returns the window that the frames of `handle` lead to, if it is another one; the inner
    /// `None` if that one is gone by now.
    pub(crate) fn renamed(&self, handle: &Handle<I>) -> Option<Option<Arc<Handle<I>>>> {
        let renamed = self.frames.get(&handle.serial)?.renamed.as_ref()?;
        Some(renamed.upgrade())
    }

    /// Returns the SYNC of a window, if one was asked for.
    pub(crate) fn sync(&self, handle: &Handle<I>) -> Option<&Arc<Shared<Frame<I>>>> {
        self.frames.get(&handle.serial)?.sync.as_ref()
    }

    /// Returns whether frames of this tick and later ones cannot start from `version` any more.
    pub(crate) fn is_past(&self, handle: &Handle<I>, version: u64) -> bool {
        self.frames
            .get(&handle.serial)
            .is_some_and(|frames| !frames.current.contains(&version))
    }

    pub(crate) fn base_index(&self, handle: &Handle<I>) -> Option<u64> {
        self.bases.as_ref()?.get(&handle.serial).copied()
    }
}

impl<I: Id> MemberList<I> {
    /// Publishes what changed since the last tick: the frames of all watched windows, and, at most
    /// once a second of `now`, totals and groups. `now` is any clock that does not run backwards.
    ///
    /// O(U log U) for U changes since the last tick, plus O(rows) for each window that is watched
    /// and in reach of a change. `bodies` is asked once for each row that is sent; if it panics,
    /// nothing is published, and the next tick tells what this one would have told.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
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
    #[must_use = "it is handed out once"]
    pub fn tick(&mut self, now: Duration, bodies: Bodies<'_, I>) -> Tick<I> {
        let lent = &mut Lent::new(self);
        let changes = match lent.windows.is_watched() {
            true => lent.list.dirty.changes(),
            false => Changes::Rows(&[]),
        };
        let dirty = DirtyRows::new(changes);
        let written = match dirty.bulk {
            true => lent.list.table.writes.unknown(),
            false => lent.list.table.writes.written(),
        };
        let content = lent.list.content(bodies, &dirty, &written, &lent.windows);
        let tick = lent.windows.tick(now, &content);
        // All of it is told: had the source panicked, the next tick would tell it.
        let watched = (lent.windows.is_watched(), lent.windows.has_anchored());
        lent.list.dirty.clear();
        lent.list.marks.clear();
        lent.list.table.writes.clear();
        lent.list.watch(watched.0, watched.1);
        tick
    }

    /// Names the list for its viewers and begins an epoch: the next tick sends every viewer
    /// its windows and the counts whole. Epochs must grow; a list handed over from elsewhere goes on
    /// with a higher one. O(watched windows).
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
        if !self.windows.is_watched() {
            // Windows are read as the list is now: what was noted before is in them.
            self.dirty.clear();
        }
        let anchored = matches!(spec, WindowSpec::Anchored { .. });
        self.watch(true, anchored || self.windows.has_anchored());
        let lent = &mut Lent::new(self);
        let written = lent.list.table.writes.unknown();
        let nothing = DirtyRows::new(Changes::Rows(&[]));
        let content = lent.list.content(bodies, &nothing, &written, &lent.windows);
        lent.windows.open(spec, &content)
    }

    /// Says to the writes whether somebody looks, and at an anchored window.
    fn watch(&mut self, watched: bool, anchored: bool) {
        self.marks.watch(watched, anchored);
        self.table.writes.watch(watched);
    }

    /// Totals and groups for an answer. The list gets a version of its own for it: a client tells by
    /// it that the answer was made after what it had when it asked.
    pub(crate) fn answer_counts(&mut self) -> Arc<Shared<Counts>> {
        let counts = self.counts(0);
        self.windows.version += 1;
        self.windows.counts_for_open(counts)
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
        dirty: &'a DirtyRows,
        written: &'a Written,
        windows: &Windows<I>,
    ) -> FrameBuilder<'a, I> {
        let whole_rows = Arc::strong_count(&windows.whole_rows) > 1;
        FrameBuilder {
            list: self,
            bodies,
            marks: &self.marks,
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

/// The windows of a list, taken out while they read it; they go back whatever unwinds.
struct Lent<'a, I: Id> {
    list: &'a mut MemberList<I>,
    windows: Windows<I>,
}

impl<'a, I: Id> Lent<'a, I> {
    fn new(list: &'a mut MemberList<I>) -> Self {
        let windows = std::mem::take(&mut list.windows);
        Self { list, windows }
    }
}

impl<I: Id> Drop for Lent<'_, I> {
    fn drop(&mut self) {
        std::mem::swap(&mut self.list.windows, &mut self.windows);
    }
}

/// A number for a place in the order.
pub(crate) fn place(group: GroupId, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, u64::from(group.0))
}

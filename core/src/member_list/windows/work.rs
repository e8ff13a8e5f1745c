//! A tick under way: the windows that are brought to what the list shows, by any number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::member_list::Id;
use crate::member_list::frames::model::{Frame, Shared};
use crate::member_list::windows::bodies::{Bodies, SharedBodies};
use crate::member_list::windows::handle::Handle;
use crate::member_list::windows::live::LiveList;
use crate::member_list::windows::reader::WindowReader;
use crate::member_list::windows::registry::Windows;
use crate::member_list::windows::render::{FrameBuilder, Touched};
use crate::member_list::windows::resume::bound;
use crate::member_list::windows::tick::Tick;
use crate::member_list::windows::window::{Outcome, Watched};

/// A tick of a list that several threads make together; see
/// [`MemberList::begin_tick`](crate::member_list::MemberList::begin_tick).
///
/// While it lives, nobody can write to the list. Dropped unfinished, it publishes nothing: the next
/// tick publishes the same changes.
#[derive(Debug)]
#[must_use = "a tick is published by `finish`"]
pub struct TickWork<'a, I> {
    list: ListWork<'a, I>,
    bodies: SharedBodies<'a, I>,
    resume_bytes_max: usize,
}

impl<'a, I: Id> TickWork<'a, I> {
    pub(crate) fn begin(
        list: LiveList<'a, I>,
        now: Duration,
        bodies: SharedBodies<'a, I>,
        resume_bytes_max: usize,
    ) -> Self {
        Self {
            list: ListWork::begin(list, now),
            bodies,
            resume_bytes_max,
        }
    }

    /// Brings up to `windows` more windows, at least one, to what the list shows. Returns whether
    /// windows are left that nobody has begun. Some dozens at once keep the threads out of each
    /// other's way. O(rows) for each window that is in reach of a change.
    pub fn step(&self, windows: usize) -> bool {
        self.list.step(windows, self.bodies.into())
    }

    /// Publishes the tick. Brings the windows that are left to what the list shows, those included
    /// of which the `RowSource` panicked.
    #[must_use = "it is handed out once"]
    pub fn finish(self) -> Tick<I> {
        let (tick, windows) = self.list.finish(self.bodies.into());
        bound(&mut [windows], self.resume_bytes_max);
        tick
    }
}

/// A tick of one list under way.
#[derive(Debug)]
pub(crate) struct ListWork<'a, I> {
    list: LiveList<'a, I>,
    touched: Touched,
    steps: WindowSteps<I>,
}

impl<'a, I: Id> ListWork<'a, I> {
    pub(crate) fn begin(list: LiveList<'a, I>, now: Duration) -> Self {
        let touched = Touched::since_tick(list.changes, list.windows.is_watched());
        let steps = list.windows.begin_tick(now);
        Self {
            list,
            touched,
            steps,
        }
    }

    /// Steps up to `count` windows; returns whether there are more.
    pub(crate) fn step(&self, count: usize, bodies: Bodies<'_, I>) -> bool {
        let LiveList { list, changes, .. } = &self.list;
        let builder = FrameBuilder::for_tick(*list, changes, &self.touched, bodies);
        self.steps.step(count, builder)
    }

    /// Returns whether there are windows that nobody has begun.
    pub(crate) fn is_left(&self) -> bool {
        self.steps.next.load(Ordering::Relaxed) < self.steps.windows.len()
    }

    /// Publishes the tick; returns the windows as well.
    pub(crate) fn finish(self, bodies: Bodies<'_, I>) -> (Tick<I>, &'a mut Windows<I>) {
        let LiveList {
            list,
            changes,
            windows,
        } = self.list;
        let builder = FrameBuilder::for_tick(list, changes, &self.touched, bodies);
        let tick = windows.finish_tick(self.steps, builder);
        // All of it is published: had the source panicked, the next tick would publish it.
        changes.clear();
        changes.watch(windows.is_watched(), windows.has_anchored());
        (tick, windows)
    }
}

/// The outcome of a tick for a window, and the SYNC that viewers wait for.
#[derive(Debug)]
pub(super) struct Stepped<I> {
    pub(super) handle: Arc<Handle<I>>,
    pub(super) outcome: Outcome<I>,
    pub(super) sync: Option<Arc<Shared<Frame<I>>>>,
}

/// A window in a tick.
#[derive(Debug)]
struct WindowInTick<I> {
    handle: Arc<Handle<I>>,
    stepped: OnceLock<Stepped<I>>,
}

/// The windows of a list in a tick, each stepped once.
#[derive(Debug)]
pub(crate) struct WindowSteps<I> {
    windows: Vec<WindowInTick<I>>,
    /// The first window that nobody has begun.
    next: AtomicUsize,
    version: u64,
    now: Duration,
    /// True if a viewer cannot patch.
    whole_rows: bool,
}

impl<I: Id> WindowSteps<I> {
    pub(super) fn new(
        windows: impl Iterator<Item = Arc<Handle<I>>>,
        version: u64,
        now: Duration,
        whole_rows: bool,
    ) -> Self {
        let windows = windows.map(|handle| WindowInTick {
            handle,
            stepped: OnceLock::new(),
        });
        Self {
            windows: windows.collect(),
            next: AtomicUsize::new(0),
            version,
            now,
            whole_rows,
        }
    }

    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    /// Sets what a builder must know of this tick.
    pub(super) fn builder<'b>(&self, builder: FrameBuilder<'b, I>) -> FrameBuilder<'b, I> {
        builder.at(self.now).with_whole_rows(self.whole_rows)
    }

    fn step(&self, count: usize, builder: FrameBuilder<'_, I>) -> bool {
        let total = self.windows.len();
        let count = count.clamp(1, total.max(1));
        let start = self.next.fetch_add(count, Ordering::Relaxed);
        let end = total.min(start + count);
        if let Some(windows) = self.windows.get(start..end) {
            self.step_all(windows, &self.builder(builder));
        }
        end < total
    }

    /// Returns what was made of all windows, of which some are only stepped here.
    pub(super) fn finish(self, builder: &FrameBuilder<'_, I>) -> Vec<Stepped<I>> {
        self.step_all(&self.windows, builder);
        let windows = self.windows.into_iter();
        let stepped = windows.filter_map(|window| window.stepped.into_inner());
        stepped.collect()
    }

    fn step_all(&self, windows: &[WindowInTick<I>], builder: &FrameBuilder<'_, I>) {
        let mut reader = WindowReader::default();
        for WindowInTick { handle, stepped } in windows {
            stepped.get_or_init(|| self.step_window(handle, builder, &mut reader));
        }
    }

    fn step_window(
        &self,
        handle: &Arc<Handle<I>>,
        builder: &FrameBuilder<'_, I>,
        reader: &mut WindowReader<I>,
    ) -> Stepped<I> {
        let mut window = Watched::lock(handle);
        let outcome = window.step(self.version, builder, reader);
        // One whose anchor left gets it under its next name.
        let is_here = !matches!(outcome, Outcome::Left);
        let sync = (is_here && window.owes_sync()).then(|| window.sync(builder));
        Stepped {
            handle: handle.clone(),
            outcome,
            sync,
        }
    }
}

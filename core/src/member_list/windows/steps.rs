//! The windows of a list in a tick, each brought to what the list shows by one of any number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::member_list::Id;
use crate::member_list::frames::model::{Frame, Shared};
use crate::member_list::windows::handle::Handle;
use crate::member_list::windows::reader::WindowReader;
use crate::member_list::windows::render::FrameBuilder;
use crate::member_list::windows::window::{Outcome, Watched};

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

    /// Returns whether there are windows that nobody has begun.
    pub(super) fn is_left(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.windows.len()
    }

    /// Steps up to `count` windows, at least one; returns whether there are more.
    pub(super) fn step(&self, count: usize, builder: FrameBuilder<'_, I>) -> bool {
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

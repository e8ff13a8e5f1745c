//! Publication: the changes since the last tick, for every watched window, encoded for all viewers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hashbrown::HashMap;

use crate::member_list::frames::model::{Counts, Epoch, Frame, Shared};
use crate::member_list::windows::counts::{CountsStep, is_small};
use crate::member_list::windows::handle::{Handle, Known};
use crate::member_list::windows::window::WindowStep;

/// One publication of a list. Cheap to share: viewers on any thread take their bundles from it.
#[derive(Debug)]
pub struct Tick<I> {
    /// The number of the list.
    pub(crate) source: u64,
    pub(crate) list: Arc<str>,
    pub(crate) epoch: Epoch,
    /// The number of the epoch among those of the list.
    pub(crate) era: u64,
    pub(crate) version: u64,
    pub(crate) serial: u64,
    /// The last tick before this one with changes.
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
    /// True if a viewer has not taken an earlier tick with changes.
    pub(crate) leaves_behind: bool,
    pub(crate) now: Duration,
    /// True if viewers that had no bundle for long get one.
    pub(crate) reminds: bool,
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

    /// Returns totals and groups, if they were due and have changed.
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

    /// Returns whether no viewer gets anything from this tick, so that the caller need not ask
    /// them.
    ///
    /// While a viewer has not taken an earlier tick with changes, no tick is empty: the next bundle
    /// of that viewer brings it up to date.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.says_something() && !self.leaves_behind && !self.reminds
    }

    /// Returns the counts for a viewer that holds those of version `held`, in the form that it can
    /// use; also those of an earlier tick that it missed.
    pub(crate) fn counts_after(&self, held: u64, is_full: bool) -> Option<Arc<Shared<Counts>>> {
        let delta = self.counts.as_ref().and_then(|step| step.delta.as_ref());
        let delta = delta.filter(|delta| delta.base_version() == Some(held) && !is_full);
        let counts = delta.or(self.known_counts.as_ref());
        counts.filter(|counts| counts.version > held).cloned()
    }

    /// Returns the counts that are known, if they are few enough to travel whole at any time.
    pub(crate) fn small_counts(&self) -> Option<Arc<Shared<Counts>>> {
        let counts = self.known_counts.as_ref();
        counts.filter(|counts| is_small(counts)).cloned()
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
    /// `None` if that window is closed.
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

//! A watched window as its viewers hold it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::member_list::Id;
use crate::member_list::store::groups::GroupId;
use crate::member_list::windows::base::WindowBase;
use crate::member_list::windows::log::{LogStep, WindowLog};
use crate::member_list::windows::search::SearchClock;
use crate::member_list::windows::spec::WindowSpec;

/// Numbers handles. One counter for all lists: a tick of one list says nothing to viewers of
/// another.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// A window as a viewer holds it.
///
/// Viewers own it, the registry only knows it: when the last viewer lets go, the rows go at once.
#[derive(Debug)]
pub(crate) struct Handle<I> {
    pub(crate) serial: u64,
    name: Arc<str>,
    spec: WindowSpec<I>,
    /// The rows and versions that the list published. Only the list locks it, never a viewer.
    published: Mutex<Published<I>>,
    /// Versions a frame can still start from.
    versions: RwLock<Vec<u64>>,
    base_index: AtomicU64,
    /// The window this one is by now, if its anchor was replaced: always the last one, so that a
    /// viewer that is not asked for long keeps two handles alive, however often they are renamed.
    renamed: RwLock<Option<Arc<Self>>>,
    /// Cloned by each viewer that needs a SYNC.
    awaited: Arc<()>,
    /// Takes the window when its viewer goes away without closing it.
    arrivals: Weak<Arrivals<I>>,
    /// True once a viewer holds it whose client can resume.
    keeps_log: AtomicBool,
    /// The memory of the rows, and of the log.
    row_bytes: AtomicUsize,
    log_bytes: AtomicUsize,
}

/// The windows that viewers let go of since the last tick. Viewers reach it from any thread.
#[derive(Debug)]
pub(crate) struct Arrivals<I> {
    left: Mutex<LeftWindows<I>>,
    /// 0 if windows are not kept.
    bytes_max: AtomicUsize,
}

#[derive(Debug)]
struct LeftWindows<I> {
    handles: HashMap<u64, Arc<Handle<I>>>,
    bytes: usize,
}

/// The rows and versions of a window that the list published.
#[derive(Debug)]
pub(crate) struct Published<I> {
    pub(super) base_index: u64,
    /// Place of the anchor when the window was last looked at.
    pub(super) position: Option<u64>,
    /// The rows that viewers hold, oldest first, at least one; a new viewer gets the last.
    pub(super) bases: Vec<WindowBase<I>>,
    /// A version that viewers may hold was given up.
    pub(super) gave_up: bool,
    /// The times at which a search is published.
    pub(super) clock: SearchClock,
    /// The group of a search in one group.
    pub(super) group: Option<GroupId>,
    /// The handles that became this window.
    former: Vec<Known<I>>,
    /// The steps to the newest base.
    pub(super) log: WindowLog<I>,
    /// The step to the newest base, until it is published; the inner `None` if no step may lead
    /// over it.
    pub(super) step: Option<Option<LogStep<I>>>,
    /// True once the epoch is over.
    pub(super) is_over: bool,
}

impl<I> Published<I> {
    /// Nothing but `base`.
    fn new(base: WindowBase<I>) -> Self {
        Self {
            base_index: 0,
            position: None,
            bases: vec![base],
            gave_up: false,
            clock: SearchClock::default(),
            group: None,
            former: Vec::new(),
            log: WindowLog::default(),
            step: None,
            is_over: false,
        }
    }

    pub(super) fn newest(&self) -> &WindowBase<I> {
        self.bases.last().expect("a window has at least one base")
    }

    pub(super) fn newest_mut(&mut self) -> &mut WindowBase<I> {
        let newest = self.bases.last_mut();
        newest.expect("a window has at least one base")
    }
}

impl<I: Id> Handle<I> {
    /// Makes a window that shows the rows of `base`, not yet placed.
    pub(crate) fn new(
        spec: &WindowSpec<I>,
        base: WindowBase<I>,
        arrivals: Weak<Arrivals<I>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            arrivals,
            keeps_log: AtomicBool::new(false),
            row_bytes: AtomicUsize::new(base.bytes()),
            log_bytes: AtomicUsize::new(0),
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            name: spec.to_string().into(),
            spec: spec.clone(),
            versions: RwLock::new(vec![base.version]),
            published: Mutex::new(Published::new(base)),
            base_index: AtomicU64::new(0),
            renamed: RwLock::new(None),
            awaited: Arc::new(()),
        })
    }

    /// Locks the published rows, for the list.
    pub(crate) fn published(&self) -> MutexGuard<'_, Published<I>> {
        self.published.lock()
    }

    /// Becomes `target`, and so does all that became this window before. O(such handles that
    /// viewers still hold).
    pub(crate) fn become_window(self: &Arc<Self>, target: &Arc<Self>) {
        let mut former = std::mem::take(&mut self.published.lock().former);
        former.push(Arc::downgrade(self));
        former.retain(|old| {
            let held = old.upgrade();
            if let Some(held) = &held {
                *held.renamed.write() = Some(target.clone());
            }
            held.is_some()
        });
        let known = &mut target.published.lock().former;
        known.retain(|old| old.strong_count() > 0);
        known.append(&mut former);
    }
}

impl<I> Handle<I> {
    #[cfg(test)]
    pub(crate) fn former_len(&self) -> usize {
        self.published.lock().former.len()
    }

    /// Returns the window this one is by now.
    pub(crate) fn latest(self: &Arc<Self>) -> Arc<Self> {
        let mut latest = self.clone();
        loop {
            // The guard must be gone before what it guards may be dropped.
            let next = latest.renamed.read().clone();
            match next {
                Some(next) => latest = next,
                None => return latest,
            }
        }
    }

    /// Returns whether this window is another one by now.
    pub(crate) fn is_renamed(&self) -> bool {
        self.renamed.read().is_some()
    }

    /// Leaves the window to the list, for a client that may come back.
    pub(crate) fn park(self: &Arc<Self>) {
        if let Some(arrivals) = self.arrivals.upgrade() {
            arrivals.take(self);
        }
    }

    /// Begins the log of the window: a client may come back to the rows that it has now.
    pub(crate) fn keep_log(&self) {
        self.keeps_log.store(true, Ordering::Relaxed);
    }

    /// Returns whether the list keeps the steps of the window for clients that are away.
    pub(crate) fn keeps_log(&self) -> bool {
        let arrivals = || self.arrivals.upgrade();
        self.keeps_log.load(Ordering::Relaxed) && arrivals().is_some_and(|it| it.bytes_max() > 0)
    }

    /// Notes the memory of the rows and of the log.
    pub(crate) fn set_bytes(&self, rows: usize, log: usize) {
        self.row_bytes.store(rows, Ordering::Relaxed);
        self.log_bytes.store(log, Ordering::Relaxed);
    }

    /// Returns the memory of the rows in bytes.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes.load(Ordering::Relaxed) + size_of::<Self>()
    }

    /// Returns the memory of the rows and the log in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.row_bytes() + self.log_bytes.load(Ordering::Relaxed)
    }

    pub(crate) const fn spec(&self) -> &WindowSpec<I> {
        &self.spec
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the index of the first row when the window was last published.
    pub(crate) fn base_index(&self) -> u64 {
        self.base_index.load(Ordering::Acquire)
    }

    /// Sets the index of the first row; returns whether it was another one.
    pub(crate) fn publish_place(&self, base_index: u64) -> bool {
        self.base_index.swap(base_index, Ordering::AcqRel) != base_index
    }

    /// Returns whether frames still start from `version`.
    pub(crate) fn has_base(&self, version: u64) -> bool {
        !self.is_renamed() && self.is_told(version)
    }

    /// Returns whether a viewer may hold `version` of the window.
    pub(crate) fn is_told(&self, version: u64) -> bool {
        self.versions.read().contains(&version)
    }

    pub(crate) fn versions(&self) -> Vec<u64> {
        self.versions.read().clone()
    }

    /// Sets the versions that viewers may hold; without any, all of them have to start afresh.
    pub(crate) fn set_versions(&self, versions: Vec<u64>) {
        *self.versions.write() = versions;
    }

    /// Asks for a SYNC in every tick for as long as the answer is kept.
    pub(crate) fn await_sync(&self) -> Arc<()> {
        self.awaited.clone()
    }

    /// Returns whether a viewer waits for a SYNC.
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.awaited) > 1
    }
}

impl<I> Arrivals<I> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let left = LeftWindows {
            handles: HashMap::new(),
            bytes: 0,
        };
        Self {
            left: Mutex::new(left),
            bytes_max: bytes_max.into(),
        }
    }

    pub(crate) fn set_bytes_max(&self, bytes: usize) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Keeps a window until the next tick, if there is room. O(1).
    pub(crate) fn take(&self, handle: &Arc<Handle<I>>) {
        let mut left = self.left.lock();
        let bytes = left.bytes + handle.bytes();
        if bytes <= self.bytes_max() && !left.handles.contains_key(&handle.serial) {
            left.handles.insert(handle.serial, handle.clone());
            left.bytes = bytes;
        }
    }

    /// Hands over what was left here.
    pub(crate) fn drain(&self) -> HashMap<u64, Arc<Handle<I>>> {
        let mut left = self.left.lock();
        left.bytes = 0;
        std::mem::take(&mut left.handles)
    }
}

/// A window the registry knows; dead when no viewer holds it.
pub(crate) type Known<I> = Weak<Handle<I>>;

//! The registry of the windows of one list that viewers hold.
//!
//! A viewer holds a window by its [`Handle`], which keeps the rows as they were last published, and
//! the version they had; the registry has only a weak reference to it. A viewer may hold an older
//! version than the newest: one that opened the window between two ticks was given the rows of that
//! moment. So a window has a few *bases*, and a tick makes one frame for each base that no longer
//! shows what the list shows. A viewer that holds none of them, because it skipped ticks, keeps a
//! token, and the next tick brings a SYNC.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::fault::{Fault, is_broken};
use crate::member_list::frames::model::{Counts, Epoch, Frame, Shared};
use crate::member_list::limits::SEARCH_GROUPS_MAX;
use crate::member_list::options::ResumeLimits;
use crate::member_list::windows::base::WindowBase;
use crate::member_list::windows::counts::{CountsPublisher, counts};
use crate::member_list::windows::handle::{Handle, Known};
use crate::member_list::windows::history::{History, Retired};
use crate::member_list::windows::render::FrameBuilder;
use crate::member_list::windows::row::{read_rows, row_index};
use crate::member_list::windows::spec::{WindowError, WindowSpec};
use crate::member_list::windows::steps::{Stepped, WindowSteps};
use crate::member_list::windows::tick::{Tick, WindowFrames};
use crate::member_list::windows::window::{Outcome, Watched, WindowStep};
use crate::member_list::{Id, ListError};

/// The longest time that a viewer with windows gets no bundle, if ticks are frequent: from any
/// bundle its client sees whether it lost one.
pub(crate) const REMINDER: Duration = Duration::from_secs(30);

/// Windows known before dead ones are looked for.
const KNOWN_MIN: usize = 16;

/// Numbers registries. One counter for all lists: by its number a viewer knows the ticks of its
/// list from those of others.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// The registry.
#[derive(Debug)]
pub(crate) struct Windows<I> {
    serial: u64,
    list: Arc<str>,
    epoch: Epoch,
    /// Grows with each epoch.
    era: u64,
    version: u64,
    counts: CountsPublisher,
    /// Cloned by every viewer that needs whole rows and the group table with every frame.
    whole_rows: Arc<()>,
    /// Cloned by viewers that have taken all that was published; `older` by those that have not.
    mark: Arc<()>,
    older: Vec<Arc<()>>,
    ticks: u64,
    /// The time of the last tick that reminds viewers.
    last_reminder: Option<Duration>,
    /// The last tick with changes.
    last_said: u64,
    pub(super) watched: HashMap<WindowSpec<I>, Known<I>>,
    /// Windows whose anchor may have left, or whose epoch is over: the next tick renames them.
    pub(super) detached: Vec<Known<I>>,
    /// Windows known when it is worth to look for dead ones.
    known_max: usize,
    /// First indexes that changed since counts were last published, by handle.
    pub(super) slid: HashMap<u64, u64>,
    /// What clients that are away may ask for.
    pub(super) history: History<I>,
}

/// A window as a viewer got it.
pub(crate) struct Opened<I> {
    pub(crate) handle: Arc<Handle<I>>,
    pub(crate) version: u64,
    pub(crate) base_index: u64,
    pub(crate) frame: Arc<Shared<Frame<I>>>,
}

impl<I> Opened<I> {
    /// The window of `handle`, of which the viewer is sent `frame`.
    pub(super) fn new(handle: Arc<Handle<I>>, frame: Arc<Shared<Frame<I>>>) -> Self {
        Self {
            version: frame.new_version,
            base_index: handle.base_index(),
            frame,
            handle,
        }
    }
}

/// The frames that a tick made for one window, before they are published.
struct Made<I> {
    handle: Arc<Handle<I>>,
    steps: Vec<WindowStep<I>>,
    sync: Option<Arc<Shared<Frame<I>>>>,
    /// The window this one becomes.
    target: Option<Arc<Handle<I>>>,
    /// The record of it for clients that are away.
    retired: Option<Retired<I>>,
}

impl<I: Id> Windows<I> {
    /// Makes a registry without windows.
    pub(crate) fn new(limits: ResumeLimits) -> Self {
        Self {
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            list: Arc::from(""),
            epoch: Epoch::from(1),
            era: 1,
            version: 0,
            counts: CountsPublisher::default(),
            whole_rows: Arc::new(()),
            mark: Arc::new(()),
            older: Vec::new(),
            ticks: 0,
            last_reminder: None,
            last_said: 0,
            watched: HashMap::new(),
            detached: Vec::new(),
            known_max: KNOWN_MIN,
            slid: HashMap::new(),
            history: History::new(limits),
        }
    }

    /// Sets from the next tick on what is kept for clients that are away.
    pub(crate) fn set_resume(&mut self, limits: ResumeLimits) {
        self.history.set_limits(limits);
    }

    /// Begins a tick: see [`MemberList::tick`](crate::member_list::MemberList::tick).
    ///
    /// First the tick makes all frames, which runs the application's `RowSource`; then it publishes
    /// them. A source that panics leaves what viewers hold as it was, and the next tick makes it
    /// again.
    pub(super) fn begin_tick(&mut self, now: Duration) -> WindowSteps<I> {
        self.version += 1;
        let end = self.history.begin_tick(now);
        self.forget_closed();
        if let Some(end) = end {
            self.forget_steps_until(end);
        }
        let windows = self.watched.values().filter_map(Weak::upgrade);
        WindowSteps::new(windows, self.version, now, self.needs_whole_rows())
    }

    /// Publishes a tick.
    pub(super) fn finish_tick(
        &mut self,
        steps: WindowSteps<I>,
        builder: FrameBuilder<'_, I>,
    ) -> Tick<I> {
        let now = steps.now();
        let builder = &steps.builder(builder);
        let stepped = self.take_steps(steps.finish(builder));
        let renamed = self.rename_windows(builder);

        let mut tick = self.empty_tick();
        stepped
            .into_iter()
            .for_each(|made| self.publish(made, &mut tick));
        renamed
            .into_iter()
            .for_each(|made| self.tell_renamed(made, &mut tick));
        self.detached.clear();
        if self.needs_whole_rows() && !tick.frames.is_empty() {
            tick.groups = Some(Arc::new(Shared::new(counts(builder.list(), self.version))));
        }
        self.older.retain(|mark| Arc::strong_count(mark) > 1);
        if self.has_viewers() && self.counts.is_due(now) {
            tick.counts = self.counts.publish(counts(builder.list(), self.version));
            tick.bases = Some(std::mem::take(&mut self.slid)).filter(|slid| !slid.is_empty());
            tick.bases.take_if(|_| is_broken(Fault::TellNoBases));
            if tick.counts.is_some() || tick.bases.is_some() {
                self.counts.sent(now);
            }
        }
        tick.known_counts = self.counts.last();
        if tick.says_something() {
            self.last_said = self.ticks;
            self.leave_behind();
        }
        tick.leaves_behind = !self.older.is_empty();
        tick.reminds = self.reminds(now);
        tick.mark = Arc::downgrade(&self.mark);
        tick
    }

    /// Returns whether it is time to ask all viewers whether they had a bundle of late.
    fn reminds(&mut self, now: Duration) -> bool {
        // Clocks begin anywhere: the first tick is the first moment.
        let last = *self.last_reminder.get_or_insert(now);
        let is_quiet = now.saturating_sub(last) < REMINDER / 2;
        let is_viewed = Arc::strong_count(&self.mark) > 1 || !self.older.is_empty();
        let reminds = is_viewed && (!is_quiet || now < last) && !is_broken(Fault::NeverRemind);
        if reminds {
            self.last_reminder = Some(now);
        }
        reminds
    }

    /// The next tick, still empty.
    fn empty_tick(&mut self) -> Tick<I> {
        self.ticks += 1;
        Tick {
            source: self.serial,
            list: self.list.clone(),
            epoch: self.epoch.clone(),
            era: self.era,
            version: self.version,
            serial: self.ticks,
            previous: self.last_said,
            counts: None,
            known_counts: None,
            frames: HashMap::new(),
            bases: None,
            groups: None,
            mark: Weak::new(),
            leaves_behind: false,
            now: self.history.now(),
            reminds: false,
        }
    }

    /// Begins a new mark: viewers have yet to take what this tick published.
    fn leave_behind(&mut self) {
        let old = std::mem::replace(&mut self.mark, Arc::new(()));
        if Arc::strong_count(&old) > 1 {
            self.older.push(old);
        }
    }

    /// Drops the references to windows that no viewer holds. O(windows).
    fn forget_closed(&mut self) {
        self.watched.retain(|_, known| known.strong_count() > 0);
        self.detached.retain(|known| known.strong_count() > 0);
        self.known_max = KNOWN_MIN.max(2 * self.known());
        if self.slid.len() > self.known() {
            let known = self.watched.values().chain(&self.detached);
            let live: HashSet<u64> = known
                .filter_map(Weak::upgrade)
                .map(|handle| handle.serial)
                .collect();
            self.slid.retain(|serial, _| live.contains(serial));
        }
    }

    /// Windows known here, those included that were closed of late.
    pub(crate) fn known(&self) -> usize {
        self.watched.len() + self.detached.len()
    }

    /// Returns whether a viewer may hold a window.
    pub(crate) fn is_watched(&self) -> bool {
        self.known() > 0
    }

    /// Returns whether a viewer is there, with or without windows.
    pub(crate) fn has_viewers(&self) -> bool {
        self.is_watched() || Arc::strong_count(&self.mark) > 1 || !self.older.is_empty()
    }

    pub(crate) fn has_anchored(&self) -> bool {
        let anchored = |spec: &WindowSpec<I>| matches!(spec, WindowSpec::Anchored { .. });
        self.watched.keys().any(anchored) || !self.detached.is_empty()
    }

    /// Returns whether a viewer needs whole rows and the group table with every frame.
    pub(super) fn needs_whole_rows(&self) -> bool {
        Arc::strong_count(&self.whole_rows) > 1
    }

    /// Gives every frame whole rows and the group table, for as long as the answer is kept.
    pub(crate) fn request_whole_rows(&self) -> Arc<()> {
        self.whole_rows.clone()
    }

    /// Returns the mark that a viewer keeps once it has taken everything published so far.
    pub(crate) fn mark(&self) -> Arc<()> {
        self.mark.clone()
    }

    /// Returns the time of the last tick.
    pub(crate) const fn now(&self) -> Duration {
        self.history.now()
    }

    /// Returns the number of the last tick.
    pub(crate) const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Returns the number by which viewers know the list.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) const fn list(&self) -> &Arc<str> {
        &self.list
    }

    pub(crate) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Returns the number of the epoch among those of this list.
    pub(crate) const fn era(&self) -> u64 {
        self.era
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Returns totals and groups for an answer, under a new version of the list; `fresh` are those
    /// of now.
    pub(crate) fn answer_counts(&mut self, fresh: Counts) -> Arc<Shared<Counts>> {
        self.version += 1;
        let version = &mut self.version;
        self.counts.for_open(fresh, || {
            *version += 1;
            *version
        })
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.list
    }

    /// Checks that clients take an epoch for a later one. The list has its first epoch without a
    /// name: that one may be named.
    pub(crate) fn check_next(&self, next: &Epoch) -> Result<(), ListError> {
        let last = self.epoch.number;
        let lowest = if self.era == 1 { last } else { last + 1 };
        if next.node == self.epoch.node && next.number < lowest {
            let epoch = next.number;
            return Err(ListError::EpochNotHigher { epoch, last });
        }
        Ok(())
    }

    /// Ends the epoch: every viewer has to get everything again, which the next tick brings.
    /// O(windows).
    pub(crate) fn new_epoch(&mut self, list: Arc<str>, epoch: Epoch) {
        self.list = list;
        self.epoch = epoch;
        self.era += 1;
        self.history.clear();
        self.counts = CountsPublisher::default();
        self.slid.clear();
        self.leave_behind();
        // The same list gives the same versions, wherever it runs.
        let mut watched: Vec<_> = self.watched.drain().collect();
        watched.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.detached
            .extend(watched.into_iter().map(|(_, known)| known));
        for handle in self.detached.iter().filter_map(Weak::upgrade) {
            Watched::lock(&handle).give_up();
        }
    }

    /// Starts to watch a window, or joins its viewers. O(log n + rows of the window).
    ///
    /// The answer has the rows of the list now, which may be newer than the last tick.
    pub(crate) fn open(
        &mut self,
        spec: &WindowSpec<I>,
        builder: &FrameBuilder<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        let index = match spec {
            WindowSpec::Chunk(_) => 0,
            WindowSpec::Search(search) => {
                let groups = builder.list().groups().order().len();
                let max = SEARCH_GROUPS_MAX;
                if search.group.is_none() && groups > max {
                    return Err(WindowError::TooManyGroups { groups, max });
                }
                0
            }
            WindowSpec::Anchored { anchor, .. } => {
                row_index(builder.list(), anchor).ok_or(WindowError::UnknownAnchor)?
            }
        };
        if self.known() >= self.known_max {
            self.forget_closed();
        }
        let held = self.watched.get(spec).and_then(Weak::upgrade);
        if held.is_some_and(|held| Watched::lock(&held).anchor_left(index, builder)) {
            self.detached.extend(self.watched.remove(spec));
        }
        let handle = self.watch(spec, index, builder);
        let mut window = Watched::lock(&handle);
        self.note_place(&window);
        let frame = window.sync(builder);
        drop(window);
        Ok(Opened::new(handle, frame))
    }

    /// Publishes the first index of a window.
    pub(super) fn note_place(&mut self, window: &Watched<'_, I>) {
        if let Some(base_index) = window.publish_place() {
            self.slid.insert(window.serial(), base_index);
        }
    }

    /// Brings the window of this name and anchor to what the list shows now. O(log n + rows).
    pub(super) fn watch(
        &mut self,
        spec: &WindowSpec<I>,
        index: usize,
        builder: &FrameBuilder<'_, I>,
    ) -> Arc<Handle<I>> {
        let range = spec.range(index, builder.list().len());
        let (start, rows, matches) = match spec {
            WindowSpec::Search(search) => {
                let found = search.read(builder.list());
                (search.base_index(), found.rows, Some(found.matches))
            }
            _ => {
                let rows = read_rows(builder.list(), range.clone());
                (range.start, rows, None)
            }
        };
        let renumberings = builder.written().renumberings();
        let version = &mut self.version;
        let mut next_version = || {
            *version += 1;
            *version
        };
        let held = self.watched.get(spec).and_then(Weak::upgrade);
        let handle = if let Some(held) = held {
            Watched::lock(&held).refresh(rows, renumberings, matches, next_version, builder);
            held
        } else {
            let base = WindowBase::new(next_version(), rows, renumberings);
            let handle = Handle::new(spec, base.with_matches(matches), self.history.arrivals());
            self.watched.insert(spec.clone(), Arc::downgrade(&handle));
            handle
        };
        Watched::lock(&handle).place(start, builder);
        handle
    }

    /// Takes the windows that were stepped. Those whose anchor left are detached.
    fn take_steps(&mut self, stepped: Vec<Stepped<I>>) -> Vec<Made<I>> {
        let mut made = Vec::new();
        let mut left = Vec::new();
        for it in stepped {
            let Stepped {
                handle,
                outcome,
                sync,
            } = it;
            let steps = match outcome {
                Outcome::Quiet if sync.is_none() => continue,
                Outcome::Slid if sync.is_none() => {
                    self.note_place(&Watched::lock(&handle));
                    continue;
                }
                Outcome::Quiet | Outcome::Slid => Vec::new(),
                Outcome::Steps(steps) => steps,
                Outcome::Left => {
                    left.push(handle.spec().clone());
                    continue;
                }
            };
            made.push(Made {
                handle,
                steps,
                sync,
                target: None,
                retired: None,
            });
        }
        // The same list gives the same versions, wherever it runs.
        left.sort_unstable();
        let left = left.iter().filter_map(|spec| self.watched.remove(spec));
        let left: Vec<_> = left.collect();
        self.detached.splice(..0, left);
        made
    }

    /// Leads from each detached window to the window it becomes.
    fn rename_windows(&mut self, builder: &FrameBuilder<'_, I>) -> Vec<Made<I>> {
        let detached: Vec<_> = self.detached.iter().filter_map(Weak::upgrade).collect();
        let rename = |handle: Arc<Handle<I>>| {
            let window = Watched::lock(&handle);
            let (spec, index) = window.successor(builder);
            let target = self.watch(&spec, index, builder);
            if handle.keeps_log() {
                target.keep_log();
            }
            let mut next = Watched::lock(&target);
            let steps = window.steps_to(&next, builder);
            let sync = window.owes_sync().then(|| next.sync(builder));
            let retired = window.retire(&next, builder);
            drop((window, next));
            Made {
                handle,
                steps,
                sync,
                target: Some(target),
                retired,
            }
        };
        detached.into_iter().map(rename).collect()
    }

    fn publish(&mut self, made: Made<I>, tick: &mut Tick<I>) {
        let Made {
            handle,
            steps,
            sync,
            ..
        } = made;
        let settled = Watched::lock(&handle).settle(&steps);
        if let Some(base_index) = settled {
            self.slid.insert(handle.serial, base_index);
        }
        if !steps.is_empty() || sync.is_some() {
            let frames = WindowFrames {
                steps,
                sync,
                current: handle.versions(),
                renamed: None,
            };
            tick.frames.insert(handle.serial, frames);
        }
    }

    fn tell_renamed(&mut self, made: Made<I>, tick: &mut Tick<I>) {
        let Some(target) = made.target else { return };
        self.note_place(&Watched::lock(&target));
        self.history.follow(made.handle.serial, &target);
        if let Some(mut retired) = made.retired {
            retired.log = std::mem::take(&mut Watched::lock(&made.handle).log);
            self.history.retire(made.handle.spec(), retired);
        }
        made.handle.become_window(&target);
        if made.sync.is_some() {
            let frames = tick.frames.entry(target.serial);
            let frames = frames.or_insert_with(|| WindowFrames {
                steps: Vec::new(),
                sync: None,
                current: target.versions(),
                renamed: None,
            });
            frames.sync = made.sync;
        }
        let frames = WindowFrames {
            steps: made.steps,
            sync: None,
            current: Vec::new(),
            renamed: Some(Arc::downgrade(&target)),
        };
        tick.frames.insert(made.handle.serial, frames);
    }
}

#[cfg(test)]
mod tests;

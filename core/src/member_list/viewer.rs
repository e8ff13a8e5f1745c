//! One viewer of a list: which windows it holds, at which versions, and what it is sent.

use std::sync::Arc;

use super::frame::{Base, Bundle, Counts, Frame, Shared};
use super::rows::Bodies;
use super::tick::{Opened, Tick};
use super::watched::Handle;
use super::window::{VIEWER_WINDOWS_MAX, WindowError, WindowSpec};
use super::{Id, MemberList};

/// Former names kept for a window, so that a request that crosses a rename finds it.
const FORMER_NAMES_MAX: usize = 64;

/// What one viewer of a list holds. No I/O: the caller sends the bundles.
///
/// After each [`tick`](MemberList::tick) every viewer is asked for its [`bundle`](Self::bundle);
/// frames in it are shared with all viewers of the same windows. A viewer whose queue is full is
/// simply not asked; when the queue has drained, [`catch_up`](Self::catch_up) gives one SYNC for
/// each window that has changed meanwhile. Dropping the viewer closes its windows.
///
/// ```
/// use std::time::Duration;
/// use headcount::member_list::{Bodies, Viewer, WindowSpec};
/// use headcount::{MemberList, Options, SortKey};
///
/// let mut list = MemberList::<u64>::new(Options::default());
/// let online = list.add_group("online")?;
/// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
///
/// let mut viewer = Viewer::new();
/// let first = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
/// assert_eq!(first.frames.len(), 1); // a SYNC
///
/// list.upsert(9, online, &SortKey::from_name("Bob"), 0)?;
/// let tick = list.tick(Duration::from_millis(250), Bodies::None);
/// let bundle = viewer.bundle(&tick).expect("the chunk has changed");
/// assert!(bundle.to_json().starts_with(br#"{"list":"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Viewer<I> {
    /// Kept by a viewer whose protocol cannot patch.
    whole_rows: bool,
    whole_rows_token: Option<Arc<()>>,
    epoch: u64,
    last_tick: u64,
    counts_version: u64,
    hidden: bool,
    /// Groups as last sent, where the protocol needs them with everything.
    groups: Option<Arc<Shared<Counts>>>,
    windows: Vec<Held<I>>,
}

/// A window as its viewer holds it.
#[derive(Debug)]
struct Held<I> {
    spec: WindowSpec<I>,
    name: Arc<str>,
    /// `None` while the viewer is hidden.
    handle: Option<Arc<Handle<I>>>,
    version: u64,
    base_index: u64,
    stale: bool,
    former: Vec<WindowSpec<I>>,
    /// Names of windows that became one with this one. A client that still knows such a name has
    /// both: it may ask for it anew, but when it closes it, this one stays.
    merged: Vec<WindowSpec<I>>,
}

impl<I> Default for Viewer<I> {
    fn default() -> Self {
        Self {
            whole_rows: false,
            whole_rows_token: None,
            epoch: 0,
            last_tick: 0,
            counts_version: 0,
            hidden: false,
            groups: None,
            windows: Vec::new(),
        }
    }
}

impl<I: Id> Viewer<I> {
    /// A viewer without windows.
    pub fn new() -> Self {
        Self::default()
    }

    /// A viewer that is sent Discord's events: chunks only, whole rows, groups with every bundle.
    pub fn discord() -> Self {
        Self {
            whole_rows: true,
            ..Self::default()
        }
    }

    /// Opens a window: a bundle with its SYNC and all counts. Opening it again is a
    /// [`resync`](Self::resync). O(log n + rows + groups).
    ///
    /// # Errors
    /// [`WindowError`]: over a limit, unknown anchor, or a kind of window the protocol lacks.
    pub fn open(
        &mut self,
        list: &mut MemberList<I>,
        spec: WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        if self.position(&spec).is_some() {
            return self.resync(list, &[spec], bodies);
        }
        if self.windows.len() >= VIEWER_WINDOWS_MAX {
            return Err(WindowError::TooManyWindows {
                max: VIEWER_WINDOWS_MAX,
            });
        }
        let opened = self.show(list, &spec, bodies)?;
        self.forget_former(&spec);
        self.windows.push(Held::new(spec, &opened));
        Ok(self.answer(list, vec![opened.frame], bodies))
    }

    /// Closes one window and opens another: a bundle with the SYNC of the new one and all counts.
    ///
    /// # Errors
    /// [`WindowError::NotOpen`], or as [`open`](Self::open); then `from` stays open.
    pub fn retarget(
        &mut self,
        list: &mut MemberList<I>,
        from: &WindowSpec<I>,
        to: WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        let at = self.find(from).ok_or(WindowError::NotOpen)?;
        if let Some(other) = self.position(&to) {
            let bundle = self.resync(list, &[to], bodies)?;
            if other != at {
                self.windows.remove(at);
            }
            return Ok(bundle);
        }
        let opened = self.show(list, &to, bodies)?;
        self.forget_former(&to);
        self.windows[at] = Held::new(to, &opened);
        Ok(self.answer(list, vec![opened.frame], bodies))
    }

    /// Closes a window. O(1).
    ///
    /// # Errors
    /// [`WindowError::NotOpen`].
    pub fn close(&mut self, spec: &WindowSpec<I>) -> Result<(), WindowError> {
        let at = self.find(spec).ok_or(WindowError::NotOpen)?;
        self.windows.remove(at);
        Ok(())
    }

    /// What a client gets that asks for windows anew: a bundle with the SYNC of each and all
    /// counts. Without windows: the counts.
    ///
    /// # Errors
    /// [`WindowError::NotOpen`] when the viewer lacks one of them; nothing has changed.
    pub fn resync(
        &mut self,
        list: &mut MemberList<I>,
        specs: &[WindowSpec<I>],
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        if specs.iter().any(|spec| self.find_merged(spec).is_none()) {
            return Err(WindowError::NotOpen);
        }
        let mut frames = Vec::new();
        for asked in specs.iter().take(VIEWER_WINDOWS_MAX) {
            // A window may have become one with another since.
            if let Some(at) = self.find_merged(asked) {
                frames.push(self.sync(at, asked, list, bodies));
                self.drop_double(at);
            }
        }
        Ok(self.answer(list, frames, bodies))
    }

    /// Whether a window has missed frames, so that [`catch_up`](Self::catch_up) is due.
    pub fn is_stale(&self) -> bool {
        !self.hidden && self.windows.iter().any(|window| window.stale)
    }

    /// One SYNC for each window that has missed frames, and all counts.
    pub fn catch_up(&mut self, list: &mut MemberList<I>, bodies: Bodies<'_, I>) -> Bundle<I> {
        let epoch_over = self.epoch != list.windows.epoch;
        self.last_tick = list.windows.ticks();
        let mut bundle = self.answer(list, Vec::new(), bodies);
        let mut at = 0;
        while let Some(window) = self.windows.get_mut(at) {
            if epoch_over || window.stale || !window.has_base() {
                let held = window.spec.clone();
                bundle.frames.push(self.sync(at, &held, list, bodies));
            } else if let Some(handle) = &window.handle {
                window.place(handle.base_index(), &mut bundle);
            }
            at += usize::from(!self.drop_double(at));
        }
        bundle.version = list.windows.version;
        bundle.windows = self.names();
        bundle
    }

    /// Tells whether anybody looks: a hidden viewer is sent counts only, and its windows cost the
    /// list nothing. After it is shown again, [`catch_up`](Self::catch_up) is due.
    pub fn set_hidden(&mut self, hidden: bool) {
        self.hidden = hidden;
        if hidden {
            self.release();
        }
    }

    /// What the viewer is sent of a tick: shared frames, put side by side; `None` for nothing.
    /// O(windows).
    ///
    /// Ticks must come in order, none twice. One that is left out makes windows
    /// [stale](Self::is_stale) that changed in it.
    pub fn bundle(&mut self, tick: &Tick<I>) -> Option<Bundle<I>> {
        if tick.epoch != self.epoch {
            self.windows
                .iter_mut()
                .for_each(|window| window.stale = true);
            return None;
        }
        if tick.serial <= self.last_tick {
            return None;
        }
        let missed_some = tick.serial != self.last_tick + 1;
        self.last_tick = tick.serial;
        let mut bundle = Bundle {
            list: tick.list.clone(),
            epoch: tick.epoch,
            version: tick.version,
            frames: Vec::new(),
            counts: self.counts(tick),
            bases: Vec::new(),
            windows: Vec::new(),
        };
        if self.hidden {
            // One may have been opened meanwhile.
            self.release();
        }
        let mut at = 0;
        while let Some(window) = self.windows.get_mut(at) {
            if missed_some && !window.has_base() {
                window.stale = true;
            }
            window.take(tick, missed_some, &mut bundle);
            at += usize::from(!self.drop_double(at));
        }
        if self.whole_rows {
            if !bundle.frames.is_empty() {
                bundle.counts = tick.groups.clone().or(bundle.counts);
            }
            self.groups = bundle.counts.clone().or_else(|| self.groups.take());
        }
        if bundle.frames.is_empty() && bundle.counts.is_none() && bundle.bases.is_empty() {
            return None;
        }
        bundle.windows = self.names();
        Some(bundle)
    }

    pub(crate) fn groups(&self) -> Option<&Shared<Counts>> {
        self.groups.as_deref()
    }

    /// The windows the viewer holds, by their present names.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = &WindowSpec<I>> {
        self.windows.iter().map(|window| &window.spec)
    }

    /// Lets go of all windows, so that nothing is published for them.
    fn release(&mut self) {
        for window in &mut self.windows {
            window.handle = None;
            window.stale = true;
        }
    }

    fn position(&self, spec: &WindowSpec<I>) -> Option<usize> {
        self.windows.iter().position(|window| window.spec == *spec)
    }

    /// A window by its name or one it had.
    fn find(&self, spec: &WindowSpec<I>) -> Option<usize> {
        let formerly = |window: &Held<I>| window.former.contains(spec);
        self.position(spec)
            .or_else(|| self.windows.iter().position(formerly))
    }

    /// A window by any name its client may know.
    fn find_merged(&self, spec: &WindowSpec<I>) -> Option<usize> {
        let merged = |window: &Held<I>| window.merged.contains(spec);
        self.find(spec)
            .or_else(|| self.windows.iter().position(merged))
    }

    fn show(
        &mut self,
        list: &mut MemberList<I>,
        spec: &WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        spec.check()?;
        if self.whole_rows {
            if !matches!(spec, WindowSpec::Chunk(_)) || !list.options().headers {
                return Err(WindowError::Unsupported);
            }
            self.whole_rows_token = Some(list.windows.whole_rows.clone());
        }
        if self.epoch != list.windows.epoch {
            self.epoch = list.windows.epoch;
            self.windows
                .iter_mut()
                .for_each(|window| window.stale = true);
        }
        if self.windows.is_empty() {
            self.last_tick = list.windows.ticks();
        }
        list.open_window(spec, bodies)
    }

    /// Shows a held window anew; the client calls it `asked`.
    fn sync(
        &mut self,
        at: usize,
        asked: &WindowSpec<I>,
        list: &mut MemberList<I>,
        bodies: Bodies<'_, I>,
    ) -> Arc<Shared<Frame<I>>> {
        let window = &self.windows[at];
        let latest = window
            .handle
            .as_ref()
            .map(|handle| handle.latest().spec().clone());
        let mut spec = latest.unwrap_or_else(|| window.spec.clone());
        let base_index = window.base_index;
        let opened = loop {
            match self.show(list, &spec, bodies) {
                Ok(opened) => break opened,
                // The anchor is gone: the row at its place, or the start of an empty list.
                Err(_) => spec = list.fallback(&spec, base_index),
            }
        };
        let window = &mut self.windows[at];
        window.rename(&opened.handle);
        (window.version, window.base_index) = (opened.version, opened.base_index);
        window.handle = Some(opened.handle);
        window.stale = false;
        if *asked == spec {
            return opened.frame;
        }
        let mut frame = Frame::clone(&opened.frame);
        frame.renamed = Some(frame.window);
        frame.window = asked.to_string().into();
        Arc::new(Shared::new(frame))
    }

    fn answer(
        &mut self,
        list: &mut MemberList<I>,
        mut frames: Vec<Arc<Shared<Frame<I>>>>,
        bodies: Bodies<'_, I>,
    ) -> Bundle<I> {
        if self.whole_rows {
            // Its operations shift what is below them: all windows must be of one moment.
            for at in 0..self.windows.len() {
                let Held {
                    spec,
                    version,
                    stale,
                    ..
                } = &self.windows[at];
                let (spec, version, stale) = (spec.clone(), *version, *stale);
                let frame = self.sync(at, &spec, list, bodies);
                if stale || frame.new_version != version {
                    frames.push(frame);
                }
            }
        }
        // A client tells by it that the answer was made after what it had when it asked.
        list.windows.version += 1;
        let counts = list.open_counts();
        self.counts_version = counts.version;
        self.groups = self.whole_rows.then(|| counts.clone());
        self.epoch = list.windows.epoch;
        Bundle {
            list: list.windows.list.clone(),
            epoch: self.epoch,
            version: list.windows.version,
            frames,
            counts: Some(counts),
            bases: Vec::new(),
            windows: self.names(),
        }
    }

    /// The counts of a tick in the form this viewer can use.
    fn counts(&mut self, tick: &Tick<I>) -> Option<Arc<Shared<Counts>>> {
        let step = tick.counts.as_ref()?;
        let from =
            |counts: &Arc<Shared<Counts>>| counts.base_version() == Some(self.counts_version);
        let counts = step
            .delta
            .as_ref()
            .filter(|delta| from(delta) && !self.whole_rows)
            .unwrap_or(&step.full);
        self.counts_version = counts.version;
        Some(counts.clone())
    }

    /// A name is a window's own again.
    fn forget_former(&mut self, spec: &WindowSpec<I>) {
        for window in &mut self.windows {
            window.former.retain(|former| former != spec);
            window.merged.retain(|merged| merged != spec);
        }
    }

    /// Lets the window at `at`, just renamed by a frame, go if it has become one with another. The
    /// other goes on from that frame; the client does the same.
    fn drop_double(&mut self, at: usize) -> bool {
        let spec = &self.windows[at].spec;
        let same = |(i, window): (usize, &Held<I>)| i != at && window.spec == *spec;
        let Some(other) = self.windows.iter().enumerate().position(same) else {
            return false;
        };
        let gone = self.windows.remove(at);
        self.windows[other - usize::from(other > at)].absorb(gone);
        true
    }

    fn names(&self) -> Vec<Arc<str>> {
        let names = self.windows.iter().map(|window| window.name.clone());
        names.collect()
    }
}

impl<I: Id> Held<I> {
    fn new(spec: WindowSpec<I>, opened: &Opened<I>) -> Self {
        Self {
            spec,
            name: opened.handle.name().clone(),
            handle: Some(opened.handle.clone()),
            version: opened.version,
            base_index: opened.base_index,
            stale: false,
            former: Vec::new(),
            merged: Vec::new(),
        }
    }

    fn has_base(&self) -> bool {
        self.handle
            .as_ref()
            .is_some_and(|handle| handle.has_base(self.version))
    }

    /// Takes what a tick has for this window.
    fn take(&mut self, tick: &Tick<I>, missed_some: bool, bundle: &mut Bundle<I>) {
        let Some(handle) = self.handle.clone().filter(|_| !self.stale) else {
            return;
        };
        if let Some(frame) = tick.frame_from(&handle, self.version) {
            self.version = frame.new_version;
            self.base_index = frame.base_index;
            bundle.frames.push(frame.clone());
            if let Some(next) = handle.renamed() {
                self.rename(next);
                self.handle = Some(next.clone());
            }
        } else if tick.is_past(&handle, self.version) {
            self.stale = true;
        } else if let Some(base_index) = tick.base_index(&handle) {
            self.place(base_index, bundle);
        } else if missed_some {
            self.place(handle.base_index(), bundle);
        }
    }

    /// Says where the window is now, if the client does not know.
    fn place(&mut self, base_index: u64, bundle: &mut Bundle<I>) {
        if let Some(handle) = self
            .handle
            .as_ref()
            .filter(|_| base_index != self.base_index)
        {
            self.base_index = base_index;
            let window = handle.name().clone();
            bundle.bases.push(Base { window, base_index });
        }
    }

    fn rename(&mut self, handle: &Handle<I>) {
        if self.spec != *handle.spec() {
            self.name = handle.name().clone();
            let old = std::mem::replace(&mut self.spec, handle.spec().clone());
            remember(&mut self.former, [old]);
        }
    }

    /// Goes on as `gone`, which has become the same window, does.
    fn absorb(&mut self, mut gone: Self) {
        let (names, merged) = (
            std::mem::take(&mut gone.former),
            std::mem::take(&mut gone.merged),
        );
        gone.former = std::mem::take(&mut self.former);
        gone.merged = std::mem::take(&mut self.merged);
        *self = gone;
        remember(&mut self.merged, names.into_iter().chain(merged));
    }
}

/// Adds names to the last ones.
fn remember<I>(to: &mut Vec<WindowSpec<I>>, names: impl IntoIterator<Item = WindowSpec<I>>) {
    to.extend(names);
    to.drain(..to.len().saturating_sub(FORMER_NAMES_MAX));
}

//! One viewer of a list: the windows it holds, their versions, and the bundles it gets.

mod answers;

use std::sync::Arc;
use std::time::Duration;

use crate::member_list::Id;
use crate::member_list::frames::model::{Bundle, Counts, HeldWindow, Shared};
use crate::member_list::limits::VIEWER_WINDOWS_MAX;
use crate::member_list::windows::bodies::Bodies;
use crate::member_list::windows::live::Watchable;
use crate::member_list::windows::open_window::{OpenWindow, OpenWindows};
use crate::member_list::windows::registry::REMINDER;
use crate::member_list::windows::renames::{Shown, put_in_order};
use crate::member_list::windows::resume::Claim;
use crate::member_list::windows::spec::{WindowError, WindowSpec};
use crate::member_list::windows::tick::Tick;

/// One viewer of a list and the windows it holds. No I/O: the caller sends the bundles.
///
/// After each [`tick`](crate::member_list::MemberList::tick) the caller asks every viewer for its
/// [`bundle`](Self::bundle); viewers of the same windows share the frames in it. The caller may
/// skip a viewer whose queue is full: any tick may be left out for any viewer. The next bundle has
/// the changes it missed: counts and places at once, and one SYNC for each window that changed
/// meanwhile with the next tick, or at once from [`catch_up`](Self::catch_up). Dropping the viewer
/// closes its windows.
///
/// ```
/// use std::time::Duration;
/// use headcount::member_list::{Bodies, Viewer, WindowSpec};
/// use headcount::{ListOptions, MemberList, SortKey};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
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
    /// The number of the list that the viewer was last answered from.
    source: Option<u64>,
    /// The number of the epoch among those of the list; 0 before the first answer.
    era: u64,
    last_tick: u64,
    /// The time of the tick of the last bundle.
    last_bundle: Option<Duration>,
    /// Shows the list up to which tick this viewer has taken all of them; there once it was
    /// answered, with or without windows.
    mark: Option<Arc<()>>,
    counts_version: u64,
    hidden: bool,
    /// Groups as last sent, where the protocol needs them with everything.
    groups: Option<Arc<Shared<Counts>>>,
    windows: OpenWindows<I>,
}

impl<I> Default for Viewer<I> {
    fn default() -> Self {
        Self {
            whole_rows: false,
            whole_rows_token: None,
            source: None,
            era: 0,
            last_tick: 0,
            last_bundle: None,
            mark: None,
            counts_version: 0,
            hidden: false,
            groups: None,
            windows: OpenWindows::default(),
        }
    }
}

impl<I: Id> Viewer<I> {
    /// Makes a viewer without windows, whose client does not resume them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a viewer without windows, whose client can [resume](Self::resume) them: it reads frame
    /// format 2. For such viewers the list keeps the last steps of their windows, and the windows
    /// for a while after the viewer is dropped; see
    /// [`ListOptions::resume_for`](crate::member_list::ListOptions::resume_for).
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// let online = list.add_group("online")?;
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    /// for (mut viewer, keeps) in [(Viewer::new(), false), (Viewer::resumable(), true)] {
    ///     viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
    ///     drop(viewer);
    ///     let _ = list.tick(Duration::from_secs(1), Bodies::None);
    ///     assert_eq!(list.resume_bytes() > 0, keeps);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resumable() -> Self {
        Self {
            windows: OpenWindows::resumable(),
            ..Self::default()
        }
    }

    /// Makes a viewer that is sent Discord's events: chunks only, whole rows, groups with every
    /// bundle.
    #[must_use]
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
        list: &mut impl Watchable<I>,
        spec: WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        let list = &mut list.live();
        if self.windows.position(&spec).is_some() {
            return self.resync(list, &[spec], bodies);
        }
        if self.windows.len() >= VIEWER_WINDOWS_MAX {
            let max = VIEWER_WINDOWS_MAX;
            return Err(WindowError::TooManyWindows { max });
        }
        self.windows.check_searches(&spec, None)?;
        let opened = self.show(list, &spec, bodies)?;
        let others = self.look_at_all(list, bodies)?;
        self.windows.forget_former(&spec);
        self.stay_at(list);
        self.windows.push(spec, &opened);
        Ok(self.answer(list, vec![opened.frame], others))
    }

    /// Closes one window and opens another: a bundle with the SYNC of the new one and all counts.
    ///
    /// # Errors
    /// [`WindowError::NotOpen`], or as [`open`](Self::open); then `from` stays open.
    pub fn retarget(
        &mut self,
        list: &mut impl Watchable<I>,
        from: &WindowSpec<I>,
        to: WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        let list = &mut list.live();
        let at = self.windows.find(from).ok_or(WindowError::NotOpen)?;
        if self.windows.position(&to).is_some() {
            let mut bundle = self.resync(list, std::slice::from_ref(&to), bodies)?;
            // Both may have become one.
            let kept = self.windows.find_merged(&to);
            if let Some(gone) = self.windows.find(from).filter(|gone| Some(*gone) != kept) {
                self.windows.remove(gone);
                bundle.windows = self.windows.names();
            }
            return Ok(bundle);
        }
        self.windows.check_searches(&to, Some(at))?;
        let opened = self.show(list, &to, bodies)?;
        let others = self.look_at_all(list, bodies)?;
        self.windows.forget_former(&to);
        self.stay_at(list);
        self.windows.replace(at, to, &opened);
        Ok(self.answer(list, vec![opened.frame], others))
    }

    /// Leaves the list for another one and opens windows there: a bundle with their SYNCs and all
    /// counts. Later ticks of the old list bring nothing. Without windows: the counts.
    /// O(windows x (log n + rows) + groups).
    ///
    /// # Errors
    /// [`WindowError`], as of [`open`](Self::open); then the viewer stays at its list.
    pub fn switch(
        &mut self,
        list: &mut impl Watchable<I>,
        specs: &[WindowSpec<I>],
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        let list = &mut list.live();
        let mut next = Self {
            whole_rows: self.whole_rows,
            windows: self.windows.like(),
            ..Self::default()
        };
        let mut frames = Vec::new();
        for spec in specs {
            let opened = next.open(list, spec.clone(), bodies)?;
            frames.extend(opened.frames.into_iter().take(1));
        }
        let mut bundle = next.resync(list, &[], bodies)?;
        bundle.frames = frames;
        next.set_hidden(self.hidden);
        // Its client shows nothing of the old list any more.
        self.windows.clear();
        *self = next;
        Ok(bundle)
    }

    /// Closes a window. A viewer without windows gets counts. O(1).
    ///
    /// # Errors
    /// [`WindowError::NotOpen`].
    pub fn close(&mut self, spec: &WindowSpec<I>) -> Result<(), WindowError> {
        let at = self.windows.find(spec).ok_or(WindowError::NotOpen)?;
        self.windows.remove(at);
        Ok(())
    }

    /// Returns the answer to a client that asks for windows again: a bundle with the SYNC of each
    /// and all counts. Without windows: the counts.
    ///
    /// # Errors
    /// [`WindowError::NotOpen`] when the viewer lacks one of them, [`WindowError::Unsupported`]
    /// when the list has become one its protocol cannot show; nothing has changed.
    pub fn resync(
        &mut self,
        list: &mut impl Watchable<I>,
        specs: &[WindowSpec<I>],
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        let list = &mut list.live();
        let found = self.windows.find_all(specs);
        let found = found.ok_or(WindowError::NotOpen)?;
        let mut shown = Vec::new();
        for (at, asked) in found.into_iter().zip(specs).take(VIEWER_WINDOWS_MAX) {
            shown.push(self.look(at, asked.clone(), list, bodies)?);
        }
        self.look_at_leaving(&mut shown, list, bodies)?;
        put_in_order(&mut shown, |asked| self.show(list, asked, bodies))?;
        let others = self.look_at_all(list, bodies)?;
        self.stay_at(list);
        let frames = self.windows.hold_all(shown);
        Ok(self.answer(list, frames, others))
    }

    /// Opens the windows that a client still shows after its connection ended: a bundle with what
    /// changed since in each of them, and all counts. A window comes as one DELTA from the version
    /// that the client holds. It comes as a SYNC if that is smaller, if bulk work changed it
    /// meanwhile, and if the list does not know the version: it was away for longer than the list
    /// [keeps it](crate::member_list::ListOptions::resume_for), holds it from another epoch or
    /// node, or says what is not true.
    ///
    /// A list keeps the windows of a [resumable](Self::resumable) viewer that is dropped, not those
    /// that it closes; so drop the viewer of a connection that ended. O(log n + rows + changes since)
    /// for each window.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount::member_list::{Bodies, Epoch, FrameChange, HeldWindow, Viewer, WindowSpec};
    /// use headcount::{ListOptions, MemberList, SortKey};
    ///
    /// let mut list = MemberList::<u64>::new(ListOptions::default());
    /// list.begin_epoch("room", Epoch::new("node-1", 1_790_000_000_000))?;
    /// let online = list.add_group("online")?;
    /// list.upsert(7, online, &SortKey::from_name("Ada"), 0)?;
    /// let mut viewer = Viewer::resumable();
    /// let bundle = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
    /// let held = HeldWindow {
    ///     window: "c:0".into(),
    ///     epoch: Epoch::new("node-1", 1_790_000_000_000),
    ///     version: bundle.frames[0].new_version,
    /// };
    /// drop(viewer); // the connection is cut
    /// list.upsert(9, online, &SortKey::from_name("Bob"), 0)?;
    /// let _ = list.tick(Duration::from_secs(20), Bodies::None);
    ///
    /// let bundle = Viewer::resumable().resume(&mut list, &[held], Bodies::None)?;
    /// assert!(matches!(bundle.frames[0].change, FrameChange::Delta { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WindowError`], and no window was opened: a bad name, a window named twice, over a limit,
    /// or [`WindowError::NotResumable`].
    pub fn resume(
        &mut self,
        list: &mut impl Watchable<I>,
        held: &[HeldWindow],
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        if !self.windows.is_resumable() {
            return Err(WindowError::NotResumable);
        }
        let list = &mut list.live();
        let claims = Claim::read_all(held)?;
        self.windows.check_claims(&claims)?;
        self.enter(list);
        let mut shown = Vec::with_capacity(claims.len());
        for claim in claims {
            let opened = list.resume_window(&claim, bodies)?;
            shown.push(Shown {
                asked: claim.spec.clone(),
                held: claim.spec,
                opened,
            });
        }
        put_in_order(&mut shown, |asked| list.open_window(asked, bodies))?;
        self.stay_at(list);
        let mut frames = Vec::with_capacity(shown.len());
        for Shown { asked, opened, .. } in shown {
            let known = self.windows.find_merged(&asked);
            let at = known.unwrap_or(self.windows.len());
            if known.is_none() {
                self.windows.forget_former(&asked);
                self.windows.push(asked, &opened);
            }
            self.windows[at].hold(&opened.handle, &opened.frame);
            self.windows.drop_double(at);
            frames.push(opened.frame);
        }
        Ok(self.answer(list, frames, Vec::new()))
    }

    /// Returns whether a window has missed frames: [`catch_up`](Self::catch_up) brings its rows at
    /// once, else [`bundle`](Self::bundle) brings them with the next tick.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !self.hidden && self.windows.iter().any(|window| window.stale)
    }

    /// Returns one SYNC for each window that has missed frames, and all counts. O(rows of these).
    ///
    /// Windows of a list that the viewer's protocol cannot show (one that was rebuilt without
    /// headers, for Discord's) are closed: see [`windows`](Self::windows).
    pub fn catch_up(&mut self, list: &mut impl Watchable<I>, bodies: Bodies<'_, I>) -> Bundle<I> {
        let list = &mut list.live();
        let epoch_over = self.era != list.windows.era();
        let counts = list.answer_counts();
        let mut shown = Vec::new();
        let mut others = Vec::new();
        let mut lost = Vec::new();
        for at in 0..self.windows.len() {
            let window = &self.windows[at];
            let is_due = epoch_over || window.stale || !window.has_base();
            if !is_due && !self.whole_rows {
                continue;
            }
            let asked = window.spec.clone();
            match self.look(at, asked.clone(), list, bodies) {
                Ok(read) if is_due => shown.push(read),
                Ok(read) => others.push(read),
                Err(_) => lost.push(asked),
            }
        }
        if put_in_order(&mut shown, |asked| self.show(list, asked, bodies)).is_err() {
            lost.extend(shown.drain(..).map(|it| it.asked));
        }
        self.windows.retain(|window| !lost.contains(&window.spec));
        self.last_tick = list.windows.ticks();
        self.mark = Some(list.windows.mark());
        let mut frames = self.windows.hold_all(shown);
        self.hold_others(others, &mut frames);
        let mut bundle = self.head(list, frames, counts);
        for window in self.windows.iter_mut() {
            if let Some(handle) = &window.handle {
                window.place(handle.base_index(), &mut bundle);
            }
        }
        bundle
    }

    /// Sets whether the viewer is hidden: a hidden viewer gets counts only, and its windows cost
    /// the list nothing. When it is shown again, call [`catch_up`](Self::catch_up).
    pub fn set_hidden(&mut self, hidden: bool) {
        self.hidden = hidden;
        if hidden {
            self.release();
        }
    }

    /// Returns the bundle of a tick for this viewer, made of shared frames; `None` if it has none.
    /// O(windows).
    ///
    /// Ticks must come in order, none twice; any may be left out. The viewer gets missed counts and
    /// places in this bundle, and the rows of windows that changed in a tick left out
    /// ([stale](Self::is_stale) ones) as a SYNC with the next tick.
    #[must_use = "it is handed out once"]
    pub fn bundle(&mut self, tick: &Tick<I>) -> Option<Bundle<I>> {
        if self.source.is_some_and(|source| source != tick.source) {
            return None;
        }
        if tick.era < self.era || (tick.era > self.era && !self.enter_epoch(tick)) {
            return None;
        }
        if tick.serial <= self.last_tick {
            return None;
        }
        let missed_some = tick.previous > self.last_tick;
        self.last_tick = tick.serial;
        self.mark = tick.mark.upgrade().or_else(|| self.mark.take());
        let mut bundle = Bundle {
            list: tick.list.clone(),
            epoch: tick.epoch.clone(),
            version: tick.version,
            frames: Vec::new(),
            counts: tick.counts_after(self.counts_version, self.whole_rows),
            bases: Vec::new(),
            windows: Vec::new(),
        };
        if let Some(counts) = &bundle.counts {
            self.counts_version = counts.version;
        }
        if self.hidden {
            // One may have been opened meanwhile.
            self.release();
        }
        if self.can_go_on(tick, missed_some) {
            self.windows.take(tick, missed_some, &mut bundle);
        }
        if self.whole_rows {
            if !bundle.frames.is_empty() {
                bundle.counts = tick.groups.clone().or(bundle.counts);
            }
            self.groups = bundle.counts.clone().or_else(|| self.groups.take());
        }
        let last = *self.last_bundle.get_or_insert(tick.now);
        let is_reminded = tick.now.saturating_sub(last) >= REMINDER / 2;
        if bundle.is_empty() && (self.windows.is_empty() || !is_reminded) {
            return None;
        }
        if bundle.is_empty() && !self.whole_rows {
            // The client may have lost the last ones, which no version of a row shows.
            bundle.counts = tick.small_counts();
            bundle.bases = self.windows.places();
        }
        self.last_bundle = Some(tick.now);
        bundle.windows = self.windows.names();
        Some(bundle)
    }

    /// Goes over to the epoch of a tick, if it brings a window of the viewer's: a client takes over
    /// an epoch with its first SYNC.
    fn enter_epoch(&mut self, tick: &Tick<I>) -> bool {
        self.windows
            .iter_mut()
            .for_each(|window| window.stale = true);
        let enters = self.windows.iter().any(|window| window.is_in(tick));
        if enters {
            (self.era, self.counts_version, self.groups) = (tick.era, 0, None);
        } else if self.hidden || self.windows.is_empty() {
            // Nothing comes until it is shown, or opens a window.
            self.mark = None;
        } else {
            self.windows.iter_mut().for_each(OpenWindow::ask);
        }
        enters
    }

    /// Returns whether the windows apply the frames of a tick. If operations shift the rows below
    /// them, all windows must be of one moment: then a window that missed a frame holds up the
    /// others, until all are sent whole.
    fn can_go_on(&mut self, tick: &Tick<I>, missed_some: bool) -> bool {
        let misses = |window: &OpenWindow<I>| window.misses(tick, missed_some);
        if !self.whole_rows || !self.windows.iter().any(misses) {
            return true;
        }
        self.windows
            .iter_mut()
            .for_each(|window| window.stale = true);
        let all_are_in = self.windows.iter().all(|window| window.is_in(tick));
        if !all_are_in {
            self.windows.iter_mut().for_each(OpenWindow::ask);
        }
        all_are_in
    }

    pub(crate) const fn source(&self) -> Option<u64> {
        self.source
    }

    pub(crate) fn groups(&self) -> Option<&Shared<Counts>> {
        self.groups.as_deref()
    }

    /// Returns the windows the viewer holds, by their present names.
    #[must_use]
    pub fn windows(&self) -> impl ExactSizeIterator<Item = &WindowSpec<I>> {
        self.windows.iter().map(|window| &window.spec)
    }
}

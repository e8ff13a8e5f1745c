//! A window as its viewer holds it, and the frames that it takes from a tick.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::fault::{Fault, is_broken};
use crate::member_list::Id;
use crate::member_list::frames::model::{Base, Bundle, Frame, Shared, WindowVersion};
use crate::member_list::limits::{VIEWER_SEARCHES_MAX, VIEWER_WINDOWS_MAX};
use crate::member_list::windows::base::under_name;
use crate::member_list::windows::handle::Handle;
use crate::member_list::windows::registry::Opened;
use crate::member_list::windows::renames::{Renames, Shown};
use crate::member_list::windows::resume::Claim;
use crate::member_list::windows::spec::{WindowError, WindowSpec};
use crate::member_list::windows::tick::Tick;

/// Former names kept for a window, so that a request that crosses a rename finds it.
const FORMER_NAMES_MAX: usize = 64;

/// A window as its viewer holds it.
#[derive(Debug)]
pub(crate) struct OpenWindow<I> {
    pub(crate) spec: WindowSpec<I>,
    pub(crate) name: Arc<str>,
    /// `None` while the viewer is hidden.
    pub(crate) handle: Option<Arc<Handle<I>>>,
    pub(crate) version: u64,
    pub(crate) base_index: u64,
    pub(crate) stale: bool,
    resumes: bool,
    /// Kept while a SYNC was asked for.
    asked: Option<Arc<()>>,
    pub(crate) former: Vec<WindowSpec<I>>,
    /// Names of windows that became one with this one. A client that still knows such a name has
    /// both: it may ask for it again, but when it closes it, this one stays.
    pub(crate) merged: Vec<WindowSpec<I>>,
}

/// The windows of a viewer. When the viewer of a client that can resume is dropped, the list keeps
/// them for a while, in case the client comes back.
#[derive(Debug)]
pub(crate) struct OpenWindows<I> {
    windows: Vec<OpenWindow<I>>,
    /// True if the client can resume them.
    resumes: bool,
}

impl<I> Default for OpenWindows<I> {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            resumes: false,
        }
    }
}

impl<I> Deref for OpenWindows<I> {
    type Target = Vec<OpenWindow<I>>;

    fn deref(&self) -> &Vec<OpenWindow<I>> {
        &self.windows
    }
}

impl<I> DerefMut for OpenWindows<I> {
    fn deref_mut(&mut self) -> &mut Vec<OpenWindow<I>> {
        &mut self.windows
    }
}

impl<I> Drop for OpenWindows<I> {
    fn drop(&mut self) {
        let windows = self.windows.iter().filter(|_| self.resumes);
        let handles = windows.filter_map(|window| window.handle.as_ref());
        handles.for_each(|handle| handle.latest().park());
    }
}

impl<I: Id> OpenWindows<I> {
    /// Makes those of a client that can resume them.
    pub(crate) fn resumable() -> Self {
        Self {
            windows: Vec::new(),
            resumes: true,
        }
    }

    /// Makes those of the same client on another list, without any.
    pub(crate) fn like(&self) -> Self {
        Self {
            windows: Vec::new(),
            resumes: self.resumes,
        }
    }

    /// Returns whether the client can resume them.
    pub(crate) const fn is_resumable(&self) -> bool {
        self.resumes
    }

    /// Adds a window that was opened.
    pub(crate) fn push(&mut self, spec: WindowSpec<I>, opened: &Opened<I>) {
        self.windows
            .push(OpenWindow::new(spec, opened, self.resumes));
    }

    /// Puts a window that was opened in place of the one at `at`.
    pub(crate) fn replace(&mut self, at: usize, spec: WindowSpec<I>, opened: &Opened<I>) {
        self.windows[at] = OpenWindow::new(spec, opened, self.resumes);
    }

    /// Returns the position of a window by its name.
    pub(crate) fn position(&self, spec: &WindowSpec<I>) -> Option<usize> {
        self.windows.iter().position(|window| window.spec == *spec)
    }

    /// Returns the position of a window by its name or one it had.
    pub(crate) fn find(&self, spec: &WindowSpec<I>) -> Option<usize> {
        let formerly = |window: &OpenWindow<I>| window.former.contains(spec);
        self.position(spec)
            .or_else(|| self.windows.iter().position(formerly))
    }

    /// Returns the position of a window by any name its client may know.
    pub(crate) fn find_merged(&self, spec: &WindowSpec<I>) -> Option<usize> {
        let merged = |window: &OpenWindow<I>| window.merged.contains(spec);
        self.find(spec)
            .or_else(|| self.windows.iter().position(merged))
    }

    /// Returns the positions of the windows that a client asks for together. A bundle that the client
    /// did not take may have given one of these names to another window: that one is asked for by a
    /// name that it had before, and so the name means the window that left it. `None` if one is not
    /// open. O(windows x former names).
    pub(crate) fn find_all(&self, asked: &[WindowSpec<I>]) -> Option<Vec<usize>> {
        let left = asked.iter().filter(|name| self.position(name).is_none());
        let mut left: Vec<_> = left.collect();
        let mut next = 0;
        while let Some(name) = left.get(next).copied() {
            next += 1;
            let named = self.windows.iter();
            let named = named.filter(|window| window.former.contains(name));
            let given = named.map(|window| &window.spec);
            let given: Vec<_> = given
                .filter(|given| asked.contains(given) && !left.contains(given))
                .collect();
            left.extend(given);
        }
        let position = |name: &WindowSpec<I>| {
            let leaver = |window: &OpenWindow<I>| {
                window.spec != *name && window.former.contains(name) && left.contains(&name)
            };
            let leaver = self.windows.iter().position(leaver);
            leaver.or_else(|| self.find_merged(name))
        };
        asked.iter().map(position).collect()
    }

    /// Lets a name be a window's own again.
    pub(crate) fn forget_former(&mut self, spec: &WindowSpec<I>) {
        for window in self.windows.iter_mut() {
            window.former.retain(|former| former != spec);
            window.merged.retain(|merged| merged != spec);
        }
    }

    /// Checks that its viewer may open the windows that a client says it holds.
    pub(crate) fn check_claims(&self, claims: &[Claim<I>]) -> Result<(), WindowError> {
        let new = claims.iter().map(|claim| &claim.spec);
        let new = new.filter(|spec| self.find_merged(spec).is_none());
        let searches = new.clone().filter(|spec| spec.is_search()).count();
        let max = VIEWER_WINDOWS_MAX;
        if self.windows.len() + new.count() > max || claims.len() > max {
            return Err(WindowError::TooManyWindows { max });
        }
        self.check_search_count(searches)
    }

    /// Checks that its viewer may hold one more window, and not the one at `instead`.
    pub(crate) fn check_searches(
        &self,
        spec: &WindowSpec<I>,
        instead: Option<usize>,
    ) -> Result<(), WindowError> {
        if !spec.is_search() {
            return Ok(());
        }
        let instead = instead.filter(|at| self.windows[*at].spec.is_search());
        self.check_search_count(1 - usize::from(instead.is_some()))
    }

    /// Checks that its viewer may hold so many more searches.
    fn check_search_count(&self, new: usize) -> Result<(), WindowError> {
        let held = self
            .windows
            .iter()
            .filter(|window| window.spec.is_search())
            .count();
        let max = VIEWER_SEARCHES_MAX;
        match new > 0 && held + new > max {
            true => Err(WindowError::TooManySearches { max }),
            false => Ok(()),
        }
    }

    /// Holds windows as they were read, and returns their frames.
    pub(crate) fn hold_all(&mut self, shown: Vec<Shown<I>>) -> Vec<Arc<Shared<Frame<I>>>> {
        let mut frames = Vec::with_capacity(shown.len());
        for shown in shown {
            let Shown {
                asked,
                held,
                opened,
            } = shown;
            // A window may have become one with another since.
            let at = self.position(&held);
            if let Some(at) = at.or_else(|| self.find_merged(&asked)) {
                self.windows[at].hold(&opened.handle, &opened.frame);
                frames.push(under_name(&opened.frame, asked.to_string().into()));
                self.drop_double(at);
            }
        }
        frames
    }

    /// Takes the frames of a tick into the bundle.
    pub(crate) fn take(&mut self, tick: &Tick<I>, missed_some: bool, bundle: &mut Bundle<I>) {
        self.put_leaving_first();
        let mut at = 0;
        while let Some(window) = self.windows.get_mut(at) {
            window.take(tick, missed_some, bundle);
            at += usize::from(!self.drop_double(at));
        }
    }

    /// Says where all windows are whose rows the client has.
    pub(crate) fn places(&self) -> Vec<Base> {
        let known = self.windows.iter().filter(|window| !window.stale);
        let places = known.filter_map(|window| {
            let handle = window.handle.as_ref()?;
            Some(Base {
                window: handle.name().clone(),
                base_index: window.base_index,
            })
        });
        places.collect()
    }

    /// Puts windows that have left their names before those that have got these names since. Windows
    /// whose names go in a ring keep their names, and are sent whole. O(windows^2) if one was
    /// renamed.
    fn put_leaving_first(&mut self) {
        if !self.windows.iter().any(OpenWindow::is_renamed) {
            return;
        }
        let names = self.windows.iter();
        let renames = Renames::new(names.map(|it| (it.spec.clone(), it.latest_spec())));
        let handles: Vec<_> = self.windows.iter().map(|it| it.handle.clone()).collect();
        for (at, handle) in handles.into_iter().enumerate() {
            if let Some(named) = renames.ring(at) {
                (self.windows[named].handle, self.windows[named].stale) = (handle, true);
            }
        }
        renames.put_leaving_first(&mut self.windows);
    }

    /// Lets the window at `at`, just renamed by a frame, go if it has become one with another. The
    /// other continues from that frame; the client does the same.
    pub(crate) fn drop_double(&mut self, at: usize) -> bool {
        let spec = &self.windows[at].spec;
        let same = |(i, window): (usize, &OpenWindow<I>)| i != at && window.spec == *spec;
        let Some(other) = self.windows.iter().enumerate().position(same) else {
            return false;
        };
        let gone = self.windows.remove(at);
        self.windows[other - usize::from(other > at)].absorb(gone);
        true
    }

    /// Returns what the client has of the windows.
    pub(crate) fn names(&self) -> Vec<WindowVersion> {
        self.windows.iter().map(OpenWindow::shown).collect()
    }
}

impl<I: Id> OpenWindow<I> {
    fn new(spec: WindowSpec<I>, opened: &Opened<I>, resumes: bool) -> Self {
        if resumes {
            opened.handle.keep_log();
        }
        Self {
            resumes,
            spec,
            name: opened.handle.name().clone(),
            handle: Some(opened.handle.clone()),
            version: opened.version,
            base_index: opened.base_index,
            stale: false,
            asked: None,
            former: Vec::new(),
            merged: Vec::new(),
        }
    }

    /// Returns what the client has of the window, if it lost nothing.
    pub(crate) fn shown(&self) -> WindowVersion {
        WindowVersion {
            window: self.name.clone(),
            version: Some(self.version),
        }
    }

    /// Returns whether the window has become another one since its viewer was told of it.
    pub(crate) fn is_renamed(&self) -> bool {
        self.handle
            .as_ref()
            .is_some_and(|handle| handle.is_renamed())
    }

    /// Returns the name that the window has by now.
    pub(crate) fn latest_spec(&self) -> WindowSpec<I> {
        let latest = self.handle.as_ref().map(Handle::latest);
        latest.map_or_else(|| self.spec.clone(), |latest| latest.spec().clone())
    }

    pub(crate) fn has_base(&self) -> bool {
        self.handle
            .as_ref()
            .is_some_and(|handle| handle.has_base(self.version))
    }

    /// Holds the rows of a SYNC of `handle`.
    pub(crate) fn hold(&mut self, handle: &Arc<Handle<I>>, sync: &Frame<I>) {
        (self.version, self.base_index) = (sync.new_version, sync.base_index);
        (self.stale, self.asked) = (false, None);
        self.go_over_to(handle);
    }

    /// Lets go of the window, so that nothing is published for it.
    pub(crate) fn release(&mut self) {
        (self.handle, self.asked) = (None, None);
        self.stale = true;
    }

    /// Returns whether a tick has a SYNC of this window.
    pub(crate) fn is_in(&self, tick: &Tick<I>) -> bool {
        let sync = |handle: &Arc<Handle<I>>| tick.sync(&handle.latest()).is_some();
        self.handle.as_ref().is_some_and(sync)
    }

    /// Asks for a SYNC of this window in the ticks to come.
    pub(crate) fn ask(&mut self) {
        let latest = self.handle.as_ref().map(Handle::latest);
        self.asked = latest.map(|handle| handle.await_sync());
    }

    /// Returns whether the frames of a tick do not start from what this window shows.
    pub(crate) fn misses(&self, tick: &Tick<I>, missed_some: bool) -> bool {
        let Some(handle) = self.handle.as_ref().filter(|_| !self.stale) else {
            return true;
        };
        if self.version > tick.version {
            return false; // It was shown since.
        }
        match tick.frame_from(handle, self.version) {
            Some(_) => tick.renamed(handle).is_some_and(|next| next.is_none()),
            None if tick.is_past(handle, self.version) => true,
            None if is_broken(Fault::GoOnAfterMiss) => false,
            None => missed_some && !handle.has_base(self.version),
        }
    }

    /// Takes the frame of a tick for this window into the bundle.
    pub(crate) fn take(&mut self, tick: &Tick<I>, missed_some: bool, bundle: &mut Bundle<I>) {
        self.stale = self.misses(tick, missed_some);
        let Some(handle) = self.handle.clone() else {
            return;
        };
        if self.stale {
            return self.start_afresh(tick, &handle.latest(), bundle);
        }
        if self.version > tick.version {
            return;
        }
        if let Some(frame) = tick.frame_from(&handle, self.version) {
            let next = tick.renamed(&handle);
            if let Some(None) = next {
                self.stale = true; // It was renamed again, just now.
                return self.start_afresh(tick, &handle.latest(), bundle);
            }
            (self.version, self.base_index) = (frame.new_version, frame.base_index);
            bundle.frames.push(frame.clone());
            if let Some(next) = next.flatten() {
                self.go_over_to(&next);
            }
        } else if let Some(base_index) = tick.base_index(&handle) {
            self.place(base_index, bundle);
        } else if missed_some {
            self.place(handle.base_index(), bundle);
        }
    }

    /// Takes the SYNC of a tick, or asks for one.
    fn start_afresh(&mut self, tick: &Tick<I>, latest: &Arc<Handle<I>>, bundle: &mut Bundle<I>) {
        let Some(sync) = tick.sync(latest) else {
            return self.ask();
        };
        bundle.frames.push(under_name(sync, self.name.clone()));
        self.hold(latest, sync);
    }

    /// Says where the window is now, if the client does not know.
    pub(crate) fn place(&mut self, base_index: u64, bundle: &mut Bundle<I>) {
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

    /// Holds the window by `handle` from now on, under its name.
    fn go_over_to(&mut self, handle: &Arc<Handle<I>>) {
        if self.spec != *handle.spec() {
            self.name = handle.name().clone();
            let old = std::mem::replace(&mut self.spec, handle.spec().clone());
            remember(&mut self.former, [old]);
        }
        self.handle = Some(handle.clone());
        if self.resumes {
            handle.keep_log();
        }
    }

    /// Takes over the names and tokens of `gone`, which has become the same window.
    pub(crate) fn absorb(&mut self, mut gone: Self) {
        let names = std::mem::take(&mut gone.former);
        let merged = std::mem::take(&mut gone.merged);
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

//! Reads windows for a viewer, and makes its answers of them.

use std::sync::Arc;

use super::Viewer;
use crate::member_list::Id;
use crate::member_list::frames::model::{Bundle, Counts, Frame, Shared};
use crate::member_list::windows::bodies::Bodies;
use crate::member_list::windows::live::LiveList;
use crate::member_list::windows::open_window::OpenWindow;
use crate::member_list::windows::registry::Opened;
use crate::member_list::windows::renames::Shown;
use crate::member_list::windows::spec::{WindowError, WindowSpec};

impl<I: Id> Viewer<I> {
    /// Lets go of all windows, so that nothing is published for them.
    pub(super) fn release(&mut self) {
        self.windows.iter_mut().for_each(OpenWindow::release);
    }

    pub(super) fn show(
        &mut self,
        list: &mut LiveList<'_, I>,
        spec: &WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        spec.check()?;
        if self.whole_rows {
            if !matches!(spec, WindowSpec::Chunk(_)) || !list.has_headers() {
                return Err(WindowError::Unsupported);
            }
            self.whole_rows_token = Some(list.windows.request_whole_rows());
        }
        self.enter(list);
        list.open_window(spec, bodies)
    }

    /// Notes the epoch of the list from which the viewer is answered.
    pub(super) fn enter(&mut self, list: &LiveList<'_, I>) {
        if self.era != list.windows.era() {
            self.era = list.windows.era();
            self.windows
                .iter_mut()
                .for_each(|window| window.stale = true);
        }
    }

    /// Notes that a viewer which is answered has all that was published, except for windows that it
    /// already holds.
    pub(super) fn stay_at(&mut self, list: &LiveList<'_, I>) {
        if self.windows.is_empty() {
            self.last_tick = list.windows.ticks();
            self.mark = None;
        }
        self.mark.get_or_insert_with(|| list.windows.mark());
    }

    /// Reads a held window, which its client asks for by this name. Nothing has changed for the viewer
    /// until it is held.
    pub(super) fn look(
        &mut self,
        at: usize,
        asked: WindowSpec<I>,
        list: &mut LiveList<'_, I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Shown<I>, WindowError> {
        let window = &self.windows[at];
        let held = window.spec.clone();
        let base_index = window.base_index;
        let spec = window.latest_spec();
        let opened = match self.show(list, &spec, bodies) {
            // The anchor is gone: the row at its place, or the start of an empty list.
            Err(WindowError::UnknownAnchor) => {
                let spec = list.fallback(&spec, base_index);
                self.show(list, &spec, bodies)
            }
            shown => shown,
        }?;
        Ok(Shown {
            asked,
            held,
            opened,
        })
    }

    /// Reads the windows that have left names which windows of an answer get: the client must be told
    /// of them too, or it would take two windows for one.
    pub(super) fn look_at_leaving(
        &mut self,
        shown: &mut Vec<Shown<I>>,
        list: &mut LiveList<'_, I>,
        bodies: Bodies<'_, I>,
    ) -> Result<(), WindowError> {
        let mut next = 0;
        while let Some(Shown { opened, .. }) = shown.get(next) {
            next += 1;
            let named = self.windows.position(opened.handle.spec());
            let Some(at) = named.filter(|at| self.windows[*at].is_renamed()) else {
                continue;
            };
            let asked = self.windows[at].spec.clone();
            if shown.iter().all(|it| it.held != asked) {
                shown.push(self.look(at, asked, list, bodies)?);
            }
        }
        Ok(())
    }

    /// Reads all windows for a viewer whose operations shift the rows below them: the windows must
    /// be of one moment.
    pub(super) fn look_at_all(
        &mut self,
        list: &mut LiveList<'_, I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Vec<Shown<I>>, WindowError> {
        let windows = if self.whole_rows {
            self.windows.len()
        } else {
            0
        };
        let look = |at: usize| {
            let asked = self.windows[at].spec.clone();
            self.look(at, asked, list, bodies)
        };
        (0..windows).map(look).collect()
    }

    /// Holds windows as they were read; adds the frames of those that changed.
    pub(super) fn hold_others(
        &mut self,
        others: Vec<Shown<I>>,
        frames: &mut Vec<Arc<Shared<Frame<I>>>>,
    ) {
        for Shown { held, opened, .. } in others {
            let Some(at) = self.windows.position(&held) else {
                continue;
            };
            let window = &mut self.windows[at];
            if window.stale || window.version != opened.version {
                frames.push(opened.frame.clone());
            }
            window.hold(&opened.handle, &opened.frame);
        }
    }

    pub(super) fn answer(
        &mut self,
        list: &mut LiveList<'_, I>,
        mut frames: Vec<Arc<Shared<Frame<I>>>>,
        others: Vec<Shown<I>>,
    ) -> Bundle<I> {
        self.hold_others(others, &mut frames);
        let counts = list.answer_counts();
        self.head(list, frames, counts)
    }

    /// An answer with these frames and all counts.
    pub(super) fn head(
        &mut self,
        list: &LiveList<'_, I>,
        frames: Vec<Arc<Shared<Frame<I>>>>,
        counts: Arc<Shared<Counts>>,
    ) -> Bundle<I> {
        self.source = Some(list.windows.serial());
        self.counts_version = counts.version;
        self.groups = self.whole_rows.then(|| counts.clone());
        self.era = list.windows.era();
        // Before the first tick no time is known.
        self.last_bundle = (list.windows.ticks() > 0).then(|| list.windows.now());
        Bundle {
            list: list.windows.list().clone(),
            epoch: list.windows.epoch().clone(),
            version: list.windows.version(),
            frames,
            counts: Some(counts),
            bases: Vec::new(),
            windows: self.windows.names(),
        }
    }
}

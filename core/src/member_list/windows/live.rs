//! A list with the changes since its last tick and its windows: all that viewers need of it.

use std::sync::Arc;

use crate::member_list::Id;
use crate::member_list::changes::Changes;
use crate::member_list::frames::model::{Counts, Shared};
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::windows::bodies::Bodies;
use crate::member_list::windows::counts::counts;
use crate::member_list::windows::registry::{Opened, Windows};
use crate::member_list::windows::resume::Claim;
use crate::member_list::windows::row::row_near;
use crate::member_list::windows::spec::{WindowError, WindowSpec};

/// A list that viewers can watch: a [`MemberList`](crate::member_list::MemberList), or a list of a
/// [`MemberTable`](crate::member_list::MemberTable).
pub trait Watchable<I>: Live<I> {}

#[expect(unnameable_types, reason = "the usual seal: lists are those here")]
/// The seal of [`Watchable`].
pub trait Live<I> {
    /// Borrows what viewers need.
    fn live(&mut self) -> LiveList<'_, I>;
}

/// A list that was borrowed for its viewers.
#[derive(Debug)]
pub struct LiveList<'a, I> {
    pub(crate) list: ListRef<'a, I>,
    pub(crate) changes: &'a mut Changes<I>,
    pub(crate) windows: &'a mut Windows<I>,
}

impl<I: Id> Live<I> for LiveList<'_, I> {
    fn live(&mut self) -> LiveList<'_, I> {
        LiveList {
            list: self.list,
            changes: self.changes,
            windows: self.windows,
        }
    }
}

impl<I: Id> Watchable<I> for LiveList<'_, I> {}

impl<I: Id> LiveList<'_, I> {
    pub(crate) fn has_headers(&self) -> bool {
        self.list.groups().headers()
    }

    /// Shows one viewer a window as the list is now.
    pub(crate) fn open_window(
        &mut self,
        spec: &WindowSpec<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        if !self.windows.is_watched() {
            // The window is read from the list as it is now, so earlier notes are already in it.
            self.changes.clear_rows();
        }
        let anchored = matches!(spec, WindowSpec::Anchored { .. });
        self.changes
            .watch(true, anchored || self.windows.has_anchored());
        let builder = self.windows.builder(self.list, self.changes, bodies);
        self.windows.open(spec, &builder)
    }

    /// Shows a viewer what changed in a window since the version that its client holds.
    pub(crate) fn resume_window(
        &mut self,
        claim: &Claim<I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Opened<I>, WindowError> {
        if !self.windows.is_watched() {
            self.changes.clear_rows();
        }
        // The window may be one around an anchor by now.
        self.changes.watch(true, true);
        let builder = self.windows.builder(self.list, self.changes, bodies);
        self.windows.resume(claim, builder)
    }

    /// Returns totals and groups for an answer. The list gets a version of its own for it: by that
    /// version a client knows that the answer is newer than its bundles at the time of the request.
    pub(crate) fn answer_counts(&mut self) -> Arc<Shared<Counts>> {
        self.windows.answer_counts(counts(self.list, 0))
    }

    /// Returns another window where the one with a lost anchor was.
    pub(crate) fn fallback(&self, spec: &WindowSpec<I>, base_index: u64) -> WindowSpec<I> {
        row_near(self.list, base_index).map_or(WindowSpec::Chunk(0), |row| spec.reanchored(row.key))
    }
}

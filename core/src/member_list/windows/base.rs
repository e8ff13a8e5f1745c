//! The rows of a window at one version, from which frames start.

use std::sync::Arc;

use crate::member_list::Id;
use crate::member_list::frames::checksum::Checksum;
use crate::member_list::frames::model::RowKey;
use crate::member_list::frames::model::{Frame, Shared};
use crate::member_list::windows::diff::Diffable;
use crate::member_list::windows::row::WindowRow;

/// The rows of a window at one version.
#[derive(Debug)]
pub(crate) struct WindowBase<I> {
    pub(crate) version: u64,
    pub(crate) rows: Vec<WindowRow<I>>,
    /// The number of renumberings of slots before the rows were read.
    pub(crate) renumberings: u64,
    pub(crate) checksum32: u32,
    /// The matches of a search on all pages.
    pub(crate) matches: Option<u64>,
    /// The SYNC of this version, once made.
    pub(crate) sync: Option<Arc<Shared<Frame<I>>>>,
}

impl<I: Id> WindowBase<I> {
    pub(crate) fn new(version: u64, rows: Vec<WindowRow<I>>, renumberings: u64) -> Self {
        let mut sum = Checksum::with_room_for(rows.len());
        for row in &rows {
            match &row.key {
                RowKey::Header(group) => sum.header(group, row.stamp),
                RowKey::Member(id) => sum.member(id, row.stamp),
            }
        }
        Self {
            version,
            rows,
            renumberings,
            checksum32: sum.finish(),
            matches: None,
            sync: None,
        }
    }

    /// Makes the rows of an earlier version, of which no checksum is needed.
    pub(crate) const fn past(version: u64, rows: Vec<WindowRow<I>>) -> Self {
        Self {
            version,
            rows,
            renumberings: 0,
            checksum32: 0,
            matches: None,
            sync: None,
        }
    }

    /// Returns the memory of the rows in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.iter().map(WindowRow::bytes).sum()
    }

    /// Notes the matches of a search.
    pub(crate) fn with_matches(mut self, matches: Option<u64>) -> Self {
        self.matches = matches;
        self
    }
}

/// Returns whether both show the same.
pub(crate) fn same<I: Id>(a: &[WindowRow<I>], b: &[WindowRow<I>]) -> bool {
    let same_row = |(a, b): (&WindowRow<I>, &WindowRow<I>)| a.key == b.key && a.same_content(b);
    a.len() == b.len() && a.iter().zip(b).all(same_row)
}

/// The same frame for a client that knows the window by the name `asked`.
pub(crate) fn under_name<I: Id>(
    frame: &Arc<Shared<Frame<I>>>,
    asked: Arc<str>,
) -> Arc<Shared<Frame<I>>> {
    if frame.window == asked {
        return frame.clone();
    }
    let mut frame = Frame::clone(frame);
    frame.renamed = Some(std::mem::replace(&mut frame.window, asked));
    Arc::new(Shared::new(frame))
}

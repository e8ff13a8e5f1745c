//! Windows of a search: pages of the members whose keys begin with a text.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Fault, is_broken};
use crate::member_list::frames::model::RowKey;
use crate::member_list::limits::{SEARCH_GROUPS_MAX, SEARCH_ROWS};
use crate::member_list::store::groups::GroupId;
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::windows::row::{NO_SLOT, WindowRow};
use crate::member_list::{Id, SortKey};

/// Least time between two publications of a window.
const INTERVAL: Duration = Duration::from_secs(1);

/// A page of the members of a list whose keys begin with a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Search {
    /// The beginning of the keys.
    pub prefix: SortKey,
    /// The page: 50 rows.
    pub page: u32,
    /// The only group that is searched; all groups, with headers, if `None`.
    pub group: Option<Arc<str>>,
}

/// The rows of a page.
#[derive(Debug)]
pub(crate) struct Found<I> {
    pub(crate) rows: Vec<WindowRow<I>>,
    /// The matches of all pages.
    pub(crate) matches: u64,
}

impl Search {
    /// The index of the first row of the page among all rows of the search.
    pub(crate) const fn base_index(&self) -> usize {
        self.page as usize * SEARCH_ROWS
    }

    /// Reads the rows of the page as they are now. O(groups x log n).
    pub(crate) fn read<I: Id>(&self, list: ListRef<'_, I>) -> Found<I> {
        let groups = list.groups();
        let searched: Vec<GroupId> = match &self.group {
            Some(name) => groups.by_name(name).into_iter().collect(),
            None if groups.order().len() > SEARCH_GROUPS_MAX => Vec::new(),
            None => groups.order().to_vec(),
        };
        let mut rows = Vec::new();
        let mut matches = 0;
        let mut above = self.base_index();
        for group in searched.into_iter().filter(|group| !groups[*group].hidden) {
            let found = list.matches(group, &self.prefix);
            if found.is_empty() {
                continue;
            }
            matches += found.len() as u64;
            if self.group.is_none() && groups.headers() {
                match above.checked_sub(1) {
                    Some(less) => above = less,
                    None if rows.len() < SEARCH_ROWS => rows.push(WindowRow {
                        key: RowKey::Header(groups[group].name.as_ref().into()),
                        stamp: found.len() as u32,
                        attrs: 0,
                        slot: NO_SLOT,
                    }),
                    None => {}
                }
            }
            let shown = found.len().saturating_sub(above);
            let shown = shown.min(SEARCH_ROWS - rows.len());
            let positions = (above..above + shown).map(|at| match groups.descending() {
                true => found.end - 1 - at,
                false => found.start + at,
            });
            rows.extend(positions.filter_map(|at| WindowRow::member(list, group, at)));
            above = above.saturating_sub(found.len());
        }
        let matches = if is_broken(Fault::CountPage) {
            rows.len() as u64
        } else {
            matches
        };
        Found { rows, matches }
    }

    /// The same search in a group that has another name by now.
    pub(crate) fn in_group(&self, name: &str) -> Self {
        Self {
            group: Some(name.into()),
            ..self.clone()
        }
    }
}

/// The times at which a window of a search is published.
#[derive(Debug, Default)]
pub(crate) struct SearchClock {
    last: Option<Duration>,
    /// A change came too early.
    is_late: bool,
}

impl SearchClock {
    /// Returns whether it is time to look for changes, of which there were some or none since the
    /// last call.
    pub(crate) fn is_due(&mut self, now: Duration, changed: bool) -> bool {
        self.is_late |= changed;
        let is_early = |last| now >= last && now - last < INTERVAL;
        if !self.is_late || self.last.is_some_and(is_early) {
            self.is_late &= !is_broken(Fault::ForgetEarlyChange);
            return false;
        }
        self.is_late = false;
        self.last = Some(now);
        true
    }
}

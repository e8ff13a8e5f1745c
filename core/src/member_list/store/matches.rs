//! The members of a list whose keys begin with a text.

use std::ops::Range;

use crate::member_list::store::groups::GroupId;
use crate::member_list::store::list_ref::ListRef;
use crate::member_list::{Id, SortKey};

/// The members of a list whose keys begin with a text, as the list is at the moment of the search.
///
/// Members of hidden groups never match. Those of collapsed groups do, but they have no rows:
/// [`nth`](Self::nth), [`next`](Self::next) and [`previous`](Self::previous) leave them out.
///
/// ```
/// use headcount::{ListOptions, MemberList, SortKey};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// let groups = list.set_groups(&["online", "offline"])?;
/// for (id, group, name) in [(1, 0, "Anna"), (2, 0, "Max"), (3, 1, "Moritz"), (4, 1, "Zoe")] {
///     list.upsert(id, groups[group], &SortKey::from_name(name), 0)?;
/// }
/// let matches = list.search_prefix(&SortKey::from_name("m"));
/// assert_eq!(matches.count(), 2);
/// assert_eq!((matches.nth(0), matches.nth(1)), (Some(2), Some(4)));
/// assert_eq!((matches.next(2), matches.previous(2)), (Some(4), None));
/// # Ok::<(), headcount::ListError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matches {
    groups: Vec<GroupMatches>,
}

/// The matches of a search in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMatches {
    /// The group.
    pub group: GroupId,
    /// The members that match.
    pub count: usize,
    /// The row of the first of them, which the others follow; `None` when the group is collapsed.
    pub first_index: Option<usize>,
}

impl GroupMatches {
    fn rows(&self) -> Option<Range<usize>> {
        self.first_index.map(|first| first..first + self.count)
    }
}

impl Matches {
    /// Searches a list. O(groups x log n).
    pub(crate) fn find<I: Id>(list: ListRef<'_, I>, prefix: &SortKey) -> Self {
        let groups = list.groups();
        let found = |&group: &GroupId| {
            let positions = list.matches(group, prefix);
            let first = match groups.descending() {
                true => positions.end.checked_sub(1)?,
                false => positions.start,
            };
            let is_found = !positions.is_empty() && !groups[group].hidden;
            is_found.then(|| GroupMatches {
                group,
                count: positions.len(),
                first_index: groups.member_row(group, first),
            })
        };
        Self {
            groups: groups.order().iter().filter_map(found).collect(),
        }
    }

    /// Returns how many members match. O(groups).
    #[must_use]
    pub fn count(&self) -> usize {
        self.groups.iter().map(|group| group.count).sum()
    }

    /// Returns the matches of each group that has some, in the order of the list.
    #[must_use]
    pub fn groups(&self) -> &[GroupMatches] {
        &self.groups
    }

    /// Returns the row of a match, counted from 0. O(groups).
    #[must_use]
    pub fn nth(&self, n: usize) -> Option<usize> {
        let mut rest = n;
        for rows in self.rows() {
            if rest < rows.len() {
                return Some(rows.start + rest);
            }
            rest -= rows.len();
        }
        None
    }

    /// Returns the row of the first match below a row. O(groups).
    #[must_use]
    pub fn next(&self, row: usize) -> Option<usize> {
        let mut after = self.rows().filter(|rows| rows.end > row + 1);
        after.next().map(|rows| rows.start.max(row + 1))
    }

    /// Returns the row of the last match above a row. O(groups).
    #[must_use]
    pub fn previous(&self, row: usize) -> Option<usize> {
        let before = self.rows().filter(|rows| rows.start < row);
        before.last().map(|rows| rows.end.min(row) - 1)
    }

    fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        self.groups.iter().filter_map(GroupMatches::rows)
    }
}

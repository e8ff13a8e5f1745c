//! Counts: totals and groups, at most once a second, encoded once for all viewers.

use std::sync::Arc;
use std::time::Duration;

use crate::member_list::Id;
use crate::member_list::frames::model::{Counts, CountsTable, GroupCount, Shared};
use crate::member_list::store::list_ref::ListRef;

/// Least time between two publications.
const INTERVAL: Duration = Duration::from_secs(1);
/// Groups up to which the full table is sent every time.
const FULL_TABLE_GROUPS_MAX: usize = 64;

/// Returns totals and groups as they are, under a version of the list. O(groups).
pub(crate) fn counts<I: Id>(list: ListRef<'_, I>, version: u64) -> Counts {
    let groups = list.groups().infos().map(|group| GroupCount {
        group: group.name.into(),
        count: group.count as u32,
        hidden: group.hidden,
        collapsed: group.collapsed,
    });
    Counts {
        version,
        rows: list.len() as u64,
        members: list.member_count() as u64,
        headers: list.groups().headers(),
        table: CountsTable::Full(groups.collect()),
    }
}

/// Returns whether counts are a full table that is sent every time.
pub(crate) fn is_small(counts: &Counts) -> bool {
    matches!(&counts.table, CountsTable::Full(groups) if groups.len() <= FULL_TABLE_GROUPS_MAX)
}

/// Decides when counts go out, and in which form.
#[derive(Debug, Default)]
pub(crate) struct CountsPublisher {
    last: Option<Arc<Shared<Counts>>>,
    last_at: Option<Duration>,
    /// A viewer was given other counts than `last` when it opened a window.
    strayed: bool,
    /// The counts that such a viewer was given.
    on_open: Option<Arc<Shared<Counts>>>,
}

/// Counts as they go out.
#[derive(Clone, Debug)]
pub(crate) struct CountsStep {
    /// The full table.
    pub(crate) full: Arc<Shared<Counts>>,
    /// For viewers that hold the version it starts from: only what changed.
    pub(crate) delta: Option<Arc<Shared<Counts>>>,
}

impl CountsPublisher {
    /// Returns whether it is time to publish again.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.last_at
            .is_none_or(|last| now.saturating_sub(last) >= INTERVAL || now < last)
    }

    /// Returns the last publication, for viewers that missed it.
    pub(crate) fn last(&self) -> Option<Arc<Shared<Counts>>> {
        self.last.clone()
    }

    /// Notes that something went out at `now`.
    pub(crate) const fn sent(&mut self, now: Duration) {
        self.last_at = Some(now);
    }

    /// The step from the last publication to `counts`; `None` when every viewer has them.
    pub(crate) fn publish(&mut self, counts: Counts) -> Option<CountsStep> {
        if !self.strayed && self.last.as_ref().is_some_and(|last| same(last, &counts)) {
            return None;
        }
        let delta = self.last.as_ref().and_then(|last| delta(last, &counts));
        let full = Arc::new(Shared::new(counts));
        self.last = Some(full.clone());
        self.strayed = false;
        self.on_open = None;
        Some(CountsStep {
            full,
            delta: delta.map(|delta| Arc::new(Shared::new(delta))),
        })
    }

    /// The full table for one viewer. `fresh` are the counts of now, `version` a new list version
    /// for them if no viewer has them yet.
    pub(crate) fn for_open(
        &mut self,
        mut fresh: Counts,
        version: impl FnOnce() -> u64,
    ) -> Arc<Shared<Counts>> {
        let known = [&self.on_open, &self.last].into_iter().flatten();
        let newest = known.max_by_key(|counts| counts.version).cloned();
        if let Some(known) = newest
            && same(&known, &fresh)
        {
            return known;
        }
        fresh.version = version();
        let fresh = Arc::new(Shared::new(fresh));
        if self.last.is_none() {
            self.last = Some(fresh.clone());
        } else {
            self.strayed = true;
            self.on_open = Some(fresh.clone());
        }
        fresh
    }
}

fn same(a: &Counts, b: &Counts) -> bool {
    (a.rows, a.members, a.headers, &a.table) == (b.rows, b.members, b.headers, &b.table)
}

/// Returns what changed in the counts alone; `None` when a full table must be sent.
fn delta(old: &Counts, new: &Counts) -> Option<Counts> {
    let (CountsTable::Full(old_groups), CountsTable::Full(groups)) = (&old.table, &new.table)
    else {
        return None;
    };
    let same_group = |(a, b): (&GroupCount, &GroupCount)| {
        (&a.group, a.hidden, a.collapsed) == (&b.group, b.hidden, b.collapsed)
    };
    let same_table = old.headers == new.headers
        && old_groups.len() == groups.len()
        && old_groups.iter().zip(groups).all(same_group);
    if groups.len() <= FULL_TABLE_GROUPS_MAX || !same_table {
        return None;
    }
    let changed = old_groups
        .iter()
        .zip(groups)
        .filter(|(old, new)| old.count != new.count);
    let changed = changed
        .map(|(_, new)| (new.group.clone(), new.count))
        .collect();
    Some(Counts {
        table: CountsTable::Delta {
            base_version: old.version,
            changed,
        },
        ..*new
    })
}

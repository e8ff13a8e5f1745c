//! The changes of one Diff, user by user.

use arrayvec::ArrayVec;

use super::RosterReport;
use super::placement::Placement;
use super::sessions::Name;
use crate::member_list::{FETCHED_MAX, Id};
use crate::tracker::{EntryBuf, Update};

/// A change of one session. A session whose placement is `None` does not count.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Begin(&'a EntryBuf, Option<Placement>),
    Update(&'a Update, Option<Placement>),
    End(&'a EntryBuf),
    Drop(Name),
}

/// All changes of a Diff. The mapping has been asked about each, so that a panic of it changes
/// nothing.
#[derive(Debug)]
pub(super) struct Round<'a, I> {
    ids: Vec<I>,
    /// Those of the ids. Each is taken once.
    steps: Vec<Option<Step<'a>>>,
    report: RosterReport<I>,
}

impl<'a, I: Id> Round<'a, I> {
    pub(super) fn with_capacity(steps: usize) -> Self {
        Self {
            ids: Vec::with_capacity(steps),
            steps: Vec::with_capacity(steps),
            report: RosterReport::default(),
        }
    }

    /// Adds the step of an entry, if its key is an id; counts it as foreign otherwise.
    pub(super) fn add(
        &mut self,
        entry: &EntryBuf,
        step: impl FnOnce(&mut RosterReport<I>, &I) -> Step<'a>,
    ) {
        let Some(id) = entry.key_str().and_then(I::parse_text) else {
            self.report.foreign += 1;
            return;
        };
        let step = step(&mut self.report, &id);
        self.push(id, step);
    }

    pub(super) fn push(&mut self, id: I, step: Step<'a>) {
        self.ids.push(id);
        self.steps.push(Some(step));
    }

    /// Calls `work` with each user, in the order of the ids, and their steps, in the order in which
    /// they were added; and before that, for each block of users, `begin` with their ids. Returns
    /// the report. O(k log k) beside the work.
    pub(super) fn for_each_user<C>(
        self,
        context: &mut C,
        begin: impl Fn(&C, &[&I]),
        mut work: impl FnMut(&mut C, &I, &mut dyn Iterator<Item = Step<'a>>, &mut RosterReport<I>),
    ) -> RosterReport<I> {
        let Self {
            ids,
            mut steps,
            mut report,
        } = self;
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by(|&one, &other| ids[one].cmp(&ids[other]));
        let mut users = order.chunk_by(|&one, &other| ids[one] == ids[other]);
        loop {
            let block: ArrayVec<&[usize], FETCHED_MAX> = users.by_ref().take(FETCHED_MAX).collect();
            if block.is_empty() {
                return report;
            }
            let ids_of: ArrayVec<&I, FETCHED_MAX> =
                block.iter().map(|places| &ids[places[0]]).collect();
            begin(context, &ids_of);
            for (id, places) in ids_of.into_iter().zip(block) {
                let mut steps = places.iter().filter_map(|&place| steps[place].take());
                work(context, id, &mut steps, &mut report);
            }
        }
    }
}

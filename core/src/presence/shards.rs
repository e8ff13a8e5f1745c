//! The work that the control plane asks for, done on the shards: the entries behind each lock.

use super::Presence;
use super::control::Control;
use crate::fault::{Fault, is_broken};
use crate::replica::{Action, Answered};

impl Presence {
    /// Tells the control plane of the own operations in a shard since it was last told.
    pub(super) fn report(&self, control: &mut Control, number: u8) {
        let mut shard = self.numbered(number).write();
        for state in shard.take_unreported() {
            let replica = &mut control.replica;
            replica.report_clock(control.now, state.partition, state.clock, state.entries);
        }
    }

    /// Does what the control plane asks for.
    pub(super) fn run(&self, control: &mut Control) {
        while let Some(action) = control.replica.poll_action() {
            if let Action::Reincarnate(id) = &action {
                self.id.write().clone_from(id);
            }
            if let Some(partition) = action.partition() {
                let number = self.number_of_partition(partition);
                self.execute(control, number, action);
                continue;
            }
            for number in 0..self.all_shards().count() as u8 {
                let was_working = control.working.contains(&number);
                self.execute(control, number, action.clone());
                // The first slice is done at once.
                if !was_working {
                    self.work_in(control, number);
                }
                if matches!(action, Action::Hide(_)) && is_broken(Fault::HideOneShard) {
                    break;
                }
            }
        }
    }

    /// Does one slice of the work that waits longest.
    pub(super) fn work(&self, control: &mut Control) {
        if let Some(number) = control.working.pop_front() {
            self.work_in(control, number);
            self.run(control);
        }
    }

    /// Drops remembered leaves that are too old, or too many.
    pub(super) fn trim_leaves(&self, control: &mut Control) {
        if control.is_time_to_look() {
            for shard in self.all_shards() {
                shard.write().trim_leaves(control.now);
            }
        }
        let now = control.now;
        control.leave_budget.enforce(now, &self.all_shards());
    }

    /// Makes the Diffs of all that reads of a topic's shard show already.
    pub(super) fn finish_visibility(&self, control: &mut Control, topic: &str) {
        let number = self.number_of(topic);
        let mut shard = self.shard(topic).write();
        let watched = |topic: &str| control.watched.contains(topic);
        let answers = shard.finish_visibility(topic, &watched);
        let is_working = shard.has_work();
        drop(shard);
        control.set_working(number, is_working);
        for answered in answers {
            self.settle(control, number, answered);
        }
        self.run(control);
    }

    /// Has a shard do what the control plane asks for.
    fn execute(&self, control: &mut Control, number: u8, action: Action) {
        let watched = |topic: &str| control.watched.contains(topic);
        let mut shard = self.numbered(number).write();
        let answered = shard.execute(action, &watched);
        let is_working = shard.has_work();
        drop(shard);
        control.set_working(number, is_working);
        self.settle(control, number, answered);
    }

    /// Does one slice of the work in a shard.
    fn work_in(&self, control: &mut Control, number: u8) {
        let watched = |topic: &str| control.watched.contains(topic);
        let mut shard = self.numbered(number).write();
        let answered = shard.work(&watched);
        let is_working = shard.has_work();
        drop(shard);
        control.set_working(number, is_working);
        if let Some(answered) = answered {
            self.settle(control, number, answered);
        }
    }

    /// Hands the answer to an action to the control plane, and its Diffs to the user, unless they
    /// are of counts.
    fn settle(&self, control: &mut Control, number: u8, answered: Answered) {
        let (report, diffs) = match answered {
            Answered::Push(pushed) => return control.replica.answer_push(pushed),
            Answered::Pull(served) => return control.replica.answer_pull(served),
            Answered::Applied(report, diffs) => (Some(report), diffs),
            Answered::Changed(diffs) => (None, diffs),
            Answered::Nothing => return,
        };
        if usize::from(number) < self.shards.len() {
            diffs.into_iter().for_each(|diff| control.note(diff));
        }
        if let Some(report) = report {
            control.replica.report_applied(&report);
        }
    }
}

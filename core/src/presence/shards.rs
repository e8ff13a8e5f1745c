//! The work that the control plane asks for, done on the shards: the entries behind each lock.

use parking_lot::{MutexGuard, RwLockWriteGuard};

use super::Presence;
use super::control::Control;
use crate::fault::{Fault, is_broken};
use crate::replica::{Action, Answered, Partitions, Watched};

/// Work that a shard has done, for the control plane.
#[derive(Debug, Clone)]
pub(super) struct Done {
    number: u8,
    answered: Answered,
    /// True if the shard has more work, in slices.
    is_working: bool,
}

impl Presence {
    /// Tells the control plane of the own operations in a shard since it was last told.
    pub(super) fn report(&self, control: &mut Control, number: u8) {
        let mut shard = self.numbered(number).write();
        for state in shard.take_unreported() {
            let replica = &mut control.replica;
            replica.report_clock(control.now, state.partition, state.clock, state.entries);
        }
    }

    /// Does what the control plane asks for. Other threads have the control lock while a frame is
    /// applied.
    pub(super) fn run_sharing(&self, control: &mut MutexGuard<'_, Control>) {
        while let Some(action) = control.replica.poll_action() {
            let Action::Apply(apply) = &action else {
                self.perform(control, action);
                continue;
            };
            let number = self.number_of_partition(apply.partition);
            let watched = control.watched.clone();
            // Locked before the control lock is free: a shard acts in the order of the actions.
            let shard = self.numbered(number).write();
            MutexGuard::unlocked(control, || {
                self.execute_in(shard, number, action, &|topic| watched.contains(topic));
            });
            self.settle_in_time(control);
        }
    }

    /// Does what the control plane asks for.
    pub(super) fn run(&self, control: &mut Control) {
        while let Some(action) = control.replica.poll_action() {
            self.perform(control, action);
        }
    }

    fn perform(&self, control: &mut Control, action: Action) {
        if let Action::Reincarnate(id) = &action {
            self.id.write().clone_from(id);
        }
        if let Some(partition) = action.partition() {
            let number = self.number_of_partition(partition);
            self.execute(control, number, action);
            return;
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
        for answered in answers {
            self.note_done(&shard, number, answered);
        }
        drop(shard);
        self.settle(control);
        self.run(control);
    }

    /// Has a shard do what the control plane asks for.
    fn execute(&self, control: &mut Control, number: u8, action: Action) {
        let watched = |topic: &str| control.watched.contains(topic);
        let shard = self.numbered(number).write();
        self.execute_in(shard, number, action, &watched);
        self.settle(control);
    }

    fn execute_in(
        &self,
        mut shard: RwLockWriteGuard<'_, Partitions>,
        number: u8,
        action: Action,
        watched: Watched<'_>,
    ) {
        let answered = shard.execute(action, watched);
        self.note_done(&shard, number, answered);
    }

    /// Does one slice of the work in a shard.
    fn work_in(&self, control: &mut Control, number: u8) {
        let watched = |topic: &str| control.watched.contains(topic);
        let mut shard = self.numbered(number).write();
        let answered = shard.work(&watched).unwrap_or(Answered::Nothing);
        self.note_done(&shard, number, answered);
        drop(shard);
        self.settle(control);
    }

    /// Keeps what a shard did for the control plane: while the shard is locked, so in its order.
    fn note_done(&self, shard: &Partitions, number: u8, answered: Answered) {
        let is_working = shard.has_work();
        self.done.lock().push_back(Done {
            number,
            answered,
            is_working,
        });
    }

    /// Does what [`settle`](Self::settle) does, unless the simulator lets it be late.
    pub(super) fn settle_in_time(&self, control: &mut Control) {
        if !control.is_late {
            self.settle(control);
        }
    }

    /// Hands all that shards did to the control plane, and its Diffs to the user, unless they are
    /// of counts.
    pub(super) fn settle(&self, control: &mut Control) {
        loop {
            let Some(done) = self.done.lock().pop_front() else {
                return;
            };
            control.set_working(done.number, done.is_working);
            let (report, diffs) = match done.answered {
                Answered::Push(pushed) => {
                    control.replica.answer_push(pushed);
                    continue;
                }
                Answered::Pull(served) => {
                    control.replica.answer_pull(served);
                    continue;
                }
                Answered::Part(served) => {
                    control.replica.answer_part(served);
                    continue;
                }
                Answered::Applied(report, diffs) => (Some(report), diffs),
                Answered::Dropped(partition, ids, diffs) => {
                    for id in &ids {
                        control.replica.report_dropped(id, partition);
                    }
                    (None, diffs)
                }
                Answered::Changed(diffs) => (None, diffs),
                Answered::Nothing => continue,
            };
            if usize::from(done.number) < self.shards.len() {
                diffs.into_iter().for_each(|diff| control.note(diff));
            }
            if let Some(report) = report {
                control.replica.report_applied(&report);
            }
        }
    }
}

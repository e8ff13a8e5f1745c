//! The rules of a holder: the indexes of others, and frames about their partitions.

use super::Replica;
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
use crate::replica::handle::Handle;
use crate::replica::held_index::Toggle;
use crate::replica::message::{Answer, Data, Delta, Message, Position, Repair, Same, TooLong};
use crate::replica::output::{Action, Apply, Event, Outcome, Report};
use crate::replica::partition_set::PartitionSet;
use crate::replica::pulls::{Reason, Repeated};
use crate::replica::refusals::Peer;
use crate::replica::throttle::Limited;

/// The relation of a life in a frame to what is held.
pub(super) enum Life {
    /// Nothing is held.
    Cold,
    /// A later one is held.
    Earlier,
    /// It has ended by what is known of the index, and is not held.
    Over,
    Same(Position),
    Later,
}

/// Indexes.
impl Replica {
    /// Applies toggles of a replica's index.
    pub(super) fn take_toggles(&mut self, handle: Handle, from: u64, toggles: &[u16]) {
        let Some(known) = self.peers.get_mut(handle) else {
            return;
        };
        let applied = known.index.apply(from, toggles);
        if !applied.is_empty() && !is_broken(Fault::DropToggledOnly) {
            self.drop_over(handle);
        }
        for toggle in applied {
            self.follow(handle, toggle);
        }
    }

    /// Drops the lives that are over by what the index says now: of every partition that it does
    /// not name, or what a rolled-back process told would stay.
    fn drop_over(&mut self, handle: Handle) {
        let Some(known) = self.peers.get(handle) else {
            return;
        };
        let held = known.holdings.iter();
        let over = held.filter(|(partition, held)| self.is_over(handle, *partition, held.life));
        let over: Vec<_> = over.map(|(partition, _)| partition).collect();
        for partition in over {
            self.drop_held(handle, partition);
        }
    }

    fn follow(&mut self, handle: Handle, toggle: Toggle) {
        let partition = toggle.partition;
        self.redraw(handle, partition);
        let held = self.position(handle, partition);
        if !toggle.is_occupied {
            self.close(handle, partition);
            if held.is_some_and(|held| held.life <= toggle.version) {
                self.drop_held(handle, partition);
            }
        } else if held.is_none_or(|held| held.life < toggle.version) {
            self.ask(handle, partition, Reason::Unknown);
        }
    }

    /// Takes the whole index of a replica.
    pub(super) fn take_index(&mut self, handle: Handle, version: u64, set: PartitionSet) {
        let Some(known) = self.peers.get_mut(handle) else {
            return;
        };
        if !known.index.replace(version, set) {
            return;
        }
        let missing = known.index.iter();
        let missing: Vec<_> = missing
            .filter(|p| known.holdings.get(*p).is_none())
            .collect();
        self.drop_over(handle);
        for partition in self.pulls.partitions(handle) {
            let known = self.peers.get(handle);
            let is_named = known.is_some_and(|known| known.index.names(partition) == Some(true));
            if is_named {
                self.redraw(handle, partition);
            } else {
                self.close(handle, partition);
            }
        }
        for partition in missing {
            self.ask(handle, partition, Reason::Unknown);
        }
    }

    /// Asks for the part of a replica's index that is missing.
    pub(super) fn pull_index(&mut self, handle: Handle) {
        let missing = self
            .peers
            .get(handle)
            .and_then(|known| known.index.missing_since());
        if let Some(version) = missing {
            let origin = handle;
            let pull = Message::IndexPull { origin, version };
            self.send_limited(handle, Limited::IndexPull, &pull);
        }
    }
}

/// Frames about one partition.
impl Replica {
    pub(super) fn take_data(&mut self, handle: Handle, answer: Answer) {
        let partition = answer.partition;
        if !self.wants(partition) {
            return;
        }
        match answer.data {
            Data::Delta(delta) => self.take_delta(handle, partition, delta),
            Data::Repair(repair) => self.take_repair(handle, partition, repair),
            Data::Same(same) => self.take_same(handle, partition, &same),
            Data::Row(row) => self.take_row(handle, partition, row),
            Data::Part(part) => self.take_part(handle, partition, part),
            Data::TooLong(answer) => self.take_too_long(handle, partition, &answer),
        }
    }

    fn take_delta(&mut self, handle: Handle, partition: u16, delta: Delta) {
        let is_news = self.hear_life(handle, delta.life);
        let is_news = is_news && !self.watches.is_young(partition, self.now);
        let behind = Reason::Behind(delta.life, delta.to);
        match self.life(handle, partition, delta.life) {
            Life::Earlier | Life::Over => {}
            Life::Cold => {
                let is_taken = is_news || is_broken(Fault::ColdTakesDelta);
                if delta.from == 0 && is_taken {
                    self.apply_delta(handle, partition, delta, None);
                } else {
                    self.ask(handle, partition, behind);
                }
            }
            Life::Later if delta.from == 0 => self.apply_delta(handle, partition, delta, None),
            Life::Later => self.ask(handle, partition, behind),
            Life::Same(held) if delta.to <= held.clock => {}
            Life::Same(held) if delta.from > held.clock && !is_broken(Fault::ApplyOverGap) => {
                self.ask(handle, partition, behind);
            }
            Life::Same(_) => self.apply_delta(handle, partition, delta, None),
        }
    }

    pub(super) fn apply_delta(
        &mut self,
        handle: Handle,
        partition: u16,
        delta: Delta,
        answers: Option<u32>,
    ) {
        if delta.from == 0 {
            // It ends the load of an earlier life.
            self.stagings.drop((handle, partition));
        }
        if let Some(known) = self.peers.get(handle) {
            self.actions.push_back(Action::Apply(Apply {
                id: known.id().clone(),
                partition,
                life: delta.life,
                from: delta.from,
                to: delta.to,
                content: delta.records,
                is_repair: false,
                answers,
                is_full: false,
                part: 0,
                parts: 1,
            }));
        }
    }

    /// A repair is always an answer: without the nonce of an open question it says nothing.
    pub(super) fn take_repair(&mut self, handle: Handle, partition: u16, repair: Repair) {
        self.hear_life(handle, repair.life);
        let question = self.pulls.answered_by(handle, partition, repair.nonce);
        let life = self.life(handle, partition, repair.life);
        let is_taken =
            question.is_some() || is_broken(Fault::ColdTakesRepair) && matches!(life, Life::Cold);
        if !is_taken {
            return;
        }
        let is_full = question.is_some_and(|question| question.is_full);
        let is_useful = match life {
            Life::Earlier | Life::Over => false,
            Life::Cold | Life::Later => repair.base == 0,
            Life::Same(held) => {
                repair.base <= held.clock
                    && (repair.to > held.clock || is_full && repair.to == held.clock)
            }
        };
        if !is_useful {
            // What is held has changed since it was asked: the next try says so.
            return;
        }
        if let Some(known) = self.peers.get(handle) {
            self.actions.push_back(Action::Apply(Apply {
                id: known.id().clone(),
                partition,
                life: repair.life,
                from: repair.base,
                to: repair.to,
                content: repair.content,
                is_repair: true,
                answers: Some(repair.nonce),
                is_full,
                part: 0,
                parts: 1,
            }));
        }
    }

    fn take_same(&mut self, handle: Handle, partition: u16, same: &Same) {
        self.hear_life(handle, same.version);
        if self
            .pulls
            .answered_by(handle, partition, same.nonce)
            .is_none()
        {
            return;
        }
        self.close(handle, partition);
        if same.clock == 0 {
            let held = self.position(handle, partition);
            if held.is_some_and(|held| held.life <= same.version) && !is_broken(Fault::KeepVacated)
            {
                self.drop_held(handle, partition);
            }
            return;
        }
        let position = Position {
            life: same.life,
            clock: same.clock,
            fingerprint: same.fingerprint,
        };
        self.compare(handle, partition, position);
    }

    /// Takes the answer that there is none: it is told, and asked for again later.
    fn take_too_long(&mut self, handle: Handle, partition: u16, answer: &TooLong) {
        let question = self.pulls.answered_by(handle, partition, answer.nonce);
        if question.is_some() {
            self.refuse(handle, partition, &ApplyError::TooLong { len: answer.len });
        }
    }

    /// Compares what is held with what the origin shows.
    pub(super) fn take_row(&mut self, handle: Handle, partition: u16, row: Position) {
        self.hear_life(handle, row.life);
        self.compare(handle, partition, row);
    }

    fn compare(&mut self, handle: Handle, partition: u16, shown: Position) {
        let behind = Reason::Behind(shown.life, shown.clock);
        match self.life(handle, partition, shown.life) {
            Life::Over => {}
            Life::Cold | Life::Later => self.ask(handle, partition, behind),
            Life::Same(held) if held.clock < shown.clock => self.ask(handle, partition, behind),
            Life::Same(held) if held.clock == shown.clock => {
                if held.fingerprint != shown.fingerprint {
                    self.diverge(handle, partition);
                }
            }
            Life::Earlier | Life::Same(_) => self.ask_below(handle, partition),
        }
    }

    /// Asks an origin that shows less than is held: if it knows no more, it has a second self.
    fn ask_below(&mut self, handle: Handle, partition: u16) {
        let now = self.now;
        let pause = self.timing.beat / 2;
        let known = self.peers.get_mut(handle);
        let may_ask =
            known.is_some_and(|known| known.throttle.allows(Limited::BelowRow, now, pause));
        if may_ask && !is_broken(Fault::IgnoreRowBelow) {
            self.ask(handle, partition, Reason::Unknown);
        }
    }

    /// The content here contradicts its origin: it is asked for whole.
    fn diverge(&mut self, handle: Handle, partition: u16) {
        let Some(known) = self.peers.get(handle) else {
            return;
        };
        let id = known.id().clone();
        if is_broken(Fault::KeepAltered) {
            return;
        }
        if !self.pulls.is_open(handle, partition) {
            self.emit(Event::Divergence {
                origin: id,
                partition,
            });
        }
        self.ask(handle, partition, Reason::Diverged);
    }

    /// Takes the report on an [`Action::Apply`].
    pub(crate) fn report_applied(&mut self, report: &Report) {
        let Some(handle) = self.peers.find(&report.id) else {
            return;
        };
        let partition = report.partition;
        if report.outcome == Outcome::Busy || self.is_dropping(handle, partition) {
            return;
        }
        if !self.wants(partition) {
            self.drop_entries(handle, partition);
            return;
        }
        self.set_held(handle, partition, report.held);
        if report.outcome == Outcome::Done
            && let Some(known) = self.peers.get_mut(handle)
        {
            known.refused.remove(&partition);
        }
        if report
            .held
            .is_some_and(|held| self.is_over(handle, partition, held.life))
        {
            self.drop_held(handle, partition);
        }
        let answered = report
            .answers
            .filter(|nonce| self.pulls.answered_by(handle, partition, *nonce).is_some());
        match &report.outcome {
            Outcome::Busy => {}
            Outcome::Loaded => self.note_loaded(handle, report),
            Outcome::Done if answered.is_some() => {
                self.stagings.drop((handle, partition));
                let held = report.held;
                self.pulls
                    .answer(handle, partition, held, self.now, &mut self.rng);
            }
            Outcome::Done => {
                if let Some(held) = report.held {
                    self.pulls.settle(handle, partition, held, self.now);
                }
            }
            Outcome::Gap => self.ask(handle, partition, Reason::Unknown),
            Outcome::Contradicts => self.diverge(handle, partition),
            Outcome::Refused(error) => self.refuse(handle, partition, error),
        }
        self.close_whole(handle);
        self.report_ready_after(handle);
        self.send_pulls();
    }
}

/// Positions held of others.
impl Replica {
    /// Notes that what was held of a replica in a partition is dropped.
    pub(crate) fn report_dropped(&mut self, id: &ReplicaId, partition: u16) {
        let Some(handle) = self.peers.find(id) else {
            return;
        };
        if let Some(known) = self.peers.get_mut(handle) {
            known.end_drop(partition);
        }
        if !is_broken(Fault::RewatchWithOldClock) && !is_broken(Fault::DropUntold) {
            self.set_held(handle, partition, None);
        }
    }

    /// Returns whether a Drop of what a replica has in a partition is not reported: what was applied
    /// before it is reported first, and goes.
    pub(super) fn is_dropping(&self, handle: Handle, partition: u16) -> bool {
        let known = self.peers.get(handle);
        known.is_some_and(|known| known.is_dropping(partition)) && !is_broken(Fault::DropUntold)
    }

    /// Tells users that a frame was refused, and asks again later.
    fn refuse(&mut self, handle: Handle, partition: u16, error: &ApplyError) {
        self.stagings.drop((handle, partition));
        let Some(known) = self.peers.get_mut(handle) else {
            return;
        };
        let last = known.refused.insert(partition, error.clone());
        let origin = known.id().clone();
        let cause = (Peer::Replica(origin.clone()), error.rule());
        self.note_refusal(cause, || Event::Refused {
            origin,
            partition,
            error: error.clone(),
            count: 0,
        });
        let repeated = last.and_then(|last| match &last {
            last if last == error => Some(Repeated::Equal),
            last => (last.rule() == error.rule()).then_some(Repeated::Alike),
        });
        self.ask(handle, partition, Reason::Unknown);
        self.pulls.postpone(handle, partition, self.now, repeated);
    }

    pub(super) fn position(&self, handle: Handle, partition: u16) -> Option<Position> {
        self.peers.get(handle)?.holdings.get(partition)
    }

    pub(super) fn set_held(&mut self, handle: Handle, partition: u16, held: Option<Position>) {
        if let Some(known) = self.peers.get_mut(handle) {
            known.holdings.set(partition, held);
            let sum = known.holdings.sum();
            known.check.compare(sum);
        }
    }

    pub(super) fn drop_held(&mut self, handle: Handle, partition: u16) {
        if is_broken(Fault::KeepVacated) {
            return;
        }
        self.stagings.drop((handle, partition));
        self.drop_entries(handle, partition);
        // An answer from before may be older than what was held.
        self.pulls
            .redraw(handle, partition, self.now, &mut self.rng);
    }

    /// Drops what is held although the replica still has it: this node has caught up with it only
    /// once it has come again.
    pub(super) fn lose_held(&mut self, handle: Handle, partition: u16) {
        self.drop_held(handle, partition);
        self.note_lost(handle, partition);
    }

    /// Notes that this node has caught up with a replica only once a partition of it has come again.
    pub(super) fn note_lost(&mut self, handle: Handle, partition: u16) {
        self.watches.reopen_partition(partition, handle);
        if let Some(known) = self.peers.get_mut(handle) {
            known.check.lose();
        }
    }

    pub(super) fn drop_entries(&mut self, handle: Handle, partition: u16) {
        if let Some(known) = self.peers.get_mut(handle) {
            known.begin_drop(partition);
            let id = known.id().clone();
            self.actions.push_back(Action::Drop { id, partition });
        }
        self.set_held(handle, partition, None);
    }

    pub(super) fn life(&self, handle: Handle, partition: u16, life: u64) -> Life {
        let held = self.position(handle, partition);
        // A process rolled back behind its index answers with such a life, as often as it is asked.
        if held.is_none_or(|held| held.life < life) && self.is_over(handle, partition, life) {
            return Life::Over;
        }
        match held {
            None => Life::Cold,
            Some(held) => match life.cmp(&held.life) {
                std::cmp::Ordering::Less => Life::Earlier,
                std::cmp::Ordering::Equal => Life::Same(held),
                std::cmp::Ordering::Greater => Life::Later,
            },
        }
    }

    /// Returns whether a life has ended by what is known of the index.
    fn is_over(&self, handle: Handle, partition: u16, life: u64) -> bool {
        let known = self.peers.get(handle);
        known.is_some_and(|known| {
            life <= known.index.version() && known.index.names(partition) == Some(false)
        })
    }

    /// Notes a life or version that a replica told of. Returns whether it is news.
    pub(super) fn hear_life(&mut self, handle: Handle, life: u64) -> bool {
        let Some(known) = self.peers.get_mut(handle) else {
            return false;
        };
        let is_news = known.is_news(life);
        known.index.hear(life);
        is_news
    }

    /// Asks for a partition of a replica, if this node holds it.
    pub(super) fn ask(&mut self, handle: Handle, partition: u16, reason: Reason) {
        if self.wants(partition) {
            self.pulls
                .open(handle, partition, reason, self.now, &mut self.rng);
        }
    }

    /// Asks the replicas for rows of which something was lost.
    pub(super) fn ask_for_rows(&mut self) {
        let now = self.now;
        let mut asks = Vec::new();
        for known in self.peers.iter_mut().filter(|known| known.is_up()) {
            let since = if !self.watches.is_all() {
                known.gap.due(now)
            } else if self.pulls.is_asked(known.handle()) {
                // While answers are under way nothing is known to be lost.
                None
            } else {
                known.check.due(now)
            };
            asks.extend(since.map(|since| (known.address().clone(), known.handle(), since)));
        }
        for (to, origin, since) in asks {
            self.send(&to, &Message::Ask { origin, since });
        }
    }
}

//! Messages by which replicas introduce themselves, live and leave; second selves and rivals of
//! this node.

use super::Replica;
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;
use crate::replica::handle::Handle;
use crate::replica::message::{Beat, Message};
use crate::replica::output::{Action, Address, Event};
use crate::replica::own_index::OwnIndex;
use crate::replica::peers::{Admission, Heard, KnownReplica};
use crate::replica::refusals::Peer;
use crate::replica::throttle::Limited;
use crate::tracker::LeaveReason;

impl Replica {
    /// Takes a message that carries the id of its sender.
    pub(super) fn hear_replica(&mut self, from: &Address, id: &ReplicaId, message: Message) {
        if let Message::Superseded { greater, ago_ms } = message {
            self.take_superseded(from, &greater, u64::from(ago_ms) * 1_000);
            return;
        }
        if id.name() == self.own.id().name() {
            self.hear_namesake(from, id, &message);
            return;
        }
        let handle = Handle::of(id);
        if handle == self.own.handle() {
            self.meet_collision(from, id);
            return;
        }
        match message {
            Message::Goodbye { heartbeat } => {
                if let Some(known) = self.peers.retire(id, heartbeat, self.now) {
                    self.watches.drop_replica(known.handle());
                    self.end(&known, LeaveReason::ReplicaLeft);
                    // Of a later life that was never seen: what ends is the one that was.
                    self.emit(Event::ReplicaLeft(known.id().clone()));
                }
                self.schedule(self.now + 2 * self.timing.forget);
            }
            Message::Hello { heartbeat, .. } if self.hear(from, id, heartbeat) => {
                self.welcome(handle);
            }
            Message::Beat(beat) if self.hear(from, id, beat.heartbeat) => {
                self.take_beat(handle, &beat);
            }
            _ => {}
        }
    }

    /// Takes a heartbeat. Returns whether it is higher than any before, or the first one.
    fn hear(&mut self, from: &Address, id: &ReplicaId, heartbeat: u64) -> bool {
        let handle = Handle::of(id);
        match self.peers.admission(id, handle, heartbeat) {
            Admission::Known => self.hear_again(from, handle, heartbeat),
            Admission::New => {
                self.admit(from, id, heartbeat);
                true
            }
            Admission::Fenced { greater, heard } => {
                // Never 0, which says that the receiver itself has left.
                let ago = self.now.saturating_sub(heard).max(1_000);
                self.supersede(from, greater, ago);
                false
            }
            Admission::HasLeft => {
                self.supersede(from, id.clone(), 0);
                false
            }
            Admission::Marked => false,
            Admission::Collision => {
                self.report_collision(from, id);
                false
            }
            Admission::Full => {
                let down = self.peers.longest_down();
                match down {
                    Some(down) => {
                        self.forget(down);
                        self.admit(from, id, heartbeat);
                    }
                    None => self.report_full(from, id),
                }
                down.is_some()
            }
        }
    }

    fn report_full(&mut self, from: &Address, id: &ReplicaId) {
        let refused = id.clone();
        let cause = (Peer::Address(from.clone()), "peers_max");
        self.note_refusal(cause, || Event::PeerLimit { refused, count: 0 });
    }

    fn report_collision(&mut self, from: &Address, id: &ReplicaId) {
        let refused = id.clone();
        let cause = (Peer::Address(from.clone()), "handle");
        self.note_refusal(cause, || Event::HandleCollision { refused, count: 0 });
    }

    fn hear_again(&mut self, from: &Address, handle: Handle, heartbeat: u64) -> bool {
        match self.peers.hear(handle, heartbeat, from, self.now) {
            Heard::Higher { is_back } => {
                self.schedule(self.now + self.timing.down);
                if is_back && let Some(known) = self.peers.get(handle) {
                    let id = known.id().clone();
                    self.pulls.note_up(handle);
                    self.watches.note_up(handle, self.now);
                    self.actions.push_back(Action::Show(id.clone()));
                    self.emit(Event::ReplicaUp(id));
                }
                true
            }
            Heard::Lower => {
                self.tell_heard(handle);
                false
            }
            Heard::Equal => false,
        }
    }

    fn admit(&mut self, from: &Address, id: &ReplicaId, heartbeat: u64) {
        let handle = Handle::of(id);
        let replaced = self.peers.admit(id, handle, heartbeat, from, self.now);
        if let Some(replaced) = replaced {
            self.watches.drop_replica(replaced.handle());
            self.replace(&replaced);
            self.emit(Event::ReplicaForgotten(replaced.id().clone()));
        }
        self.watches.note_up(handle, self.now);
        self.schedule(self.now + self.timing.down);
        self.emit(Event::ReplicaUp(id.clone()));
    }

    /// Tells a replica what is known of it: another process may bear its identity.
    fn tell_heard(&mut self, handle: Handle) {
        if let Some(known) = self.peers.get(handle) {
            let heard = Message::Heard {
                origin: handle,
                heartbeat: known.heartbeat(),
                version: if is_broken(Fault::HeardWithoutVersion) {
                    0
                } else {
                    known.index.announced()
                },
            };
            self.send_limited(handle, Limited::Heard, &heard);
        }
    }

    /// Takes the Beat of a known replica, with a higher heartbeat than before.
    fn take_beat(&mut self, handle: Handle, beat: &Beat) {
        let Some(known) = self.peers.get_mut(handle) else {
            return;
        };
        if beat.version < known.index.announced() {
            self.tell_heard(handle);
        }
        let first = beat.version - beat.toggles.len() as u64;
        self.take_toggles(handle, first, &beat.toggles);
        let now = self.now;
        let Some(known) = self.peers.get_mut(handle) else {
            return;
        };
        known.index.check(beat.version, beat.set_hash);
        let held = known.holdings.sum();
        let ask_at = if self.watches.is_all() {
            known.check.beat(beat.seq, beat.sum, held, now)
        } else {
            let ask_at = known.gap.beat(beat.seq, now);
            if self.watches.is_empty() {
                known.gap.skip();
            }
            ask_at
        };
        if let Some(at) = ask_at {
            self.schedule(at);
        }
        self.pull_index(handle);
    }

    /// Takes a message of another process of this node's name.
    fn hear_namesake(&mut self, from: &Address, id: &ReplicaId, message: &Message) {
        if *id == *self.own.id() {
            self.find_second_self(from);
            return;
        }
        let is_greater = *id > *self.own.id();
        match message {
            Message::Goodbye { .. } if is_greater => {
                self.own.note_incarnation(id.incarnation());
                self.reincarnate();
            }
            Message::Hello { heartbeat, .. } | Message::Beat(Beat { heartbeat, .. }) => {
                if is_greater {
                    self.hear_rival(id, Some(*heartbeat), self.now);
                } else {
                    self.supersede(from, self.own.id().clone(), 1_000);
                }
            }
            _ => {}
        }
    }

    fn hear_rival(&mut self, id: &ReplicaId, heartbeat: Option<u64>, heard: u64) {
        if !is_broken(Fault::IgnoreRival) && self.own.hear_rival(id, heartbeat, heard) {
            self.emit(Event::DuplicateName { other: id.clone() });
        }
    }

    fn take_superseded(&mut self, from: &Address, greater: &ReplicaId, ago: u64) {
        if greater.name() != self.own.id().name() {
            return;
        }
        match greater.cmp(self.own.id()) {
            std::cmp::Ordering::Less => {}
            // Meant for the life before this one, at the same address.
            std::cmp::Ordering::Equal if ago > 0 => {}
            // The cluster says that this very identity has left: it was a second self.
            std::cmp::Ordering::Equal => self.find_second_self(from),
            std::cmp::Ordering::Greater => {
                self.hear_rival(greater, None, self.now.saturating_sub(ago));
            }
        }
    }

    fn supersede(&mut self, from: &Address, greater: ReplicaId, ago: u64) {
        if self.own.is_speaking() {
            let ago_ms = u32::try_from(ago / 1_000).unwrap_or(u32::MAX);
            self.send(from, &Message::Superseded { greater, ago_ms });
        }
    }

    /// Another replica has this node's handle: the one that started later takes another.
    pub(super) fn meet_collision(&mut self, from: &Address, id: &ReplicaId) {
        let own = self.own.id();
        let is_later = (own.incarnation(), own.name()) > (id.incarnation(), id.name());
        self.report_collision(from, id);
        if is_later && self.own.begin_renewal(self.now, self.timing.beat) {
            self.reincarnate();
        }
    }

    /// Takes what another node knows of this one: more than it knows itself is of a second process.
    pub(super) fn take_warning(&mut self, from: &Address, heartbeat: u64, version: u64) {
        if heartbeat > self.own.heartbeat() || version > self.index.version() {
            self.find_second_self(from);
        }
    }

    /// There is evidence of a second process with this identity. What is left of it comes again after
    /// the pause that follows a new identity.
    pub(super) fn find_second_self(&mut self, from: &Address) {
        if is_broken(Fault::IgnoreSecondSelf) {
            return;
        }
        if self.own.begin_renewal(self.now, self.timing.beat) {
            self.reincarnate();
        } else {
            self.report_second_self(from);
        }
    }

    pub(super) fn report_second_self(&mut self, from: &Address) {
        let cause = (Peer::Address(from.clone()), "second self");
        let from = from.clone();
        self.note_refusal(cause, || Event::SecondSelf { from, count: 0 });
    }

    /// Takes a new identity and offers the own entries under it.
    pub(super) fn reincarnate(&mut self) {
        if self.own.has_left() {
            return;
        }
        if self.own.reincarnate(&mut self.rng).is_none() {
            let id = self.own.id().clone();
            self.emit(Event::DuplicateName { other: id });
            return;
        }
        let id = self.own.id().clone();
        self.index = OwnIndex::new(self.config.shape);
        self.told_version = 0;
        self.beat_version = 0;
        self.replies.clear();
        self.long_replies.clear();
        self.end_captures();
        self.beat_waits = false;
        self.actions.push_back(Action::Reincarnate(id.clone()));
        let empty = self.partitions.begin_identity(self.now);
        for (partition, clock) in empty {
            self.actions.push_back(Action::Vacate { partition, clock });
        }
        // With an empty index known first, all that follows is news.
        self.send_beat();
        self.emit(Event::Reincarnated { id });
    }

    pub(super) fn mark_down(&mut self, handle: Handle) {
        if self.peers.mark_down(handle)
            && let Some(known) = self.peers.get(handle)
        {
            let id = known.id().clone();
            self.schedule(self.now + self.timing.forget);
            self.actions.push_back(Action::Hide(id.clone()));
            self.emit(Event::ReplicaDown(id));
        }
    }

    pub(super) fn forget(&mut self, handle: Handle) {
        if let Some(known) = self.peers.forget(handle, self.now) {
            self.end(&known, LeaveReason::ReplicaForgotten);
            self.watches.reopen(handle);
            self.emit(Event::ReplicaForgotten(known.id().clone()));
        }
    }

    /// Ends everything of a replica that is no longer known, and of its earlier lives.
    fn end(&mut self, known: &KnownReplica, reason: LeaveReason) {
        self.end_work(known);
        let id = known.id().clone();
        self.actions.push_back(Action::Forget { id, reason });
        let earlier = self.graces.take_name(known.id().name());
        self.actions
            .extend(earlier.into_iter().map(Action::EndGrace));
    }

    /// Gives up a replica for a later start of its name: what users see of it stays for the grace.
    fn replace(&mut self, known: &KnownReplica) {
        if self.timing.grace == 0 || !known.is_up() {
            self.end(known, LeaveReason::ReplicaReplaced);
            return;
        }
        self.end_work(known);
        let id = known.id().clone();
        let until = self.now + self.timing.grace;
        self.graces.begin(id.clone(), until);
        self.schedule(until);
        self.actions.push_back(Action::Replace(id));
    }

    fn end_work(&mut self, known: &KnownReplica) {
        self.pulls.drop_replica(known.handle());
        self.stagings.drop_replica(known.handle());
        self.catch_up.close(known.handle());
    }
}

//! This node's own identity: second selves, rivals of the same name, coming back, leaving.

use std::cmp::Ordering;
use std::time::Duration;

use super::members::{View, order};
use super::message::{Message, SLOTS};
use super::row::Row;
use super::{Action, Event, Replica};
use crate::fault::{Fault, is_broken};
use crate::id::{OP_MAX, ReplicaId};

/// What is said of this node.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) id: ReplicaId,
    pub(super) heartbeat: u64,
    /// The greatest incarnation ever heard under this name.
    pub(super) highest: u64,
    pub(super) slots: Box<[View; SLOTS]>,
    /// Slots changed since the last broadcast Digest.
    pub(super) dirty: u32,
    /// The tick of each slot up to which peers were told by pushes.
    pub(super) pushed: Box<[u64; SLOTS]>,
    pub(super) unpushed: u32,
    pub(super) push_at: Option<u64>,
    /// Bytes of the operations that wait for a push.
    pub(super) unpushed_bytes: usize,
    pub(super) beat_at: u64,
    pub(super) beaten: u64,
    /// Number of the last broadcast Digest; it never starts again while the process lives.
    pub(super) seq: u64,
    pub(super) signals: u64,
    /// When the first Digest left.
    pub(super) started: Option<u64>,
}

impl Own {
    pub(super) fn new(id: ReplicaId, heartbeat: u64) -> Self {
        Self {
            highest: id.incarnation(),
            id,
            heartbeat,
            slots: Box::new([View::default(); SLOTS]),
            dirty: 0,
            pushed: Box::new([0; SLOTS]),
            unpushed: 0,
            push_at: None,
            unpushed_bytes: 0,
            beat_at: 0,
            beaten: 0,
            seq: 0,
            signals: 0,
            started: None,
        }
    }

    /// The slots with at least one operation.
    pub(super) fn used(&self) -> u32 {
        (0..SLOTS)
            .filter(|&slot| self.slots[slot].clock > 0)
            .fold(0, |mask, s| mask | 1 << s)
    }
}

/// Whether this node may speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Speaking,
    /// A greater id of the same name was heard.
    Listening(Rival),
    /// Said Goodbye.
    Left,
}

/// A greater id of the own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    id: ReplicaId,
    heartbeat: Option<u64>,
    /// How often its heartbeat rose while this node listened.
    rises: u32,
    heard: u64,
    since: u64,
    told: bool,
}

impl Replica {
    /// Leaves the cluster for good: one Goodbye, then silence. Peers drop this node's entries at
    /// once and refuse its identity from then on.
    pub fn leave(&mut self, now: Duration) {
        self.advance(now);
        if self.voice == Voice::Speaking {
            self.own.heartbeat += 64;
            let clocks = Box::new(std::array::from_fn(|slot| self.own.slots[slot].clock));
            self.broadcast(&Message::Goodbye {
                heartbeat: self.own.heartbeat,
                clocks,
            });
        }
        self.voice = Voice::Left;
    }

    /// Takes a new identity, above every one heard under this name.
    pub(super) fn reincarnate(&mut self) {
        if is_broken(Fault::IgnoreTwin) {
            return;
        }
        let step = 1 + self.rng.below(1 << 16);
        let incarnation = self.own.highest.max(self.own.id.incarnation()) + step;
        let salt = self.rng.next_u64() as u32;
        let Ok(new) = ReplicaId::new(self.own.id.name(), incarnation.min(OP_MAX), salt) else {
            // Somebody spoils the name: there is no number left to take.
            self.voice = Voice::Left;
            self.tell(Event::DuplicateName {
                other: self.own.id.clone(),
            });
            return;
        };
        let old = std::mem::replace(&mut self.own.id, new.clone());
        self.own.highest = incarnation;
        self.voice = Voice::Speaking;
        for slot in 0..SLOTS {
            self.own.pushed[slot] = self.own.slots[slot].clock;
        }
        self.own.unpushed = 0;
        self.own.dirty = self.own.used();
        self.own.beat_at = self.now;
        self.drop_replies_of(&old);
        self.actions.push_back(Action::Reincarnate {
            old,
            new: new.clone(),
        });
        self.tell(Event::Reincarnated { id: new });
    }

    pub(super) fn superseded(&mut self, id: &ReplicaId, ago_ms: u32) {
        if id.name() == self.own.id.name() {
            match order(id, &self.own.id) {
                Ordering::Less => {}
                // Meant for the life before this one, at the same address.
                Ordering::Equal if ago_ms > 0 => {}
                // The cluster says that this very identity has left: it was a second self.
                Ordering::Equal => self.reincarnate(),
                Ordering::Greater => self.rival(id, None, u64::from(ago_ms) * 1000),
            }
        }
    }

    /// Something was heard of a greater id of the own name.
    pub(super) fn rival(&mut self, id: &ReplicaId, heartbeat: Option<u64>, age: u64) {
        let now = self.now;
        let down = self.timing.down;
        self.own.highest = self.own.highest.max(id.incarnation());
        let heard = now.saturating_sub(age);
        match &mut self.voice {
            Voice::Left => {}
            Voice::Listening(rival) if rival.id == *id => {
                let rose = heartbeat.is_some() && heartbeat > rival.heartbeat;
                if rose && rival.heartbeat.is_some() && age < down && heard > rival.since {
                    rival.rises += 1;
                }
                if rose || heartbeat.is_none() {
                    rival.heard = rival.heard.max(heard);
                }
                rival.heartbeat = rival.heartbeat.max(heartbeat);
                if rival.rises >= 2 && !std::mem::replace(&mut rival.told, true) {
                    self.tell(Event::DuplicateName { other: id.clone() });
                }
            }
            Voice::Listening(rival) if order(id, &rival.id) == Ordering::Less => {}
            Voice::Speaking | Voice::Listening(_) => {
                let id = id.clone();
                let rises = 0;
                let since = now;
                let told = false;
                self.voice = Voice::Listening(Rival {
                    id,
                    heartbeat,
                    rises,
                    heard,
                    since,
                    told,
                });
            }
        }
    }

    /// Speaks again once the rival is known to be gone.
    pub(super) fn listen(&mut self) {
        if let Voice::Listening(rival) = &self.voice
            && self.now >= self.quiet_until(rival)
        {
            self.reincarnate();
        }
    }

    pub(super) fn quiet_until(&self, rival: &Rival) -> u64 {
        rival.heard
            + if rival.rises >= 2 {
                self.timing.forget
            } else {
                self.timing.down
            }
    }

    /// A row about this node's own name.
    pub(super) fn own_row(&mut self, row: &Row) {
        match order(&row.id, &self.own.id) {
            Ordering::Less => {}
            Ordering::Greater if row.retired => {
                self.own.highest = self.own.highest.max(row.id.incarnation());
                self.reincarnate();
            }
            Ordering::Greater => {
                self.rival(&row.id, Some(row.heartbeat), u64::from(row.age_ms) * 1000);
            }
            Ordering::Equal => {
                let ahead = row
                    .listed()
                    .any(|(slot, clock, _)| clock > self.own.slots[slot].clock);
                let differ = self.differing(row);
                // Somebody holds other content: show it the right one again. It is no evidence.
                if !is_broken(Fault::ShowOnce) {
                    self.own.dirty |= differ;
                }
                let is_evidence = differ != 0 && is_broken(Fault::DigestIsEvidence);
                let is_later = row.heartbeat > self.own.heartbeat;
                if ahead || is_later || row.retired || is_evidence {
                    self.reincarnate();
                }
            }
        }
    }

    /// Slots of which a row of this very identity shows other content at the same clock.
    fn differing(&self, row: &Row) -> u32 {
        let own = &self.own.slots;
        let differs = |(slot, clock, hash): &(usize, u64, u64)| {
            *clock == own[*slot].clock && *hash != own[*slot].hash
        };
        let differing = row.listed().filter(differs);
        differing.fold(0, |mask, (slot, ..)| mask | 1 << slot) & !row.doubt
    }

    /// A Goodbye, first hand or as a retired row.
    pub(super) fn goodbye(&mut self, id: &ReplicaId, heartbeat: u64, age: u64) {
        if id.name() == self.own.id.name() {
            if order(id, &self.own.id) != Ordering::Less {
                self.own.highest = self.own.highest.max(id.incarnation());
                self.reincarnate();
            }
        } else if age < self.timing.forget {
            self.retire(id, heartbeat, age);
        }
    }
}

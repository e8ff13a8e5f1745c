//! The other replicas: admission, fencing, hearing, hiding, forgetting.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::message::{Message, SLOTS};
use super::own::Voice;
use super::row::{Row, Rows};
use super::{Action, Address, Event, Replica};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// Clock and rolling digest of one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) clock: u64,
    pub(super) hash: u64,
}

/// The current incarnation of a name.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: ReplicaId,
    pub(super) heartbeat: u64,
    /// When that heartbeat was made, as far as its ages tell.
    pub(super) base: u64,
    /// When a higher heartbeat, young enough, last arrived.
    pub(super) heard: u64,
    pub(super) up: bool,
    pub(super) slots: Box<[View; SLOTS]>,
    /// Slots changed since their last broadcast row.
    pub(super) dirty: u32,
    /// Slots whose content here is not to be trusted.
    pub(super) doubt: u32,
    /// Slots being applied in slices.
    pub(super) applying: u32,
    /// Slots for which a full repair was asked since the last beat.
    pub(super) repaired: u32,
}

impl Known {
    pub(super) fn used(&self) -> u32 {
        (0..SLOTS)
            .filter(|&slot| self.slots[slot].clock > 0)
            .fold(0, |mask, s| mask | 1 << s)
    }

    /// The content of a slot is out of doubt. That is news to all who passed the doubtful row over:
    /// without it they would never ask for the slot.
    pub(super) fn trust(&mut self, bit: u32) {
        self.dirty |= self.doubt & bit;
        self.doubt &= !bit;
    }
}

/// What stays of a replica that was dropped.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    pub(super) id: ReplicaId,
    pub(super) heartbeat: u64,
    pub(super) retired: bool,
    pub(super) base: u64,
    pub(super) until: u64,
}

/// A direct sender.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) id: ReplicaId,
    /// Every Digest up to this number has been seen; `None`: a full one is needed.
    pub(super) contiguous: Option<u64>,
    /// The full and the broadcast Digest being received: their numbers and the parts seen.
    pub(super) full: (u64, u64),
    pub(super) partial: (u64, u64),
    /// Whether a row of it was refused that may be admitted later.
    pub(super) missed: bool,
    /// What it has shown, by name: the acknowledgements.
    pub(super) acks: BTreeMap<Arc<str>, Box<[u64; SLOTS]>>,
    pub(super) hello_at: u64,
    pub(super) heard: u64,
}

/// How an id stands to what is known of its name.
pub(super) enum Standing {
    /// A greater id is known: this one.
    Fenced(ReplicaId),
    /// It said Goodbye.
    Retired,
    /// It is the current one.
    Known,
    /// Forgotten: admitted only above this heartbeat.
    Marked(u64),
    /// Never seen, or greater than what is known.
    New,
}

/// Orders two ids of one name.
pub(super) fn order(a: &ReplicaId, b: &ReplicaId) -> Ordering {
    (a.incarnation(), a.salt()).cmp(&(b.incarnation(), b.salt()))
}

impl Replica {
    /// Takes a hint of the transport that a neighbour is gone. Its replica counts as down until a higher
    /// heartbeat is heard.
    pub fn disconnected(&mut self, now: Duration, from: &str) {
        self.advance(now);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.contiguous = None;
            let id = peer.id.clone();
            self.forget_source(from);
            if self
                .known
                .get(id.name())
                .is_some_and(|known| known.id == id && known.up)
            {
                self.mark_down(id.name());
            }
        }
    }

    pub(super) fn standing(&self, id: &ReplicaId) -> Standing {
        if let Some(known) = self.known.get(id.name()) {
            return match order(id, &known.id) {
                Ordering::Less if is_broken(Fault::NoFloor) => Standing::New,
                Ordering::Less => Standing::Fenced(known.id.clone()),
                Ordering::Equal => Standing::Known,
                Ordering::Greater => Standing::New,
            };
        }
        match self.markers.get(id.name()) {
            Some(marker) => match order(id, &marker.id) {
                Ordering::Less => Standing::Fenced(marker.id.clone()),
                Ordering::Equal if marker.retired => Standing::Retired,
                Ordering::Equal => Standing::Marked(marker.heartbeat),
                Ordering::Greater => Standing::New,
            },
            None => Standing::New,
        }
    }

    /// Whether messages of this sender are listened to; answers it when it is fenced.
    pub(super) fn admits_sender(
        &mut self,
        from: &Address,
        sender: &ReplicaId,
        message: &Message,
    ) -> bool {
        if sender.name() == self.own.id.name() {
            match order(sender, &self.own.id) {
                Ordering::Equal => self.reincarnate(),
                Ordering::Less => self.supersede(from, message, self.own.id.clone(), 0),
                Ordering::Greater => self.hear_rival(sender, message),
            }
            return false;
        }
        match self.standing(sender) {
            Standing::Fenced(greater) => {
                let heard = self.known.get(sender.name()).map(|known| known.base);
                let heard = heard.or(self.markers.get(sender.name()).map(|marker| marker.base));
                // Never 0, which says that the receiver itself has left: the fenced one may be gone,
                // and the greater one stand at its address.
                let ago = self.now.saturating_sub(heard.unwrap_or(self.now)).max(1000);
                self.supersede(from, message, greater, ago);
                false
            }
            Standing::Retired => {
                self.supersede(from, message, sender.clone(), 0);
                false
            }
            Standing::Known | Standing::Marked(_) | Standing::New => true,
        }
    }

    fn supersede(&mut self, from: &Address, message: &Message, id: ReplicaId, ago: u64) {
        if matches!(message, Message::Digest { .. }) && self.voice == Voice::Speaking {
            let ago_ms = u32::try_from(ago / 1000).unwrap_or(u32::MAX);
            self.send(from, &Message::Superseded { id, ago_ms });
        }
    }

    /// The greater namesake speaks itself.
    fn hear_rival(&mut self, sender: &ReplicaId, message: &Message) {
        match message {
            Message::Hello { heartbeat, .. } => self.rival(sender, Some(*heartbeat), 0),
            Message::Goodbye { heartbeat, .. } => self.goodbye(sender, *heartbeat, 0),
            Message::Digest { rows, .. } => {
                for row in Rows::new(rows).flatten() {
                    if row.id == *sender {
                        self.rival(sender, Some(row.heartbeat), 0);
                    }
                }
            }
            _ => self.rival(sender, None, 0),
        }
    }

    /// One row of a Digest, or a Hello as a row without slots. `complete`: it lists every slot.
    pub(super) fn row(&mut self, from: &Address, row: &Row, direct: bool, complete: bool) {
        if row.id.name() == self.own.id.name() {
            self.own_row(row);
            if row.id == self.own.id {
                self.acknowledge(from, row);
            }
            return;
        }
        let age = u64::from(row.age_ms) * 1000;
        if row.retired {
            self.goodbye(&row.id, row.heartbeat, age);
            return;
        }
        let trusted = match self.standing(&row.id) {
            Standing::Fenced(_) | Standing::Retired => return,
            Standing::Known => self.hear(row, age) || direct,
            Standing::Marked(heartbeat) => {
                let higher = row.heartbeat > heartbeat
                    || (row.heartbeat == heartbeat && is_broken(Fault::EqualHeartbeat));
                if !higher || age >= self.timing.down {
                    self.missed(from);
                    return;
                }
                self.admit(from, row, age, complete)
            }
            Standing::New => {
                let marked = self.markers.contains_key(row.id.name());
                if age
                    >= if marked {
                        self.timing.down
                    } else {
                        self.timing.forget
                    }
                {
                    self.missed(from);
                    return;
                }
                self.admit(from, row, age, complete)
            }
        };
        if self.known.contains_key(row.id.name()) {
            self.acknowledge(from, row);
            self.compare(from, row, trusted);
        }
    }

    /// A row of the current incarnation; whether its heartbeat was higher.
    fn hear(&mut self, row: &Row, age: u64) -> bool {
        let Some(known) = self.known.get_mut(row.id.name()) else {
            return false;
        };
        if row.heartbeat <= known.heartbeat {
            return false;
        }
        known.heartbeat = row.heartbeat;
        known.base = self.now.saturating_sub(age);
        if age < self.timing.down {
            known.heard = self.now;
            if !std::mem::replace(&mut known.up, true) {
                self.actions.push_back(Action::Show(row.id.clone()));
                self.tell(Event::ReplicaUp(row.id.clone()));
                // Its next deadline is nearer than the one of a hidden replica was.
                if !is_broken(Fault::ShowWithoutSweep) {
                    self.due(self.now + self.timing.down);
                }
            }
        }
        true
    }

    /// A replica not known before, or a greater incarnation of a known name.
    fn admit(&mut self, from: &Address, row: &Row, age: u64, complete: bool) -> bool {
        let id = row.id.clone();
        let name: Arc<str> = id.name().into();
        if self.known.contains_key(&name) {
            if let Some(replaced) = self.drop_known(&name) {
                self.actions.push_back(Action::Replace(replaced.id.clone()));
                self.tell(Event::ReplicaForgotten(replaced.id));
            }
        } else if self.known.len() >= self.config.peers_max {
            self.missed(from);
            self.tell(Event::PeerLimit { refused: id });
            return false;
        }
        self.markers.remove(&name);
        let up = age < self.timing.down;
        let base = self.now.saturating_sub(age);
        let heard = if up { self.now } else { base };
        self.due(
            heard
                + if up {
                    self.timing.down
                } else {
                    self.timing.forget
                },
        );
        let slots = Box::new([View::default(); SLOTS]);
        let dirty = 0;
        let doubt = 0;
        let applying = 0;
        let repaired = 0;
        let heartbeat = row.heartbeat;
        let known = Known {
            id,
            heartbeat,
            base,
            heard,
            up,
            slots,
            dirty,
            doubt,
            applying,
            repaired,
        };
        self.known.insert(name, known);
        if up {
            self.tell(Event::ReplicaUp(row.id.clone()));
        } else {
            self.actions.push_back(Action::Hide(row.id.clone()));
        }
        // What was shown before this admission was not kept: ask for it again.
        for peer in self.peers.values_mut().filter(|peer| peer.missed) {
            (peer.missed, peer.contiguous) = (false, None);
        }
        if !complete && let Some(peer) = self.peers.get_mut(from) {
            peer.contiguous = None;
        }
        true
    }

    fn missed(&mut self, from: &Address) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.missed = true;
        }
    }

    fn acknowledge(&mut self, from: &Address, row: &Row) {
        let most = 65_536 / self.peers.len().max(1);
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        if let Some(clocks) = peer.acks.get_mut(row.id.name()) {
            row.listed()
                .for_each(|(slot, clock, _)| clocks[slot] = clocks[slot].max(clock));
        } else if row.mask != 0 && peer.acks.len() < most {
            let mut clocks = Box::new([0; SLOTS]);
            row.listed()
                .for_each(|(slot, clock, _)| clocks[slot] = clock);
            peer.acks.insert(row.id.name().into(), clocks);
        }
    }

    /// Compares what a row shows with what is held.
    fn compare(&mut self, from: &Address, row: &Row, trusted: bool) {
        for (slot, clock, hash) in row.listed() {
            let Some(known) = self.known.get_mut(row.id.name()) else {
                return;
            };
            let view = known.slots[slot];
            let bit = 1 << slot;
            if row.doubt & bit != 0 {
                // It waits for a later heartbeat to show the slot: ours can.
                if !is_broken(Fault::ShowOnce) {
                    known.dirty |= bit & !known.doubt;
                }
            } else if clock > view.clock {
                let hash = trusted.then_some(hash);
                self.want(from, &row.id, slot as u8, (clock, hash), false);
            } else if clock == view.clock && known.applying & bit == 0 {
                match (hash == view.hash, trusted) {
                    (true, false) => {}
                    (true, true) => {
                        // A twin of the origin agreeing does not end the dispute with the other one.
                        let want = self.wants.get(&(Arc::from(row.id.name()), slot as u8));
                        if want.is_none_or(|want| !want.is_disputed_by_others(from)) {
                            known.trust(bit);
                        }
                    }
                    (false, true) => self.diverged(from, &row.id, slot as u8),
                    // One of the two is wrong; a later heartbeat tells which: show the slot again.
                    (false, false) if is_broken(Fault::ShowOnce) => {}
                    (false, false) => known.dirty |= bit,
                }
            }
        }
    }

    /// This holder's content of an origin is wrong: say so, and have it sent anew.
    pub(super) fn diverged(&mut self, from: &Address, id: &ReplicaId, slot: u8) {
        let Some(known) = self
            .known
            .get_mut(id.name())
            .filter(|known| known.id == *id)
        else {
            return;
        };
        let bit = 1 << slot;
        let was_in_doubt = known.doubt & bit != 0;
        known.doubt |= bit;
        known.dirty |= bit;
        if known.repaired & bit == 0 && !is_broken(Fault::IgnoreDivergence) {
            known.repaired |= bit;
            let clock = known.slots[usize::from(slot)].clock;
            self.want(from, id, slot, (clock, None), true);
            // While the repair is refused nothing is new about the divergence.
            if was_in_doubt && self.refusals.contains(&(id.name().into(), slot)) {
                return;
            }
            self.tell(Event::Divergence {
                origin: id.clone(),
                slot,
            });
        }
    }
}

//! Hiding, dropping and remembering replicas that are not heard any more; what peers acknowledged.

use super::members::{Known, Marker, Peer, Standing};
use super::row::bits;
use super::{Action, Address, Event, Replica};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

impl Replica {
    pub(super) fn retire(&mut self, id: &ReplicaId, heartbeat: u64, age: u64) {
        if matches!(self.standing(id), Standing::Fenced(_) | Standing::Retired) {
            return;
        }
        if self.known.contains_key(id.name()) {
            if let Some(known) = self.drop_known(id.name()) {
                self.actions.push_back(Action::Forget(known.id));
            }
            self.tell(Event::ReplicaLeft(id.clone()));
        }
        self.mark(id.clone(), heartbeat, true, self.now.saturating_sub(age));
    }

    pub(super) fn mark(&mut self, id: ReplicaId, heartbeat: u64, retired: bool, base: u64) {
        if is_broken(if retired {
            Fault::NoRetirement
        } else {
            Fault::NoMarker
        }) {
            return;
        }
        let until = self.now + 2 * self.timing.forget;
        self.due(until);
        if self.markers.len() >= 4 * self.config.peers_max {
            let soonest = self.markers.iter().min_by_key(|(_, marker)| marker.until);
            let name = soonest.map(|(name, _)| name.clone());
            name.and_then(|name| self.markers.remove(&name));
        }
        let marker = Marker {
            id,
            heartbeat,
            retired,
            base,
            until,
        };
        self.markers.insert(marker.id.name().into(), marker);
    }

    /// Drops a replica and everything under way for it; what becomes of its entries is for the
    /// caller to say.
    pub(super) fn drop_known(&mut self, name: &str) -> Option<Known> {
        let known = self.known.remove(name)?;
        self.drop_wants(name);
        self.drop_replies_of(&known.id);
        for peer in self.peers.values_mut() {
            peer.acks.remove(name);
        }
        Some(known)
    }

    pub(super) fn mark_down(&mut self, name: &str) {
        let Some(known) = self.known.get_mut(name) else {
            return;
        };
        known.up = false;
        let id = known.id.clone();
        let forget_at = known.heard + self.timing.forget;
        self.due(forget_at);
        let gone = |(_, peer): &(&Address, &mut Peer)| peer.id == id;
        let mut addresses = Vec::new();
        for (address, peer) in self.peers.iter_mut().filter(gone) {
            peer.contiguous = None;
            addresses.push(address.clone());
        }
        addresses
            .iter()
            .for_each(|address| self.forget_source(address));
        self.actions.push_back(Action::Hide(id.clone()));
        self.tell(Event::ReplicaDown(id));
    }

    /// Looks after every deadline and finds the next.
    pub(super) fn sweep(&mut self) {
        self.sweep_at = u64::MAX;
        let now = self.now;
        let down = self.timing.down;
        let forget = self.timing.forget;
        let mut next = u64::MAX;
        let mut late = Vec::new();
        for (name, known) in &self.known {
            let is_shown = known.up && !is_broken(Fault::NeverDown);
            let at = known.heard + if is_shown { down } else { forget };
            if now >= at {
                late.push((name.clone(), known.up && now < known.heard + forget));
            } else {
                next = next.min(at);
            }
        }
        for (name, is_down) in late {
            if is_down {
                self.mark_down(&name);
            } else {
                self.forget(&name);
            }
        }
        self.markers.retain(|_, marker| now < marker.until);
        self.peers.retain(|_, peer| now < peer.heard + 2 * forget);
        let markers = self.markers.values().map(|marker| marker.until);
        let peers = self.peers.values().map(|peer| peer.heard + 2 * forget);
        self.due(markers.chain(peers).fold(next, u64::min));
        self.signals.expire(now);
        self.sweep_pulls();
        self.sweep_parts();
    }

    fn forget(&mut self, name: &str) {
        let Some(known) = self.drop_known(name) else {
            return;
        };
        self.actions.push_back(Action::Forget(known.id.clone()));
        self.peers.values_mut().for_each(|peer| peer.missed = true);
        self.mark(known.id.clone(), known.heartbeat, false, known.base);
        self.tell(Event::ReplicaForgotten(known.id));
    }

    /// Lets the leaves go that every up peer has seen.
    pub(super) fn trim(&mut self) {
        let up: Vec<&Peer> = self
            .peers
            .values()
            .filter(|peer| {
                self.known
                    .get(peer.id.name())
                    .is_some_and(|k| k.up && k.id == peer.id)
            })
            .collect();
        if up.is_empty() {
            return;
        }
        let others = self
            .known
            .values()
            .filter(|_| up.len() * self.known.len() <= 16_384);
        let others = others.map(|known| (&known.id, known.used()));
        let all = others.chain([(&self.own.id, self.own.used())]);
        let mut actions = Vec::new();
        for (id, used) in all {
            for slot in bits(used) {
                let acks = up
                    .iter()
                    .filter(|peer| peer.id != *id)
                    .map(|peer| peer.acks.get(id.name()).map_or(0, |clocks| clocks[slot]));
                let upto = acks.min().unwrap_or(0);
                if upto > 0 {
                    let origin = id.clone();
                    let slot = slot as u8;
                    actions.push(Action::Trim { origin, slot, upto });
                }
            }
        }
        self.actions.extend(actions);
    }
}

//! What a snapshot knew of the other replicas.

use std::sync::Arc;
use std::time::Duration;

use super::members::{Known, View};
use super::message::SLOTS;
use super::{Action, Replica};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

impl Replica {
    /// Takes where one slot of another replica stood in a snapshot, as (slot, clock, H). The
    /// replica counts as down until it is heard, and is forgotten like any other.
    pub fn remember(&mut self, now: Duration, id: &ReplicaId, view: (u8, u64, u64)) {
        self.advance(now);
        let name: Arc<str> = id.name().into();
        let (slot, clock, hash) = view;
        if !self.known.contains_key(&name) {
            if self.known.len() >= self.config.peers_max {
                self.actions.push_back(Action::Forget(id.clone()));
                return;
            }
            let now = self.now;
            let slots = Box::new([View::default(); SLOTS]);
            let known = Known {
                id: id.clone(),
                heartbeat: 0,
                base: now,
                heard: now,
                up: false,
                slots,
                dirty: 0,
                doubt: 0,
                applying: 0,
                repaired: 0,
            };
            self.known.insert(Arc::clone(&name), known);
            self.due(now + self.timing.forget);
            self.actions.push_back(if is_broken(Fault::ShowRestored) {
                Action::Show(id.clone())
            } else {
                Action::Hide(id.clone())
            });
        }
        if let Some(known) = self.known.get_mut(&name).filter(|known| known.id == *id) {
            known.slots[usize::from(slot) % SLOTS] = View { clock, hash };
        }
    }
}

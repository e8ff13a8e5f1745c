//! Pulls: what is known to exist elsewhere and is not here.

use std::sync::Arc;

use bytes::Bytes;

use super::members::{Known, View};
use super::message::{Message, Pull, SLOTS, peek};
use super::own::Voice;
use super::{Action, Address, Apply, OUT_MAX, Replica, Serve};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// Pulls under way at once; further ones wait their turn.
const ASKED_MAX: usize = 256;
/// Peers remembered per want.
const SOURCES_MAX: usize = 8;

/// An origin of which somebody has shown more than is here.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) id: ReplicaId,
    /// Whether the content here is wrong and must come anew.
    pub(super) full: bool,
    /// Who showed it, and what.
    sources: Vec<Source>,
    /// The peer asked last.
    pub(super) asked: Option<Address>,
    pub(super) nonce: u64,
    /// When to ask, or to ask again.
    pub(super) at: u64,
    /// Whether an answer is awaited.
    pub(super) waiting: bool,
    tries: u32,
}

/// What a peer has shown of an origin.
#[derive(Clone, Debug)]
struct Source {
    address: Address,
    clock: u64,
    /// The digest at that clock, if the row is one to be trusted.
    hash: Option<u64>,
}

impl Want {
    /// Whether the content here is in dispute with others than this peer.
    pub(super) fn is_disputed_by_others(&self, peer: &Address) -> bool {
        self.full && self.sources.iter().all(|source| source.address != *peer)
    }
}

impl Replica {
    /// Somebody shows `clock` of an origin: ask for it soon.
    pub(super) fn want(
        &mut self,
        from: &Address,
        id: &ReplicaId,
        slot: u8,
        (clock, hash): (u64, Option<u64>),
        full: bool,
    ) {
        let key = (Arc::from(id.name()), slot);
        let refused = self.refusals.ask_at(&key, clock, self.timing.beat);
        let at = refused.max(self.now + self.rng.below(self.timing.jitter));
        let want = self.wants.entry(key).or_insert_with(|| Want {
            id: id.clone(),
            full: false,
            sources: Vec::new(),
            asked: None,
            nonce: 0,
            at,
            waiting: false,
            tries: 0,
        });
        if full && !want.full {
            (want.full, want.waiting, want.at) = (true, false, at);
            want.sources.clear();
        }
        if refused > 0 && !want.waiting {
            // The origin may have moved on since.
            want.at = want.at.min(at);
        }
        let has_room = want.sources.len() < SOURCES_MAX;
        let shown = Source {
            address: from.clone(),
            clock,
            hash,
        };
        match want
            .sources
            .iter_mut()
            .find(|source| source.address == *from)
        {
            Some(source) if clock < source.clock => {}
            Some(source) if clock == source.clock => source.hash = hash.or(source.hash),
            Some(source) => *source = shown,
            None if has_room => want.sources.push(shown),
            None => {
                let least = want.sources.iter_mut().min_by_key(|source| source.clock);
                if let Some(least) = least.filter(|least| least.clock < clock) {
                    *least = shown;
                }
            }
        }
        let at = want.at;
        self.due(at);
    }

    /// After a frame of an origin was applied: is anything still wanted?
    pub(super) fn settle(&mut self, id: &ReplicaId, slot: u8, moved: bool) {
        let Some(known) = self.known.get(id.name()) else {
            return;
        };
        let View { clock, hash } = known.slots[usize::from(slot) % SLOTS];
        let key = (Arc::from(id.name()), slot);
        let (now, pause) = (self.now, self.timing.pull);
        let Some(want) = self.wants.get_mut(&key) else {
            return;
        };
        // What a trusted row showed at this clock counts whatever others show beyond it: they may
        // be gone before they are asked.
        let differs =
            |shown: &&Source| shown.clock == clock && shown.hash.is_some_and(|shown| shown != hash);
        let other = want.sources.iter().find(differs).map(|s| s.address.clone());
        let is_reached = want.sources.iter().all(|source| source.clock <= clock);
        if !want.full && (is_reached || other.is_some()) {
            if is_reached {
                self.wants.remove(&key);
            }
            if let Some(from) = other {
                self.diverged(&from, id, slot);
            }
            self.note_synced();
        } else {
            // Without progress (a limit of the tracker, say) asking at once would only go round.
            let shown = want.sources.iter().map(|source| source.clock).max();
            let refused = self
                .refusals
                .ask_at(&key, shown.unwrap_or(0), self.timing.beat);
            let at = if moved { now } else { now + pause }.max(refused);
            (want.waiting, want.at) = (false, at);
            self.due(at);
        }
    }

    /// A gone neighbour is asked no more.
    pub(super) fn forget_source(&mut self, from: &str) {
        let now = self.now;
        self.wants.retain(|_, want| {
            want.sources.retain(|source| *source.address != *from);
            if want.asked.as_deref() == Some(from) && want.waiting {
                (want.waiting, want.at) = (false, now);
            }
            !want.sources.is_empty()
        });
        if !self.wants.is_empty() {
            self.due(now);
        }
    }

    pub(super) fn drop_wants(&mut self, name: &str) {
        self.refusals.remove_all(name);
        let first = (Arc::from(name), 0);
        let last = (Arc::from(name), u8::MAX);
        let keys: Vec<_> = self
            .wants
            .range(first..=last)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.wants.remove(&key);
            self.drop_staging(&key);
        }
    }

    /// Sends the Pulls that are due.
    pub(super) fn sweep_pulls(&mut self) {
        let mut asked = self.wants.values().filter(|want| want.waiting).count();
        let due: Vec<_> = self
            .wants
            .iter()
            .filter(|(_, w)| w.at <= self.now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let waited = self.wants.get(&key).is_some_and(|want| want.waiting);
            asked -= usize::from(waited);
            if asked < ASKED_MAX && self.staged_bytes <= self.config.staging_bytes_max as u64 {
                asked += usize::from(self.ask(&key));
            } else if let Some(want) = self.wants.get_mut(&key) {
                want.at = self.now + self.timing.pull / 4;
                want.waiting = false;
            }
        }
        if let Some(at) = self.wants.values().map(|want| want.at).min() {
            self.due(at);
        }
    }

    /// Asks the next peer that shows more than is here; false when there is nothing to ask.
    fn ask(&mut self, key: &(Arc<str>, u8)) -> bool {
        self.drop_staging(key);
        let (now, jitter) = (self.now, self.rng.below(self.timing.jitter));
        let (timeout, nonce) = (self.timing.pull, self.rng.next_u64());
        let Some(known) = self.known.get(&key.0) else {
            self.wants.remove(key);
            return false;
        };
        let (clock, bit) = (known.slots[usize::from(key.1)].clock, 1u32 << key.1);
        let (applying, doubt) = (known.applying & bit != 0, known.doubt & bit != 0);
        let Some(want) = self.wants.get_mut(key) else {
            return false;
        };
        // A trusted row agreed meanwhile.
        let is_over = want.full && !doubt;
        want.full &= doubt;
        let full = want.full;
        want.sources
            .retain(|source| source.clock > clock || (full && source.clock == clock));
        // A peer that is silent is not asked; should it speak again, it must show all again.
        let (peers, down) = (&mut self.peers, self.timing.down);
        want.sources.retain(|source| {
            let peer = peers.get_mut(&source.address);
            let is_silent = peer.as_ref().is_none_or(|peer| now >= peer.heard + down);
            if let Some(peer) = peer.filter(|_| is_silent) {
                peer.contiguous = None;
            }
            !is_silent
        });
        if want.sources.is_empty() {
            self.wants.remove(key);
            if is_over {
                // What had been shown beyond it was put aside for the dispute.
                self.forget_shown();
            }
            return false;
        }
        // Another peer than the last one where there is a choice.
        let last = want
            .sources
            .iter()
            .position(|source| Some(&source.address) == want.asked.as_ref());
        let next = last.map_or(want.tries as usize, |last| last + 1) % want.sources.len();
        let peer = want.sources[next].address.clone();
        want.tries += 1;
        if want.tries > 1 && is_broken(Fault::AskOnce) {
            return false;
        }
        want.waiting = !applying;
        // Later tries wait longer, so that a lost cause costs little.
        want.at = now + timeout * u64::from(1 + (want.tries / 8).min(7)) + jitter;
        if applying {
            return false;
        }
        want.asked = Some(peer.clone());
        want.nonce = nonce;
        let (origin, slot) = (want.id.clone(), key.1);
        self.send(
            &peer,
            &Message::Pull(Pull {
                origin,
                slot,
                clock,
                full,
                nonce,
            }),
        );
        true
    }

    /// A Delta or a Repair.
    pub(super) fn slot_frame(&mut self, from: &Address, repair: bool, body: Bytes) {
        let Ok(header) = peek(&body, repair) else {
            return;
        };
        let (origin, slot) = (header.origin, header.slot);
        let Some(known) = self
            .known
            .get(origin.name())
            .filter(|known| known.id == origin)
        else {
            return;
        };
        let (clock, bit) = (known.slots[usize::from(slot)].clock, 1u32 << slot);
        if known.applying & bit != 0 {
            if header.to > clock {
                self.want(from, &origin, slot, (header.to, None), false);
            }
            return;
        }
        let key = (Arc::from(origin.name()), slot);
        let wanted = self
            .wants
            .get(&key)
            .filter(|want| want.full && want.waiting);
        let full = wanted.is_some_and(|want| header.nonce == Some(want.nonce));
        if header.to <= clock && !(full && header.to == clock) {
            return;
        }
        let fault = if repair {
            Fault::RepairOverClock
        } else {
            Fault::ApplyOverGap
        };
        if header.from > clock && !is_broken(fault) {
            self.want(from, &origin, slot, (header.to, None), false);
            return;
        }
        if full {
            self.repaired(&key);
        }
        let (to, source) = (header.to, from.clone());
        self.actions.push_back(Action::Apply(Apply {
            origin,
            slot,
            body,
            repair,
            full,
            to,
            source,
        }));
    }

    /// The full repair of an origin is here: it is trusted again until a row says otherwise.
    pub(super) fn repaired(&mut self, key: &(Arc<str>, u8)) {
        if let Some(want) = self.wants.get_mut(key) {
            want.full = false;
        }
        if let Some(known) = self.known.get_mut(&key.0) {
            known.trust(1 << key.1);
        }
    }

    /// Someone asks for an origin: pass it on to the trackers if it may be served.
    pub(super) fn asked(&mut self, from: &Address, pull: Pull) {
        let Pull {
            origin,
            slot,
            clock: since,
            full,
            nonce,
        } = pull;
        let (index, bit) = (
            usize::from(slot) % SLOTS,
            1u32 << (usize::from(slot) % SLOTS),
        );
        let clock = if origin == self.own.id {
            (self.voice == Voice::Speaking).then(|| self.own.slots[index].clock)
        } else {
            let known = self
                .known
                .get(origin.name())
                .filter(|known| known.id == origin);
            let applying = |known: &&Known| known.applying & bit != 0;
            let sound = known.filter(|known| known.doubt & bit == 0);
            let sound = sound.filter(|k| !applying(k) || is_broken(Fault::ServeInexact));
            sound.map(|known| known.slots[index].clock)
        };
        let newer = clock.is_some_and(|clock| clock > since || (full && clock == since));
        if newer && self.out.len() < OUT_MAX {
            let to = from.clone();
            self.actions.push_back(Action::Serve(Serve {
                origin,
                slot,
                since,
                full,
                nonce,
                to,
            }));
        }
    }
}

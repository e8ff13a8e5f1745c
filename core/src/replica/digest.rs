//! Hello and Digest: who is heard, with what clocks.

use bytes::Bytes;

use super::members::{Known, Peer, Standing};
use super::message::{Message, OVERHEAD, SLOTS};
use super::row::{Row, Rows, bits};
use super::{Address, Destination, Outcome, Replica, Report};
use crate::codec::{WIRE_MAJOR, Writer};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// With a full mesh, every so many beats the rows of all replicas travel, as acknowledgements.
const RELAY_EVERY: u64 = 8;

/// The fields of a Digest before its rows.
pub(super) struct Heading {
    pub(super) seq: u64,
    pub(super) full: bool,
    pub(super) part: u8,
    pub(super) parts: u8,
}

impl Replica {
    /// One heartbeat: the Digest to all peers, and what is counted in beats.
    pub(super) fn beat(&mut self) {
        self.own.beat_at = self.now + self.timing.beat;
        self.own.beaten = self.now;
        self.own.started.get_or_insert(self.now);
        // Clones in lock step show themselves by unequal steps.
        self.own.heartbeat += 1 + self.rng.below(64);
        if self.own.seq == 0 {
            let hello = self.hello_message();
            self.broadcast(&hello);
        }
        self.own.seq += 1;
        let all = self.config.relay || self.own.seq.is_multiple_of(RELAY_EVERY);
        let rows = self.rows(false, all);
        self.send_digest(&Destination::All, false, &rows);
        self.own.dirty = 0;
        for known in self.known.values_mut() {
            if all {
                known.dirty &= known.applying;
            }
            known.repaired = 0;
        }
        self.retry_repairs();
        if self.own.seq.is_multiple_of(RELAY_EVERY) {
            self.trim();
        }
        self.note_synced();
    }

    /// A doubtful slot that nobody is asked for: have everything shown again.
    fn retry_repairs(&mut self) {
        let idle = self.known.iter().any(|(name, known)| {
            bits(known.doubt).any(|slot| !self.wants.contains_key(&(name.clone(), slot as u8)))
        });
        if idle {
            self.forget_shown();
        }
    }

    /// Whatever neighbours have shown, all of them have to show everything again.
    pub(super) fn forget_shown(&mut self) {
        self.peers
            .values_mut()
            .for_each(|peer| peer.contiguous = None);
    }

    fn hello_message(&self) -> Message {
        let wire = (WIRE_MAJOR, WIRE_MAJOR);
        Message::Hello {
            heartbeat: self.own.heartbeat,
            wire,
            options: 0,
        }
    }

    /// The rows to send, the own one first. `full`: every slot, else those that changed.
    fn rows(&self, full: bool, all: bool) -> Vec<Row> {
        let mut own = Row::bare(self.own.id.clone(), self.own.heartbeat, 0);
        own.mask = if full {
            self.own.used()
        } else {
            self.own.dirty
        };
        for slot in bits(own.mask) {
            own.slots[slot] = (self.own.slots[slot].clock, self.own.slots[slot].hash);
        }
        let mut rows = vec![own];
        if !full && !all {
            return rows;
        }
        let age_ms = |base| u32::try_from((self.now - base) / 1000).unwrap_or(u32::MAX);
        // What only a snapshot knows may be long dead: nobody is told before it is heard.
        let is_heard = |known: &&Known| known.heartbeat > 0 || is_broken(Fault::OfferRestored);
        for known in self.known.values().filter(is_heard) {
            let mut row = Row::bare(known.id.clone(), known.heartbeat, age_ms(known.base));
            row.down = !known.up;
            // What is in doubt is shown until it is out of it.
            let news = known.dirty | known.doubt;
            row.mask = if full { known.used() } else { news } & !known.applying;
            row.doubt = known.doubt & row.mask;
            for slot in bits(row.mask) {
                row.slots[slot] = (known.slots[slot].clock, known.slots[slot].hash);
            }
            rows.push(row);
        }
        for marker in self.markers.values().filter(|marker| marker.retired) {
            let mut row = Row::bare(marker.id.clone(), marker.heartbeat, age_ms(marker.base));
            row.retired = true;
            if self.now < marker.base + self.timing.forget {
                rows.push(row);
            }
        }
        rows
    }

    /// Sends rows in as many frames as they need.
    fn send_digest(&mut self, to: &Destination, full: bool, rows: &[Row]) {
        let room = self.config.frame_max - OVERHEAD;
        let mut chunks = Vec::new();
        let mut chunk = Writer::new();
        for row in rows {
            let before = chunk.len();
            row.encode(&mut chunk);
            if chunk.len() > room && before > 0 {
                let whole = chunk.into_vec();
                chunk = Writer::new();
                chunk.raw(&whole[before..]);
                chunks.push(Bytes::from(whole).slice(..before));
            }
        }
        chunks.push(chunk.into_vec().into());
        let seq = self.own.seq;
        let parts = chunks.len().min(64) as u8;
        for (part, rows) in (0..parts).zip(chunks) {
            self.transmit(
                to.clone(),
                &Message::Digest {
                    seq,
                    full,
                    part,
                    parts,
                    rows,
                },
            );
        }
    }

    pub(super) fn hello(&mut self, from: &Address, sender: &ReplicaId, heartbeat: u64) {
        let is_new = !matches!(self.standing(sender), Standing::Known);
        if self.meet(from, sender) {
            self.row(from, &Row::bare(sender.clone(), heartbeat, 0), true, false);
            let rows = self.rows(true, true);
            self.send_digest(&Destination::Peer(from.clone()), true, &rows);
            if is_new {
                self.greet(from);
            }
        }
    }

    pub(super) fn digest(
        &mut self,
        from: &Address,
        sender: &ReplicaId,
        heading: &Heading,
        rows: &[u8],
    ) {
        if !self.meet(from, sender) {
            return;
        }
        for row in Rows::new(rows).flatten() {
            let direct = row.id == *sender;
            self.row(from, &row, direct, heading.full);
        }
        self.follow(from, heading);
        self.note_synced();
    }

    /// Keeps the sequence of a sender's Digests: a gap is answered with Hello.
    fn follow(&mut self, from: &Address, heading: &Heading) {
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        let parts = if heading.full {
            &mut peer.full
        } else {
            &mut peer.partial
        };
        if parts.0 != heading.seq {
            *parts = (heading.seq, 0);
        }
        parts.1 |= 1 << heading.part;
        let is_whole = parts.1.count_ones() >= u32::from(heading.parts);
        match peer.contiguous {
            Some(seen) if heading.seq <= seen => {}
            _ if heading.full && is_whole => peer.contiguous = Some(heading.seq),
            _ if heading.full => {}
            Some(seen) if heading.seq == seen + 1 => {
                if is_whole {
                    peer.contiguous = Some(heading.seq);
                }
            }
            _ if is_broken(Fault::IgnoreDigestGap) => {}
            _ => self.greet(from),
        }
    }

    /// Asks a neighbour for a full Digest, at most once in half a beat.
    fn greet(&mut self, to: &Address) {
        let now = self.now;
        let half = self.timing.beat / 2;
        if let Some(peer) = self.peers.get_mut(to) {
            if now < peer.hello_at {
                return;
            }
            peer.hello_at = now + half;
        }
        let hello = self.hello_message();
        self.send(to, &hello);
    }

    /// Keeps a record of a direct sender; false when there is no room for one.
    fn meet(&mut self, from: &Address, sender: &ReplicaId) -> bool {
        let now = self.now;
        let has_room = self.peers.len() < self.config.peers_max;
        match self.peers.get_mut(from) {
            Some(peer) if peer.id == *sender => peer.heard = now,
            None if !has_room => return false,
            _ => {
                let peer = Peer {
                    id: sender.clone(),
                    contiguous: Some(0),
                    full: (0, 0),
                    partial: (0, 0),
                    missed: false,
                    acks: std::collections::BTreeMap::new(),
                    hello_at: 0,
                    heard: now,
                };
                self.peers.insert(from.clone(), peer);
                self.due(now + 2 * self.timing.forget);
            }
        }
        true
    }

    /// Latches `is_synced`: every neighbour has shown everything, and all of it is here.
    pub(super) fn note_synced(&mut self) {
        let settled = |start| self.now >= start + 2 * self.timing.beat;
        // What is refused is not waited for.
        let has_come = || self.wants.keys().all(|key| self.refusals.contains(key));
        if !self.synced && self.own.started.is_some_and(settled) && has_come() {
            let speaks = |peer: &&Peer| {
                let known = self.known.get(peer.id.name());
                let is_current = known.is_some_and(|known| known.up && known.id == peer.id);
                is_current && self.now < peer.heard + self.timing.down
            };
            self.synced = self
                .peers
                .values()
                .filter(speaks)
                .all(|peer| peer.contiguous.is_some());
        }
    }

    /// Reports what became of an [`Action::Apply`](super::Action::Apply), and of the slices after
    /// [`Outcome::Started`].
    pub fn applied(
        &mut self,
        now: std::time::Duration,
        origin: &ReplicaId,
        slot: u8,
        report: Report,
        source: &Address,
    ) {
        self.advance(now);
        let Some(known) = self
            .known
            .get_mut(origin.name())
            .filter(|known| known.id == *origin)
        else {
            return;
        };
        let index = usize::from(slot) % SLOTS;
        let bit = 1u32 << (usize::from(slot) % SLOTS);
        if report.outcome == Outcome::Started {
            known.applying |= bit;
            return;
        }
        known.applying &= !bit;
        let view = &mut known.slots[index];
        let moved = view.clock != report.clock || view.hash != report.hash;
        if moved {
            (view.clock, view.hash) = (report.clock, report.hash);
            known.dirty |= bit;
        }
        if moved {
            self.refusals.remove(&(origin.name().into(), slot));
        }
        match report.outcome {
            Outcome::Invalid | Outcome::Refused { .. } if is_broken(Fault::IgnoreInvalid) => {
                self.settle(origin, slot, moved);
            }
            Outcome::Invalid => self.diverged(source, origin, slot),
            Outcome::Refused { to, full, error } => {
                self.refused(source, (origin, slot), to, full, &error);
            }
            _ => self.settle(origin, slot, moved),
        }
    }
}

//! Replies larger than a frame: the receiver draws them part by part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::{Message, OVERHEAD, Part, Pull, SlotHeader, peek};
use super::{Address, Replica, Serve};
use crate::fault::{Fault, is_broken};
use crate::id::ReplicaId;

/// Parts sent for one request.
const CREDIT: u8 = 4;
/// An encoded reply is kept this long after the last request.
const KEEP: u64 = 10_000_000;
/// Requests without an answer before another peer is asked.
const TRIES_MAX: u32 = 4;

/// A reply being received.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    from: Address,
    /// The first part, without its bytes: what all others must repeat.
    head: Part,
    have: BTreeMap<u32, Bytes>,
    bytes: u64,
    /// The parts asked for and not here yet.
    open: Vec<u32>,
    at: u64,
    tries: u32,
}

/// An encoded reply being sent.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    to: Address,
    origin: ReplicaId,
    head: Part,
    frame: Bytes,
    until: u64,
}

impl Replica {
    /// Takes the answer to an [`Action::Serve`](super::Action::Serve): the body of a Delta or, if
    /// `repair`, of a Repair with the nonce of the request.
    pub fn reply(&mut self, now: Duration, serve: &Serve, frame: Bytes, repair: bool) {
        self.advance(now);
        if frame.len() <= self.config.frame_max - OVERHEAD {
            let message = if repair {
                Message::Repair { frame }
            } else {
                Message::Delta { frame }
            };
            self.send(&serve.to, &message);
            return;
        }
        let Ok(SlotHeader {
            origin,
            slot,
            from,
            to,
            ..
        }) = peek(&frame, repair)
        else {
            return;
        };
        let total = frame.len() as u64;
        if self.reply_bytes.saturating_add(total) > self.config.reply_bytes_max as u64 {
            return;
        }
        let count = frame.len().div_ceil(self.part_len()) as u32;
        let reply = self.rng.next_u64();
        let index = 0;
        let nonce = serve.nonce;
        let bytes = Bytes::new();
        let origin_id = origin.clone();
        let head = Part {
            reply,
            index,
            count,
            total,
            nonce,
            repair,
            origin,
            slot,
            from,
            to,
            bytes,
        };
        let until = self.now + KEEP;
        self.due(until);
        self.reply_bytes += total;
        let to = serve.to.clone();
        self.replies.insert(
            reply,
            Reply {
                to,
                origin: origin_id,
                head,
                frame,
                until,
            },
        );
        self.send_part(reply, 0);
    }

    fn part_len(&self) -> usize {
        self.config.frame_max - OVERHEAD
    }

    fn send_part(&mut self, reply: u64, index: u32) {
        let len = self.part_len();
        let Some(found) = self
            .replies
            .get(&reply)
            .filter(|found| index < found.head.count)
        else {
            return;
        };
        let start = index as usize * len;
        let bytes = found
            .frame
            .slice(start..(start + len).min(found.frame.len()));
        let part = Part {
            index,
            bytes,
            ..found.head.clone()
        };
        let to = found.to.clone();
        self.send(&to, &Message::Part(part));
    }

    pub(super) fn asked_parts(
        &mut self,
        from: &Address,
        reply: u64,
        missing: &[u32],
        credit: u8,
        pull: Pull,
    ) {
        let until = self.now + KEEP;
        match self.replies.get_mut(&reply) {
            Some(found) if found.to == *from => {
                found.until = until;
                for &index in missing.iter().take(usize::from(credit.min(CREDIT))) {
                    self.send_part(reply, index);
                }
            }
            // Too late: encode it again, under a new id.
            _ => self.asked(from, pull),
        }
    }

    pub(super) fn drop_replies_of(&mut self, id: &ReplicaId) {
        let mut freed = 0;
        self.replies.retain(|_, reply| {
            let stays = reply.origin != *id;
            freed += if stays { 0 } else { reply.head.total };
            stays
        });
        self.reply_bytes -= freed;
    }

    /// A part of a reply to a Pull of ours.
    pub(super) fn part(&mut self, from: &Address, mut part: Part) {
        let key = (Arc::from(part.origin.name()), part.slot);
        let expected = self.wants.get(&key).is_some_and(|want| {
            want.waiting
                && want.nonce == part.nonce
                && want.id == part.origin
                && want.asked.as_ref() == Some(from)
        });
        if !expected {
            return;
        }
        let index = part.index;
        let bytes = std::mem::take(&mut part.bytes);
        part.index = 0;
        // A Pull delivered twice is answered twice. The later reply is taken only when the first one
        // falls silent; otherwise each would start the other one anew, for ever.
        let is_other = |staging: &Staging| staging.head.reply != part.reply;
        let is_silent = |staging: &Staging| staging.tries > 0 || is_broken(Fault::SwitchReplies);
        let staging = self.staging.get(&key);
        if staging.is_none_or(|staging| is_other(staging) && is_silent(staging)) {
            self.drop_staging(&key);
            if self.staged_bytes.saturating_add(part.total) > self.config.staging_bytes_max as u64 {
                return;
            }
            self.staged_bytes += part.total;
            let have = BTreeMap::new();
            let open = Vec::new();
            let from = from.clone();
            let head = part.clone();
            let at = self.now + self.timing.pull;
            self.due(at);
            let staging = Staging {
                from,
                head,
                have,
                bytes: 0,
                open,
                at,
                tries: 0,
            };
            self.staging.insert(key.clone(), staging);
        }
        let Some(staging) = self.staging.get_mut(&key) else {
            return;
        };
        let fits = staging.bytes + bytes.len() as u64 <= part.total;
        if staging.head != part || staging.from != *from || !fits {
            return;
        }
        staging.tries = 0;
        staging.open.retain(|open| *open != index);
        let len = bytes.len() as u64;
        if staging.have.insert(index, bytes).is_none() {
            staging.bytes += len;
        }
        if staging.have.len() == part.count as usize {
            self.finish(&key);
        } else if staging.open.is_empty() {
            self.ask_parts(&key);
        }
    }

    /// Asks for the next parts of a reply.
    fn ask_parts(&mut self, key: &(Arc<str>, u8)) {
        let patience = self.now + self.timing.pull;
        let Some(known) = self.known.get(&key.0) else {
            return;
        };
        let clock = known.slots[usize::from(key.1)].clock;
        let Some(want) = self.wants.get_mut(key) else {
            return;
        };
        let Some(staging) = self.staging.get_mut(key) else {
            return;
        };
        let absent = (0..staging.head.count).filter(|n| !staging.have.contains_key(n));
        let missing: Vec<u32> = absent.take(usize::from(CREDIT)).collect();
        staging.open.clone_from(&missing);
        staging.at = patience;
        // The Pull itself is being answered: it need not be repeated.
        want.at = patience + self.timing.pull;
        let origin = want.id.clone();
        let slot = key.1;
        let nonce = want.nonce;
        let pull = Pull {
            origin,
            slot,
            clock,
            full: want.full,
            nonce,
        };
        let to = staging.from.clone();
        let reply = staging.head.reply;
        self.due(patience);
        self.send(
            &to,
            &Message::PullParts {
                reply,
                missing,
                credit: CREDIT,
                pull,
            },
        );
    }

    /// Every part is here: the frame goes the way of a frame that came whole.
    fn finish(&mut self, key: &(Arc<str>, u8)) {
        let Some(staging) = self.staging.remove(key) else {
            return;
        };
        self.staged_bytes -= staging.head.total;
        let mut frame = Vec::with_capacity(staging.bytes as usize);
        for bytes in staging.have.into_values() {
            frame.extend_from_slice(&bytes);
        }
        let frame = Bytes::from(frame);
        let head = staging.head;
        let honest = peek(&frame, head.repair).is_ok_and(|header| {
            let said = (&header.origin, header.slot, header.from, header.to);
            said == (&head.origin, head.slot, head.from, head.to)
        });
        if honest {
            self.slot_frame(&staging.from, head.repair, frame);
        }
    }

    pub(super) fn drop_staging(&mut self, key: &(Arc<str>, u8)) {
        if let Some(staging) = self.staging.remove(key) {
            self.staged_bytes -= staging.head.total;
        }
    }

    /// Repeats requests for parts, gives up on dead senders, drops old replies.
    pub(super) fn sweep_parts(&mut self) {
        let now = self.now;
        let late: Vec<_> = self
            .staging
            .iter_mut()
            .filter(|(_, staging)| staging.at <= now)
            .map(|(key, staging)| {
                staging.tries += 1;
                (key.clone(), staging.tries > TRIES_MAX)
            })
            .collect();
        for (key, is_lost) in late {
            if is_lost {
                self.drop_staging(&key);
                if let Some(want) = self.wants.get_mut(&key) {
                    (want.waiting, want.at) = (false, now);
                    self.due(now);
                }
            } else {
                self.ask_parts(&key);
            }
        }
        let mut freed = 0;
        self.replies.retain(|_, reply| {
            freed += if now < reply.until {
                0
            } else {
                reply.head.total
            };
            now < reply.until
        });
        self.reply_bytes -= freed;
        let staged = self.staging.values().map(|staging| staging.at).min();
        let kept = self.replies.values().map(|reply| reply.until).min();
        self.due(staged.unwrap_or(u64::MAX).min(kept.unwrap_or(u64::MAX)));
    }
}

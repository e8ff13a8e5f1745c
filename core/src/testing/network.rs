//! Frames under way: lost, doubled, reordered, cut off.

use bytes::Bytes;

use super::world::{PLACES, World};
use crate::codec::Kind;
use crate::id::ReplicaId;
use crate::replica::{Destination, Transmit};

/// A frame between two places.
pub(super) struct Flight {
    from: usize,
    to: usize,
    sent_ms: u64,
    pub(super) frame: Bytes,
    /// Who sends it, for a Goodbye.
    leaver: Option<ReplicaId>,
}

pub(super) fn kind(frame: &[u8]) -> Kind {
    Kind(frame.get(4).copied().unwrap_or(0))
}

impl World<'_> {
    /// Puts what a place wants to send on its way.
    pub(super) fn collect(&mut self, place: usize) {
        let Some(node) = &self.nodes[place] else {
            return;
        };
        let mut sent = Vec::new();
        while let Some(transmit) = node.presence.poll_transmit() {
            sent.push(transmit);
        }
        while node.presence.poll_event().is_some() {}
        let id = node.id.clone();
        for transmit in sent {
            self.send(place, &id, &transmit);
        }
    }

    fn send(&mut self, from: usize, id: &ReplicaId, transmit: &Transmit) {
        let leaver = (kind(&transmit.frame) == Kind::GOODBYE).then(|| id.clone());
        for to in 0..self.nodes.len() {
            let addressed = match &transmit.to {
                Destination::All => self.neighbours(from, to),
                Destination::Peer(address) => *address == self.addresses[to],
            };
            if !addressed || self.cut[from][to] || self.rng.below(1000) < self.plan.loss {
                continue;
            }
            let copies = 1 + usize::from(self.rng.below(1000) < self.plan.doubled);
            for _ in 0..copies {
                let (sent_ms, frame) = (self.now_ms, transmit.frame.clone());
                let leaver = leaver.clone();
                self.flights.push(Flight {
                    from,
                    to,
                    sent_ms,
                    frame,
                    leaver,
                });
            }
        }
    }

    /// Delivers one frame that is under way.
    pub(super) fn deliver(&mut self) -> Result<bool, String> {
        if self.flights.is_empty() {
            return Ok(false);
        }
        let flight = if self.plan.reorders {
            let at = self.rng.below(self.flights.len() as u64) as usize;
            self.flights.swap_remove(at)
        } else {
            self.flights.remove(0)
        };
        let Flight {
            from,
            to,
            frame,
            leaver,
            sent_ms,
        } = flight;
        if self.cut[from][to] || sent_ms + self.plan.delay_ms < self.now_ms {
            return Ok(true);
        }
        let now = self.now(to);
        let address = self.addresses[from].clone();
        let Some(node) = &mut self.nodes[to] else {
            return Ok(true);
        };
        let kind = kind(&frame);
        let handled = node.presence.handle_message(now, &address, &frame);
        if let Some(leaver) = leaver
            && leaver.name() != node.id.name()
        {
            node.retired.insert(leaver, self.now_ms);
        }
        self.stats.frames += 1;
        self.note(|| format!("{} {from} -> {to}", name(kind)));
        if let Err(error) = handled {
            return Err(format!("{to} refused a frame of {from}: {error}"));
        }
        self.after(to)?;
        Ok(true)
    }

    pub(super) fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..20_000 {
            if !self.deliver()? && !self.work()? {
                return Ok(());
            }
        }
        Err("frames answer frames without end".into())
    }

    /// What every call of a node is followed by.
    pub(super) fn after(&mut self, place: usize) -> Result<(), String> {
        self.check(place)?;
        self.mirror(place)?;
        self.collect(place);
        Ok(())
    }

    /// Calls the nodes whose time has come.
    pub(super) fn wake(&mut self) -> Result<(), String> {
        for place in 0..self.nodes.len() {
            let now = self.now(place);
            let Some(node) = &self.nodes[place] else {
                continue;
            };
            if node.presence.poll_timeout().is_some_and(|at| at <= now) {
                node.presence.handle_timeout(now);
                self.after(place)?;
            }
        }
        Ok(())
    }

    /// Gives every node one more slice of what it has to do. Whether any had something.
    pub(super) fn work(&mut self) -> Result<bool, String> {
        let mut any = false;
        for place in 0..self.nodes.len() {
            let now = self.now(place);
            let Some(node) = self.nodes[place].as_ref() else {
                continue;
            };
            if node.presence.has_work() {
                any = true;
                node.presence.handle_timeout(now);
                self.after(place)?;
            }
        }
        Ok(any)
    }

    /// A place that a Repair is on its way to.
    pub(super) fn awaits_repair(&self) -> Option<usize> {
        let mut flights = self.flights.iter();
        let found = flights.find(|flight| kind(&flight.frame) == Kind::REPAIR);
        found.map(|flight| flight.to)
    }

    pub(super) fn heal(&mut self) {
        self.cut = [[false; PLACES]; PLACES];
        self.note(|| "heal all links".into());
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::HELLO => "Hello",
        Kind::DIGEST => "Digest",
        Kind::DELTA => "Delta",
        Kind::PULL => "Pull",
        Kind::REPAIR => "Repair",
        Kind::PART => "Part",
        Kind::PULL_PARTS => "PullParts",
        Kind::GOODBYE => "Goodbye",
        Kind::SUPERSEDED => "Superseded",
        _ => "frame",
    }
}

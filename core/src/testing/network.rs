//! Frames under way: lost, doubled, reordered, cut off.

use bytes::Bytes;

use super::incident::Incident;
use super::world::{Node, PLACES, World};
use crate::codec::Kind;
use crate::id::ReplicaId;
use crate::replica::{Destination, Transmit};

/// A frame between two places.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    sent_ms: u64,
    pub(super) frame: Bytes,
    /// Who sends it, for a Goodbye.
    leaver: Option<ReplicaId>,
}

/// True if a place that asks for no call has nothing to do is looked at in every so many steps.
const REST_EVERY: u64 = 8;

fn is_running(node: &&Node) -> bool {
    !node.hearing.is_frozen
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
        let id = node.id.clone();
        for transmit in sent {
            self.send(place, &id, &transmit);
        }
    }

    pub(super) fn send(&mut self, from: usize, id: &ReplicaId, transmit: &Transmit) {
        let leaver = (kind(&transmit.frame) == Kind::GOODBYE).then(|| id.clone());
        self.made(id, &transmit.frame);
        let (frame, extra) = self.disguise(from, &transmit.frame);
        for to in 0..self.nodes.len() {
            let addressed = match &transmit.to {
                Destination::All => self.neighbours(from, to),
                Destination::Peer(address) => *address == self.addresses[to],
            };
            if !addressed {
                continue;
            }
            self.fly((from, to), &frame, leaver.as_ref());
            if let Some(extra) = &extra {
                self.fly((from, to), extra, None);
            }
        }
    }

    /// Puts one frame on its way, or loses it.
    fn fly(&mut self, (from, to): (usize, usize), frame: &Bytes, leaver: Option<&ReplicaId>) {
        if self.cut[from][to] {
            self.count(Incident::FrameCutOff);
            return;
        }
        if self.rng.below(1000) < self.plan.loss {
            self.count(Incident::FrameLost);
            return;
        }
        let copies = 1 + usize::from(self.rng.below(1000) < self.plan.doubled);
        if copies > 1 {
            self.count(Incident::FrameDoubled);
        }
        for _ in 0..copies {
            let sent_ms = self.now_ms;
            let frame = frame.clone();
            let leaver = leaver.cloned();
            self.flights.push(Flight {
                from,
                to,
                sent_ms,
                frame,
                leaver,
            });
        }
    }

    /// Delivers one frame that is under way.
    pub(super) fn deliver(&mut self) -> Result<bool, String> {
        if self.flights.is_empty() {
            return Ok(false);
        }
        let flight = if self.plan.reorders {
            let at = self.rng.below(self.flights.len() as u64) as usize;
            if at > 0 {
                self.count(Incident::FrameReordered);
            }
            self.flights.swap_remove(at)
        } else {
            self.flights.remove(0)
        };
        let is_late = flight.sent_ms.saturating_add(self.plan.delay_ms) < self.now_ms;
        if self.cut[flight.from][flight.to] || is_late {
            self.count(if is_late {
                Incident::FrameLate
            } else {
                Incident::FrameCutOff
            });
            return Ok(true);
        }
        match &mut self.nodes[flight.to] {
            None => {}
            Some(node) if node.hearing.is_frozen => node.hearing.inbox.push(flight),
            Some(_) => self.hand_over(flight)?,
        }
        Ok(true)
    }

    /// Gives a frame that has arrived to its place.
    pub(super) fn hand_over(&mut self, flight: Flight) -> Result<(), String> {
        let Flight {
            from,
            to,
            frame,
            leaver,
            ..
        } = flight;
        let now = self.now(to);
        let address = self.addresses[from].clone();
        self.listen(to, now, &frame)?;
        let Some(node) = &mut self.nodes[to] else {
            return Ok(());
        };
        let kind = kind(&frame);
        let is_between_slices = node.presence.is_working();
        let handled = node.presence.handle_message(now, &address, &frame);
        if let Some(leaver) = leaver
            && leaver.name() != node.id.name()
        {
            node.retired.insert(leaver, self.now_ms);
        }
        self.stats.frames += 1;
        if is_between_slices {
            self.count(Incident::SlicesInterrupted);
        }
        match kind {
            Kind::REPAIR => self.count(Incident::Repair),
            Kind::PART => self.count(Incident::Part),
            Kind::SUPERSEDED => self.count(Incident::Superseded),
            _ => {}
        }
        if self.is_traced() {
            let what = self.describe(&frame);
            self.note(|| format!("{from} -> {to}: {what}"));
        }
        if let Err(error) = handled {
            return Err(format!("{to} refused a frame of {from}: {error}"));
        }
        self.after(to)
    }

    pub(super) fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..20_000 {
            if !self.deliver()? && !self.work()? {
                return Ok(());
            }
        }
        Err("frames answer frames without end".into())
    }

    /// Does what follows every call of a node.
    pub(super) fn after(&mut self, place: usize) -> Result<(), String> {
        self.record(place)?;
        self.events(place)?;
        self.check(place)?;
        self.mirror(place)?;
        self.collect(place);
        Ok(())
    }

    /// Calls the nodes whose time has come.
    pub(super) fn wake(&mut self) -> Result<(), String> {
        for place in 0..self.nodes.len() {
            let now = self.now(place);
            let Some(node) = self.nodes[place].as_ref().filter(is_running) else {
                continue;
            };
            if node.presence.poll_timeout().is_some_and(|at| at <= now) {
                self.timeout(place, now);
                self.after(place)?;
            } else if (self.step + place as u64).is_multiple_of(REST_EVERY) {
                self.check_rest(place, now)?;
            }
            self.check_silence(place, now)?;
        }
        Ok(())
    }

    /// Gives every node one more slice of what it has to do. Whether any had something.
    pub(super) fn work(&mut self) -> Result<bool, String> {
        let mut any = false;
        for place in 0..self.nodes.len() {
            let now = self.now(place);
            let Some(node) = self.nodes[place].as_ref().filter(is_running) else {
                continue;
            };
            if node.presence.is_working() {
                any = true;
                self.timeout(place, now);
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

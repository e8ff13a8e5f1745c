//! `World`: the nodes, the network between them, and the truth beside both. It starts processes and
//! carries frames, times and checks to the part that each is for; [`super::steps`] decides what
//! happens.

use std::time::Duration;

use super::hostile;
use super::network::{Arrival, Flight, Network, Sending, kind};
use super::node::Node;
use super::own_entries::{self, Operation};
use super::plan;
use super::plan::{PLACES, Session};
use super::run::Run;
use super::snapshots::Snapshots;
use super::stats::Incident;
use super::truth::Truth;
use super::{describe, liveness};
use crate::codec::Kind;
use crate::id::ReplicaId;
use crate::presence::{Presence, PresenceConfig};
use crate::replica::{Destination, Transmit};

/// Local operations between two readers that begin with a list.
const READER_EVERY: u64 = 8;
/// A node that asks for no call is checked to have nothing to do in every so many steps.
const REST_EVERY: u64 = 8;
/// Frames that may answer each other before the cluster counts as never at rest.
const DELIVERIES_MAX: usize = 20_000;

/// A simulated cluster.
pub(super) struct World<'t> {
    pub(super) run: Run<'t>,
    pub(super) network: Network,
    pub(super) truth: Truth,
    pub(super) snapshots: Snapshots,
    /// The process at each place, if one runs there; clones take the places after the first nodes.
    pub(super) nodes: Vec<Option<Node>>,
    /// The wall clock of each name, for incarnations.
    wall: Vec<u64>,
    actors: u64,
}

impl<'t> World<'t> {
    pub(super) fn new(run: Run<'t>) -> Self {
        let names = run.plan.nodes;
        let mut world = Self {
            run,
            network: Network::new(),
            truth: Truth::new(names),
            snapshots: Snapshots::default(),
            nodes: Vec::new(),
            wall: vec![1_000_000; names],
            actors: 0,
        };
        for name in 0..names {
            let place = world.add_place(name);
            world.start(place);
        }
        world
    }

    /// Adds a place for the name `home`, where nothing runs yet.
    fn add_place(&mut self, home: usize) -> usize {
        self.nodes.push(None);
        self.network.add_place(home);
        self.nodes.len() - 1
    }

    pub(super) fn has_room(&self) -> bool {
        self.nodes.len() < PLACES
    }

    /// Starts a process at a place, under the name of that place.
    pub(super) fn start(&mut self, place: usize) {
        let id = self.next_id(place);
        let presence = Presence::new(id, self.config());
        self.place(place, presence);
    }

    /// Starts a process from a snapshot of the name of a place; now and then a second one at a new
    /// place.
    pub(super) fn restore(&mut self, place: usize, snapshot: usize) -> Result<(), String> {
        let id = self.next_id(place);
        self.restore_as(place, snapshot, id.clone())?;
        if self.run.rng.below(3) == 0 && self.has_room() {
            let is_same = self.run.rng.below(2) == 0;
            let id = if is_same { id } else { self.next_id(place) };
            let second = self.add_place(self.network.home(place));
            self.restore_as(second, snapshot, id)?;
            self.run.count(Incident::RestoreTwice);
        }
        Ok(())
    }

    fn restore_as(&mut self, place: usize, snapshot: usize, id: ReplicaId) -> Result<(), String> {
        let config = self.config();
        let now = self.now(place);
        let presence = self.snapshots.restore(snapshot, id, config, now)?;
        let name = self.network.home(place);
        self.run.count(Incident::Restore);
        if !self.truth.is_last_life(name, self.snapshots.id(snapshot)) {
            self.run.count(Incident::RestoreOld);
        }
        // The same identity twice: the first to write under it is not alone.
        let new = presence.id();
        if self.truth.has_borne(name, &new) {
            self.truth.fork(new);
        }
        self.place(place, presence);
        if let Some(node) = &mut self.nodes[place] {
            node.hearing.advance(now);
        }
        self.record(place)
    }

    /// Copies the process at a place, memory and all, to a new place.
    pub(super) fn clone_at(&mut self, place: usize) {
        let Some(node) = &self.nodes[place] else {
            return;
        };
        self.truth.fork(node.presence.id());
        let twin = node.fork();
        let other = self.add_place(self.network.home(place));
        self.nodes[other] = Some(twin);
        self.run.count(Incident::Clone);
        self.run.note(|| format!("clone {place}"));
    }

    /// Puts a process that has just started at a place.
    fn place(&mut self, place: usize, presence: Presence) {
        let id = presence.id();
        let name = self.network.home(place);
        self.run.note(|| format!("start {place} as {id}"));
        self.truth.begin_life(name, id, self.run.now_ms);
        self.nodes[place] = Some(Node::new(presence, name));
    }

    /// Returns the identity of the next start under the name of a place, by its wall clock.
    fn next_id(&mut self, place: usize) -> ReplicaId {
        let name = self.network.home(place);
        let before = self.wall[name];
        self.wall[name] += 1 + self.run.rng.below(1000);
        if self.run.rng.below(4) == 0 {
            self.wall[name] = self.wall[name].saturating_sub(self.run.rng.below(4000));
        }
        if self.wall[name] < before && self.truth.has_lived(name) {
            self.run.count(Incident::WallClockBack);
        }
        let salt = self.run.rng.next_u64() as u32;
        ReplicaId::new(&format!("n{name}"), self.wall[name], salt)
            .expect("the name is short and the number small")
    }

    fn config(&mut self) -> PresenceConfig {
        PresenceConfig {
            limits: self.run.plan.limits(),
            replication: self.run.plan.config(),
            seed: self.run.rng.next_u64(),
            slice_entries_max: self.run.pick(&[1, 3, 16, 1024]),
            grace: Duration::from_millis(self.run.plan.grace_ms),
            ..PresenceConfig::default()
        }
    }

    pub(super) fn stop(&mut self, place: usize) {
        self.nodes[place] = None;
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        let places = 0..self.nodes.len();
        places
            .filter(|&place| self.nodes[place].is_some())
            .collect()
    }

    pub(super) fn pick_alive(&mut self) -> Option<usize> {
        let alive = self.alive();
        (!alive.is_empty()).then(|| self.run.pick(&alive))
    }

    /// Returns the time at a place. Now and then a caller gives an earlier one, which must not
    /// matter.
    pub(super) fn now(&mut self, place: usize) -> Duration {
        let ahead_ms = self.nodes[place].as_ref().map_or(0, |node| node.ahead_ms);
        let back_ms = if self.run.rng.below(64) == 0 {
            self.run.count(Incident::ClockBack);
            self.run.rng.below(20_000)
        } else {
            0
        };
        Duration::from_millis((self.run.now_ms + ahead_ms).saturating_sub(back_ms))
    }

    /// Lets the program at a place track, update or untrack an entry.
    pub(super) fn operate(&mut self, place: usize, session: Session) -> Result<(), String> {
        let choice = self.run.rng.below(16);
        let meta = [self.run.rng.next_u64().to_le_bytes(); 5].concat();
        let len_max = own_entries::meta_len_max(session);
        let len = self.run.rng.below(len_max + 1) as usize;
        self.actors += 1;
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let operation = Operation {
            session,
            choice,
            meta: meta[..len].to_vec(),
            actor: place as u64 + 100 * self.actors,
        };
        let outcome = node.own.operate(&node.presence, &operation);
        if outcome.is_adoption {
            self.run.count(Incident::EntryAdopted);
        }
        self.run.stats.operations += 1;
        let verb = outcome.verb;
        let (topic, key, owner) = plan::names(session);
        self.run
            .note(|| format!("{verb} {topic} {key} {owner} at {place}"));
        if !outcome.is_done {
            return Err(format!(
                "{verb} of {topic} {key} {owner} at {place} did not do its work"
            ));
        }
        if self.run.stats.operations.is_multiple_of(READER_EVERY) {
            node.readers.begin(&node.presence);
        }
        self.record(place)
    }

    /// Records where the local origins of a place are. A node that took a new identity must have
    /// had a reason: a double or a later start of its name, never what another node holds of it.
    pub(super) fn record(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let id = node.presence.id();
        if id != node.id {
            let old = std::mem::replace(&mut node.id, id.clone());
            if !self.truth.may_be_reborn(node.name, &old) {
                return Err(format!("{place} gave {old} up for {id} without need"));
            }
            self.truth
                .begin_life(node.name, id.clone(), self.run.now_ms);
            self.run.count(Incident::Reincarnation);
            self.run.note(|| format!("{place} is {id} now"));
        }
        self.truth
            .record(place, node.name, &node.presence, self.run.now_ms);
        Ok(())
    }

    /// Sends what waits in a place.
    pub(super) fn collect(&mut self, place: usize) {
        let Some(node) = &self.nodes[place] else {
            return;
        };
        let mut transmits = Vec::new();
        while let Some(transmit) = node.presence.poll_transmit() {
            transmits.push(transmit);
        }
        for transmit in transmits {
            self.send(place, transmit);
        }
    }

    /// Sends one frame of a place.
    pub(super) fn send(&mut self, from: usize, transmit: Transmit) {
        let Some(node) = &self.nodes[from] else {
            return;
        };
        let id = &node.id;
        let leaver = (kind(&transmit.frame) == Kind::GOODBYE).then(|| id.clone());
        // The beats that it reports of the sender itself are made now.
        let beats = liveness::beats_in(&self.run.envelope(), &transmit.frame);
        for beat in beats.into_iter().flat_map(|(_, beats)| beats) {
            if beat.id == *id {
                self.truth
                    .make_beat(beat.id, beat.heartbeat, self.run.now_ms);
            }
        }
        let name = self.network.home(from);
        let sent = hostile::disguise(&mut self.run, node, name, transmit.frame);
        if let Some(origin) = sent.altered {
            self.truth.taint(origin);
        }
        let to = match transmit.to {
            Destination::All => self.network.neighbours(&self.run.plan, from),
            Destination::Peer(address) => self.network.place_of(&address).into_iter().collect(),
        };
        let sending = Sending {
            from,
            to,
            frame: sent.frame,
            extra: sent.extra,
            leaver,
        };
        self.network.send(&mut self.run, &sending);
    }

    /// Delivers one frame that is under way. Returns whether there was one.
    pub(super) fn deliver(&mut self) -> Result<bool, String> {
        let flight = match self.network.take(&mut self.run) {
            Arrival::Nothing => return Ok(false),
            Arrival::Lost => return Ok(true),
            Arrival::Frame(flight) => flight,
        };
        if let Some(node) = &mut self.nodes[flight.to] {
            match &mut node.frozen {
                Some(waiting) => waiting.push(flight),
                None => self.hand_over(flight)?,
            }
        }
        Ok(true)
    }

    /// Gives a frame that has arrived to its place.
    pub(super) fn hand_over(&mut self, flight: Flight) -> Result<(), String> {
        let from = flight.from;
        let to = flight.to;
        let frame = flight.frame;
        let now = self.now(to);
        let Some(node) = &mut self.nodes[to] else {
            return Ok(());
        };
        node.listen(&self.run, &self.truth, now, &frame)
            .map_err(|what| format!("{to} {what}"))?;
        let is_between_slices = node.presence.is_working();
        let address = self.network.address(from);
        let handled = node.presence.handle_message(now, &address, &frame);
        if let Some(leaver) = flight.leaver
            && leaver.name() != node.id.name()
        {
            node.views.retire(leaver, self.run.now_ms);
        }
        self.run.stats.frames += 1;
        if is_between_slices {
            self.run.count(Incident::SlicesInterrupted);
        }
        match kind(&frame) {
            Kind::REPAIR => self.run.count(Incident::Repair),
            Kind::PART => self.run.count(Incident::Part),
            Kind::SUPERSEDED => self.run.count(Incident::Superseded),
            _ => {}
        }
        if self.run.is_traced() {
            let what = describe::describe(&self.run.envelope(), &frame);
            self.run.note(|| format!("{from} -> {to}: {what}"));
        }
        if let Err(error) = handled {
            return Err(format!("{to} refused a frame of {from}: {error}"));
        }
        self.after(to)
    }

    /// Delivers frames, and lets nodes work, until both are at rest.
    pub(super) fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..DELIVERIES_MAX {
            if !self.deliver()? && !self.work()? {
                return Ok(());
            }
        }
        Err("frames answer frames without end".into())
    }

    /// Checks what follows every call of a node, and sends what waits in it.
    pub(super) fn after(&mut self, place: usize) -> Result<(), String> {
        self.record(place)?;
        if let Some(node) = &mut self.nodes[place] {
            node.take_events(&mut self.run, &self.truth)
                .and_then(|()| node.check(&mut self.run, &self.truth))
                .and_then(|()| node.readers.follow(&node.presence, node.id.name()))
                .map_err(|what| format!("{place} {what}"))?;
        }
        self.collect(place);
        Ok(())
    }

    /// Lets time pass for all nodes.
    pub(super) fn pass(&mut self, ms: u64) -> Result<(), String> {
        self.run.now_ms += ms;
        self.run.note(|| "tick".into());
        self.wake()
    }

    /// Calls the nodes whose time has come.
    pub(super) fn wake(&mut self) -> Result<(), String> {
        for place in 0..self.nodes.len() {
            let now = self.now(place);
            let Some(node) = self.nodes[place].as_mut().filter(|node| node.is_running()) else {
                continue;
            };
            if node.presence.poll_timeout().is_some_and(|due| due <= now) {
                node.timeout(&mut self.run, now);
                self.after(place)?;
            } else if (self.run.step + place as u64).is_multiple_of(REST_EVERY) {
                node.check_rest(now)
                    .map_err(|what| format!("{place} {what}"))?;
            }
            if let Some(node) = &self.nodes[place] {
                node.check_silence(&self.run, now)
                    .map_err(|what| format!("{place} {what}"))?;
            }
        }
        Ok(())
    }

    /// Gives every node one more slice of its work. Returns whether any node had work.
    pub(super) fn work(&mut self) -> Result<bool, String> {
        let mut has_worked = false;
        for place in 0..self.nodes.len() {
            let now = self.now(place);
            let Some(node) = self.nodes[place].as_mut().filter(|node| node.is_running()) else {
                continue;
            };
            if node.presence.is_working() {
                has_worked = true;
                node.timeout(&mut self.run, now);
                self.after(place)?;
            }
        }
        Ok(has_worked)
    }
}

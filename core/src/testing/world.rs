//! `World`: the nodes, the network between them, and the truth beside both.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::events;
use super::hostile;
use super::network::{Arrival, Flight, Network, Sending};
use super::node::Node;
use super::own_entries::{Ended, Operation};
use super::own_entries::{PLACES, Session};
use super::plan::{BEAT_MS, Plan};
use super::process::Process;
use super::readiness;
use super::run::Run;
use super::sight::{self, Seen};
use super::snapshots::Snapshots;
use super::stats::Incident;
use super::truth::{BeatName, Truth};
use super::views::Times;
use crate::codec::Envelope;
use crate::id::ReplicaId;
use crate::presence::Held;
use crate::replica::{Destination, Transmit};

/// Frames that may answer each other before the cluster counts as never at rest.
const DELIVERIES_MAX: usize = 20_000;

/// A simulated cluster.
pub(super) struct World<'t> {
    pub(super) run: Run<'t, Plan>,
    pub(super) network: Network,
    /// The seal of the cluster.
    seal: Envelope,
    pub(super) truth: Truth,
    /// The process at each place, if one runs there; clones take the places after the first nodes.
    pub(super) nodes: Vec<Option<Node>>,
    /// A copy of the process at each place, taken before.
    pub(super) saved: Vec<Option<Node>>,
    /// The wall clock of each name, for incarnations.
    wall: Vec<u64>,
    pub(super) snapshots: Snapshots,
    /// The number of processes that have begun, as copies too.
    processes: u64,
    /// The origins of a node that is being checked: kept for their memory.
    origins: Vec<Held>,
}

impl<'t> World<'t> {
    pub(super) fn new(run: Run<'t, Plan>) -> Self {
        let names = run.plan.nodes;
        let seal = sight::seal(&run.plan.config());
        let mut world = Self {
            run,
            network: Network::new(),
            seal,
            truth: Truth::new(names),
            nodes: Vec::new(),
            saved: Vec::new(),
            wall: vec![1_000_000; names],
            snapshots: Snapshots::default(),
            processes: 0,
            origins: Vec::new(),
        };
        for name in 0..names {
            let place = world.add_place(name);
            world.start(place);
        }
        world
    }

    fn add_place(&mut self, home: usize) -> usize {
        self.nodes.push(None);
        self.saved.push(None);
        self.network.add_place(home);
        self.nodes.len() - 1
    }

    pub(super) fn has_room(&self) -> bool {
        self.nodes.len() < PLACES
    }

    /// Starts a process at a place, under the name of that place.
    pub(super) fn start(&mut self, place: usize) {
        let id = self.next_id(place);
        self.start_as(place, id);
    }

    /// Starts a process at a place from a snapshot of its name. Its program tracks some of the
    /// entries in it again.
    pub(super) fn restore(&mut self, place: usize, snapshot: usize) -> Result<(), String> {
        let id = self.next_id(place);
        let limits = self.run.plan.settings(0).limits;
        let (id, entries) = self.snapshots.read(snapshot, id, &limits)?;
        self.start_as(place, id);
        self.run.count(Incident::Restore);
        let lease_ms = self.run.pick(&[300, 2_000]);
        for (session, meta) in entries {
            if self.run.rng.below(2) == 0 {
                self.operate(place, session, 0, meta)?;
                self.lease_owner(place, session.2, lease_ms);
            }
        }
        self.after(place)
    }

    /// Begins or renews the lease of an owner at a place.
    pub(super) fn lease_owner(&mut self, place: usize, owner: u8, ttl_ms: u64) {
        let now_ms = u64::try_from(self.now(place).as_millis()).unwrap_or(u64::MAX);
        if let Some(node) = &mut self.nodes[place] {
            let presence = &node.process.presence;
            node.own
                .lease_owner(presence, now_ms, usize::from(owner), ttl_ms);
            self.run.count(Incident::Lease);
        }
    }

    fn start_as(&mut self, place: usize, id: ReplicaId) {
        let name = self.network.home(place);
        self.run.note(|| format!("start {place} as {id}"));
        self.truth.begin_life(name, id.clone(), self.run.now_ms);
        let seed = self.run.rng.next_u64();
        let process = Process::new(id, self.run.plan.settings(seed));
        let mut node = Node::new(process, name);
        node.started_ms = self.run.now_ms;
        node.begin_reading(&self.run.plan);
        self.put(place, node);
        self.network.resubscribe(place, []);
    }

    /// Puts a process, or the copy of one, in a place.
    fn put(&mut self, place: usize, mut node: Node) {
        self.processes += 1;
        node.own.act_as(self.processes);
        self.nodes[place] = Some(node);
    }

    /// Copies the process at a place, memory and all, to a new place.
    pub(super) fn clone_at(&mut self, place: usize) {
        let Some(twin) = self.nodes[place].clone() else {
            return;
        };
        self.truth.fork(&twin.process.presence.id());
        let other = self.add_place(self.network.home(place));
        self.put(other, twin);
        self.resubscribe(other);
        self.run.count(Incident::Clone);
        self.run.note(|| format!("clone {place} to {other}"));
    }

    /// Puts the copy of a process in its place that was saved before.
    pub(super) fn roll_back(&mut self, place: usize) {
        let Some(saved) = self.saved[place].take() else {
            return;
        };
        let id = saved.process.presence.id();
        self.truth.fork(&id);
        self.run.note(|| format!("roll {place} back to {id}"));
        self.run.count(Incident::RollBack);
        self.put(place, saved);
        self.resubscribe(place);
    }

    /// Has a place subscribe to what its process, which is a copy, holds.
    fn resubscribe(&mut self, place: usize) {
        if let Some(node) = &self.nodes[place] {
            let replica = node.process.replica();
            let all = self.run.plan.partitions();
            let held = all.filter(|partition| replica.wants(*partition));
            self.network.resubscribe(place, held);
        }
    }

    fn next_id(&mut self, place: usize) -> ReplicaId {
        let name = self.network.home(place);
        let before = self.wall[name];
        self.wall[name] += 1 + self.run.rng.below(1_000);
        if self.run.rng.below(4) == 0 {
            self.wall[name] =
                self.wall[name].saturating_sub(self.run.rng.below(self.run.plan.wall_back));
        }
        if self.wall[name] < before && self.truth.has_lived(name) {
            self.run.count(Incident::WallClockBack);
        }
        let salt = self.run.rng.next_u64() as u32;
        ReplicaId::new(&format!("n{name}"), self.wall[name], salt)
            .expect("the name is short and the number small")
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

    /// Returns the time at a place.
    pub(super) fn now(&self, place: usize) -> Duration {
        let ahead_ms = self.nodes[place].as_ref().map_or(0, |node| node.ahead_ms);
        Duration::from_millis(self.run.now_ms + ahead_ms)
    }

    /// Lets the program at a place track an entry, or what `choice` says of one that is tracked.
    pub(super) fn operate(
        &mut self,
        place: usize,
        session: Session,
        choice: u64,
        meta: Arc<[u8]>,
    ) -> Result<(), String> {
        self.run.stats.operations += 1;
        let now = self.now(place);
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let operation = Operation {
            session,
            choice,
            meta,
        };
        let outcome = node.operate(&mut self.truth, &operation);
        let outcome = outcome.map_err(|what| format!("{place} {what}"))?;
        node.process.notice(now);
        if outcome.is_adoption {
            self.run.count(Incident::EntryAdopted);
        }
        let verb = outcome.verb;
        self.run.note(|| format!("{verb} {session:?} at {place}"));
        Ok(())
    }

    /// Sends what waits in a place.
    pub(super) fn collect(&mut self, place: usize) {
        while let Some(change) = self.nodes[place]
            .as_ref()
            .and_then(|node| node.process.presence.poll_subscription())
        {
            self.network.subscribe(&self.run, place, change);
        }
        while let Some(transmit) = self.nodes[place]
            .as_ref()
            .and_then(|node| node.process.presence.poll_transmit())
        {
            self.send(place, transmit);
        }
    }

    fn send(&mut self, from: usize, transmit: Transmit) {
        let Some(node) = &self.nodes[from] else {
            return;
        };
        let id = node.process.presence.id();
        let mut seen = sight::see(&self.seal, &transmit.frame);
        let altered = if node.is_altering {
            hostile::altered(&mut self.run, &id, &transmit.frame)
        } else {
            None
        };
        let replica = node.process.replica();
        let index = replica.index();
        // Not those of others that it passes on.
        if let Seen::Beat(sender, beat) = &seen
            && (sender, beat.sum) == (&id, index.sum())
        {
            let shown = index.set().iter();
            let shown = shown.filter_map(|p| Some((p, index.position(p)?)));
            self.truth.beat(&id, *beat, shown.collect());
        }
        drop(replica);
        let frame = match altered {
            Some((frame, partition)) => {
                self.truth.taint((id.clone(), partition));
                seen = sight::see(&self.seal, &frame);
                frame
            }
            None => transmit.frame,
        };
        let to = match &transmit.to {
            Destination::All => self.network.neighbours(&self.run.plan, from),
            Destination::Group(partition) => {
                let to = self.network.neighbours(&self.run.plan, from);
                self.network.subscribers(&self.run, to, *partition)
            }
            Destination::Peer(address) => self.network.place_of(address).into_iter().collect(),
        };
        let sending = Sending {
            from,
            to,
            frame,
            seen: Rc::new(seen),
        };
        self.network.send(&mut self.run, &sending);
    }

    /// Delivers one frame that is under way. Returns whether there was one.
    pub(super) fn deliver(&mut self) -> Result<bool, String> {
        match self.network.take(&mut self.run) {
            Arrival::Nothing => self.end_late(),
            Arrival::Lost => Ok(true),
            Arrival::Frame(flight) => self.hand_over(flight).map(|()| true),
        }
    }

    /// Lets a thread that is late tell the control plane. Returns whether there was one.
    fn end_late(&mut self) -> Result<bool, String> {
        for place in 0..self.nodes.len() {
            if self.end_late_at(place)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the thread of a node that is late tell the control plane. Returns whether there was one.
    pub(super) fn end_late_at(&mut self, place: usize) -> Result<bool, String> {
        let node = self.nodes[place].as_ref();
        let is_late = node.is_some_and(|node| node.process.presence.is_late());
        if is_late {
            self.after(place)?;
        }
        Ok(is_late)
    }

    fn hand_over(&mut self, flight: Flight) -> Result<(), String> {
        let Flight {
            from,
            to,
            frame,
            seen: sent,
            ..
        } = flight;
        let now = self.now(to);
        let own_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let address = self.network.address(from);
        let Some(node) = &mut self.nodes[to] else {
            return Ok(());
        };
        let brought = sight::unwrap(&self.seal, &frame, &node.id);
        let seen = brought.as_ref().map_or_else(
            || Rc::clone(&sent),
            |brought| Rc::new(sight::see(&self.seal, brought)),
        );
        if let Seen::Beat(id, beat) = &*seen {
            node.views.hear_beat(id, *beat);
            node.watching.hear_beat(id, *beat, own_ms);
            node.counting.hear_beat(id, *beat, own_ms);
        }
        if let Seen::Heartbeat(id, heartbeat) | Seen::Beat(id, BeatName { heartbeat, .. }) = &*seen
        {
            node.views.hear_rival(&node.id, id, *heartbeat, own_ms);
            node.views
                .hear(&node.process.replica(), id, *heartbeat, own_ms);
        }
        if self.run.is_traced() {
            let what = sight::describe(&self.seal, brought.as_ref().unwrap_or(&frame));
            self.run.note(|| format!("{from} -> {to}: {what}"));
        }
        let may_be_late = self.run.plan.is_late(node.process.presence.is_late());
        if may_be_late {
            node.process.presence.set_late(true);
        }
        let handled = node.process.handle_message(now, &address, &frame);
        let presence = &node.process.presence;
        let is_late = may_be_late && presence.is_late() && presence.id() == node.id;
        if let Seen::Goodbye(leaver) = &*sent
            && leaver.name() != node.id.name()
        {
            node.views.leave(leaver.clone(), self.run.now_ms);
        }
        self.run.stats.frames += 1;
        if let Some(incident) = seen.incident() {
            self.run.count(incident);
        }
        handled.map_err(|what| format!("{to} {what}"))?;
        if is_late {
            self.run.count(Incident::LateReport);
            return self.take_events(to).map_err(|what| format!("{to} {what}"));
        }
        self.after(to)
    }

    /// Delivers frames until none is under way.
    pub(super) fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..DELIVERIES_MAX {
            if !self.deliver()? {
                return Ok(());
            }
        }
        Err("frames answer frames without end".into())
    }

    /// Checks what follows every call of a node, and sends what waits in it.
    pub(super) fn after(&mut self, place: usize) -> Result<(), String> {
        if let Some(node) = &self.nodes[place] {
            node.process.presence.set_late(false);
        }
        self.follow(place)
            .map_err(|what| format!("{place} {what}"))?;
        let slices = if self.run.plan.interrupts {
            self.run.rng.below(3)
        } else {
            u64::MAX
        };
        for _ in 0..slices {
            let node = &mut self.nodes[place];
            if !node.as_mut().is_some_and(|node| node.process.work()) {
                break;
            }
            self.run.count(Incident::Slice);
            self.follow(place)
                .map_err(|what| format!("{place} {what}"))?;
        }
        self.collect(place);
        Ok(())
    }

    fn follow(&mut self, place: usize) -> Result<(), String> {
        let own_ms = u64::try_from(self.now(place).as_millis()).unwrap_or(u64::MAX);
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        if node.process.presence.id() != node.id {
            let new = node.process.presence.id();
            if !self.truth.may_be_reborn(node.name, &node.id) {
                return Err(format!("gave {} up for {new} without need", node.id));
            }
            self.run.note(|| format!("{place} is {new} now"));
            if self.truth.has_borne(node.name, &new) {
                // A machine rolled back draws the same random numbers once more.
                self.truth.fork(&new);
            }
            self.truth
                .begin_life(node.name, new.clone(), self.run.now_ms);
            self.truth.bear(place, node.name, &new, self.run.now_ms);
            node.follow_identity(&mut self.truth)?;
            self.run.count(Incident::Reincarnation);
        }
        self.truth.bear(place, node.name, &node.id, self.run.now_ms);
        node.record(&mut self.truth)?;
        node.record_lives(&mut self.truth);
        self.take_events(place)?;
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        node.process.presence.origins(&mut self.origins);
        if self.run.plan.is_interest {
            readiness::check(node, &self.origins)?;
        }
        node.check_staged()?;
        node.reader.follow(&node.process, own_ms)?;
        let replica = node.process.replica();
        let known = replica.replicas().map(|(id, heartbeat, _)| (id, heartbeat));
        let guard_ms = 2 * self.run.plan.forget_ms;
        node.admissions.check(known, own_ms, guard_ms)?;
        drop(replica);
        let times = Times {
            now_ms: self.run.now_ms,
            own_ms,
            ahead_ms: node.ahead_ms,
        };
        let presence = &node.process.presence;
        node.views
            .check(presence, &self.origins, &self.truth, &self.run.plan, &times)
    }

    /// Takes the events of a node, and checks what is promised with them.
    fn take_events(&mut self, place: usize) -> Result<(), String> {
        let own_ms = u64::try_from(self.now(place).as_millis()).unwrap_or(u64::MAX);
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let ready = events::take(&mut self.run, &self.truth, place, node)?;
        if let Some(missing) = ready.node {
            let started_ms = node.started_ms;
            if own_ms < started_ms + 2 * BEAT_MS {
                return Err(format!(
                    "is ready at {own_ms} ms, started at {started_ms} ms"
                ));
            }
            if !self.run.plan.is_interest {
                let ready = readiness::check_node(&self.nodes, place, &self.truth, &missing);
                ready?;
            }
        }
        for topic in &ready.topics {
            readiness::check_topic(&self.nodes, place, &self.truth, topic)?;
        }
        Ok(())
    }

    /// Counts what ended by itself.
    pub(super) fn count_ended(&mut self, ended: &Ended) {
        if ended.leases > 0 {
            self.run.count(Incident::LeaseEnded);
        }
        if ended.graces > 0 {
            self.run.count(Incident::GraceEnded);
        }
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
            // What is due at once, such as the push of a new identity, is done at once.
            for _ in 0..4 {
                let Some(node) = &mut self.nodes[place] else {
                    break;
                };
                if !node.process.is_due(now) {
                    break;
                }
                let ended = node.timeout(now);
                self.count_ended(&ended);
                self.after(place)?;
            }
            let has_work = |node: &Node| node.process.presence.is_working();
            if self.nodes[place].as_ref().is_some_and(has_work) {
                self.after(place)?;
            }
            if let Some(node) = &mut self.nodes[place] {
                let own_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                node.check_due(now)
                    .map_err(|what| format!("{place} {what}"))?;
                readiness::check_deadlines(node, &self.run.plan, own_ms)
                    .map_err(|what| format!("{place} {what}"))?;
                node.views
                    .check_silence(&node.process.replica(), &node.id, &self.run.plan, own_ms)
                    .map_err(|what| format!("{place} {what}"))?;
            }
        }
        Ok(())
    }
}

//! Nodes, histories, time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crdts::Orswot;

use super::check::Seen;
use super::incident::Incident;
use super::leases::Leases;
use super::liveness::Hearing;
use super::mirror::Readers;
use super::network::Flight;
use super::plan::{Plan, Shape};
use super::restore::Kept;
use super::{Failure, Stats};
use crate::id::{ReplicaId, slot_of};
use crate::presence::{Presence, PresenceConfig};
use crate::replica::rng::Rng;

pub(super) const TOPICS: [&str; 3] = ["hall", "attic", "cellar"];
pub(super) const PLACES: usize = 16;
/// Keys of single operations; bulk loads have more, with longer metas.
pub(super) const KEYS: u8 = 4;
pub(super) const OWNERS: [&str; 2] = ["o1", "o2"];

/// (topic, key, owner) as small numbers.
pub(super) type Session = (u8, u8, u8);

/// A running process.
pub(super) struct Node {
    pub(super) presence: Presence,
    /// Which name it bears: the number of the place where that name began.
    pub(super) name: usize,
    /// Its clock runs ahead of the world's by this.
    pub(super) ahead_ms: u64,
    /// The id it had at the last check.
    pub(super) id: ReplicaId,
    pub(super) sessions: Vec<Session>,
    pub(super) oracle: Orswot<Session, u64>,
    /// What it has known of each name.
    pub(super) seen: BTreeMap<String, Seen>,
    /// What its Diffs say.
    pub(super) readers: Readers,
    /// Ids whose Goodbye it has received, and when.
    pub(super) retired: HashMap<ReplicaId, u64>,
    /// True if it alters entries that it passes on.
    pub(super) spoils: bool,
    /// Origins of which it told that holders disagree.
    pub(super) diverged: HashSet<(ReplicaId, u8)>,
    pub(super) leases: Leases,
    /// The signals it has heard.
    pub(super) signals: HashSet<u64>,
    pub(super) hearing: Hearing,
}

/// States of one origin by clock: (clock, digest, entries).
pub(super) type History = Vec<(u64, u64, u32)>;

pub(super) struct World<'t> {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) now_ms: u64,
    pub(super) step: u64,
    pub(super) stats: Stats,
    /// What runs at each place; clones take the places after the first nodes.
    pub(super) nodes: Vec<Option<Node>>,
    /// Whose clone a place holds: its links are the same.
    pub(super) homes: Vec<usize>,
    pub(super) addresses: Vec<Arc<str>>,
    pub(super) flights: Vec<Flight>,
    pub(super) cut: [[bool; PLACES]; PLACES],
    pub(super) histories: HashMap<(ReplicaId, u8), History>,
    /// Who first wrote under an id.
    pub(super) writers: HashMap<ReplicaId, usize>,
    /// Ids with more than one writer.
    pub(super) forked: HashSet<ReplicaId>,
    /// Origins of which altered entries were sent.
    pub(super) tainted: HashSet<(ReplicaId, u8)>,
    /// The ids that each name has had, and when a process last bore them.
    pub(super) lives: Vec<Vec<(ReplicaId, u64)>>,
    /// When each heartbeat of each replica was made.
    pub(super) beats: HashMap<(ReplicaId, u64), u64>,
    pub(super) snapshots: VecDeque<Kept>,
    /// Beyond this a dead replica may not come to be shown.
    pub(super) ghost_ms: u64,
    pub(super) signals: u64,
    pub(super) slots: Vec<u8>,
    /// The wall clock of each name, for incarnations.
    pub(super) wall: Vec<u64>,
    pub(super) actors: u64,
    trace: Option<&'t mut dyn FnMut(&str)>,
}

impl<'t> World<'t> {
    pub(super) fn new(seed: u64, trace: Option<&'t mut dyn FnMut(&str)>) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6865_6164);
        let plan = Plan::new(&mut rng);
        let mut slots: Vec<u8> = TOPICS.iter().map(|topic| slot_of(topic)).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut world = Self {
            seed,
            rng,
            now_ms: 1000,
            step: 0,
            stats: Stats::default(),
            nodes: Vec::new(),
            homes: Vec::new(),
            addresses: (0..PLACES).map(|place| place.to_string().into()).collect(),
            flights: Vec::new(),
            cut: [[false; PLACES]; PLACES],
            histories: HashMap::new(),
            writers: HashMap::new(),
            forked: HashSet::new(),
            tainted: HashSet::new(),
            lives: vec![Vec::new(); plan.nodes],
            beats: HashMap::new(),
            snapshots: VecDeque::new(),
            ghost_ms: plan.ghost_ms(),
            signals: 0,
            slots,
            wall: vec![1_000_000; plan.nodes],
            actors: 0,
            trace,
            plan,
        };
        for incident in world.plan.incidents() {
            world.count(incident);
        }
        for place in 0..world.plan.nodes {
            world.nodes.push(None);
            world.homes.push(place);
            world.start(place);
        }
        world
    }

    pub(super) fn run(mut self) -> Result<Stats, Failure> {
        if self.is_traced() {
            let plan = format!("{:?}", self.plan);
            self.note(|| plan);
        }
        self.drive().map_err(|what| {
            self.note(|| format!("FAILED: {what}"));
            Failure {
                seed: self.seed,
                step: self.step,
                what,
            }
        })?;
        Ok(self.stats)
    }

    fn drive(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.steps {
            self.step += 1;
            let step = self.plan.step(&mut self.rng);
            self.take(step)?;
        }
        self.stats.steps = self.step;
        self.finish()
    }

    pub(super) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = format!("{:>4} {:>7} ms  {}", self.step, self.now_ms, line());
            trace(&line);
        }
    }

    pub(super) fn count(&mut self, incident: Incident) {
        self.stats.incidents.add(incident);
    }

    /// Starts a process at a place, under the name of that place.
    pub(super) fn start(&mut self, place: usize) {
        let id = self.next_id(place);
        let presence = Presence::new(id, self.config());
        self.run_at(place, presence);
    }

    /// The id of the next start under the name of a place, by its wall clock.
    pub(super) fn next_id(&mut self, place: usize) -> ReplicaId {
        let name = self.homes[place];
        let before = self.wall[name];
        self.wall[name] += 1 + self.rng.below(1000);
        if self.rng.below(4) == 0 {
            self.wall[name] = self.wall[name].saturating_sub(self.rng.below(4000));
        }
        if self.wall[name] < before && !self.lives[name].is_empty() {
            self.count(Incident::WallClockBack);
        }
        let salt = self.rng.next_u64() as u32;
        ReplicaId::new(&format!("n{name}"), self.wall[name], salt)
            .expect("the name is short and the number small")
    }

    pub(super) fn config(&mut self) -> PresenceConfig {
        PresenceConfig {
            limits: self.plan.limits(),
            replication: self.plan.config(),
            seed: self.rng.next_u64(),
            slice_entries_max: [1, 3, 16, 1024][self.rng.below(4) as usize],
            grace: Duration::from_millis(self.plan.grace_ms),
            ..PresenceConfig::default()
        }
    }

    /// Puts a process that has just started at a place.
    pub(super) fn run_at(&mut self, place: usize, presence: Presence) {
        let id = presence.id();
        let name = self.homes[place];
        self.note(|| format!("start {place} as {id}"));
        self.lives[name].push((id.clone(), self.now_ms));
        self.nodes[place] = Some(Node {
            presence,
            name,
            ahead_ms: 0,
            id,
            sessions: Vec::new(),
            oracle: Orswot::new(),
            seen: BTreeMap::new(),
            readers: Readers::default(),
            retired: HashMap::new(),
            spoils: false,
            diverged: HashSet::new(),
            leases: Leases::default(),
            signals: HashSet::new(),
            hearing: Hearing::default(),
        });
    }

    /// Copies the process at a place, memory and all, to a new place.
    pub(super) fn clone_at(&mut self, place: usize) {
        let Some(node) = &mut self.nodes[place] else {
            return;
        };
        self.forked.insert(node.presence.id());
        let twin = Node {
            presence: node.presence.fork(),
            name: node.name,
            ahead_ms: node.ahead_ms,
            id: node.id.clone(),
            sessions: node.sessions.clone(),
            oracle: node.oracle.clone(),
            seen: node.seen.clone(),
            readers: node.readers.clone(),
            retired: node.retired.clone(),
            spoils: node.spoils,
            diverged: node.diverged.clone(),
            leases: node.leases.clone(),
            signals: node.signals.clone(),
            hearing: node.hearing.clone(),
        };
        self.nodes.push(Some(twin));
        self.homes.push(self.homes[place]);
        self.count(Incident::Clone);
        self.note(|| format!("clone {place}"));
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&place| self.nodes[place].is_some())
            .collect()
    }

    pub(super) fn pick_alive(&mut self) -> Option<usize> {
        let alive = self.alive();
        (!alive.is_empty()).then(|| alive[self.rng.below(alive.len() as u64) as usize])
    }

    /// The time at a place. Now and then a caller tells an earlier one, which must not matter.
    pub(super) fn now(&mut self, place: usize) -> Duration {
        let ahead = self.nodes[place].as_ref().map_or(0, |node| node.ahead_ms);
        let back = if self.rng.below(64) == 0 {
            self.count(Incident::ClockBack);
            self.rng.below(20_000)
        } else {
            0
        };
        Duration::from_millis((self.now_ms + ahead).saturating_sub(back))
    }

    /// Writes down where the local origins of a place stand.
    pub(super) fn record(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &self.nodes[place] else {
            return Ok(());
        };
        let id = node.presence.id();
        if id != node.id {
            self.reborn(place, &id)?;
        }
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        if let Some((_, last)) = self.lives[node.name].iter_mut().find(|life| life.0 == id) {
            *last = self.now_ms;
        }
        // Twins with the same memory and the same input may take the same new id once more.
        if *self.writers.entry(id.clone()).or_insert(place) != place {
            self.forked.insert(id.clone());
        }
        if self.forked.contains(&id) {
            return Ok(());
        }
        for &slot in &self.slots {
            let Some(info) = node.presence.origin_info(&id, slot) else {
                continue;
            };
            let history = self.histories.entry((id.clone(), slot)).or_default();
            if history.last().is_none_or(|last| last.0 < info.clock) {
                history.push((info.clock, info.fingerprint, info.entries));
            }
        }
        Ok(())
    }

    /// A node took a new identity: a second self or a later start of its name must be the reason,
    /// never what somebody holds of it.
    fn reborn(&mut self, place: usize, new: &ReplicaId) -> Result<(), String> {
        let Some(node) = &mut self.nodes[place] else {
            return Ok(());
        };
        let old = std::mem::replace(&mut node.id, new.clone());
        let lives = &mut self.lives[node.name];
        let is_behind = lives.iter().any(|(id, _)| id > &old);
        if !is_behind && !self.forked.contains(&old) {
            return Err(format!("{place} gave {old} up for {new} without need"));
        }
        lives.push((new.clone(), self.now_ms));
        self.count(Incident::Reincarnation);
        self.note(|| format!("{place} is {new} now"));
        Ok(())
    }

    pub(super) fn neighbours(&self, a: usize, b: usize) -> bool {
        let home_a = self.homes[a];
        let home_b = self.homes[b];
        a != b && (home_a == home_b || self.plan.linked(home_a, home_b))
    }

    /// Returns whether the links that there are join all places, as they were laid out.
    pub(super) fn is_mesh(&self) -> bool {
        self.plan.shape == Shape::Mesh
    }
}

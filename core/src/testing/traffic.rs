//! Bytes of real frames in a calm cluster of many nodes, on a network that takes a millisecond.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

use super::process::{Process, Settings};
use crate::codec::Kind;
use crate::id::ReplicaId;
use crate::replica::rng::Rng;
use crate::replica::{Address, Config, Destination, GroupSubscription, Mode};
use crate::tracker::NewEntry;

/// A second, in the milliseconds of the simulation.
const SECOND_MS: u64 = 1_000;
/// The time in which a cluster comes to rest after a start.
const SETTLE_MS: u64 = 4 * SECOND_MS;

/// The cluster to measure.
#[derive(Debug, Clone)]
pub struct Load {
    /// The nodes.
    pub nodes: usize,
    /// The entries of each node.
    pub entries: usize,
    /// The operations of each node in a second.
    pub operations: u64,
    /// The seconds to measure.
    pub seconds: u64,
    /// True if each node holds the rooms of its own users only, in 65,536 partitions, or 32,768 with
    /// counts. A room then has users on three nodes; else one in 50 rooms on all nodes.
    pub is_interest: bool,
    /// True if each node then counts 20 rooms in which none of its own users is.
    pub has_counts: bool,
    /// The neighbours that each node reaches along a ring, an even number: frames are passed on. 0 if
    /// all nodes reach each other.
    pub neighbours: usize,
}

/// Frames, and the sum of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// The number of frames.
    pub frames: u64,
    /// The sum of their bytes.
    pub bytes: u64,
}

/// The bytes that a node receives, on average.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of pushed operations in a second.
    pub deltas: u64,
    /// Bytes of everything else in a second.
    pub control: u64,
    /// The traffic into it in a second, by the number of the frame's kind. Each number is rounded down.
    pub by_kind: BTreeMap<u8, Volume>,
    /// Bytes of answers and control frames that one more node receives until it has everything, or
    /// all rooms that it watches are ready.
    pub newcomer: u64,
    /// The same by the number of the frame's kind.
    pub newcomer_by_kind: BTreeMap<u8, Volume>,
    /// Bytes of the state that it needs, without frames; 0 if that is a part.
    pub state: u64,
    /// Milliseconds until then.
    pub newcomer_ms: u64,
    /// The entries that a node holds, its own and those of others.
    pub held: u64,
}

impl Volume {
    fn add(&mut self, len: u64) {
        self.frames += 1;
        self.bytes += len;
    }
}

/// The partitions of a cluster whose nodes hold what they watch.
const INTEREST_PARTITIONS: u32 = 65_536;
/// The rooms of one group, which has users on as many nodes.
const GROUP_ROOMS: usize = 20;
const ROOM_NODES: usize = 3;

/// Measures a cluster: what a node receives while all write, and what one that joins receives.
///
/// # Errors
/// A node refuses a frame, or the one that joins does not come to hold everything.
pub fn measure(load: &Load) -> Result<Traffic, String> {
    let quiet = Load {
        operations: 0,
        ..load.clone()
    };
    let mut cluster = Cluster::new(load);
    cluster.run(SETTLE_MS, &quiet)?;
    cluster.received.clear();
    cluster.run(load.seconds * SECOND_MS, load)?;
    let received = take(&mut cluster.received);
    let per_node = |number: u64| number / (load.nodes as u64 * load.seconds.max(1));
    let by_kind: BTreeMap<_, _> = received
        .iter()
        .map(|(kind, volume)| {
            let frames = per_node(volume.frames);
            let bytes = per_node(volume.bytes);
            (*kind, Volume { frames, bytes })
        })
        .collect();
    let deltas = by_kind.get(&Kind::DELTA.0).map_or(0, |deltas| deltas.bytes);
    let all: u64 = by_kind.values().map(|volume| volume.bytes).sum();
    let mut traffic = Traffic {
        deltas,
        control: all - deltas,
        by_kind,
        ..Traffic::default()
    };
    cluster.run(SETTLE_MS, &quiet)?;
    traffic.held = cluster.entries_len() / load.nodes.max(1) as u64;
    cluster.join(load, &mut traffic)?;
    Ok(traffic)
}

/// Measures only what a node that joins receives: the others do not hear each other.
///
/// # Errors
/// As [`measure`].
pub fn measure_newcomer(load: &Load) -> Result<Traffic, String> {
    let mut cluster = Cluster::new(load);
    cluster.is_apart = true;
    cluster.run(SETTLE_MS, load)?;
    let mut traffic = Traffic::default();
    cluster.join(load, &mut traffic)?;
    Ok(traffic)
}

/// What it takes until a room is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeToReady {
    /// Milliseconds, on a network that takes one in each direction.
    pub ms: u64,
    /// Frames that the node sent at once.
    pub sent: u64,
    /// Frames that it received.
    pub received: u64,
    /// Bytes that it received.
    pub bytes: u64,
}

/// Measures a watch of a room in which that many other nodes have a user each.
///
/// # Errors
/// A node refuses a frame, or the room is not ready in time, or not complete then.
pub fn measure_watch(writers: usize) -> Result<TimeToReady, String> {
    const ROOM: &str = "room";
    let load = Load {
        nodes: writers,
        entries: 1,
        operations: 0,
        seconds: 0,
        is_interest: true,
        has_counts: false,
        neighbours: 0,
    };
    let mut cluster = Cluster::new(&load);
    let watcher = writers;
    cluster.start(&load);
    for writer in 0..writers {
        cluster.track(writer, ROOM, &format!("user:{writer}"));
    }
    cluster.run(SETTLE_MS, &load)?;
    cluster.newcomer.clear();
    let start_ms = cluster.now_ms;
    cluster.nodes[watcher]
        .presence
        .watch(cluster.now(watcher), ROOM);
    cluster.collect(watcher);
    cluster.tend(watcher);
    let sent = cluster.flights.len() as u64;
    while cluster.nodes[watcher]
        .presence
        .check_readable(ROOM)
        .is_err()
    {
        if cluster.now_ms > start_ms + SECOND_MS {
            return Err("a room does not become ready".into());
        }
        cluster.run(1, &load)?;
    }
    let count = cluster.nodes[watcher].presence.count(ROOM);
    match count {
        Ok(count) if count == writers => Ok(TimeToReady {
            ms: cluster.now_ms - start_ms,
            sent,
            received: cluster.newcomer().frames,
            bytes: cluster.newcomer().bytes,
        }),
        other => Err(format!(
            "of {writers} users a room that is ready shows {other:?}"
        )),
    }
}

/// A frame under way.
struct Flight {
    from: usize,
    to: usize,
    frame: Bytes,
}

/// Nodes, and the frames that arrive in the next millisecond.
struct Cluster {
    nodes: Vec<Process>,
    addresses: Vec<Address>,
    /// The nodes by their address.
    places: HashMap<Address, usize>,
    flights: Vec<Flight>,
    rng: Rng,
    now_ms: u64,
    /// The traffic into all nodes, by kind, and into the node that was started last.
    received: BTreeMap<u8, Volume>,
    newcomer: BTreeMap<u8, Volume>,
    /// The nodes that have subscribed to each partition.
    groups: HashMap<u16, Vec<usize>>,
    is_interest: bool,
    neighbours: usize,
    /// True if only the node that was started last hears others, and is heard.
    is_apart: bool,
}

/// Returns the room of an entry.
fn room(load: &Load, node: usize, entry: usize) -> String {
    if load.is_interest {
        let nodes = load.nodes.max(1);
        let group = (node + nodes - entry % ROOM_NODES.min(nodes)) % nodes;
        format!("room:{group}:{}", entry / ROOM_NODES % GROUP_ROOMS)
    } else {
        format!("room:{}", entry % 50)
    }
}

impl Cluster {
    fn new(load: &Load) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            addresses: Vec::new(),
            places: HashMap::new(),
            flights: Vec::new(),
            rng: Rng::new(7),
            now_ms: 0,
            received: BTreeMap::new(),
            newcomer: BTreeMap::new(),
            groups: HashMap::new(),
            is_interest: load.is_interest,
            neighbours: load.neighbours,
            is_apart: false,
        };
        for node in 0..load.nodes {
            cluster.start(load);
            for entry in 0..load.entries {
                cluster.write(load, node, entry);
            }
        }
        cluster
    }

    /// Starts a node. If nodes hold what they watch, it watches the rooms of its users; one that joins
    /// later those of the first node.
    fn start(&mut self, load: &Load) {
        let number = self.nodes.len();
        let salt = self.rng.next_u64() as u32;
        let incarnation = 1_700_000_000_000_000 + number as u64;
        let id = ReplicaId::new(&format!("chat-{number:04}"), incarnation, salt)
            .expect("the name is short and the number small");
        let seed = self.rng.next_u64();
        let wire = Config::default().relay(load.neighbours > 0);
        let wire = if load.is_interest {
            let wire = wire.counts(load.has_counts).mode(Mode::Interest);
            wire.partitions(INTEREST_PARTITIONS)
        } else {
            wire
        };
        let settings = Settings {
            seed,
            wire,
            ..Settings::default()
        };
        self.nodes.push(Process::new(id, settings));
        let address: Address = number.to_string().into();
        self.addresses.push(address.clone());
        self.places.insert(address, number);
        self.newcomer.clear();
        if load.is_interest {
            let home = number % load.nodes.max(1);
            let rooms = (0..load.entries).map(|entry| room(load, home, entry));
            let now = self.now(number);
            let presence = &self.nodes[number].presence;
            for room in rooms.collect::<BTreeSet<_>>() {
                presence.watch(now, &room);
            }
            let other = home + load.nodes / 2;
            let counted = (0..GROUP_ROOMS).filter(|_| load.has_counts);
            for room in counted.map(|n| room(load, other, n * ROOM_NODES)) {
                presence.watch_counts(now, &room);
            }
        }
    }

    fn now(&self, node: usize) -> Duration {
        // Beats of nodes do not fall into one millisecond.
        Duration::from_micros(self.now_ms * 1_000 + node as u64 * 7 % 1_000)
    }

    fn write(&mut self, load: &Load, node: usize, entry: usize) {
        let user = format!("user:{node}:{entry}");
        self.track(node, &room(load, node, entry), &user);
    }

    fn track(&mut self, node: usize, topic: &str, user: &str) {
        let meta = self.rng.next_u64().to_le_bytes();
        let new = NewEntry::new(topic, user, user).meta(&meta);
        let written = self.nodes[node].presence.upsert(&new);
        written.expect("a short entry is within the limits");
    }

    /// Starts a node, and measures what it receives until it holds what it is to hold.
    fn join(&mut self, load: &Load, traffic: &mut Traffic) -> Result<(), String> {
        let quiet = Load {
            operations: 0,
            ..load.clone()
        };
        if !load.is_interest {
            traffic.state = self.state_bytes();
        }
        let start_ms = self.now_ms;
        self.start(load);
        while !self.is_newcomer_complete() {
            if self.now_ms > start_ms + 60 * SECOND_MS {
                return Err("a node that joined does not come to hold everything".into());
            }
            self.run(1, &quiet)?;
        }
        traffic.newcomer = self.newcomer().bytes;
        traffic.newcomer_by_kind = take(&mut self.newcomer);
        traffic.newcomer_ms = self.now_ms - start_ms;
        Ok(())
    }

    /// Lets time pass, in which every node writes at its rate.
    fn run(&mut self, ms: u64, load: &Load) -> Result<(), String> {
        for _ in 0..ms {
            self.now_ms += 1;
            for node in 0..self.nodes.len().min(load.nodes) {
                if load.operations > 0 && self.rng.below(SECOND_MS) < load.operations {
                    let entry = self.rng.below(load.entries as u64) as usize;
                    self.write(load, node, entry);
                }
            }
            self.deliver()?;
            for node in 0..self.nodes.len() {
                self.tend(node);
            }
        }
        Ok(())
    }

    /// Has a node do what is due.
    fn tend(&mut self, node: usize) {
        let now = self.now(node);
        if self.nodes[node].is_due(now) {
            self.nodes[node].presence.handle_timeout(now);
            self.collect(node);
        }
    }

    fn deliver(&mut self) -> Result<(), String> {
        for flight in take(&mut self.flights) {
            let len = flight.frame.len() as u64;
            let kind = Kind::of(&flight.frame);
            self.received.entry(kind.0).or_default().add(len);
            if flight.to + 1 == self.nodes.len() {
                self.newcomer.entry(kind.0).or_default().add(len);
            }
            let now = self.now(flight.to);
            let from = &self.addresses[flight.from];
            self.nodes[flight.to].handle_message(now, from, &flight.frame)?;
            self.collect(flight.to);
        }
        Ok(())
    }

    /// Does what the program of a node does: carries its frames, and reads its news.
    fn collect(&mut self, from: usize) {
        let presence = &self.nodes[from].presence;
        while presence.poll_diff().is_some() || presence.poll_event().is_some() {}
        while let Some(change) = self.nodes[from].presence.poll_subscription() {
            match change {
                GroupSubscription::Subscribe(partition) => {
                    self.groups.entry(partition).or_default().push(from);
                }
                GroupSubscription::Unsubscribe(partition) => {
                    let group = self.groups.entry(partition).or_default();
                    group.retain(|place| *place != from);
                }
            }
        }
        while let Some(transmit) = self.nodes[from].presence.poll_transmit() {
            let to = match &transmit.to {
                Destination::All => self.reached(from).collect(),
                Destination::Group(partition) => {
                    let group = self.groups.get(partition).into_iter().flatten();
                    group.copied().filter(|to| *to != from).collect()
                }
                Destination::Peer(address) => {
                    self.places.get(address).copied().into_iter().collect()
                }
            };
            let to: Vec<usize> = to;
            self.flights.extend(to.into_iter().map(|to| Flight {
                from,
                to,
                frame: transmit.frame.clone(),
            }));
        }
    }

    /// Returns the nodes that a node reaches.
    fn reached(&self, from: usize) -> impl Iterator<Item = usize> + use<> {
        let nodes = self.nodes.len();
        let side = match self.neighbours {
            0 => nodes,
            neighbours => neighbours.div_ceil(2),
        };
        let is_apart = self.is_apart;
        let is_near = move |to: &usize| {
            let ahead = (*to + nodes - from) % nodes;
            let is_hidden = is_apart && from.max(*to) + 1 < nodes;
            *to != from && ahead.min(nodes - ahead) <= side && !is_hidden
        };
        (0..nodes).filter(is_near)
    }

    /// Returns what the node that was started last received.
    fn newcomer(&self) -> Volume {
        let mut all = Volume::default();
        for volume in self.newcomer.values() {
            all.frames += volume.frames;
            all.bytes += volume.bytes;
        }
        all
    }

    /// Returns the entries that all nodes hold.
    fn entries_len(&self) -> u64 {
        let held = self.nodes.iter().map(|node| node.presence.len() as u64);
        held.sum()
    }

    /// Returns the bytes of all entries.
    fn state_bytes(&self) -> u64 {
        let states = self.nodes.iter().map(|node| node.presence.own_bytes());
        states.sum()
    }

    /// Returns whether the node that was started last holds what all others show.
    fn is_newcomer_complete(&self) -> bool {
        let Some((newcomer, others)) = self.nodes.split_last() else {
            return true;
        };
        if self.is_interest {
            return newcomer.replica().is_whole();
        }
        others.iter().all(|other| {
            let id = other.presence.id();
            let replica = other.replica();
            let index = replica.index();
            let mut partitions = index.set().iter();
            partitions.all(|p| newcomer.presence.position(&id, p) == index.position(p))
        })
    }
}

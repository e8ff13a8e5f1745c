//! Bytes of real frames in a calm cluster of many nodes, on a network that takes a millisecond.

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use bytes::Bytes;

use super::process::{Process, Settings};
use crate::codec::Kind;
use crate::id::ReplicaId;
use crate::replica::rng::Rng;
use crate::replica::{Address, Destination};
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
}

/// The bytes that a node receives, on average.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of pushed operations in a second.
    pub deltas: u64,
    /// Bytes of everything else in a second.
    pub control: u64,
    /// Bytes in a second by the number of the frame's kind.
    pub by_kind: BTreeMap<u8, u64>,
    /// Bytes of answers and control frames that one more node receives until it has everything.
    pub newcomer: u64,
    /// Bytes of the state that it needs, without frames.
    pub state: u64,
    /// Milliseconds until it has everything.
    pub newcomer_ms: u64,
}

/// Measures a cluster: what a node receives while all write, and what one that joins receives.
///
/// # Errors
/// A node refuses a frame, or the one that joins does not come to hold everything.
pub fn measure(load: &Load) -> Result<Traffic, String> {
    let mut cluster = Cluster::new(load);
    cluster.run(SETTLE_MS, load)?;
    cluster.received.clear();
    cluster.run(load.seconds * SECOND_MS, load)?;
    let received = take(&mut cluster.received);
    let per_node = |bytes: u64| bytes / (load.nodes as u64 * load.seconds.max(1));
    let by_kind: BTreeMap<_, _> = received
        .iter()
        .map(|(kind, bytes)| (*kind, per_node(*bytes)))
        .collect();
    let deltas = by_kind.get(&Kind::DELTA.0).copied().unwrap_or(0);
    let mut traffic = Traffic {
        deltas,
        control: by_kind.values().sum::<u64>() - deltas,
        by_kind,
        ..Traffic::default()
    };
    let quiet = Load {
        operations: 0,
        ..load.clone()
    };
    cluster.run(SETTLE_MS, &quiet)?;
    traffic.state = cluster.state_bytes();
    let start_ms = cluster.now_ms;
    cluster.start();
    while !cluster.is_newcomer_complete() {
        if cluster.now_ms > start_ms + 60 * SECOND_MS {
            return Err("a node that joined does not come to hold everything".into());
        }
        cluster.run(1, &quiet)?;
    }
    traffic.newcomer = cluster.newcomer;
    traffic.newcomer_ms = cluster.now_ms - start_ms;
    Ok(traffic)
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
    flights: Vec<Flight>,
    rng: Rng,
    now_ms: u64,
    /// Bytes received by all nodes, by kind.
    received: BTreeMap<u8, u64>,
    /// Bytes received by the node that was started last.
    newcomer: u64,
}

impl Cluster {
    fn new(load: &Load) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            addresses: Vec::new(),
            flights: Vec::new(),
            rng: Rng::new(7),
            now_ms: 0,
            received: BTreeMap::new(),
            newcomer: 0,
        };
        for node in 0..load.nodes {
            cluster.start();
            for entry in 0..load.entries {
                cluster.write(node, entry);
            }
        }
        cluster
    }

    fn start(&mut self) {
        let number = self.nodes.len();
        let salt = self.rng.next_u64() as u32;
        let incarnation = 1_700_000_000_000_000 + number as u64;
        let id = ReplicaId::new(&format!("chat-{number:04}"), incarnation, salt)
            .expect("the name is short and the number small");
        let seed = self.rng.next_u64();
        let settings = Settings {
            seed,
            ..Settings::default()
        };
        self.nodes.push(Process::new(id, settings));
        self.addresses.push(number.to_string().into());
        self.newcomer = 0;
    }

    fn now(&self, node: usize) -> Duration {
        // Beats of nodes do not fall into one millisecond.
        Duration::from_micros(self.now_ms * 1_000 + node as u64 * 7 % 1_000)
    }

    fn write(&mut self, node: usize, entry: usize) {
        let topic = format!("room:{}", entry % 50);
        let user = format!("user:{node}:{entry}");
        let meta = self.rng.next_u64().to_le_bytes();
        let new = NewEntry::new(&topic, &user, &user).meta(&meta);
        let written = self.nodes[node].presence.upsert(&new);
        written.expect("a short entry is within the limits");
    }

    /// Lets time pass, in which every node writes at its rate.
    fn run(&mut self, ms: u64, load: &Load) -> Result<(), String> {
        for _ in 0..ms {
            self.now_ms += 1;
            for node in 0..self.nodes.len().min(load.nodes) {
                if load.operations > 0 && self.rng.below(SECOND_MS) < load.operations {
                    let entry = self.rng.below(load.entries as u64) as usize;
                    self.write(node, entry);
                }
            }
            self.deliver()?;
            for node in 0..self.nodes.len() {
                let now = self.now(node);
                if self.nodes[node].is_due(now) {
                    self.nodes[node].presence.handle_timeout(now);
                    self.collect(node);
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        for flight in take(&mut self.flights) {
            let len = flight.frame.len() as u64;
            let kind = Kind::of(&flight.frame);
            *self.received.entry(kind.0).or_default() += len;
            if flight.to + 1 == self.nodes.len() {
                self.newcomer += len;
            }
            let now = self.now(flight.to);
            let from = &self.addresses[flight.from];
            self.nodes[flight.to].handle_message(now, from, &flight.frame)?;
            self.collect(flight.to);
        }
        Ok(())
    }

    fn collect(&mut self, from: usize) {
        while let Some(transmit) = self.nodes[from].presence.poll_transmit() {
            let to = match &transmit.to {
                Destination::All | Destination::Group(_) => {
                    (0..self.nodes.len()).filter(|to| *to != from).collect()
                }
                Destination::Peer(address) => {
                    let mut places = self.addresses.iter();
                    places
                        .position(|known| known == address)
                        .into_iter()
                        .collect()
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
        others.iter().all(|other| {
            let id = other.presence.id();
            let replica = other.replica();
            let index = replica.index();
            let mut partitions = index.set().iter();
            partitions.all(|p| newcomer.presence.position(&id, p) == index.position(p))
        })
    }
}

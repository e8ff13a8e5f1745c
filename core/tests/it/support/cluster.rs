//! Nodes in mode `interest`, on a network with groups.

use std::time::Duration;

use headcount::replica::{Config, Destination, Event, GroupSubscription, Mode};
use headcount::{NewEntry, Presence, PresenceConfig, ReplicaId};

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Says of frames whether they are lost.
type Loss = dyn FnMut(&[u8]) -> bool;

/// Nodes on a network with groups.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Presence>,
    pub(crate) groups: Vec<Vec<u16>>,
    pub(crate) now: Duration,
    /// The bytes that each node was sent.
    pub(crate) received: Vec<usize>,
    /// The link that loses everything: from and to.
    pub(crate) cut: Option<(usize, usize)>,
    /// Says which frames are lost.
    pub(crate) is_lost: Box<Loss>,
}

impl Cluster {
    /// Starts nodes in 4,096 partitions.
    pub(crate) fn new(nodes: u64) -> Self {
        Self::with(nodes, Config::default().partitions(4_096))
    }

    /// Starts nodes that count topics, in 4,096 partitions.
    pub(crate) fn with_counts(nodes: u64) -> Self {
        Self::with(nodes, Config::default().partitions(4_096).counts(true))
    }

    /// Starts nodes with some settings.
    pub(crate) fn with(nodes: u64, replication: Config) -> Self {
        let replication = replication
            .mode(Mode::Interest)
            .vacate_after(seconds(5))
            .unwatch_after(seconds(10));
        let config = PresenceConfig::default().replication(replication);
        let node = |n: u64| {
            let id = ReplicaId::new(&format!("node-{n}"), 1, 0).unwrap();
            Presence::new(id, config.clone().seed(n + 1))
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            groups: vec![Vec::new(); nodes as usize],
            now: Duration::ZERO,
            received: vec![0; nodes as usize],
            cut: None,
            is_lost: Box::new(|_| false),
        }
    }

    pub(crate) fn track(&self, node: usize, topic: &str, key: &str) {
        let entry = NewEntry::new(topic, key, "conn");
        self.nodes[node].track(&entry).unwrap();
    }

    pub(crate) fn watch(&mut self, node: usize, topic: &str) {
        self.nodes[node].watch(self.now, topic);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(5);
            for node in 0..self.nodes.len() {
                self.nodes[node].handle_timeout(self.now);
                self.carry(node);
            }
        }
    }

    fn carry(&mut self, from: usize) {
        while let Some(change) = self.nodes[from].poll_subscription() {
            match change {
                GroupSubscription::Subscribe(partition) => self.groups[from].push(partition),
                GroupSubscription::Unsubscribe(partition) => {
                    self.groups[from].retain(|held| *held != partition);
                }
            }
        }
        while let Some(transmit) = self.nodes[from].poll_transmit() {
            for to in 0..self.nodes.len() {
                let is_meant = match &transmit.to {
                    Destination::All => to != from,
                    Destination::Peer(address) => **address == *to.to_string(),
                    Destination::Group(group) => to != from && self.groups[to].contains(group),
                };
                if is_meant && self.cut != Some((from, to)) && !(self.is_lost)(&transmit.frame) {
                    self.received[to] += transmit.frame.len();
                    let from = from.to_string();
                    let taken = self.nodes[to].handle_message(self.now, &from, &transmit.frame);
                    taken.unwrap();
                }
            }
        }
    }

    /// Returns the topics of which a node was told that they can be read, and the number of missing
    /// replicas.
    pub(crate) fn ready(&self, node: usize) -> Vec<(String, usize)> {
        let events = std::iter::from_fn(|| self.nodes[node].poll_event());
        let ready = events.filter_map(|event| match event {
            Event::TopicReady { topic, missing, .. } => Some((topic.to_string(), missing.len())),
            _ => None,
        });
        ready.collect()
    }
}

//! A small cluster driven by the test: frames are delivered at once, the test moves the clock.

use std::time::Duration;

use headcount::codec::Kind;
use headcount::replica::{Config, Destination, Event};
use headcount::{Presence, PresenceConfig, ReplicaId};

/// A full mesh without faults. Neighbours are named by their index: "0", "1", ...
pub(crate) struct Mesh {
    pub(crate) nodes: Vec<Presence>,
    pub(crate) now: Duration,
    pub(crate) cut: Vec<(usize, usize)>,
    /// Every frame that carried entries: from, to, bytes.
    pub(crate) sent: Vec<(usize, usize, Vec<u8>)>,
    /// Every request for entries: from, to.
    pub(crate) pulls: Vec<(usize, usize)>,
    /// Frames of these kinds are lost.
    pub(crate) lost: Vec<Kind>,
    /// The number of frames that went to one node by way of others, for each link.
    pub(crate) relayed: usize,
    /// True if nodes may refuse frames of each other.
    pub(crate) refused: bool,
}

impl Mesh {
    pub(crate) fn new(names: &[(&str, u64)]) -> Self {
        let node = |(seed, (name, incarnation)): (usize, &(&str, u64))| {
            node(name, *incarnation, seed as u64, |config| config)
        };
        let nodes = names.iter().enumerate().map(node).collect();
        Self {
            nodes,
            now: Duration::ZERO,
            cut: Vec::new(),
            sent: Vec::new(),
            pulls: Vec::new(),
            lost: Vec::new(),
            relayed: 0,
            refused: false,
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(5);
            for node in &self.nodes {
                node.handle_timeout(self.now);
            }
            while self.deliver() {}
        }
    }

    fn deliver(&mut self) -> bool {
        let mut any = false;
        for (from, node) in self.nodes.iter().enumerate() {
            while let Some(transmit) = node.poll_transmit() {
                any = true;
                let kind = Kind::of(&transmit.frame);
                for (to, other) in self.nodes.iter().enumerate() {
                    let goes = match &transmit.to {
                        Destination::All | Destination::Group(_) => from != to,
                        Destination::Peer(address) => **address == *to.to_string(),
                    };
                    if !goes || self.cut.contains(&(from, to)) || self.lost.contains(&kind) {
                        continue;
                    }
                    if [Kind::DELTA, Kind::REPAIR, Kind::PART, Kind::BUNDLE].contains(&kind) {
                        self.sent.push((from, to, transmit.frame.to_vec()));
                    }
                    self.relayed += usize::from(kind == Kind::RELAYED);
                    if kind == Kind::PULL {
                        self.pulls.push((from, to));
                    }
                    let sent = other.handle_message(self.now, &from.to_string(), &transmit.frame);
                    assert!(sent.is_ok() || self.refused, "{sent:?}");
                }
            }
        }
        any
    }

    pub(crate) fn cut(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.cut.extend([(node, other), (other, node)]);
        }
    }
}

pub(crate) fn node(
    name: &str,
    incarnation: u64,
    seed: u64,
    set: impl FnOnce(Config) -> Config,
) -> Presence {
    configured(name, incarnation, seed, |config| {
        config.replication(set(Config::default()))
    })
}

pub(crate) fn configured(
    name: &str,
    incarnation: u64,
    seed: u64,
    set: impl FnOnce(PresenceConfig) -> PresenceConfig,
) -> Presence {
    let config = set(PresenceConfig::default().seed(seed));
    Presence::new(ReplicaId::new(name, incarnation, 0).unwrap(), config)
}

pub(crate) fn events(node: &Presence) -> Vec<Event> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Makes a presence of the first life of a name.
pub(crate) fn presence(name: &str, config: PresenceConfig) -> Presence {
    Presence::new(ReplicaId::new(name, 1, 0).unwrap(), config)
}

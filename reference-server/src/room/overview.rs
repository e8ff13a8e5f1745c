//! The rooms, nodes and places of users, as operators see them.

use std::collections::BTreeMap;

use super::{
    RoomPresence,
    presence::visible,
    readable::readable,
    watch::{ROOMS, USERS},
};

/// An open room.
#[derive(Debug)]
pub(crate) struct RoomOverview {
    pub(crate) topic: String,
    pub(crate) name: String,
    pub(crate) is_dm: bool,
    pub(crate) tenant: String,
    pub(crate) subscriptions: usize,
    pub(crate) online: usize,
    pub(crate) total: usize,
    pub(crate) messages: i64,
}

/// A node whose presence is known here.
#[derive(Debug)]
pub(crate) struct NodeOverview {
    pub(crate) id: String,
    pub(crate) state: &'static str,
    /// The number of its changes that are applied here.
    pub(crate) clock: u64,
    /// Of another node.
    pub(crate) lag: Option<NodeLag>,
}

/// The lag of this node behind another one.
#[derive(Debug)]
pub(crate) struct NodeLag {
    /// The time since it was last heard.
    pub(crate) silence_ms: u128,
    /// The partitions of presence of which changes were asked for, and not answered yet.
    pub(crate) partitions_behind: usize,
}

/// A room where a user has sessions, and the node that holds them.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) node: String,
    pub(crate) sessions: usize,
}

impl RoomPresence {
    /// Returns this node, then the others.
    pub(crate) fn nodes(&self) -> Vec<NodeOverview> {
        let mut clocks: BTreeMap<String, u64> = BTreeMap::new();
        for (origin, clock) in self.presence().clocks() {
            *clocks.entry(origin.replica.to_string()).or_default() += clock;
        }
        let mut node = |id: String, state, lag| NodeOverview {
            clock: clocks.remove(&id).unwrap_or_default(),
            id,
            state,
            lag,
        };
        let own = node(self.presence().id().to_string(), "this node", None);
        let others = self.presence().stats().peers.into_iter();
        let others = others.map(|peer| {
            let state = if peer.is_up { "up" } else { "silent" };
            let lag = NodeLag {
                silence_ms: peer.silence.as_millis(),
                partitions_behind: peer.partitions_behind,
            };
            node(peer.id.to_string(), state, Some(lag))
        });
        std::iter::once(own).chain(others).collect()
    }

    /// Returns where a user has sessions: in the rooms that are open here, on all nodes; in a cluster first the nodes
    /// that the user is connected to. O(rooms open here).
    pub(crate) fn places(&self, key: &str) -> Vec<Place> {
        let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
        let topics = self.presence().topics();
        for topic in topics.iter().filter(|topic| *topic != ROOMS) {
            let place = match topic.as_str() {
                USERS => "connected",
                room => visible(room),
            };
            for entry in readable(self.presence().get_by_key(topic, key)) {
                let node = entry.origin().replica.to_string();
                *places.entry((place.to_owned(), node)).or_default() += 1;
            }
        }
        let place = |((topic, node), sessions)| Place {
            topic,
            node,
            sessions,
        };
        places.into_iter().map(place).collect()
    }
}

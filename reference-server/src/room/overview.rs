//! The rooms, nodes and places of users, as operators see them.

use std::collections::BTreeMap;

use headcount::EntryBuf;

use super::{RoomPresence, readable::readable};

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
        let mut node = |id: String, state| NodeOverview {
            clock: clocks.remove(&id).unwrap_or_default(),
            id,
            state,
        };
        let own = node(self.presence().id().to_string(), "this node");
        let others = self.presence().replicas().into_iter();
        let others = others.map(|(id, is_up)| {
            let state = if is_up { "up" } else { "silent" };
            node(id.to_string(), state)
        });
        std::iter::once(own).chain(others).collect()
    }

    /// Returns where a user has sessions, on all nodes. O(rooms with sessions).
    pub(crate) fn places(&self, key: &str) -> Vec<Place> {
        let mut places = Vec::new();
        let topics = self.presence().topics();
        for topic in topics.into_iter().filter(|topic| topic.contains(':')) {
            let mut by_node: BTreeMap<String, usize> = BTreeMap::new();
            for entry in readable(self.presence().get_by_key(&topic, key)) {
                *by_node.entry(node_of(&entry)).or_default() += 1;
            }
            places.extend(by_node.into_iter().map(|(node, sessions)| Place {
                topic: topic.clone(),
                node,
                sessions,
            }));
        }
        places
    }
}

fn node_of(entry: &EntryBuf) -> String {
    entry.origin().replica.to_string()
}

//! `Watch`: which users are online and which rooms occupied anywhere in a cluster.
//!
//! Each node keeps an entry for each of its users, and for each occupied room that is open there, in two topics of
//! their own. All nodes watch them, and one of them reports what changes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use headcount::{NewEntry, Status, runtime::Node};
use uuid::Uuid;

use super::{changes::TopicChanges, readable::readable};

/// The topics. No topic of a room has such a name.
pub(super) const USERS: &str = "users";
pub(super) const ROOMS: &str = "rooms";
/// The owner of the entries: a node has one for each key.
const OWNER: &str = "node";

/// A user or a room that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) id: Uuid,
    pub(crate) tenant: String,
    pub(crate) is_room: bool,
    /// True if it is now online, or occupied.
    pub(crate) is_on: bool,
}

/// The keys of one topic that are shown, with their tenants.
#[derive(Debug)]
struct WatchedTopic {
    topic: Arc<str>,
    changes: TopicChanges,
    shown: HashMap<String, String>,
}

/// Both topics, as far as their changes have been taken.
#[derive(Debug)]
pub(super) struct Watch {
    topics: [WatchedTopic; 2],
    /// True if the node had caught up with the others when changes were last taken.
    pub(super) is_synced: bool,
}

impl Watch {
    /// Begins to watch both. What is there counts as news when it is first taken.
    pub(super) fn begin(node: &Node) -> Self {
        let topics = [USERS, ROOMS].map(|topic| WatchedTopic {
            topic: topic.into(),
            changes: TopicChanges::begin(node, topic),
            shown: HashMap::new(),
        });
        Self {
            topics,
            is_synced: false,
        }
    }

    /// Waits until both can be read.
    pub(super) fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let [users, rooms] = [0, 1].map(|i| self.topics[i].changes.ready());
        async move {
            users.await;
            rooms.await;
        }
    }

    /// Returns whether what was there has been taken.
    pub(super) fn has_begun(&self) -> bool {
        self.topics.iter().all(|topic| topic.changes.has_begun())
    }

    /// Takes what came or went since the last call.
    pub(super) fn take(&mut self, node: &Node) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for watched in &mut self.topics {
            let mut keys = HashSet::new();
            for diff in watched.changes.take(node) {
                let entries = diff
                    .joins
                    .iter()
                    .chain(diff.leaves.iter().map(|leave| &leave.entry));
                let entries = entries.chain(diff.updates.iter().map(|update| &update.new));
                keys.extend(entries.filter_map(|entry| entry.key_str().map(str::to_owned)));
            }
            transitions.extend(watched.look_at(node, keys));
        }
        transitions
    }
}

impl WatchedTopic {
    /// Compares keys with what was shown of them.
    fn look_at(&mut self, node: &Node, keys: HashSet<String>) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for key in keys {
            let entries = readable(node.get_by_key(&self.topic, key.as_str()));
            let is_hidden = |status: u8| Status::of_session(status) == Status::Invisible;
            let is_on = !entries.is_empty() && !entries.iter().any(|e| is_hidden(e.status()));
            if is_on == self.shown.contains_key(&key) {
                continue;
            }
            let tenant = if is_on {
                let tenant = String::from_utf8_lossy(entries[0].meta()).into_owned();
                self.shown.insert(key.clone(), tenant.clone());
                tenant
            } else {
                self.shown.remove(&key).unwrap_or_default()
            };
            transitions.extend(key.parse().ok().map(|id| Transition {
                id,
                tenant,
                is_room: &*self.topic == ROOMS,
                is_on,
            }));
        }
        transitions
    }
}

/// Makes the entry of this node for a user or a room.
pub(super) fn entry<'a>(
    topic: &'static str,
    key: &'a str,
    tenant: &'a str,
    status: Status,
) -> NewEntry<'a> {
    let entry = NewEntry::new(topic, key, OWNER);
    entry.meta(tenant.as_bytes()).status(status as u8)
}

/// Removes the entry of this node for a user or a room.
pub(super) fn remove(node: &Node, topic: &str, key: &str) {
    node.untrack(topic, key, OWNER);
}

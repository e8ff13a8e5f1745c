//! `Watch`: which users are online and which rooms occupied anywhere in a cluster.
//!
//! Each node keeps an entry for each of its users, and for each occupied room that is open there, in two topics of
//! their own. All nodes watch them, and one of them reports what changes; the others remember it until they would know
//! that this one was killed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use headcount::{NewEntry, Status, id::EntryRef, runtime::Node};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use super::{changes::TopicChanges, readable::readable};
use crate::db::now_micros;

/// The topics. No topic of a room has such a name.
pub(super) const USERS: &str = "users";
pub(super) const ROOMS: &str = "rooms";
/// The owner of the entries: a node has one for each key.
const OWNER: &str = "node";

/// Transitions that are remembered for the case that the node that reports them was killed.
const RECENT_MAX: usize = 10_000;

/// A user or a room that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// Names the transition on all nodes: it comes from the write of presence that made it.
    pub(crate) event: Uuid,
    /// When it was seen, in microseconds since 1970.
    pub(crate) at: i64,
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
    named: Names,
}

/// The newest names of transitions: of more than `RECENT_MAX` the oldest is forgotten.
#[derive(Debug, Default)]
struct Names {
    all: HashSet<Uuid>,
    in_order: VecDeque<Uuid>,
}

impl Names {
    /// Adds a name. Returns false if it is there already.
    fn insert(&mut self, name: Uuid) -> bool {
        let is_new = self.all.insert(name);
        if is_new {
            self.in_order.push_back(name);
        }
        if self.in_order.len() > RECENT_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.all.remove(&oldest);
        }
        is_new
    }
}

/// Both topics, as far as their changes have been taken.
#[derive(Debug)]
pub(super) struct Watch {
    topics: [WatchedTopic; 2],
    /// What another node is to report, with the time until which it may have failed to.
    recent: VecDeque<(Instant, Transition)>,
    /// The users of whom changes were taken.
    changed_users: Vec<Uuid>,
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
            named: Names::default(),
        });
        Self {
            topics,
            recent: VecDeque::new(),
            changed_users: Vec::new(),
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
            let mut keys: HashMap<String, EntryRef> = HashMap::new();
            for diff in watched.changes.take(node) {
                let entries = diff
                    .joins
                    .iter()
                    .chain(diff.leaves.iter().map(|leave| &leave.entry));
                let entries = entries.chain(diff.updates.iter().map(|update| &update.new));
                for entry in entries {
                    if let Some(key) = entry.key_str() {
                        let newest = keys.entry(key.to_owned());
                        let newest = newest.or_insert_with(|| entry.entry_ref());
                        *newest = entry.entry_ref().max(newest.clone());
                    }
                }
            }
            if &*watched.topic == USERS {
                let users = keys.keys().filter_map(|key| key.parse::<Uuid>().ok());
                self.changed_users.extend(users);
            }
            transitions.extend(watched.look_at(node, keys));
        }
        transitions
    }

    /// Takes the users of whom changes were taken since the last call.
    pub(super) fn take_changed_users(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.changed_users)
    }

    /// Returns what this node is to report, of which `new` was just taken: all that the node before it may have failed
    /// to, if it `is_first` of those that run; else nothing, and `new` is remembered for that time.
    pub(super) fn report(
        &mut self,
        new: Vec<Transition>,
        is_first: bool,
        remembered: Duration,
    ) -> Vec<Transition> {
        let now = Instant::now();
        let is_over = |until: &Instant| *until <= now;
        while self.recent.front().is_some_and(|(until, _)| is_over(until)) {
            self.recent.pop_front();
        }
        if is_first {
            let missed = self.recent.drain(..).map(|(_, transition)| transition);
            return missed.chain(new).collect();
        }
        let new = new
            .into_iter()
            .map(|transition| (now + remembered, transition));
        self.recent.extend(new);
        let excess = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..excess);
        Vec::new()
    }
}

impl WatchedTopic {
    /// Compares keys, each with its newest write, with what was shown of them.
    fn look_at(&mut self, node: &Node, keys: HashMap<String, EntryRef>) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for (key, newest) in keys {
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
            let oldest = entries.iter().map(|entry| entry.entry_ref()).min();
            let cause = oldest.filter(|_| is_on).unwrap_or(newest);
            transitions.extend(key.parse().ok().map(|id| Transition {
                event: self.name(&key, is_on, &cause),
                at: now_micros(),
                id,
                tenant,
                is_room: &*self.topic == ROOMS,
                is_on,
            }));
        }
        transitions
    }

    /// Names a transition by the write that made it, as all nodes do. One that no write made has a name of its own:
    /// what a silent node holds goes, and comes back as it was.
    fn name(&mut self, key: &str, is_on: bool, cause: &EntryRef) -> Uuid {
        let text = format!("{} {key} {is_on} {cause}", self.topic);
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        let name = Builder::from_random_bytes(bytes).into_uuid();
        let is_new = self.named.insert(name);
        if is_new { name } else { Uuid::now_v7() }
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
    // The entries of a node that has stopped end without it.
    let _ = node.untrack(topic, key, OWNER);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_names_the_oldest_is_forgotten_and_no_other() {
        let mut names = Names::default();
        let all: Vec<Uuid> = (0..=RECENT_MAX as u128).map(Uuid::from_u128).collect();
        let (last, first) = all.split_last().unwrap();
        assert!(first.iter().all(|name| names.insert(*name)));
        assert!(first.iter().all(|name| !names.insert(*name)));
        assert!(names.insert(*last));
        assert!(all[1..].iter().all(|name| !names.insert(*name)));
        // Which forgets the one after it.
        assert!(names.insert(all[0]));
        assert!(!names.insert(all[2]));
        assert!(names.insert(all[1]));
        assert_eq!(names.all.len(), RECENT_MAX);
        assert_eq!(names.in_order.len(), RECENT_MAX);
    }
}

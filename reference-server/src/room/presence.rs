//! `RoomPresence`: core's `Presence` for all rooms, in a cluster driven by core's `Node`, and the meaning of
//! its entries here. It locks itself.
//!
//! The sessions of a room are entries of its topic, but the invisible ones of a topic beside it: a node on which
//! nobody has the room open counts the first, and holds none.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use headcount::codec::SharedKey;
use headcount::id::Dot;
use headcount::{
    Diff, Entry, EntryBuf, NewEntry, Presence, PresenceConfig, ReadError, ReplicaId, Status,
    TopicDiff, TrackError,
    replica::{Config, Mode},
    runtime::{Node, NodeStats},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    changes::TopicChanges,
    readable::{not_readable, readable},
    subscription_id::SubscriptionId,
    watch::{self, Transition, Watch},
};

/// Partitions of the presence of a cluster: many more than a node has rooms open, so that it is sent little about the
/// others.
const PARTITIONS: u32 = 4_096;
/// A room is opened after this time at the latest with what is known of it, if a node does not answer.
const READY_AFTER: Duration = Duration::from_secs(2);
/// Keeps what is held of a room, or counted in it, for this long after its last use.
const UNWATCH_AFTER: Duration = Duration::from_secs(60);

/// The longest time in which a node stores what it reports: that of a call of the webhook, and some more.
const REPORT_TIME: Duration = Duration::from_secs(15);

/// Parses the status that a session may have: one of the four words, not `offline`.
pub(crate) fn session_status(word: &str) -> Option<Status> {
    word.parse()
        .ok()
        .filter(|status| *status != Status::Offline)
}

/// The meta of a presence entry, stored in it as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Profile<'a> {
    #[serde(borrow, default)]
    pub(crate) username: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) staff: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) guest: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) simulated: bool,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) online_at: Option<i64>,
}

impl<'a> Profile<'a> {
    /// Reads the profile of an entry; an empty one if the meta is none, which this server never writes.
    pub(super) fn of(entry: &'a EntryBuf) -> Self {
        serde_json::from_slice(entry.meta()).unwrap_or_default()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }
}

/// A session of a user in a room, to be shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewSession<'a> {
    /// The room's.
    pub(crate) topic: &'a str,
    /// The user's id.
    pub(crate) key: &'a str,
    pub(crate) owner: &'a str,
    /// A [`Profile`] as bytes.
    pub(crate) profile: &'a [u8],
    pub(crate) status: Status,
}

/// Begins the topic of a room's invisible sessions, before the room's.
const INVISIBLE: &str = "invisible:";

/// Returns the topic of a room's invisible sessions.
fn invisible(topic: &str) -> String {
    format!("{INVISIBLE}{topic}")
}

/// Returns the topic of the room whose visible or invisible sessions are in `topic`.
pub(super) fn visible(topic: &str) -> &str {
    topic.strip_prefix(INVISIBLE).unwrap_or(topic)
}

/// One session of a user as Phoenix clients see it.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) dot: Dot,
    pub(super) phx_ref: String,
    pub(super) phx_ref_prev: Option<String>,
    pub(super) status: Status,
    /// The entry's meta, a JSON object.
    pub(super) profile: String,
}

/// The presence of all rooms: of this process, or of all nodes of a cluster.
pub(crate) struct RoomPresence {
    source: Source,
}

/// The keeper of the entries.
enum Source {
    Alone(Box<Alone>),
    Cluster(Box<Clustered>),
}

struct Alone {
    presence: Presence,
    users: Mutex<LocalUsers>,
}

/// The users that are connected to a server without a cluster, and those whose status has changed.
#[derive(Default)]
struct LocalUsers {
    statuses: HashMap<Uuid, Status>,
    changed: Vec<Uuid>,
}

struct Clustered {
    node: Node,
    watch: Mutex<Watch>,
    /// The silence after which another node is down.
    down_after: Duration,
}

impl RoomPresence {
    /// Makes the presence of a server without a cluster.
    pub(crate) fn new() -> Self {
        let id = ReplicaId::generate("headcount-server", SystemTime::now())
            .expect("the name is short, and the operating system has random numbers");
        let presence = Presence::new(id, PresenceConfig::default());
        let users = Mutex::default();
        Self {
            source: Source::Alone(Box::new(Alone { presence, users })),
        }
    }

    /// Returns what all nodes of a cluster agree on: a node holds the rooms that its own users have open, and counts
    /// the others. Other nodes are down after that silence. With a key, nodes with another one are not heard.
    pub(crate) fn config(down_after: Duration, key: Option<SharedKey>) -> PresenceConfig {
        let replication = Config::default()
            .heartbeat(down_after / 5)
            .down_after(down_after)
            .key(key)
            .mode(Mode::Interest)
            .counts(true)
            .partitions(PARTITIONS)
            .ready_after(READY_AFTER)
            .unwatch_after(UNWATCH_AFTER);
        PresenceConfig::default().replication(replication)
    }

    /// Makes the presence of a node of a cluster, which has the [`config`](Self::config) of that time.
    pub(crate) fn of_node(node: Node, down_after: Duration) -> Self {
        let watch = Mutex::new(Watch::begin(&node));
        let clustered = Clustered {
            node,
            watch,
            down_after,
        };
        Self {
            source: Source::Cluster(Box::new(clustered)),
        }
    }

    pub(super) fn presence(&self) -> &Presence {
        match &self.source {
            Source::Alone(alone) => &alone.presence,
            Source::Cluster(clustered) => clustered.node.presence(),
        }
    }

    fn node(&self) -> Option<&Node> {
        match &self.source {
            Source::Alone(_) => None,
            Source::Cluster(clustered) => Some(&clustered.node),
        }
    }

    /// Returns the counts of the node, all zero without a cluster. O(partitions + nodes).
    pub(crate) fn node_stats(&self) -> NodeStats {
        self.node().map(Node::stats).unwrap_or_default()
    }

    /// Returns whether other nodes may have entries.
    pub(crate) fn is_clustered(&self) -> bool {
        self.node().is_some()
    }

    /// Waits until this node knows the others, their users and their occupied rooms.
    pub(crate) async fn synced(&self) {
        if let Source::Cluster(clustered) = &self.source {
            readable(clustered.node.synced().await.map_err(ReadError::from));
            let ready = clustered.watch.lock().ready();
            ready.await;
        }
    }

    /// Waits until the node of the cluster has stopped by itself; for ever without a cluster.
    pub(crate) async fn stopped(&self) {
        let Some(node) = self.node() else {
            return std::future::pending().await;
        };
        let mut events = node.events();
        // Only the end counts, also of one that reads too slowly.
        while !matches!(events.next().await, Ok(None)) {}
    }

    /// Returns whether this node is still to be sent something of a node that it hears.
    pub(crate) fn is_behind(&self) -> bool {
        let peers = self.node_stats().peers;
        peers
            .iter()
            .any(|peer| peer.is_up && peer.partitions_behind > 0)
    }

    /// Tells the other nodes that all entries of this one are over.
    pub(crate) async fn leave(self) {
        if let Source::Cluster(clustered) = self.source {
            clustered.node.leave().await;
        }
    }

    /// Begins to follow a room on all nodes: its visible sessions, and its invisible ones. Returns nothing without a
    /// cluster, where [`take_diff`](Self::take_diff) says all.
    pub(super) async fn follow(&self, topic: &str) -> Vec<TopicChanges> {
        let Some(node) = self.node() else {
            return Vec::new();
        };
        let followed = [topic, &invisible(topic)].map(|topic| TopicChanges::begin(node, topic));
        for changes in &followed {
            changes.ready().await;
        }
        followed.into()
    }

    /// Takes what has changed in a followed topic.
    pub(super) fn take_changes(&self, changes: &mut TopicChanges) -> Vec<Arc<TopicDiff>> {
        self.node()
            .map(|node| changes.take(node))
            .unwrap_or_default()
    }

    /// Shows all nodes that a user is connected to this one, and with which status.
    pub(crate) fn enter_user(&self, user: Uuid, tenant: &str, status: Status) {
        if let Source::Alone(alone) = &self.source {
            let users = &mut *alone.users.lock();
            users.statuses.insert(user, status);
            users.changed.push(user);
        }
        self.enter(watch::USERS, user, tenant, status);
    }

    /// Shows all nodes the new status of a user that is connected to this one.
    pub(crate) fn set_user_status(&self, user: Uuid, status: Status) {
        let node = match &self.source {
            Source::Alone(alone) => {
                let users = &mut *alone.users.lock();
                if let Some(known) = users.statuses.get_mut(&user) {
                    *known = status;
                    users.changed.push(user);
                }
                return;
            }
            Source::Cluster(clustered) => &clustered.node,
        };
        let key = user.to_string();
        let entries = readable(node.get_by_key(watch::USERS, key.as_str()));
        let own = entries.iter().find(|e| e.origin().replica == node.id());
        if let Some(own) = own {
            let tenant = String::from_utf8_lossy(own.meta()).into_owned();
            self.enter(watch::USERS, user, &tenant, status);
        }
    }

    /// Shows all nodes that a user is connected to this one no more.
    pub(crate) fn exit_user(&self, user: Uuid) {
        match &self.source {
            Source::Alone(alone) => {
                let users = &mut *alone.users.lock();
                users.statuses.remove(&user);
                users.changed.push(user);
            }
            Source::Cluster(clustered) => {
                watch::remove(&clustered.node, watch::USERS, &user.to_string());
            }
        }
    }

    /// Takes the users whose status may have changed since the last call, on any node.
    pub(super) fn take_changed_users(&self) -> Vec<Uuid> {
        match &self.source {
            Source::Alone(alone) => std::mem::take(&mut alone.users.lock().changed),
            Source::Cluster(clustered) => clustered.watch.lock().take_changed_users(),
        }
    }

    /// Shows the other nodes whether this one sees users in a room.
    pub(super) fn set_occupied(&self, room: Uuid, tenant: &str, is_occupied: bool) {
        if is_occupied {
            self.enter(watch::ROOMS, room, tenant, Status::Online);
        } else if let Some(node) = self.node() {
            watch::remove(node, watch::ROOMS, &room.to_string());
        }
    }

    fn enter(&self, topic: &'static str, id: Uuid, tenant: &str, status: Status) {
        let Some(node) = self.node() else {
            return;
        };
        let key = id.to_string();
        if let Err(error) = node.upsert(&watch::entry(topic, &key, tenant, status)) {
            tracing::error!(%error, "presence refused an entry of the node");
        }
    }

    /// Returns the status of a user that is connected to any node, as others see it.
    pub(crate) fn status_of(&self, user: Uuid) -> Status {
        if let Source::Alone(alone) = &self.source {
            let status = alone.users.lock().statuses.get(&user).copied();
            let shown = status.filter(|status| *status != Status::Invisible);
            return shown.unwrap_or(Status::Offline);
        }
        let key = user.to_string();
        let entries = readable(self.presence().get_by_key(watch::USERS, key.as_str()));
        let mut statuses = entries
            .iter()
            .map(|entry| Status::of_session(entry.status()));
        let is_hidden = statuses.clone().any(|status| status == Status::Invisible);
        statuses
            .next()
            .filter(|_| !is_hidden)
            .unwrap_or(Status::Offline)
    }

    /// Takes the users and rooms that came or went in the cluster, if this node is the one to report them: the
    /// oldest of those that run. Once it is, also those that the one before it may not have reported before its end.
    /// What a node learns until it has caught up with the others is no news.
    pub(crate) fn take_transitions(&self) -> Vec<Transition> {
        let Source::Cluster(clustered) = &self.source else {
            return Vec::new();
        };
        let mut watch = clustered.watch.lock();
        let was_synced = watch.is_synced;
        let transitions = watch.take(&clustered.node);
        watch.is_synced = watch.has_begun() && self.presence().is_synced();
        let own = clustered.node.id();
        let replicas = self.presence().replicas();
        let is_first = replicas.iter().all(|(id, is_up)| !is_up || own <= *id);
        let news = if was_synced { transitions } else { Vec::new() };
        watch.report(news, is_first, clustered.down_after + REPORT_TIME)
    }

    /// Shows a session, or its change.
    pub(crate) fn put(&self, session: &NewSession<'_>) -> Result<(), TrackError> {
        let hidden = invisible(session.topic);
        let (topic, other) = match session.status {
            Status::Invisible => (hidden.as_str(), session.topic),
            _ => (session.topic, hidden.as_str()),
        };
        self.remove(other, session.key, session.owner);
        let entry = NewEntry::new(topic, session.key, session.owner)
            .meta(session.profile)
            .status(session.status as u8);
        match self.node() {
            Some(node) => node.upsert(&entry).map(drop),
            None => self.presence().upsert(&entry).map(drop),
        }
    }

    /// Ends a session. Returns whether there was one.
    pub(crate) fn untrack(&self, topic: &str, key: &str, owner: &str) -> bool {
        self.remove(topic, key, owner) | self.remove(&invisible(topic), key, owner)
    }

    fn remove(&self, topic: &str, key: &str, owner: &str) -> bool {
        match self.node() {
            // The entries of a node that has stopped end without it.
            Some(node) => node.untrack(topic, key, owner).unwrap_or(false),
            None => self.presence().untrack(topic, key, owner),
        }
    }

    /// Returns what changed since the last call, on a server without a cluster.
    pub(super) fn take_diff(&self) -> Diff {
        self.presence().take_diff()
    }

    /// Counts the sessions in all rooms.
    pub(crate) fn len(&self) -> usize {
        self.presence().len()
    }

    /// Counts the visible sessions in a room that is open.
    pub(super) fn sessions_len(&self, topic: &str) -> usize {
        readable(self.presence().count(topic))
    }

    /// Counts the users in a room that others see, whether it is open here or not. A user with sessions on several
    /// nodes may be counted once for each. In a cluster a room that was not counted in the last minute costs a round
    /// trip to its nodes.
    pub(super) async fn online_len(&self, topic: &str) -> usize {
        let watch = self.node().map(|node| node.watch_counts(topic));
        if let Some(watch) = &watch {
            readable(watch.ready().await);
        }
        let counted = self.presence().count_keys(topic);
        counted.map_or_else(|error| not_readable(&error), |keys| keys.at_most)
    }

    /// Returns the sessions of a user, or none if one of them is invisible: that hides them all.
    pub(super) fn sessions(&self, topic: &str, key: &str) -> Vec<Session> {
        let hidden = readable(self.presence().get_by_key(&invisible(topic), key));
        if !hidden.is_empty() {
            return Vec::new();
        }
        let entries = readable(self.presence().get_by_key(topic, key));
        entries.iter().map(session).collect()
    }

    /// Returns the subscriptions of a user, invisible ones too.
    pub(super) fn subscriptions(&self, topic: &str, key: &str) -> Vec<SubscriptionId> {
        let of_topic = |topic: &str| readable(self.presence().get_by_key(topic, key));
        let entries = [of_topic(topic), of_topic(&invisible(topic))].concat();
        let owners = entries.iter().map(EntryBuf::owner);
        owners.filter_map(SubscriptionId::of_owner).collect()
    }

    /// Returns every user with a visible session in a room that is open, in order.
    pub(super) fn keys(&self, topic: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let add = |entry: Entry<'_>| keys.extend(entry.key_str().map(str::to_owned));
        readable(self.presence().for_each(topic, add));
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

fn session(entry: &EntryBuf) -> Session {
    Session {
        dot: entry.dot(),
        phx_ref: entry.entry_ref().to_string(),
        phx_ref_prev: entry.previous_ref().map(|prev| prev.to_string()),
        status: Status::of_session(entry.status()),
        profile: profile(entry.meta()),
    }
}

/// Returns the meta as a JSON object; an empty one if it is none, which this server never writes.
fn profile(meta: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(meta) {
        Ok(raw) if raw.get().starts_with('{') => raw.get().to_owned(),
        _ => "{}".to_owned(),
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;

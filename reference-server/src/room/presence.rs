//! `RoomPresence`: core's `Presence` for all rooms of this process, and the meaning of its entries here. It locks
//! itself.

use std::borrow::Cow;
use std::time::SystemTime;

use headcount::id::{Dot, EntryRef};
use headcount::{
    Diff, EntryBuf, NewEntry, Presence, PresenceConfig, ReplicaId, Status, TrackError,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::subscription_id::SubscriptionId;

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

/// The presence of all rooms of this node.
pub(crate) struct RoomPresence {
    presence: Presence,
}

impl RoomPresence {
    pub(super) fn new() -> Self {
        let id = ReplicaId::generate("headcount-server", SystemTime::now())
            .expect("the name is short, and the operating system has random numbers");
        Self {
            presence: Presence::new(id, PresenceConfig::default()),
        }
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(crate) fn track(&self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.presence.track(entry)
    }

    pub(crate) fn update(&self, entry: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.presence.update(entry)
    }

    pub(crate) fn untrack(&self, topic: &str, key: &str, owner: &str) -> bool {
        self.presence.untrack(topic, key, owner)
    }

    /// Returns what changed since the last call.
    pub(super) fn take_diff(&self) -> Diff {
        self.presence.take_diff()
    }

    /// Counts the sessions in all rooms.
    pub(crate) fn len(&self) -> usize {
        self.presence.len()
    }

    /// Counts the sessions in `topic`.
    pub(super) fn sessions_len(&self, topic: &str) -> usize {
        self.presence.count(topic)
    }

    /// Returns the sessions of a user, or none if one of them is invisible: that hides them all.
    pub(super) fn sessions(&self, topic: &str, key: &str) -> Vec<Session> {
        let entries = self.presence.get_by_key(topic, key);
        let sessions: Vec<_> = entries.iter().map(session).collect();
        if sessions.iter().any(|s| s.status == Status::Invisible) {
            Vec::new()
        } else {
            sessions
        }
    }

    /// Returns the subscriptions of a user, invisible ones too.
    pub(super) fn subscriptions(&self, topic: &str, key: &str) -> Vec<SubscriptionId> {
        let entries = self.presence.get_by_key(topic, key);
        let owners = entries.iter().map(EntryBuf::owner);
        owners.filter_map(SubscriptionId::of_owner).collect()
    }

    /// Returns every user in `topic`, in order.
    pub(super) fn keys(&self, topic: &str) -> Vec<String> {
        let mut keys = Vec::new();
        self.presence
            .for_each(topic, |e| keys.extend(e.key_str().map(str::to_owned)));
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

//! The presence of all rooms: core's `Presence`, and what its entries mean here.

use std::borrow::Cow;

use headcount::id::{Dot, EntryRef};
use headcount::{
    Diff, EntryBuf, NewEntry, Presence, PresenceConfig, ReplicaId, Status, TrackError,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The status a session may state: one of the four words.
pub(crate) fn session_status(word: &str) -> Option<Status> {
    word.parse()
        .ok()
        .filter(|status| *status != Status::Offline)
}

/// What a presence entry says beside its status; stored in it as JSON.
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
    /// The profile in an entry. What is none (nothing of ours writes it) reads as an empty one.
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
        let incarnation = u64::try_from(crate::db::now_micros()).unwrap_or(1);
        let id = ReplicaId::new("headcount-server", incarnation, fastrand::u32(..))
            .expect("the name is short and the clock is below 2^62 us");
        Self {
            presence: Presence::new(id, PresenceConfig::default()),
        }
    }

    pub(crate) fn track(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.presence.track(put)
    }

    pub(crate) fn update(&self, put: &NewEntry<'_>) -> Result<EntryRef, TrackError> {
        self.presence.update(put)
    }

    pub(crate) fn untrack(&self, topic: &str, key: &str, owner: &str) -> bool {
        self.presence.untrack(topic, key, owner)
    }

    /// Returns what changed since the last call.
    pub(super) fn take_diff(&self) -> Diff {
        self.presence.take_diff()
    }

    /// Sessions in `topic`.
    pub(super) fn sessions_len(&self, topic: &str) -> usize {
        self.presence.count(topic)
    }

    /// The sessions of a user, or none if one of them is invisible: that hides them all.
    pub(super) fn sessions(&self, topic: &str, key: &str) -> Vec<Session> {
        let entries = self.presence.get_by_key(topic, key);
        let sessions: Vec<_> = entries.iter().map(session).collect();
        if sessions.iter().any(|s| s.status == Status::Invisible) {
            Vec::new()
        } else {
            sessions
        }
    }

    /// Every user in `topic`.
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

/// The meta as a JSON object; anything else (nothing of ours writes it) becomes an empty one.
fn profile(meta: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(meta) {
        Ok(raw) if raw.get().starts_with('{') => raw.get().to_owned(),
        _ => "{}".to_owned(),
    }
}

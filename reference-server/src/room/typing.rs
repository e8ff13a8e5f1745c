//! `Typing`: the users of a room that are typing. The room's lock guards it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use uuid::Uuid;

/// A typing note ends by itself after this long.
const TTL: Duration = Duration::from_secs(6);
/// A repeated note of one user is sent to the others this often.
const PERIOD: Duration = Duration::from_secs(2);

/// The users of a room that are typing, and when the others were last sent so.
#[derive(Default)]
pub(super) struct Typing(HashMap<Uuid, Note>);

/// A user that types, or ended.
#[derive(Debug, Clone)]
pub(crate) struct TypingNote {
    pub(crate) user: Uuid,
    pub(crate) username: Arc<str>,
    pub(crate) guest: bool,
}

struct Note {
    username: Arc<str>,
    guest: bool,
    sent: Instant,
}

impl Typing {
    /// Notes that a user types. Returns the payload for the others, or `None` if they were sent it lately.
    pub(super) fn begin(&mut self, user: &TypingNote, now: Instant) -> Option<String> {
        let sent = self.0.get(&user.user).map(|note| note.sent);
        if sent.is_some_and(|sent| now - sent < PERIOD) {
            return None;
        }
        let note = Note {
            username: Arc::clone(&user.username),
            guest: user.guest,
            sent: now,
        };
        let payload = note.payload(user.user);
        self.0.insert(user.user, note);
        Some(payload)
    }

    pub(super) fn contains(&self, user: Uuid) -> bool {
        self.0.contains_key(&user)
    }

    /// Notes that a user types no more. Returns the payload for the others, or `None` if the user did not type.
    pub(super) fn end(&mut self, user: Uuid) -> Option<String> {
        let note = self.0.remove(&user)?;
        Some(note.payload(user))
    }

    /// Returns the users whose notes are too old.
    pub(super) fn expired(&self, now: Instant) -> Vec<Uuid> {
        let is_old = |note: &Note| now.saturating_duration_since(note.sent) > TTL;
        let old = self.0.iter().filter(|(_, note)| is_old(note));
        old.map(|(user, _)| *user).collect()
    }
}

impl Note {
    fn payload(&self, user: Uuid) -> String {
        let mut payload = json!({ "user_id": user, "username": self.username });
        if self.guest {
            payload["guest"] = true.into();
        }
        payload.to_string()
    }
}

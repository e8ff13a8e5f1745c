//! `History`: the newest messages of a room, encoded once for all that join. The room's lock guards it.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::db::Message;

/// Messages sent to each subscriber that joins.
pub(super) const MESSAGES_MAX: usize = 50;

/// The newest messages, oldest first.
pub(super) struct History(VecDeque<Entry>);

struct Entry {
    id: Uuid,
    json: String,
}

impl History {
    pub(super) fn new(latest: &[Message]) -> Self {
        Self(latest.iter().map(Entry::new).collect())
    }

    /// Adds a message. Returns it as JSON.
    pub(super) fn push(&mut self, message: &Message) -> String {
        if self.0.len() == MESSAGES_MAX {
            self.0.pop_front();
        }
        let entry = Entry::new(message);
        let json = entry.json.clone();
        self.0.push_back(entry);
        json
    }

    /// Takes up a message that was edited or deleted.
    pub(super) fn replace(&mut self, message: &Message) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.id == message.id) {
            *entry = Entry::new(message);
        }
    }

    /// Returns the payload of `message_history`.
    pub(super) fn payload(&self) -> String {
        let mut out = String::from(r#"{"messages":["#);
        for (i, entry) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(&entry.json);
        }
        out.push_str("]}");
        out
    }
}

impl Entry {
    fn new(message: &Message) -> Self {
        Self {
            id: message.id,
            json: serde_json::to_string(message).expect("a stored message always serialises"),
        }
    }
}

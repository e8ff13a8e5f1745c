//! `History`: the newest messages of a room, encoded once for all that join. The room's lock guards it.

use std::collections::VecDeque;

use crate::db::Message;

/// Messages sent to each subscriber that joins.
pub(super) const MESSAGES_MAX: usize = 50;

/// The newest messages as JSON, oldest first.
pub(super) struct History(VecDeque<String>);

impl History {
    pub(super) fn new(latest: &[Message]) -> Self {
        Self(latest.iter().map(to_json).collect())
    }

    /// Adds a message. Returns it as JSON.
    pub(super) fn push(&mut self, message: &Message) -> String {
        if self.0.len() == MESSAGES_MAX {
            self.0.pop_front();
        }
        let json = to_json(message);
        self.0.push_back(json.clone());
        json
    }

    /// Returns the payload of `message_history`.
    pub(super) fn payload(&self) -> String {
        let mut out = String::from(r#"{"messages":["#);
        for (i, message) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(message);
        }
        out.push_str("]}");
        out
    }
}

fn to_json(message: &Message) -> String {
    serde_json::to_string(message).expect("a stored message always serialises")
}

//! `History`: the newest messages of a room, encoded once for all that join. The room's lock guards it.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::db::Message;

/// Messages sent to each subscriber that joins.
pub(super) const MESSAGES_MAX: usize = 50;

/// The newest messages, oldest first.
pub(super) struct History(VecDeque<Entry>);

/// A difference of a stored message to the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    Missing,
    Changed,
}

struct Entry {
    id: Uuid,
    seq: i64,
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
        // In order, also one that comes late.
        let newer = self
            .0
            .iter()
            .rev()
            .take_while(|e| e.seq > entry.seq)
            .count();
        self.0.insert(self.0.len() - newer, entry);
        json
    }

    /// Takes up a message that was edited or deleted.
    pub(super) fn replace(&mut self, message: &Message) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.id == message.id) {
            *entry = Entry::new(message);
        }
    }

    /// Compares a message with what is kept of it: `None` if it is the same, or older than all that is kept.
    pub(super) fn compare(&self, message: &Message) -> Option<Difference> {
        let is_known = |entry: &&Entry| entry.id == message.id;
        match self.0.iter().find(is_known) {
            Some(entry) if entry.json == Entry::new(message).json => None,
            Some(_) => Some(Difference::Changed),
            None if self.0.front().is_some_and(|first| message.seq < first.seq) => None,
            None => Some(Difference::Missing),
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
            seq: message.seq,
            json: serde_json::to_string(message).expect("a stored message always serialises"),
        }
    }
}

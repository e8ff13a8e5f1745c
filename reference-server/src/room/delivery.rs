//! The delivery of messages, in the order of their numbers though several nodes store them, and of typing.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use super::{
    Room, RoomPresence, SubscriptionId, TypingNote, history::Difference, subscribers::Subscriber,
};
use crate::{
    db::{Cursor, Db, Message, StorageError},
    inbox::Inboxes,
    socket::Broadcast,
};

/// Missed messages that are sent to the clients, and those that are read at once.
const CATCH_UP_MAX: i64 = 500;
const PAGE: u32 = 100;

impl Room {
    /// Returns whether a message is the one after the newest.
    pub(crate) fn takes_next(&self, message: &Message) -> bool {
        message.seq == self.last_seq() + 1
    }

    /// Sends a stored message after those before it, which other nodes may have stored; nothing if it was sent already.
    /// The caller holds `posting`.
    pub(crate) async fn deliver(&self, db: &Db, message: &Message) -> Result<(), StorageError> {
        if message.seq > self.last_seq() + 1 {
            self.catch_up(db).await?;
        }
        if message.seq > self.last_seq() {
            self.publish(message);
        }
        Ok(())
    }

    /// Sends the messages that are stored after the newest one here; of very many only the last ones, before which
    /// clients see the gap and load it. The caller holds `posting`.
    pub(crate) async fn catch_up(&self, db: &Db) -> Result<(), StorageError> {
        let stored = db.room(self.tenant(), self.id).await?;
        let last = stored.map_or(0, |room| room.last_seq);
        let mut after = self.last_seq().max(last - CATCH_UP_MAX);
        while after < last {
            let page = db.messages(self.id, Cursor::AfterSeq(after), PAGE).await?;
            let page = page.unwrap_or_default();
            let Some(newest) = page.last() else {
                break;
            };
            after = newest.seq;
            for message in page {
                self.publish(&message);
            }
        }
        Ok(())
    }

    /// Sends a stored message to all subscribers.
    pub(crate) fn publish(&self, message: &Message) {
        let mut state = self.state.lock();
        state.used = Instant::now();
        state.has_news = true;
        state.last_seq = state.last_seq.max(message.seq);
        self.end_typing(&mut state, message.user.id);
        let payload = state.history.push(message);
        let event = Broadcast::new(&self.topic, "new_message", payload);
        state.subscribers.broadcast(&event, |_| true);
    }

    /// Returns the number of the newest message that was sent.
    fn last_seq(&self) -> i64 {
        self.state.lock().last_seq
    }

    /// Notes that the members are to hear of new messages.
    pub(crate) fn note_news(&self) {
        self.state.lock().has_news = true;
    }

    /// Sends what is not shown of a stored message: all of it, or its last change.
    pub(crate) fn repair(&self, message: &Message) {
        let difference = self.state.lock().history.compare(message);
        match difference {
            Some(Difference::Missing) => self.publish(message),
            Some(Difference::Changed) => self.publish_change(message),
            None => {}
        }
    }

    /// Sends that a stored message was edited or deleted.
    pub(crate) fn publish_change(&self, message: &Message) {
        let mut state = self.state.lock();
        state.used = Instant::now();
        state.history.replace(message);
        let event = if message.deleted {
            let payload = json!({ "id": message.id, "seq": message.seq });
            Broadcast::new(&self.topic, "message_deleted", payload.to_string())
        } else {
            let whole = json!(message);
            let payload = json!({
                "id": message.id,
                "seq": message.seq,
                "content": message.content,
                "edited_at": whole["edited_at"],
            });
            Broadcast::new(&self.topic, "message_updated", payload.to_string())
        };
        state.subscribers.broadcast(&event, |_| true);
    }

    /// Tells the members that listen of new messages, also those that have not opened the room.
    pub(super) fn announce_news(&self, inboxes: &Inboxes) {
        let mut state = self.state.lock();
        if !std::mem::take(&mut state.has_news) {
            return;
        }
        let payload = json!({ "room_id": self.id, "last_seq": state.last_seq }).to_string();
        let members = &state.members;
        inboxes.send_where(|user| members.is_stored(user), "unread", &payload);
    }

    /// Sends the other users that one types, unless it is invisible.
    /// Returns what other nodes are to be told, if the others are told anything.
    pub(crate) fn begin_typing(
        &self,
        presence: &RoomPresence,
        subscription: SubscriptionId,
    ) -> Option<TypingNote> {
        let mut state = self.state.lock();
        let note = typing_note(state.subscribers.get(subscription)?);
        let key = note.user.to_string();
        if presence.sessions(&self.topic, &key).is_empty() {
            return None;
        }
        let payload = state.typing.begin(&note, Instant::now())?;
        self.send_typing(&state, "typing", payload, note.user);
        Some(note)
    }

    /// Sends the other users that one types no more.
    /// Returns what other nodes are to be told, if it did.
    pub(crate) fn stop_typing(&self, subscription: SubscriptionId) -> Option<TypingNote> {
        let mut state = self.state.lock();
        let note = typing_note(state.subscribers.get(subscription)?);
        let has_typed = state.typing.contains(note.user);
        self.end_typing(&mut state, note.user);
        has_typed.then_some(note)
    }

    /// Sends that a user types on another node, or ended.
    pub(crate) fn take_typing(&self, note: &TypingNote, has_begun: bool) {
        let mut state = self.state.lock();
        if !has_begun {
            self.end_typing(&mut state, note.user);
        } else if let Some(payload) = state.typing.begin(note, Instant::now()) {
            self.send_typing(&state, "typing", payload, note.user);
        }
    }
}

fn typing_note(subscriber: &Subscriber) -> TypingNote {
    let identity = &subscriber.visitor.identity;
    TypingNote {
        user: identity.id,
        username: Arc::clone(&identity.username),
        guest: identity.guest,
    }
}

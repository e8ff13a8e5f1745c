//! `Webhooks`: the events that the webhook is told of, until they are stored. It locks itself.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::db::{Message, now_micros, rfc3339};

/// Events that may wait, in memory and stored: over it the oldest are dropped.
pub(crate) const WAITING_MAX: usize = 10_000;

/// The events that have happened and are not stored yet.
#[derive(Debug)]
pub(crate) struct Webhooks {
    /// False without a URL: then there is nothing to note.
    is_on: bool,
    waiting_max: usize,
    noted: Mutex<Noted>,
    wake: Notify,
}

/// What was noted since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// The events that are not stored, each with its id and its JSON.
    pub(crate) events: VecDeque<(Uuid, String)>,
    /// The number of events that were dropped before they were stored.
    pub(crate) dropped: u64,
    /// True if other events were stored with what they tell of.
    pub(crate) has_stored: bool,
}

impl Noted {
    /// Drops the oldest events over `max`.
    fn trim(&mut self, max: usize) {
        let excess = self.events.len().saturating_sub(max);
        self.events.drain(..excess);
        self.dropped += excess as u64;
    }
}

/// A kind of event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventKind {
    RoomOccupied,
    RoomVacated,
    UserOnline,
    UserOffline,
    MessageCreated,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::RoomOccupied => "room_occupied",
            Self::RoomVacated => "room_vacated",
            Self::UserOnline => "user_online",
            Self::UserOffline => "user_offline",
            Self::MessageCreated => "message_created",
        }
    }
}

#[derive(serde::Serialize)]
struct Event<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    tenant: &'a str,
    #[serde(serialize_with = "rfc3339")]
    at: i64,
    data: Value,
}

impl Webhooks {
    /// Makes the queue of a server that has a URL to call, or none. Over `waiting_max` the oldest events are dropped.
    pub(crate) fn new(is_on: bool, waiting_max: usize) -> Self {
        Self {
            is_on,
            waiting_max,
            noted: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Notes an event, which is stored soon.
    pub(crate) fn note(&self, kind: EventKind, tenant: &str, data: impl FnOnce() -> Value) {
        self.note_as((Uuid::now_v7(), now_micros()), kind, tenant, data);
    }

    /// Notes an event under an id that it has on other nodes too, and the time at which it happened.
    pub(crate) fn note_as(
        &self,
        name: (Uuid, i64),
        kind: EventKind,
        tenant: &str,
        data: impl FnOnce() -> Value,
    ) {
        if !self.is_on {
            return;
        }
        let event = make(name, kind, tenant, data());
        let mut noted = self.noted.lock();
        noted.events.push_back(event);
        noted.trim(self.waiting_max);
        drop(noted);
        self.wake.notify_one();
    }

    /// Returns the event of a new message, to be stored together with it; `None` without a URL. Its id is that of the
    /// message.
    pub(crate) fn message_created(
        &self,
        tenant: &str,
        message: &Message,
    ) -> Option<(Uuid, String)> {
        let kind = EventKind::MessageCreated;
        self.is_on.then(|| {
            make(
                (message.id, message.inserted_at),
                kind,
                tenant,
                json!(message),
            )
        })
    }

    /// Notes that an event was stored with what it tells of.
    pub(crate) fn note_stored(&self) {
        if self.is_on {
            self.noted.lock().has_stored = true;
            self.wake.notify_one();
        }
    }

    /// Waits until there are events.
    pub(crate) async fn noted(&self) {
        self.wake.notified().await;
    }

    /// Takes what was noted.
    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut self.noted.lock())
    }

    /// Puts back what could not be stored, before newer events.
    pub(crate) fn put_back(&self, unstored: Noted) {
        let mut noted = self.noted.lock();
        let newer = std::mem::replace(&mut *noted, unstored);
        noted.events.extend(newer.events);
        noted.dropped += newer.dropped;
        noted.has_stored |= newer.has_stored;
        noted.trim(self.waiting_max);
    }
}

fn make((id, at): (Uuid, i64), kind: EventKind, tenant: &str, data: Value) -> (Uuid, String) {
    let event = Event {
        id,
        kind: kind.as_str(),
        tenant,
        at,
        data,
    };
    (id, json!(event).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(webhooks: &Webhooks, numbers: std::ops::Range<u32>) {
        for n in numbers {
            webhooks.note(EventKind::UserOnline, "default", || json!(n));
        }
    }

    fn check(noted: &Noted, numbers: &[u32], dropped: u64) {
        let data = |(_, text): &(Uuid, String)| {
            let event: Value = serde_json::from_str(text).unwrap();
            event["data"].clone()
        };
        let found: Vec<_> = noted.events.iter().map(data).collect();
        assert_eq!((json!(found), noted.dropped), (json!(numbers), dropped));
    }

    /// The newest ones were dropped, and not counted.
    #[test]
    fn over_the_bound_the_oldest_events_are_dropped_and_counted() {
        let webhooks = Webhooks::new(true, 3);
        note(&webhooks, 0..5);
        let mut noted = webhooks.take();
        check(&noted, &[2, 3, 4], 2);
        noted.dropped = 0;
        note(&webhooks, 5..7);
        webhooks.put_back(noted);
        check(&webhooks.take(), &[4, 5, 6], 2);
        check(&webhooks.take(), &[], 0);
    }

    #[test]
    fn nothing_is_noted_without_a_url() {
        let webhooks = Webhooks::new(false, 3);
        note(&webhooks, 0..1);
        webhooks.note_stored();
        let noted = webhooks.take();
        assert!(noted.events.is_empty() && !noted.has_stored);
    }
}

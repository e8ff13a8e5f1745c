//! `Webhooks`: the events that the webhook is told of, until they are stored. It locks itself.

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::db::{now_micros, rfc3339};

/// Events that may wait: over it the oldest stored ones are dropped, and new ones before they are stored.
pub(crate) const WAITING_MAX: usize = 10_000;

/// The events that have happened and are not stored yet.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    /// False without a URL: then there is nothing to note.
    is_on: bool,
    events: Mutex<Vec<(Uuid, String)>>,
    wake: Notify,
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
    /// Makes the queue of a server that has a URL to call, or none.
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    /// Notes an event.
    pub(crate) fn note(&self, kind: EventKind, tenant: &str, data: impl FnOnce() -> Value) {
        if !self.is_on {
            return;
        }
        let id = Uuid::now_v7();
        let event = Event {
            id,
            kind: kind.as_str(),
            tenant,
            at: now_micros(),
            data: data(),
        };
        let text = json!(event).to_string();
        let mut events = self.events.lock();
        if events.len() < WAITING_MAX {
            events.push((id, text));
        } else {
            tracing::error!(
                kind = kind.as_str(),
                "an event of the webhook is dropped: too many wait"
            );
        }
        drop(events);
        self.wake.notify_one();
    }

    /// Waits until there are events.
    pub(crate) async fn noted(&self) {
        self.wake.notified().await;
    }

    /// Takes the events, each with its id and its JSON.
    pub(crate) fn take(&self) -> Vec<(Uuid, String)> {
        std::mem::take(&mut self.events.lock())
    }

    /// Puts events back that could not be stored, before newer ones.
    pub(crate) fn put_back(&self, events: Vec<(Uuid, String)>) {
        let mut queue = self.events.lock();
        let newer = std::mem::replace(&mut *queue, events);
        queue.extend(newer);
        queue.truncate(WAITING_MAX);
    }
}

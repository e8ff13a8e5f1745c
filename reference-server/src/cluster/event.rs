//! The events that nodes send each other, and their form on the wire.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::{Author, Message};

/// The version of the form. Nodes ignore events of another one, and read from the database what those said.
pub(super) const VERSION: u32 = 1;
/// The largest event that is sent or taken, in bytes.
pub(super) const EVENT_BYTES_MAX: usize = 256 * 1024;

/// An event with its sender.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) version: u32,
    /// The node, which has another id at each start.
    pub(super) node: Uuid,
    /// The number of the event, from 1 on; of a beat, that of the newest event.
    pub(super) number: u64,
    /// None in a beat, by which the others notice that they missed the newest events.
    pub(super) event: Option<Event>,
}

/// A thing that happened on one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A message was stored.
    Message(WireMessage),
    /// A message was edited or deleted.
    MessageChanged { room: Uuid, message: Uuid },
    /// A user of a room began to type, or ended.
    Typing {
        room: Uuid,
        user: Uuid,
        username: String,
        guest: bool,
        has_begun: bool,
    },
    /// A user is told something on its own topic.
    ToUser {
        user: Uuid,
        event: String,
        payload: String,
    },
    /// All users of a tenant are told something on their own topics.
    ToTenant {
        tenant: String,
        event: String,
        payload: String,
    },
    /// The users with a role that a limited room admits are told of it; of a private room its members, also when the
    /// limit ends.
    ToAdmitted { room: Uuid, payload: String },
    /// A user became a stored member of a room.
    MemberAdded {
        room: Uuid,
        user: Uuid,
        username: String,
    },
    /// A membership ended.
    MemberRemoved { room: Uuid, user: Uuid },
    /// A room was limited to roles, which no guest has, or admits fewer than before.
    RoomLimited { tenant: String, room: Uuid },
    /// The roles of a server changed: which there are, their names, order or looks.
    RolesChanged { server: Uuid },
    /// A user was given a role of a server, or lost one.
    RolesOfUserChanged { server: Uuid, user: Uuid },
    /// A room was deleted.
    RoomDeleted { room: Uuid },
    /// A user chose a status.
    Status { user: Uuid, status: String },
    /// A token was revoked.
    TokenRevoked {
        user: Uuid,
        token: Uuid,
        expires_at: u64,
    },
    /// All tokens of a user ended.
    UserEnded { user: Uuid, is_registered: bool },
}

/// A message as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireMessage {
    id: Uuid,
    room_id: Uuid,
    seq: i64,
    kind: String,
    content: String,
    user_id: Uuid,
    username: String,
    guest: bool,
    client_id: Option<String>,
    inserted_at: i64,
    edited_at: Option<i64>,
    deleted: bool,
}

impl From<&Message> for WireMessage {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id,
            room_id: message.room_id,
            seq: message.seq,
            kind: message.kind.clone(),
            content: message.content.clone(),
            user_id: message.user.id,
            username: message.user.username.clone(),
            guest: message.user.guest,
            client_id: message.client_id.clone(),
            inserted_at: message.inserted_at,
            edited_at: message.edited_at,
            deleted: message.deleted,
        }
    }
}

impl From<WireMessage> for Message {
    fn from(wire: WireMessage) -> Self {
        Self {
            id: wire.id,
            room_id: wire.room_id,
            seq: wire.seq,
            kind: wire.kind,
            content: wire.content,
            user: Author {
                id: wire.user_id,
                username: wire.username,
                guest: wire.guest,
            },
            client_id: wire.client_id,
            inserted_at: wire.inserted_at,
            edited_at: wire.edited_at,
            deleted: wire.deleted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let message = Message {
            id: Uuid::from_u128(1),
            room_id: Uuid::from_u128(2),
            seq: 3,
            kind: "text".into(),
            content: "hello".into(),
            user: Author {
                id: Uuid::from_u128(4),
                username: "ada".into(),
                guest: true,
            },
            client_id: Some("c".into()),
            inserted_at: 5,
            edited_at: Some(6),
            deleted: false,
        };
        let text = serde_json::to_vec(&WireMessage::from(&message)).unwrap();
        let wire: WireMessage = serde_json::from_slice(&text).unwrap();
        let arrived = serde_json::to_value(Message::from(wire)).unwrap();
        assert_eq!(arrived, serde_json::to_value(&message).unwrap());
    }
}

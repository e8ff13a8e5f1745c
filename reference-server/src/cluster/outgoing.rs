//! Changes that this node makes and tells the others of.

use std::sync::Arc;

use headcount::Status;
use uuid::Uuid;

use super::Event;
use crate::{
    app::App,
    auth::Identity,
    db::{self, StorageError},
    room::TypingNote,
};

impl App {
    /// Sends an event to the other nodes, if there are any.
    pub(crate) fn announce(&self, event: impl FnOnce() -> Event) {
        if let Some(cluster) = &self.cluster {
            cluster.send(event());
        }
    }

    /// Sends an event to the clients of one user, on all nodes.
    pub(crate) fn tell_user(&self, user: Uuid, event: &str, payload: &str) {
        self.inboxes.send(user, event, payload);
        self.announce(|| Event::ToUser {
            user,
            event: event.into(),
            payload: payload.into(),
        });
    }

    /// Sends an event to all clients of a tenant, on all nodes.
    pub(crate) fn tell_tenant(&self, tenant: &str, event: &str, payload: &str) {
        self.inboxes.send_all(tenant, event, payload);
        self.announce(|| Event::ToTenant {
            tenant: tenant.into(),
            event: event.into(),
            payload: payload.into(),
        });
    }

    /// Shows the clients of the users with a role that a limited room admits the room as it is now, on all nodes; of a
    /// private room, limited or not, those of its members. O(those users).
    pub(crate) async fn tell_admitted(
        self: Arc<Self>,
        room: Uuid,
        payload: String,
    ) -> Result<(), StorageError> {
        let told = self.tell_admitted_here(room, &payload).await;
        self.announce(|| Event::ToAdmitted { room, payload });
        told
    }

    /// Makes `user` a stored member of the room. Returns false if its roles do not admit it.
    pub(crate) async fn add_member(
        self: &Arc<Self>,
        room: &db::Room,
        user: &Identity,
    ) -> Result<bool, StorageError> {
        let room = room.id;
        let id = user.id;
        let name = &user.username;
        if !self.hub.store_member(&self.db, room, id).await? {
            return Ok(false);
        }
        self.announce(|| Event::MemberAdded {
            room,
            user: id,
            username: name.to_string(),
        });
        let name = Arc::clone(name);
        self.show(move |app| {
            let name = Arc::clone(&name);
            async move { app.hub.show_member(&app.db, room, id, &name).await }
        })
        .await;
        self.log_missed(self.note_member_shown(room).await);
        Ok(true)
    }

    /// Ends the channels that guests have of a room that is limited now, or in another way, and takes it from the
    /// clients of all whom it does not admit, on all nodes.
    pub(crate) async fn hide_room(&self, room: &db::Room) -> Result<(), StorageError> {
        self.announce(|| Event::RoomLimited {
            tenant: room.tenant.clone(),
            room: room.id,
        });
        self.hide_room_here(&room.tenant, room.id).await
    }

    /// Shows the roles of a server as they are stored in the member lists of its rooms, on all nodes.
    pub(crate) async fn show_roles(&self, server: Uuid) -> Result<(), StorageError> {
        self.announce(|| Event::RolesChanged { server });
        self.hub.show_roles(&self.db, server).await
    }

    /// Shows the roles that a user has on a server as they are stored, on all nodes.
    pub(crate) async fn show_roles_of(&self, server: Uuid, user: Uuid) -> Result<(), StorageError> {
        self.announce(|| Event::RolesOfUserChanged { server, user });
        self.hub.show_roles_of(&self.db, server, user).await
    }

    /// Ends a membership; the user's channels of the room end with it.
    pub(crate) async fn remove_member(
        &self,
        room: &db::Room,
        user: Uuid,
    ) -> Result<(), StorageError> {
        self.hub.remove_member(&self.db, room, user).await?;
        self.announce(|| Event::MemberRemoved {
            room: room.id,
            user,
        });
        self.log_missed(self.note_member_shown(room.id).await);
        Ok(())
    }

    /// Deletes a room with all its messages, and ends its subscriptions.
    pub(crate) async fn delete_room(&self, room: &db::Room) -> Result<(), StorageError> {
        self.hub.delete(&self.db, room).await?;
        self.announce(|| Event::RoomDeleted { room: room.id });
        Ok(())
    }

    /// Tells the other nodes that a user of a room types, or ended.
    pub(crate) fn relay_typing(&self, room: Uuid, note: &TypingNote, has_begun: bool) {
        self.announce(|| Event::Typing {
            room,
            user: note.user,
            username: note.username.to_string(),
            guest: note.guest,
            has_begun,
        });
    }

    /// Revokes a token that is stored as revoked, and closes its connections.
    pub(crate) fn revoke_token(&self, user: Uuid, token: Uuid, expires_at: u64) {
        self.revoke_token_here(user, token, expires_at);
        self.announce(|| Event::TokenRevoked {
            user,
            token,
            expires_at,
        });
    }

    pub(super) fn revoke_token_here(&self, user: Uuid, token: Uuid, expires_at: u64) {
        self.revocations.add(token, expires_at);
        self.connections.end(user, |of| of.id == Some(token));
    }

    /// Ends the connections of a user whose tokens have ended.
    pub(crate) async fn end_connections(
        &self,
        user: Uuid,
        is_registered: bool,
    ) -> Result<(), StorageError> {
        self.announce(|| Event::UserEnded {
            user,
            is_registered,
        });
        self.end_connections_here(user, is_registered).await
    }

    /// Ends the connections of a user to this node; of a guest also the tokens with which it is connected.
    pub(super) async fn end_connections_here(
        &self,
        user: Uuid,
        is_registered: bool,
    ) -> Result<(), StorageError> {
        if !is_registered {
            for (token, expires_at) in self.connections.tokens(user) {
                self.db.revoke_token(token, expires_at).await?;
                self.revoke_token(user, token, expires_at);
            }
        }
        self.revocations.renew_generation();
        self.connections.end(user, |_| true);
        Ok(())
    }

    /// Returns the status of a user as others see it, on whatever node it is.
    pub(crate) fn status_of(&self, user: Uuid) -> Status {
        match self.connections.chosen_status(user) {
            Some(_) => self.connections.status_of(user),
            None => self.hub.presence.status_of(user),
        }
    }

    /// Sends what is stored of a new status: to the user's devices and rooms, on all nodes.
    pub(crate) fn show_status(self: &Arc<Self>, user: Uuid, status: Status) {
        self.show_status_here(user, status);
        self.announce(|| Event::Status {
            user,
            status: status.as_str().into(),
        });
    }

    pub(super) fn show_status_here(&self, user: Uuid, status: Status) {
        self.connections.set_status(user, status);
        self.hub.presence.set_user_status(user, status);
        self.hub.set_status(user, status);
        let payload = serde_json::json!({ "status": status.as_str() }).to_string();
        self.inboxes.send(user, "status", &payload);
    }
}

//! What a change of roles does to rooms: their member lists show it, users who are no longer admitted leave them, and
//! those who newly are hear of them.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    db::{Room, ServerRole, StorageError},
};

/// Members that lose a room and are read at once.
const PAGE: u32 = 100;

impl App {
    /// Gives a user a role. Returns the roles of the user, and the limited rooms to which the role admits the user and
    /// nothing did before.
    pub(crate) async fn give_role(
        self: Arc<Self>,
        role: ServerRole,
        user: Uuid,
    ) -> Result<(Vec<ServerRole>, Vec<Room>), StorageError> {
        let mut opened = Vec::new();
        for room in self.db.rooms_limited_to(role.id).await? {
            if !room.private && !self.db.admits(room.id, user).await? {
                opened.push(room);
            }
        }
        let held = self.db.give_role(&role, user).await?;
        self.show_roles_of_later(role.server_id, user).await;
        Ok((held, opened))
    }

    /// Takes a role from a user, and with it the rooms to which no other role admits the user. Returns the roles that
    /// are left.
    pub(crate) async fn take_role(
        self: Arc<Self>,
        role: ServerRole,
        user: Uuid,
    ) -> Result<Vec<ServerRole>, StorageError> {
        let left = self.db.take_role(&role, user).await?;
        self.show_roles_of_later(role.server_id, user).await;
        self.show(move |app| app.end_refused_of(role.id, user))
            .await;
        Ok(left)
    }

    /// Deletes a role, and ends the memberships of those whom only this role admitted.
    pub(crate) async fn delete_role(self: Arc<Self>, role: ServerRole) -> Result<(), StorageError> {
        let rooms = self.db.rooms_limited_to(role.id).await?;
        self.db.delete_role(role.id).await?;
        self.show_roles_later(role.server_id).await;
        for room in rooms {
            self.end_refused_later(room.clone()).await;
            self.hide_room_later(room).await;
        }
        Ok(())
    }

    /// Limits a room to roles, or opens it to all if there are none.
    pub(crate) async fn limit_room(
        self: Arc<Self>,
        room: Room,
        roles: Vec<Uuid>,
    ) -> Result<(), StorageError> {
        self.db.limit_room(room.id, &roles).await?;
        // What the room shows changes at once, before its users go who are admitted no more.
        if let Some(server) = room.server_id {
            self.show_roles_later(server).await;
        }
        if !roles.is_empty() {
            self.end_refused_later(room.clone()).await;
            self.hide_room_later(room).await;
        }
        Ok(())
    }

    /// Shows the roles of a server as they are stored, on all nodes.
    pub(crate) async fn show_roles_later(self: &Arc<Self>, server: Uuid) {
        let step = move |app: Arc<Self>| async move { app.show_roles(server).await };
        self.show(step).await;
    }

    async fn show_roles_of_later(self: &Arc<Self>, server: Uuid, user: Uuid) {
        let step = move |app: Arc<Self>| async move { app.show_roles_of(server, user).await };
        self.show(step).await;
    }

    async fn end_refused_later(self: &Arc<Self>, room: Room) {
        self.show(move |app| {
            let room = room.clone();
            async move { app.end_refused(&room).await }
        })
        .await;
    }

    async fn hide_room_later(self: &Arc<Self>, room: Room) {
        self.show(move |app| {
            let room = room.clone();
            async move { app.hide_room(&room).await }
        })
        .await;
    }

    /// Ends the memberships of a user in the rooms that are limited to a role, and to which no other role admits it.
    async fn end_refused_of(self: Arc<Self>, role: Uuid, user: Uuid) -> Result<(), StorageError> {
        for room in self.db.rooms_limited_to(role).await? {
            if !self.db.admits(room.id, user).await? {
                self.end_access(&room, user).await?;
            }
        }
        Ok(())
    }

    /// Ends the memberships of all whom their roles do not admit to the room.
    async fn end_refused(&self, room: &Room) -> Result<(), StorageError> {
        loop {
            let refused = self.db.members_without_role(room.id, PAGE).await?;
            if refused.is_empty() {
                return Ok(());
            }
            for member in refused {
                self.end_access(room, member.user_id).await?;
            }
        }
    }

    async fn end_access(&self, room: &Room, user: Uuid) -> Result<(), StorageError> {
        self.remove_member(room, user).await?;
        let payload = json!({ "id": room.id }).to_string();
        self.tell_user(user, "room_removed", &payload);
        Ok(())
    }
}

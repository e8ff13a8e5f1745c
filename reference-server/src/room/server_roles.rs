//! The roles of servers in the member lists of open rooms. Each change is read from the database by one task at a time
//! for a server, so that what the lists show at the end is what is stored.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::{Hub, Room, hub::MEMBERS_PAGE};
use crate::db::{Db, StorageError, in_time};

impl Hub {
    /// Shows the roles of a server as they are stored: their names, order, colours, which are hoisted, and to which its
    /// rooms are limited.
    pub(crate) async fn show_roles(&self, db: &Db, server: Uuid) -> Result<(), StorageError> {
        self.refused.forget_all();
        self.role_changes.fetch_add(1, Ordering::AcqRel);
        let _turn = in_time(self.role_locks.lock(server)).await?;
        let roles = db.roles(server).await?;
        for room in self.open_rooms_of(server) {
            room.set_roles(&roles);
        }
        self.show_limits(db, server, &roles).await
    }

    /// Shows the roles that a user has on a server as they are stored.
    pub(crate) async fn show_roles_of(
        &self,
        db: &Db,
        server: Uuid,
        user: Uuid,
    ) -> Result<(), StorageError> {
        self.role_changes.fetch_add(1, Ordering::AcqRel);
        let _turn = in_time(self.role_locks.lock(server)).await?;
        let roles = role_ids_of(db, server, user).await?;
        for room in self.open_rooms_of(server) {
            room.set_roles_of(user, &roles);
        }
        self.show_holder(db, server, user, &roles).await
    }

    /// Shows in a room that is being opened whom it admits, as it is stored.
    pub(super) async fn show_stored_limit(&self, db: &Db, room: &Room) -> Result<(), StorageError> {
        let Some(server) = room.server() else {
            return Ok(());
        };
        let _turn = self.role_locks.lock(server).await;
        let roles = db.roles(server).await?;
        self.show_limit_of(db, room, &roles).await
    }

    /// Shows the roles of the server of an open room, those that its members have, and whom it admits, as they are
    /// stored.
    pub(crate) async fn reload_roles(&self, db: &Db, room: &Room) -> Result<(), StorageError> {
        let Some(server) = room.server() else {
            return Ok(());
        };
        let _turn = in_time(self.role_locks.lock(server)).await?;
        let roles = db.roles(server).await?;
        room.set_roles(&roles);
        self.show_limit_of(db, room, &roles).await?;
        let mut after = Uuid::nil();
        loop {
            let page = db.members(room.id, after, MEMBERS_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            let held = db
                .roles_of_members(server, room.id, after, last.user_id)
                .await?;
            after = last.user_id;
            for member in page {
                let from = held.partition_point(|(user, _)| *user < member.user_id);
                let own = held[from..].iter();
                let own = own.take_while(|(user, _)| *user == member.user_id);
                let roles: Vec<Uuid> = own.map(|(_, role)| *role).collect();
                room.set_roles_of(member.user_id, &roles);
            }
        }
    }

    /// Adds a stored member to an open room, with the roles that it has.
    pub(super) async fn add_with_roles(
        &self,
        db: &Db,
        room: &Room,
        user: Uuid,
        username: &str,
    ) -> Result<(), StorageError> {
        if room.is_stored(user) {
            return Ok(());
        }
        let Some(server) = room.server() else {
            room.add_member(user, username, &[]);
            return Ok(());
        };
        let _turn = in_time(self.role_locks.lock(server)).await?;
        let roles = role_ids_of(db, server, user).await?;
        room.add_member(user, username, &roles);
        Ok(())
    }

    pub(super) fn open_rooms_of(&self, server: Uuid) -> impl Iterator<Item = Arc<Room>> {
        let rooms = self.open_rooms().into_iter();
        rooms.filter(move |room| room.server() == Some(server))
    }
}

async fn role_ids_of(db: &Db, server: Uuid, user: Uuid) -> Result<Vec<Uuid>, StorageError> {
    let roles = db.roles_of(server, user).await?;
    Ok(roles.into_iter().map(|role| role.id).collect())
}

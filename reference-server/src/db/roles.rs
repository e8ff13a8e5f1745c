//! Roles of a server, their holders, and the rooms that are limited to them.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Added, Db, StorageError,
    members::Member,
    now_micros, rfc3339,
    rooms::{Room, admits, room_lock, select_rooms},
    servers::{has_server, server_lock},
    sql::{Link, Statement, sql},
};

/// A role of a server as it is stored and returned.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct ServerRole {
    pub(crate) id: Uuid,
    pub(crate) server_id: Uuid,
    pub(crate) name: String,
    /// As `#rrggbb`; empty for none.
    pub(crate) colour: String,
    /// True for a role whose members are a group of their own in member lists.
    pub(crate) hoisted: bool,
    /// The highest role has the lowest position.
    pub(crate) position: i64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) inserted_at: i64,
}

/// The content of a role that its server's owner chooses.
#[derive(Debug)]
pub(crate) struct RoleContent<'a> {
    pub(crate) name: &'a str,
    /// The skeleton of the name, unique among the roles of a server.
    pub(crate) skeleton: &'a str,
    pub(crate) colour: &'a str,
    pub(crate) hoisted: bool,
}

impl Db {
    /// Adds a role below all others of the server, of which there are then at most `roles_max`.
    pub(crate) async fn insert_role(
        &self,
        server: Uuid,
        new: &RoleContent<'_>,
        roles_max: u32,
    ) -> Result<Added<ServerRole>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(server)).await?;
        if !has_server(&mut tx, server).await? {
            tx.commit().await?;
            return Ok(Added::NoServer);
        }
        let count = sql("SELECT count(*) FROM roles WHERE server_id = $1")
            .bind(server)
            .count(&mut *tx)
            .await?;
        if count >= roles_max {
            tx.commit().await?;
            return Ok(Added::Full);
        }
        let role = sql(
            "INSERT INTO roles (id, server_id, name, skeleton, colour, hoisted, position, inserted_at)
             VALUES ($1, $2, $3, $4, $5, $6,
                     (SELECT coalesce(max(position) + 1, 0) FROM roles WHERE server_id = $2), $7)
             ON CONFLICT DO NOTHING RETURNING *",
        )
        .bind(Uuid::now_v7())
        .bind(server)
        .bind(new.name)
        .bind(new.skeleton)
        .bind(new.colour)
        .bind(new.hoisted)
        .bind(now_micros())
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Added::from(role))
    }

    /// Changes a role; `None` if it is gone, or another one of its server has a name that looks the same.
    pub(crate) async fn update_role(
        &self,
        role: &ServerRole,
        content: &RoleContent<'_>,
    ) -> Result<Option<ServerRole>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(role.server_id)).await?;
        let updated = sql(
            "UPDATE roles SET name = $1, skeleton = $2, colour = $3, hoisted = $4
             WHERE id = $5 AND NOT EXISTS (SELECT 1 FROM roles o
                 WHERE o.server_id = $6 AND o.skeleton = $2 AND o.id <> $5) RETURNING *",
        )
        .bind(content.name)
        .bind(content.skeleton)
        .bind(content.colour)
        .bind(content.hoisted)
        .bind(role.id)
        .bind(role.server_id)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(updated)
    }

    /// Returns the roles of a server, the highest first.
    pub(crate) async fn roles(&self, server: Uuid) -> Result<Vec<ServerRole>, sqlx::Error> {
        select_roles(server).fetch_all(&self.reader).await
    }

    /// Returns the role of that id on a server.
    pub(crate) async fn server_role(
        &self,
        server: Uuid,
        id: Uuid,
    ) -> Result<Option<ServerRole>, sqlx::Error> {
        sql("SELECT * FROM roles WHERE id = $1 AND server_id = $2")
            .bind(id)
            .bind(server)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns the roles of a server that a user has, the highest first.
    pub(crate) async fn roles_of(
        &self,
        server: Uuid,
        user: Uuid,
    ) -> Result<Vec<ServerRole>, sqlx::Error> {
        select_roles_of(server, user).fetch_all(&self.reader).await
    }

    /// Returns the roles of a server that members of a room have, as pairs of a member and a role: those of the members
    /// with user ids above `after`, up to `last`, in order of id.
    pub(crate) async fn roles_of_members(
        &self,
        server: Uuid,
        room: Uuid,
        after: Uuid,
        last: Uuid,
    ) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
        sql(
            "SELECT h.user_id, h.role_id FROM role_holders h JOIN roles r ON r.id = h.role_id
             JOIN room_members m ON m.room_id = $1 AND m.user_id = h.user_id
             WHERE r.server_id = $2 AND h.user_id > $3 AND h.user_id <= $4 ORDER BY h.user_id",
        )
        .bind(room)
        .bind(server)
        .bind(after)
        .bind(last)
        .fetch_all(&self.reader)
        .await
    }

    /// Orders the roles of a server, the highest first. Returns them; `None`, and changes nothing, unless `order` names
    /// each of them once.
    pub(crate) async fn order_roles(
        &self,
        server: Uuid,
        order: &[Uuid],
    ) -> Result<Option<Vec<ServerRole>>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(server)).await?;
        let stored: Vec<(Uuid,)> = sql("SELECT id FROM roles WHERE server_id = $1")
            .bind(server)
            .fetch_all(&mut *tx)
            .await?;
        let mut stored: Vec<Uuid> = stored.into_iter().map(|(id,)| id).collect();
        let mut named = order.to_vec();
        stored.sort_unstable();
        named.sort_unstable();
        if stored != named {
            tx.commit().await?;
            return Ok(None);
        }
        for (position, id) in (0_i64..).zip(order) {
            sql("UPDATE roles SET position = $1 WHERE id = $2")
                .bind(position)
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        let roles = select_roles(server).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(Some(roles))
    }

    /// Deletes a role. The rooms that were limited to it alone then admit the owner of the server only.
    pub(crate) async fn delete_role(&self, id: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sql("DELETE FROM roles WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Gives a user a role; no effect on one that has it, or if the role is gone. Returns the roles of the user on
    /// the server, the highest first.
    pub(crate) async fn give_role(
        &self,
        role: &ServerRole,
        user: Uuid,
    ) -> Result<Vec<ServerRole>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(role.server_id)).await?;
        sql("INSERT INTO role_holders (role_id, user_id)
             SELECT id, $1 FROM roles WHERE id = $2 ON CONFLICT DO NOTHING")
        .bind(user)
        .bind(role.id)
        .execute(&mut *tx)
        .await?;
        let held = select_roles_of(role.server_id, user);
        let held = held.fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Takes a role from a user; no effect on one that does not have it. Returns the roles that the user then has on
    /// the server, the highest first.
    pub(crate) async fn take_role(
        &self,
        role: &ServerRole,
        user: Uuid,
    ) -> Result<Vec<ServerRole>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(role.server_id)).await?;
        sql("DELETE FROM role_holders WHERE role_id = $1 AND user_id = $2")
            .bind(role.id)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        let held = select_roles_of(role.server_id, user);
        let held = held.fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Limits a room to users with one of `roles`, which are of its server; opens it to all if there are none.
    pub(crate) async fn limit_room(&self, room: Uuid, roles: &[Uuid]) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&room_lock(room)).await?;
        sql("DELETE FROM room_roles WHERE room_id = $1")
            .bind(room)
            .execute(&mut *tx)
            .await?;
        for role in roles {
            admit(&mut tx, room, *role).await?;
        }
        sql("UPDATE rooms SET limited = $1 WHERE id = $2")
            .bind(!roles.is_empty())
            .bind(room)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Returns the roles to which a room is limited, the highest first.
    pub(crate) async fn roles_of_room(&self, room: Uuid) -> Result<Vec<ServerRole>, sqlx::Error> {
        sql(
            "SELECT r.* FROM roles r JOIN room_roles l ON l.role_id = r.id
             WHERE l.room_id = $1 ORDER BY r.position, r.id",
        )
        .bind(room)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns the rooms that are limited to a role.
    pub(crate) async fn rooms_limited_to(&self, role: Uuid) -> Result<Vec<Room>, sqlx::Error> {
        sql(select_rooms!(
            "JOIN room_roles l ON l.room_id = r.id WHERE l.role_id = $1 AND r.kind = 'group'"
        ))
        .bind(role)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns whether the roles of `user` admit it to the room. A room without limit, and the owner of the server in
    /// each of its rooms, need none.
    pub(crate) async fn admits(&self, room: Uuid, user: Uuid) -> Result<bool, sqlx::Error> {
        let admitted = sql(concat!(
            "SELECT count(*) FROM rooms r WHERE r.id = $1 AND ",
            admits!("$2")
        ))
        .bind(room)
        .bind(user)
        .count(&self.reader)
        .await?;
        Ok(admitted == 1)
    }

    /// Returns up to `limit` of the users who are told of a room that has a limit, another one, or none any more, after
    /// one of them in the order of ids: of a private room the members that it admits, of another one the users with a
    /// role that admits them.
    pub(crate) async fn told_of_limit(
        &self,
        room: Uuid,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let users: Vec<(Uuid,)> = sql(concat!(
            "SELECT h.user_id FROM role_holders h JOIN room_roles l ON l.role_id = h.role_id
             JOIN rooms r ON r.id = l.room_id
             WHERE r.id = $1 AND h.user_id > $2 AND NOT r.private
             UNION SELECT m.user_id FROM room_members m JOIN rooms r ON r.id = m.room_id
             WHERE r.id = $1 AND m.user_id > $2 AND r.private AND ",
            admits!("m.user_id"),
            " ORDER BY user_id LIMIT $3"
        ))
        .bind(room)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        Ok(users.into_iter().map(|(user,)| user).collect())
    }

    /// Returns up to `limit` stored members of a room whom their roles do not admit.
    pub(crate) async fn members_without_role(
        &self,
        room: Uuid,
        limit: u32,
    ) -> Result<Vec<Member>, sqlx::Error> {
        sql(concat!(
            "SELECT m.user_id, u.username, m.role, m.joined_at, u.last_seen_at
             FROM room_members m JOIN users u ON u.id = m.user_id JOIN rooms r ON r.id = m.room_id
             WHERE m.room_id = $1 AND NOT ",
            admits!("m.user_id"),
            " ORDER BY m.user_id LIMIT $2"
        ))
        .bind(room)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }
}

fn select_roles(server: Uuid) -> Statement {
    sql("SELECT * FROM roles WHERE server_id = $1 ORDER BY position, id").bind(server)
}

fn select_roles_of(server: Uuid, user: Uuid) -> Statement {
    sql(
        "SELECT r.* FROM roles r JOIN role_holders h ON h.role_id = r.id
         WHERE h.user_id = $1 AND r.server_id = $2 ORDER BY r.position, r.id",
    )
    .bind(user)
    .bind(server)
}

async fn admit(tx: &mut Link, room: Uuid, role: Uuid) -> Result<(), sqlx::Error> {
    sql("INSERT INTO room_roles (room_id, role_id)
         SELECT m.id, o.id FROM rooms m CROSS JOIN roles o WHERE m.id = $1 AND o.id = $2 ON CONFLICT DO NOTHING")
    .bind(room)
    .bind(role)
    .execute(tx)
    .await
    .map(drop)
}

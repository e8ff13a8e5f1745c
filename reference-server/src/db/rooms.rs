//! Rooms and their members.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros, rfc3339, rfc3339_or_null};

/// Rows of a deleted room that are removed in one transaction, of messages and of members.
const PURGE_SHARE: u32 = 500;

/// A room as it is stored and returned.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Room {
    pub(crate) id: Uuid,
    #[serde(skip)]
    pub(crate) tenant: String,
    pub(crate) server_id: Option<Uuid>,
    pub(crate) category_id: Option<Uuid>,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner_id: Option<Uuid>,
    pub(crate) private: bool,
    pub(crate) simulated: bool,
    /// The number of the newest message, and so of all that were posted.
    pub(crate) last_seq: i64,
    pub(crate) member_count: i64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) inserted_at: i64,
}

impl Room {
    /// Returns the room's topic on the socket.
    pub(crate) fn topic(&self) -> String {
        match self.kind.as_str() {
            "dm" => format!("dm:{}", self.id),
            _ => format!("room:{}", self.id),
        }
    }
}

/// A room in a user's list.
#[derive(Debug, Clone, Serialize, FromRow)]
pub(crate) struct ListedRoom {
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub(crate) room: Room,
    /// The number of the newest message that the user has read; none for a user that is no member.
    pub(crate) read_seq: Option<i64>,
}

/// A group room to add.
#[derive(Debug, Default)]
pub(crate) struct NewRoom<'a> {
    pub(crate) tenant: &'a str,
    /// The default server of the tenant, if none is named.
    pub(crate) server: Option<Uuid>,
    pub(crate) category: Option<Uuid>,
    pub(crate) name: &'a str,
    /// The skeleton of the name, unique among the rooms of a server.
    pub(crate) skeleton: &'a str,
    pub(crate) description: &'a str,
    pub(crate) owner: Option<Uuid>,
    pub(crate) private: bool,
    pub(crate) simulated: bool,
}

/// The role of a member in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Admin,
    Member,
}

/// A registered member of a room.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Member {
    pub(crate) user_id: Uuid,
    pub(crate) username: String,
    pub(crate) role: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) joined_at: i64,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_seen_at: Option<i64>,
}

/// The beginning of every query of rooms.
macro_rules! select_rooms {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.tenant, r.server_id, r.category_id, r.kind, r.name, r.description, r.owner_id, r.private,
             r.simulated, r.last_seq, r.member_count, r.inserted_at FROM rooms r ",
            $rest
        )
    };
}
pub(super) use select_rooms;

impl Db {
    /// Adds a room; its owner, if any, becomes its admin. Returns `None` if a room of the server has a name
    /// that looks the same.
    pub(crate) async fn insert_room(
        &self,
        new: &NewRoom<'_>,
    ) -> Result<Option<Room>, StorageError> {
        let id = Uuid::now_v7();
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO rooms (id, tenant, kind, name, skeleton, description, owner_id, private,
                                simulated, active_at, inserted_at, server_id, category_id)
             VALUES (?1, ?2, 'group', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9,
                     coalesce(?10, (SELECT id FROM servers WHERE tenant = ?2 AND is_default)), ?11)
             ON CONFLICT (server_id, skeleton) WHERE kind = 'group' DO NOTHING",
        )
        .bind(id)
        .bind(new.tenant)
        .bind(new.name)
        .bind(new.skeleton)
        .bind(new.description)
        .bind(new.owner)
        .bind(new.private)
        .bind(new.simulated)
        .bind(now)
        .bind(new.server)
        .bind(new.category)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 1
            && let Some(owner) = new.owner
        {
            add_member(&mut tx, id, owner, now).await?;
        }
        let room = sqlx::query_as(select_rooms!("WHERE r.id = ?"))
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(room)
    }

    /// Returns the server's own room of that name (the lobby, the simulated city), created if
    /// missing. It has no owner. Returns `None` if a user has a room of that name.
    pub(crate) async fn ensure_server_room(
        &self,
        new: &NewRoom<'_>,
    ) -> Result<Option<Room>, StorageError> {
        let found = sqlx::query_as(select_rooms!(
            "WHERE r.tenant = ? AND r.name = ? AND r.owner_id IS NULL AND r.simulated = ?
             AND r.kind = 'group'"
        ))
        .bind(new.tenant)
        .bind(new.name)
        .bind(new.simulated)
        .fetch_optional(&self.reader)
        .await?;
        match found {
            Some(room) => Ok(Some(room)),
            None => self.insert_room(new).await,
        }
    }

    /// Counts the rooms of `user` on a server, up to `limit`.
    pub(crate) async fn owned_rooms(
        &self,
        user: Uuid,
        server: Uuid,
        limit: u32,
    ) -> Result<u32, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT 1 FROM rooms
             WHERE owner_id = ? AND kind = 'group' AND server_id = ? LIMIT ?)",
        )
        .bind(user)
        .bind(server)
        .bind(limit)
        .fetch_one(&self.reader)
        .await
    }

    pub(crate) async fn room(&self, tenant: &str, id: Uuid) -> Result<Option<Room>, sqlx::Error> {
        sqlx::query_as(select_rooms!(
            "WHERE r.id = ? AND r.tenant = ? AND r.kind <> 'deleted'"
        ))
        .bind(id)
        .bind(tenant)
        .fetch_optional(&self.reader)
        .await
    }

    /// Returns the room of that skeleton on the default server.
    pub(crate) async fn room_named(
        &self,
        tenant: &str,
        skeleton: &str,
    ) -> Result<Option<Room>, sqlx::Error> {
        sqlx::query_as(select_rooms!(
            "WHERE r.server_id = (SELECT id FROM servers WHERE tenant = ? AND is_default)
             AND r.skeleton = ? AND r.kind = 'group'"
        ))
        .bind(tenant)
        .bind(skeleton)
        .fetch_optional(&self.reader)
        .await
    }

    /// Returns up to `limit` rooms of a server with ids above `after` that `user` may see, oldest first.
    pub(crate) async fn rooms(
        &self,
        server: Uuid,
        user: Uuid,
        with_simulated: bool,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<ListedRoom>, sqlx::Error> {
        sqlx::query_as(
            "SELECT r.*, m.read_seq FROM rooms r
             LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = ?
             WHERE r.server_id = ? AND r.kind = 'group' AND r.id > ? AND (r.simulated = 0 OR ?)
             AND (r.private = 0 OR m.user_id IS NOT NULL)
             ORDER BY r.id LIMIT ?",
        )
        .bind(user)
        .bind(server)
        .bind(after)
        .bind(with_simulated)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns all rooms of a server.
    pub(crate) async fn rooms_of_server(&self, server: Uuid) -> Result<Vec<Room>, sqlx::Error> {
        sqlx::query_as(select_rooms!("WHERE r.server_id = ? AND r.kind = 'group'"))
            .bind(server)
            .fetch_all(&self.reader)
            .await
    }

    /// Deletes a room; its rows remain until they are purged.
    pub(crate) async fn delete_room(&self, id: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sqlx::query("UPDATE rooms SET kind = 'deleted' WHERE id = ?")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Removes the rows of deleted rooms, a share in each transaction, so that other writes have their turn.
    pub(crate) async fn purge_rooms(&self) -> Result<(), StorageError> {
        loop {
            let mut tx = self.writer.begin().await?;
            let room: Option<Uuid> =
                sqlx::query_scalar("SELECT id FROM rooms WHERE kind = 'deleted' LIMIT 1")
                    .fetch_optional(&mut *tx)
                    .await?;
            let Some(room) = room else {
                return tx.commit().await;
            };
            let mut removed = 0;
            for share in [
                "DELETE FROM messages WHERE rowid IN
                 (SELECT rowid FROM messages WHERE room_id = ?1 LIMIT ?2)",
                "DELETE FROM room_members WHERE room_id = ?1 AND user_id IN
                 (SELECT user_id FROM room_members WHERE room_id = ?1 LIMIT ?2)",
            ] {
                let done = sqlx::query(share)
                    .bind(room)
                    .bind(PURGE_SHARE)
                    .execute(&mut *tx)
                    .await?;
                removed += done.rows_affected();
            }
            if removed == 0 {
                sqlx::query("DELETE FROM rooms WHERE id = ?")
                    .bind(room)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }
    }

    /// Makes `user` a member, the owner of a group room its admin; no effect on one that is.
    pub(crate) async fn join_room(&self, room: Uuid, user: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        add_member(&mut tx, room, user, now_micros()).await?;
        tx.commit().await
    }

    pub(crate) async fn leave_room(&self, room: Uuid, user: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sqlx::query("DELETE FROM room_members WHERE room_id = ? AND user_id = ?")
            .bind(room)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Notes that a member has read up to `seq`. Returns the number now noted, which never sinks, or `None` for a user
    /// that is no member.
    pub(crate) async fn mark_read(
        &self,
        room: Uuid,
        user: Uuid,
        seq: i64,
    ) -> Result<Option<i64>, StorageError> {
        let mut tx = self.writer.begin().await?;
        let read = sqlx::query_scalar(
            "UPDATE room_members SET read_seq = max(read_seq, min(?1,
                 (SELECT last_seq FROM rooms WHERE id = ?2)))
             WHERE room_id = ?2 AND user_id = ?3 RETURNING read_seq",
        )
        .bind(seq)
        .bind(room)
        .bind(user)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(read)
    }

    /// Returns the role of `user` in the room; `None` if it is no member.
    pub(crate) async fn role(&self, room: Uuid, user: Uuid) -> Result<Option<Role>, sqlx::Error> {
        let role: Option<String> =
            sqlx::query_scalar("SELECT role FROM room_members WHERE room_id = ? AND user_id = ?")
                .bind(room)
                .bind(user)
                .fetch_optional(&self.reader)
                .await?;
        Ok(role.map(|role| {
            if role == "admin" {
                Role::Admin
            } else {
                Role::Member
            }
        }))
    }

    /// Returns up to `limit` members with user ids above `after`, in order of id.
    pub(crate) async fn members(
        &self,
        room: Uuid,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Member>, sqlx::Error> {
        sqlx::query_as(
            "SELECT m.user_id, u.username, m.role, m.joined_at, u.last_seen_at
             FROM room_members m JOIN users u ON u.id = m.user_id
             WHERE m.room_id = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?",
        )
        .bind(room)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }
}

pub(super) async fn add_member(
    tx: &mut sqlx::SqliteConnection,
    room: Uuid,
    user: Uuid,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO room_members (room_id, user_id, role, joined_at, read_seq)
         SELECT id, ?1, iif(kind = 'group' AND owner_id = ?1, 'admin', 'member'), ?2, last_seq
         FROM rooms WHERE id = ?3 AND kind <> 'deleted' ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(now)
    .bind(room)
    .execute(tx)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::DatabaseMetrics;

    /// Every look-up of a room counted its members.
    #[tokio::test]
    async fn a_look_up_of_a_room_reads_no_members() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(
            &dir.path().join("test.db"),
            None,
            DatabaseMetrics::default(),
        )
        .await
        .unwrap();
        for query in [
            select_rooms!("WHERE r.id = ? AND r.tenant = ? AND r.kind <> 'deleted'"),
            select_rooms!("WHERE r.server_id = ? AND r.skeleton = ? AND r.kind = 'group'"),
        ] {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")))
                    .fetch_all(&db.reader)
                    .await
                    .unwrap();
            let steps: Vec<_> = plan.iter().map(|(.., step)| step.as_str()).collect();
            assert_eq!(steps.len(), 1, "{steps:?}");
            assert!(steps[0].starts_with("SEARCH r USING INDEX"), "{steps:?}");
        }
        db.close().await;
    }
}

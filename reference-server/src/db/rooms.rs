//! Rooms and their members.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Added, Db, StorageError,
    mentions::unread_mentions,
    now_micros, rfc3339,
    servers::{has_server, server_lock},
    sql::{Link, sql},
};

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
    /// True for a room that admits only users with one of its roles, and the owner of the server.
    pub(crate) limited: bool,
    /// The number of the newest message, and so of all that were posted.
    pub(crate) last_seq: i64,
    pub(crate) member_count: i64,
    /// The number of the newest change of its members.
    #[serde(skip)]
    pub(crate) members_seq: i64,
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
    /// The number of messages that it has not read and that name it.
    pub(crate) mentions: i64,
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
    pub(crate) most: Most,
}

/// The rooms that there may be when one is added.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) enum Most {
    /// Any number.
    #[default]
    Any,
    /// This many of the server.
    OfServer(u32),
    /// This many that its owner has on the server.
    OfOwner(u32),
}

/// The role of a member in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Admin,
    Member,
}

impl From<&str> for Role {
    fn from(role: &str) -> Self {
        match role {
            "admin" => Self::Admin,
            _ => Self::Member,
        }
    }
}

/// Returns why a room cannot be added to a server, if so.
async fn refusal(
    tx: &mut Link,
    new: &NewRoom<'_>,
    server: Uuid,
) -> Result<Option<Added<Room>>, sqlx::Error> {
    if !has_server(tx, server).await? {
        return Ok(Some(Added::NoServer));
    }
    if let Some(category) = new.category {
        let found = sql("SELECT count(*) FROM categories WHERE id = $1 AND server_id = $2")
            .bind(category)
            .bind(server);
        if found.count(&mut *tx).await? == 0 {
            return Ok(Some(Added::NoCategory));
        }
    }
    let is_full = is_full(tx, new, server).await?;
    Ok(is_full.then_some(Added::Full))
}

/// Returns whether a server has as many rooms as there may be.
async fn is_full(tx: &mut Link, new: &NewRoom<'_>, server: Uuid) -> Result<bool, sqlx::Error> {
    let (of_owner, most) = match new.most {
        Most::Any => return Ok(false),
        Most::OfServer(most) => (None, most),
        Most::OfOwner(most) => (new.owner, most),
    };
    let count = sql("SELECT count(*) FROM rooms
         WHERE server_id = $1 AND kind = 'group' AND owner_id = coalesce($2, owner_id)");
    let count = count.bind(server).bind(of_owner).count(tx).await?;
    Ok(count >= most)
}

/// A room with the role that a user has in it.
#[derive(FromRow)]
struct RoomAndRole {
    #[sqlx(flatten)]
    room: Room,
    role: Option<String>,
}

/// Is true in SQL if the roles of a user, which stands in it as the text given, admit it to the room `r`. A room
/// without limit needs none, nor does the owner of the server.
macro_rules! admits {
    ($user:literal) => {
        concat!(
            "(NOT r.limited
              OR EXISTS (SELECT 1 FROM servers s WHERE s.id = r.server_id AND s.owner_id = ",
            $user,
            ") OR EXISTS (SELECT 1 FROM room_roles l JOIN role_holders h ON h.role_id = l.role_id
                          WHERE l.room_id = r.id AND h.user_id = ",
            $user,
            "))"
        )
    };
}
pub(super) use admits;

/// Is true in SQL if a user may read and write in the room `r`: a member whom its roles admit, or a guest, if the room
/// is public and without limit. The texts given stand for the user's id, and for whether it is a guest.
macro_rules! is_within {
    ($user:literal, $guest:literal) => {
        concat!(
            "CASE WHEN ",
            $guest,
            " THEN NOT r.private AND NOT r.limited ELSE EXISTS (SELECT 1 FROM room_members i
                 WHERE i.room_id = r.id AND i.user_id = ",
            $user,
            ") AND ",
            admits!($user),
            " END"
        )
    };
}
pub(super) use is_within;

/// The beginning of every query of rooms; `with` more columns, if it needs them.
macro_rules! select_rooms {
    (with $more:literal, $($rest:tt)*) => {
        concat!(
            "SELECT r.id, r.tenant, r.server_id, r.category_id, r.kind, r.name, r.description, r.owner_id, r.private,
             r.simulated, r.limited, r.last_seq, r.member_count, r.members_seq, r.inserted_at",
            $more,
            " FROM rooms r ",
            $($rest)*
        )
    };
    ($rest:literal) => {
        select_rooms!(with "", $rest)
    };
}
pub(super) use select_rooms;

impl Db {
    /// Adds a room; its owner, if any, becomes its admin.
    pub(crate) async fn insert_room(&self, new: &NewRoom<'_>) -> Result<Added<Room>, StorageError> {
        let id = Uuid::now_v7();
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        if let Some(server) = new.server {
            tx.lock(&server_lock(server)).await?;
            if let Some(refusal) = refusal(&mut tx, new, server).await? {
                tx.commit().await?;
                return Ok(refusal);
            }
        }
        let inserted = sql(
            "INSERT INTO rooms (id, tenant, kind, name, skeleton, description, owner_id, private,
                                simulated, active_at, inserted_at, server_id, category_id)
             VALUES ($1, $2, 'group', $3, $4, $5, $6, $7, $8, $9, $9,
                     coalesce($10, (SELECT id FROM servers WHERE tenant = $2 AND is_default)), $11)
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
        if inserted == 1
            && let Some(owner) = new.owner
        {
            add_member(&mut tx, id, owner, now).await?;
        }
        let room = sql(select_rooms!("WHERE r.id = $1"))
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Added::from(room))
    }

    /// Returns the server's own room of that name (the lobby, the simulated city), created if
    /// missing. It has no owner. Returns `None` if a user has a room of that name.
    pub(crate) async fn ensure_server_room(
        &self,
        new: &NewRoom<'_>,
    ) -> Result<Option<Room>, StorageError> {
        let found = sql(select_rooms!(
            "WHERE r.tenant = $1 AND r.name = $2 AND r.owner_id IS NULL AND r.simulated = $3
             AND r.kind = 'group'"
        ))
        .bind(new.tenant)
        .bind(new.name)
        .bind(new.simulated)
        .fetch_optional(&self.reader)
        .await?;
        match found {
            Some(room) => Ok(Some(room)),
            None => Ok(self.insert_room(new).await?.added()),
        }
    }

    pub(crate) async fn room(&self, tenant: &str, id: Uuid) -> Result<Option<Room>, sqlx::Error> {
        sql(select_rooms!(
            "WHERE r.id = $1 AND r.tenant = $2 AND r.kind <> 'deleted'"
        ))
        .bind(id)
        .bind(tenant)
        .fetch_optional(&self.reader)
        .await
    }

    /// Returns the room of that id with the role of `user` in it, as [`Self::role`] does, by one query.
    pub(crate) async fn room_and_role(
        &self,
        tenant: &str,
        id: Uuid,
        user: Uuid,
    ) -> Result<Option<(Room, Option<Role>)>, sqlx::Error> {
        let row: Option<RoomAndRole> = sql(select_rooms!(
            with ", m.role",
            "LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $3 AND ",
            admits!("$3"),
            " WHERE r.id = $1 AND r.tenant = $2 AND r.kind <> 'deleted'"
        ))
        .bind(id)
        .bind(tenant)
        .bind(user)
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(|row| (row.room, row.role.as_deref().map(Role::from))))
    }

    /// Returns the room of that skeleton on the default server.
    pub(crate) async fn room_named(
        &self,
        tenant: &str,
        skeleton: &str,
    ) -> Result<Option<Room>, sqlx::Error> {
        sql(select_rooms!(
            "WHERE r.server_id = (SELECT id FROM servers WHERE tenant = $1 AND is_default)
             AND r.skeleton = $2 AND r.kind = 'group'"
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
        sql(concat!(
            "SELECT r.*, m.read_seq, ",
            unread_mentions!("$1", "m.read_seq"),
            " FROM rooms r
             LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $1
             WHERE r.server_id = $2 AND r.kind = 'group' AND r.id > $3 AND (NOT r.simulated OR $4)
             AND (NOT r.private OR m.user_id IS NOT NULL OR r.owner_id = $1) AND ",
            admits!("$1"),
            " ORDER BY r.id LIMIT $5"
        ))
        .bind(user)
        .bind(server)
        .bind(after)
        .bind(with_simulated)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns up to `limit` rooms of all servers with ids above `after` of which `user` is a member, oldest first.
    pub(crate) async fn rooms_joined(
        &self,
        user: Uuid,
        with_simulated: bool,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<ListedRoom>, sqlx::Error> {
        sql(concat!(
            "SELECT r.*, m.read_seq, ",
            unread_mentions!("$1", "m.read_seq"),
            " FROM room_members m JOIN rooms r ON r.id = m.room_id
             WHERE m.user_id = $1 AND m.room_id > $2 AND r.kind = 'group' AND (NOT r.simulated OR $3) AND ",
            admits!("$1"),
            " ORDER BY m.room_id LIMIT $4"
        ))
        .bind(user)
        .bind(after)
        .bind(with_simulated)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns all rooms of a server.
    pub(crate) async fn rooms_of_server(&self, server: Uuid) -> Result<Vec<Room>, sqlx::Error> {
        sql(select_rooms!("WHERE r.server_id = $1 AND r.kind = 'group'"))
            .bind(server)
            .fetch_all(&self.reader)
            .await
    }

    /// Deletes a room; its rows remain until they are purged.
    pub(crate) async fn delete_room(&self, id: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sql("UPDATE rooms SET kind = 'deleted' WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Removes the rows of deleted rooms, a share in each transaction, so that other writes have their turn.
    pub(crate) async fn purge_rooms(&self) -> Result<(), StorageError> {
        loop {
            let mut tx = self.writer.begin().await?;
            tx.lock("purge").await?;
            let room: Option<Uuid> = sql("SELECT id FROM rooms WHERE kind = 'deleted' LIMIT 1")
                .scalar_optional(&mut *tx)
                .await?;
            let Some(room) = room else {
                return tx.commit().await;
            };
            tx.lock(&room_lock(room)).await?;
            let mut removed = 0;
            for share in [
                "DELETE FROM messages WHERE id IN
                 (SELECT id FROM messages WHERE room_id = $1 LIMIT $2)",
                "DELETE FROM room_members WHERE room_id = $1 AND user_id IN
                 (SELECT user_id FROM room_members WHERE room_id = $1 LIMIT $2)",
            ] {
                let done = sql(share)
                    .bind(room)
                    .bind(PURGE_SHARE)
                    .execute(&mut *tx)
                    .await?;
                removed += done;
            }
            if removed == 0 {
                sql("DELETE FROM rooms WHERE id = $1")
                    .bind(room)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }
    }
}

/// Names the lock under which messages of a room are numbered and memberships end.
pub(super) fn room_lock(room: Uuid) -> String {
    format!("room {room}")
}

pub(super) async fn add_member(
    tx: &mut Link,
    room: Uuid,
    user: Uuid,
    now: i64,
) -> Result<(), sqlx::Error> {
    sql(
        "INSERT INTO room_members (room_id, user_id, role, joined_at, read_seq)
         SELECT id, $1, CASE WHEN kind = 'group' AND owner_id = $1 THEN 'admin' ELSE 'member' END, $2, last_seq
         FROM rooms WHERE id = $3 AND kind <> 'deleted' ON CONFLICT DO NOTHING",
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

    #[derive(FromRow)]
    struct SqliteStep {
        detail: String,
    }

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
            concat!(
                "EXPLAIN QUERY PLAN ",
                select_rooms!("WHERE r.id = $1 AND r.tenant = $2 AND r.kind <> 'deleted'")
            ),
            concat!(
                "EXPLAIN QUERY PLAN ",
                select_rooms!("WHERE r.server_id = $1 AND r.skeleton = $2 AND r.kind = 'group'")
            ),
        ] {
            let plan: Vec<SqliteStep> = sql(query).fetch_all(&db.reader).await.unwrap();
            let steps: Vec<_> = plan.iter().map(|step| step.detail.as_str()).collect();
            assert_eq!(steps.len(), 1, "{steps:?}");
            assert!(steps[0].starts_with("SEARCH r USING INDEX"), "{steps:?}");
        }
        db.close().await;
    }
}

//! The members of rooms.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Db, Role, StorageError, now_micros, rfc3339, rfc3339_or_null,
    rooms::{add_member, admits, room_lock},
    sql::{Reader, id_list, sql},
};

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

impl Db {
    /// Makes `user` a member, the owner of a group room its admin; no effect on one that is.
    pub(crate) async fn join_room(&self, room: Uuid, user: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        add_member(&mut tx, room, user, now_micros()).await?;
        tx.commit().await
    }

    pub(crate) async fn leave_room(&self, room: Uuid, user: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&room_lock(room)).await?;
        sql("DELETE FROM room_members WHERE room_id = $1 AND user_id = $2")
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
        let read = sql(
            "UPDATE room_members SET read_seq = CASE WHEN read_seq >= $1 THEN read_seq ELSE
                 (SELECT CASE WHEN last_seq < $1 THEN last_seq ELSE $1 END
                  FROM rooms WHERE id = $2) END
             WHERE room_id = $2 AND user_id = $3 RETURNING read_seq",
        )
        .bind(seq)
        .bind(room)
        .bind(user)
        .scalar_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(read)
    }

    /// Returns the role of `user` in the room; `None` if it is no member, or the room is limited to roles that it does
    /// not have.
    pub(crate) async fn role(&self, room: Uuid, user: Uuid) -> Result<Option<Role>, sqlx::Error> {
        let role: Option<String> = sql(concat!(
            "SELECT m.role FROM room_members m JOIN rooms r ON r.id = m.room_id
             WHERE m.room_id = $1 AND m.user_id = $2 AND ",
            admits!("$2")
        ))
        .bind(room)
        .bind(user)
        .scalar_optional(&self.reader)
        .await?;
        Ok(role.as_deref().map(Role::from))
    }

    /// Returns those of `users` who are members and whom the roles of the room admit. O(users).
    pub(crate) async fn members_among(
        &self,
        room: Uuid,
        users: &[Uuid],
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let among = match self.reader {
            Reader::Sqlite(_) => sql(concat!(
                "SELECT m.user_id FROM json_each($2) j
                 JOIN room_members m ON m.user_id = unhex(j.value) JOIN rooms r ON r.id = m.room_id
                 WHERE m.room_id = $1 AND ",
                admits!("m.user_id")
            )),
            Reader::Postgres(_) => sql(concat!(
                "SELECT m.user_id FROM json_array_elements_text($2::text::json) j
                 JOIN room_members m ON m.user_id = j.value::uuid JOIN rooms r ON r.id = m.room_id
                 WHERE m.room_id = $1 AND ",
                admits!("m.user_id")
            )),
        };
        let among = among
            .bind(room)
            .bind(id_list(users))
            .fetch_all(&self.reader);
        let among: Vec<(Uuid,)> = among.await?;
        Ok(among.into_iter().map(|(user,)| user).collect())
    }

    /// Returns up to `limit` members with user ids above `after`, in order of id.
    pub(crate) async fn members(
        &self,
        room: Uuid,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Member>, sqlx::Error> {
        sql(
            "SELECT m.user_id, u.username, m.role, m.joined_at, u.last_seen_at
             FROM room_members m JOIN users u ON u.id = m.user_id
             WHERE m.room_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3",
        )
        .bind(room)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::DatabaseMetrics, names::Username};

    #[tokio::test]
    async fn lists_of_users_are_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let db = Db::open(&path, None, DatabaseMetrics::default());
        let db = db.await.unwrap();
        let mut ids = Vec::new();
        for name in ["ada", "bob", "cyd"] {
            let name = Username::parse(Some(name)).unwrap();
            let user = db.insert_user("default", name, "").await.unwrap();
            ids.push(user.unwrap().id);
        }
        db.set_status(ids[2], "dnd").await.unwrap();
        let asked = [ids[2], Uuid::nil(), ids[0]];
        let mut statuses = db.statuses(&asked).await.unwrap();
        statuses.sort_by_key(|(_, status)| status.clone());
        let expected = [(ids[2], "dnd".to_owned()), (ids[0], "online".to_owned())];
        assert_eq!(statuses, expected);
        assert!(db.statuses(&[]).await.unwrap().is_empty());

        let dm = db.dm("default", ids[0], ids[1]).await.unwrap();
        let among = db.members_among(dm.room.id, &asked).await.unwrap();
        assert_eq!(among, [ids[0]]);
        db.close().await;
    }
}

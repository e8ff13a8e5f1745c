//! Direct messages: rooms of two users.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Db, StorageError,
    mentions::unread_mentions,
    messages::Message,
    now_micros,
    rooms::{Room, add_member, select_rooms},
    sql::{Statement, sql},
};

/// A conversation as one of its two users sees it.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Dm {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub(crate) room: Room,
    #[sqlx(flatten)]
    pub(crate) peer: Peer,
    #[sqlx(skip)]
    pub(crate) last_message: Option<Message>,
    pub(crate) read_seq: i64,
    /// The number of messages that the caller has not read and that name it, at most 100.
    pub(crate) mentions: i64,
}

/// The other user of a conversation.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Peer {
    #[sqlx(rename = "peer_id")]
    pub(crate) id: Uuid,
    #[sqlx(rename = "peer_name")]
    pub(crate) username: String,
    /// As others see it. The database does not know it: [`App::with_status`](crate::app::App) adds it.
    #[sqlx(skip)]
    pub(crate) status: &'static str,
}

/// The beginning of every query of conversations: of the user that is the first parameter.
macro_rules! select_dms {
    ($rest:literal) => {
        concat!(
            "SELECT r.*, mine.read_seq, ",
            unread_mentions!("$1", "mine.read_seq"),
            ", u.id AS peer_id, u.username AS peer_name
             FROM room_members mine JOIN rooms r ON r.id = mine.room_id AND r.kind = 'dm'
             JOIN room_members theirs ON theirs.room_id = r.id AND theirs.user_id <> mine.user_id
             JOIN users u ON u.id = theirs.user_id
             WHERE mine.user_id = $1 ",
            $rest
        )
    };
}

impl Db {
    /// Returns the conversations of `user`, those with the newest messages first, at most `limit`; those after the one
    /// of id `before`, if that is given.
    pub(crate) async fn dms(
        &self,
        user: Uuid,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Dm>, sqlx::Error> {
        let mut dms: Vec<Dm> = sql(select_dms!(
            "AND ($2 IS NULL OR (r.active_at, r.id) <
                  (SELECT active_at, id FROM rooms WHERE id = $2))
             ORDER BY r.active_at DESC, r.id DESC LIMIT $3"
        ))
        .bind(user)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        for dm in &mut dms {
            dm.last_message = self.newest_message(&dm.room).await?;
        }
        Ok(dms)
    }

    /// Returns the conversation of that room as `user` sees it.
    pub(crate) async fn dm_of(&self, user: Uuid, room: Uuid) -> Result<Option<Dm>, sqlx::Error> {
        let dm: Option<Dm> = sql(select_dms!("AND r.id = $2"))
            .bind(user)
            .bind(room)
            .fetch_optional(&self.reader)
            .await?;
        let Some(mut dm) = dm else {
            return Ok(None);
        };
        dm.last_message = self.newest_message(&dm.room).await?;
        Ok(Some(dm))
    }

    /// Counts the conversations that `user` has begun, up to `limit`.
    pub(crate) async fn dms_begun(&self, user: Uuid, limit: u32) -> Result<u32, sqlx::Error> {
        sql("SELECT count(*) FROM
             (SELECT 1 FROM rooms WHERE owner_id = $1 AND kind = 'dm' LIMIT $2) AS counted")
        .bind(user)
        .bind(limit)
        .count(&self.reader)
        .await
    }

    async fn newest_message(&self, room: &Room) -> Result<Option<Message>, sqlx::Error> {
        select_newest(room).fetch_optional(&self.reader).await
    }

    /// Returns the conversation of two users, if there is one.
    pub(crate) async fn find_dm(&self, a: Uuid, b: Uuid) -> Result<Option<Room>, sqlx::Error> {
        sql(select_rooms!("WHERE r.dm_key = $1"))
            .bind(dm_key(a, b))
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns the conversation of two users as `a` sees it, created by `a` if there was none.
    pub(crate) async fn dm(&self, tenant: &str, a: Uuid, b: Uuid) -> Result<Dm, StorageError> {
        let key = dm_key(a, b);
        let id = Uuid::now_v7();
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        let inserted = sql(
            "INSERT INTO rooms (id, tenant, kind, name, owner_id, private, dm_key, active_at,
                                inserted_at)
             VALUES ($1, $2, 'dm', '', $3, TRUE, $4, $5, $5) ON CONFLICT (dm_key) DO NOTHING",
        )
        .bind(id)
        .bind(tenant)
        .bind(a)
        .bind(&key)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        if inserted == 1 {
            for user in [a, b] {
                add_member(&mut tx, id, user, now).await?;
            }
        }
        let mut dm: Dm = sql(select_dms!("AND r.dm_key = $2"))
            .bind(a)
            .bind(&key)
            .fetch_one(&mut *tx)
            .await?;
        // One that the other user has begun meanwhile may have messages.
        dm.last_message = select_newest(&dm.room).fetch_optional(&mut *tx).await?;
        tx.commit().await?;
        Ok(dm)
    }
}

fn select_newest(room: &Room) -> Statement {
    sql("SELECT * FROM messages WHERE room_id = $1 AND seq = $2")
        .bind(room.id)
        .bind(room.last_seq)
}

fn dm_key(a: Uuid, b: Uuid) -> String {
    format!("{}:{}", a.min(b), a.max(b))
}

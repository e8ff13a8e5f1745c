//! Messages: stored first, numbered per room in the insert transaction.

use serde::Serialize;
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Db, StorageError, now_micros, rfc3339};

/// A stored message, in the form that every client receives.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Message {
    pub(crate) id: Uuid,
    pub(crate) room_id: Uuid,
    pub(crate) seq: i64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) content: String,
    pub(crate) user: Author,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) inserted_at: i64,
}

/// The author of a message.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Author {
    pub(crate) id: Uuid,
    pub(crate) username: String,
}

/// A message to store.
#[derive(Debug)]
pub(crate) struct NewMessage<'a> {
    pub(crate) room: Uuid,
    pub(crate) user: Uuid,
    pub(crate) username: &'a str,
    pub(crate) content: &'a str,
}

/// The position of a page in a room's messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cursor {
    /// The newest messages.
    Latest,
    /// The messages just before the one of this id.
    Before(Uuid),
    /// The messages just after this sequence number.
    AfterSeq(i64),
}

impl FromRow<'_, SqliteRow> for Message {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            room_id: row.try_get("room_id")?,
            seq: row.try_get("seq")?,
            kind: row.try_get("type")?,
            content: row.try_get("content")?,
            user: Author {
                id: row.try_get("user_id")?,
                username: row.try_get("username")?,
            },
            inserted_at: row.try_get("inserted_at")?,
        })
    }
}

impl Db {
    /// Stores a message under the next number of its room; `None` if the room is deleted.
    pub(crate) async fn insert_message(
        &self,
        new: &NewMessage<'_>,
    ) -> Result<Option<Message>, StorageError> {
        let mut tx = self.writer.begin().await?;
        let seq: Option<i64> = sqlx::query_scalar(
            "UPDATE rooms SET last_seq = last_seq + 1 WHERE id = ? RETURNING last_seq",
        )
        .bind(new.room)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(seq) = seq else {
            tx.commit().await?;
            return Ok(None);
        };
        let message = sqlx::query_as(
            "INSERT INTO messages (id, room_id, seq, user_id, username, content, inserted_at)
             VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
        )
        .bind(Uuid::now_v7())
        .bind(new.room)
        .bind(seq)
        .bind(new.user)
        .bind(new.username)
        .bind(new.content)
        .bind(now_micros())
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(message))
    }

    /// Returns a page of at most `limit` messages, oldest first; `None` if the cursor names no message
    /// of this room.
    pub(crate) async fn messages(
        &self,
        room: Uuid,
        cursor: Cursor,
        limit: u32,
    ) -> Result<Option<Vec<Message>>, sqlx::Error> {
        if let Cursor::AfterSeq(seq) = cursor {
            return sqlx::query_as(
                "SELECT * FROM messages WHERE room_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            )
            .bind(room)
            .bind(seq)
            .bind(limit)
            .fetch_all(&self.reader)
            .await
            .map(Some);
        }
        let before = match cursor {
            Cursor::Before(id) => {
                let seq =
                    sqlx::query_scalar("SELECT seq FROM messages WHERE id = ? AND room_id = ?")
                        .bind(id)
                        .bind(room)
                        .fetch_optional(&self.reader)
                        .await?;
                let Some(seq) = seq else {
                    return Ok(None);
                };
                seq
            }
            Cursor::Latest | Cursor::AfterSeq(_) => i64::MAX,
        };
        let mut page: Vec<Message> = sqlx::query_as(
            "SELECT * FROM messages WHERE room_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        )
        .bind(room)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        page.reverse();
        Ok(Some(page))
    }
}

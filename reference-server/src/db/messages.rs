//! Messages: stored first, numbered per room in the insert transaction.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Db, StorageError,
    mentions::{add_mentions, remove_mentions},
    now_micros, rfc3339, rfc3339_or_null,
    rooms::{admits, is_within, room_lock},
    sql::{Link, sql},
    webhooks::add_event,
};

/// A message is recognised as a repetition this long after it was stored: ten minutes.
const REPEAT_MAX_MICROS: i64 = 600_000_000;

/// Rows over which PostgreSQL spreads the number of a tenant's messages.
const COUNT_SLOTS: u8 = 16;

/// A stored message, in the form that every client receives.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Message {
    pub(crate) id: Uuid,
    pub(crate) room_id: Uuid,
    pub(crate) seq: i64,
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub(crate) kind: String,
    pub(crate) content: String,
    #[sqlx(flatten)]
    pub(crate) user: Author,
    /// The author's own name of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) inserted_at: i64,
    #[serde(
        serialize_with = "rfc3339_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) edited_at: Option<i64>,
    /// True once it is deleted; the content is then empty.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
}

/// The author of a message.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Author {
    #[sqlx(rename = "user_id")]
    pub(crate) id: Uuid,
    pub(crate) username: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) guest: bool,
}

/// The user who edits or deletes a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changer {
    pub(crate) id: Uuid,
    pub(crate) guest: bool,
}

/// A message to store.
#[derive(Debug)]
pub(crate) struct NewMessage<'a> {
    pub(crate) room: Uuid,
    pub(crate) author: &'a Author,
    pub(crate) content: &'a str,
    pub(crate) client_id: Option<&'a str>,
    /// The users that it names.
    pub(crate) mentioned: &'a [Uuid],
}

/// The result of storing a message.
#[derive(Debug)]
pub(crate) enum Stored {
    New(Message),
    /// The author has stored a message of that `client_id` before: this one.
    Before(Message),
    /// The room is deleted.
    NoRoom,
    /// The author is within the room no more.
    NotWithin,
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

impl Db {
    /// Stores a message under the next number of its room, unless its author has stored one of the same
    /// `client_id` there within `REPEAT_MAX_MICROS`. With it is stored the event that `event` makes for the webhook.
    pub(crate) async fn insert_message(
        &self,
        new: &NewMessage<'_>,
        event: impl FnOnce(&Message) -> Option<(Uuid, String)>,
    ) -> Result<Stored, StorageError> {
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        tx.lock(&room_lock(new.room)).await?;
        if let Some(client_id) = new.client_id {
            let before = sql("SELECT * FROM messages
                 WHERE user_id = $1 AND client_id = $2 AND room_id = $3 AND inserted_at >= $4")
            .bind(new.author.id)
            .bind(client_id)
            .bind(new.room)
            .bind(now - REPEAT_MAX_MICROS)
            .fetch_optional(&mut *tx)
            .await?;
            if let Some(message) = before {
                tx.commit().await?;
                return Ok(Stored::Before(message));
            }
        }
        let Some(seq) = next_seq(&mut tx, new, now).await? else {
            let rooms = sql("SELECT count(*) FROM rooms WHERE id = $1 AND kind <> 'deleted'");
            let rooms = rooms.bind(new.room).count(&mut *tx).await?;
            tx.commit().await?;
            return Ok(if rooms == 0 {
                Stored::NoRoom
            } else {
                Stored::NotWithin
            });
        };
        let message: Message = sql("INSERT INTO messages
             (id, room_id, seq, user_id, username, guest, content, client_id, inserted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *")
        .bind(Uuid::now_v7())
        .bind(new.room)
        .bind(seq)
        .bind(new.author.id)
        .bind(&new.author.username)
        .bind(new.author.guest)
        .bind(new.content)
        .bind(new.client_id)
        .bind(now)
        .fetch_one(&mut *tx)
        .await?;
        add_mentions(&mut tx, message.room_id, message.seq, new.mentioned).await?;
        if let Some(event) = event(&message) {
            add_event(&mut tx, &event, now).await?;
        }
        tx.commit().await?;
        Ok(Stored::New(message))
    }

    /// Returns the message of that id.
    pub(crate) async fn message(&self, id: Uuid) -> Result<Option<Message>, sqlx::Error> {
        sql("SELECT * FROM messages WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reader)
            .await
    }

    /// Changes the content of a message, and the users that it names; `None` if it is deleted, or `by` is within its
    /// room no more.
    pub(crate) async fn edit_message(
        &self,
        message: &Message,
        by: Changer,
        content: &str,
        mentioned: &[Uuid],
    ) -> Result<Option<Message>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&room_lock(message.room_id)).await?;
        let message: Option<Message> = sql(concat!(
            "UPDATE messages SET content = $1, edited_at = $2 WHERE id = $3 AND NOT deleted
             AND EXISTS (SELECT 1 FROM rooms r WHERE r.id = messages.room_id AND ",
            is_within!("$4", "$5"),
            ") RETURNING *",
        ))
        .bind(content)
        .bind(now_micros())
        .bind(message.id)
        .bind(by.id)
        .bind(by.guest)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(message) = &message {
            remove_mentions(&mut tx, message.room_id, message.seq).await?;
            add_mentions(&mut tx, message.room_id, message.seq, mentioned).await?;
        }
        tx.commit().await?;
        Ok(message)
    }

    /// Empties a message and marks it as deleted; its row and its number remain. `None` if it already was, or `by` is
    /// within its room no more.
    pub(crate) async fn delete_message(
        &self,
        message: &Message,
        by: Changer,
    ) -> Result<Option<Message>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&room_lock(message.room_id)).await?;
        let message: Option<Message> = sql(concat!(
            "UPDATE messages SET content = '', deleted = TRUE WHERE id = $1 AND NOT deleted
             AND EXISTS (SELECT 1 FROM rooms r WHERE r.id = messages.room_id AND ",
            is_within!("$2", "$3"),
            ") RETURNING *",
        ))
        .bind(message.id)
        .bind(by.id)
        .bind(by.guest)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(message) = &message {
            remove_mentions(&mut tx, message.room_id, message.seq).await?;
        }
        tx.commit().await?;
        Ok(message)
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
            return sql(
                "SELECT * FROM messages WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
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
                let seq = sql("SELECT seq FROM messages WHERE id = $1 AND room_id = $2")
                    .bind(id)
                    .bind(room)
                    .scalar_optional(&self.reader)
                    .await?;
                let Some(seq) = seq else {
                    return Ok(None);
                };
                seq
            }
            Cursor::Latest | Cursor::AfterSeq(_) => i64::MAX,
        };
        let mut page: Vec<Message> = sql(
            "SELECT * FROM messages WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
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

/// Takes the next number of the room, and counts the message; its author has read it. `None` if the room is deleted, or
/// the author is not within it.
async fn next_seq(
    tx: &mut Link,
    new: &NewMessage<'_>,
    now: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let numbered: Option<(i64, String)> = sql(concat!(
        "UPDATE rooms AS r SET last_seq = last_seq + 1, active_at = $1
         WHERE r.id = $2 AND r.kind <> 'deleted' AND ",
        is_within!("$3", "$4"),
        " RETURNING last_seq, tenant"
    ))
    .bind(now)
    .bind(new.room)
    .bind(new.author.id)
    .bind(new.author.guest)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((seq, tenant)) = numbered else {
        return Ok(None);
    };
    sql("UPDATE room_members SET read_seq = $1 WHERE room_id = $2 AND user_id = $3")
        .bind(seq)
        .bind(new.room)
        .bind(new.author.id)
        .execute(&mut *tx)
        .await?;
    count_message(tx, tenant, new.room).await?;
    Ok(Some(seq))
}

/// Counts a message of a tenant. On PostgreSQL the rooms of a tenant share its slots, so that few wait for each other.
async fn count_message(tx: &mut Link, tenant: String, room: Uuid) -> Result<(), sqlx::Error> {
    let counted = match tx {
        Link::Sqlite(_) => sql("INSERT INTO message_counts (tenant, count) VALUES ($1, 1)
             ON CONFLICT (tenant) DO UPDATE SET count = count + 1")
        .bind(tenant),
        Link::Postgres(_) => sql(
            "INSERT INTO message_counts AS c (tenant, slot, count) VALUES ($1, $2, 1)
             ON CONFLICT (tenant, slot) DO UPDATE SET count = c.count + 1",
        )
        .bind(tenant)
        .bind(i64::from(room.as_bytes()[15] % COUNT_SLOTS)),
    };
    counted.execute(tx).await.map(drop)
}

//! Invitations to private rooms.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros, rfc3339};

/// An invitation as the invited user sees it.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Invite {
    pub(crate) room_id: Uuid,
    pub(crate) room_name: String,
    pub(crate) inviter_id: Uuid,
    pub(crate) inviter: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) invited_at: i64,
}

/// The beginning of every query of invitations: of the user that is the first parameter.
macro_rules! select_invites {
    ($rest:literal) => {
        concat!(
            "SELECT i.room_id, r.name AS room_name, i.inviter_id, u.username AS inviter,
             i.invited_at FROM invites i JOIN rooms r ON r.id = i.room_id AND r.kind = 'group'
             JOIN users u ON u.id = i.inviter_id WHERE i.user_id = ? ",
            $rest
        )
    };
}

impl Db {
    /// Invites a user to a room; a second invitation changes nothing.
    pub(crate) async fn invite(
        &self,
        room: Uuid,
        user: Uuid,
        inviter: Uuid,
    ) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO invites (room_id, user_id, inviter_id, invited_at) VALUES (?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(room)
        .bind(user)
        .bind(inviter)
        .bind(now_micros())
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Returns the invitation of `user` to a room.
    pub(crate) async fn invite_to(
        &self,
        user: Uuid,
        room: Uuid,
    ) -> Result<Option<Invite>, sqlx::Error> {
        sqlx::query_as(select_invites!("AND i.room_id = ?"))
            .bind(user)
            .bind(room)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns the invitations of `user`, the newest first, at most `limit`.
    pub(crate) async fn invites(&self, user: Uuid, limit: u32) -> Result<Vec<Invite>, sqlx::Error> {
        sqlx::query_as(select_invites!("ORDER BY i.invited_at DESC LIMIT ?"))
            .bind(user)
            .bind(limit)
            .fetch_all(&self.reader)
            .await
    }

    /// Counts the open invitations to a room, up to `limit`.
    pub(crate) async fn invites_len(&self, room: Uuid, limit: u32) -> Result<u32, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM invites WHERE room_id = ? LIMIT ?)")
            .bind(room)
            .bind(limit)
            .fetch_one(&self.reader)
            .await
    }

    /// Removes an invitation. Returns whether there was one.
    pub(crate) async fn remove_invite(&self, room: Uuid, user: Uuid) -> Result<bool, StorageError> {
        let mut tx = self.writer.begin().await?;
        let removed = sqlx::query("DELETE FROM invites WHERE room_id = ? AND user_id = ?")
            .bind(room)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(removed.rows_affected() == 1)
    }
}

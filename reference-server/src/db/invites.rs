//! Invitations to private rooms.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros, rfc3339, rooms::room_lock, sql::sql};

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
             JOIN users u ON u.id = i.inviter_id WHERE i.user_id = $1 ",
            $rest
        )
    };
}

impl Db {
    /// Invites a user to a room. Returns the invitation, and whether it is new: a second one changes nothing. `None` if
    /// the room is gone.
    pub(crate) async fn invite(
        &self,
        room: Uuid,
        user: Uuid,
        inviter: Uuid,
    ) -> Result<Option<(Invite, bool)>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&room_lock(room)).await?;
        let invited = sql(
            "INSERT INTO invites (room_id, user_id, inviter_id, invited_at)
             SELECT id, $2, $3, $4 FROM rooms WHERE id = $1 ON CONFLICT DO NOTHING",
        )
        .bind(room)
        .bind(user)
        .bind(inviter)
        .bind(now_micros())
        .execute(&mut *tx)
        .await?;
        let invite: Option<Invite> = sql(select_invites!("AND i.room_id = $2"))
            .bind(user)
            .bind(room)
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(invite.map(|invite| (invite, invited == 1)))
    }

    /// Returns those who know of a private room: its owner, its members, and whom they have invited.
    pub(crate) async fn told_of_private(&self, room: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
        let users: Vec<(Uuid,)> = sql(
            "SELECT owner_id FROM rooms WHERE id = $1 AND owner_id IS NOT NULL
             UNION SELECT user_id FROM room_members WHERE room_id = $1
             UNION SELECT user_id FROM invites WHERE room_id = $1",
        )
        .bind(room)
        .fetch_all(&self.reader)
        .await?;
        Ok(users.into_iter().map(|(user,)| user).collect())
    }

    /// Returns the invitation of `user` to a room.
    pub(crate) async fn invite_to(
        &self,
        user: Uuid,
        room: Uuid,
    ) -> Result<Option<Invite>, sqlx::Error> {
        sql(select_invites!("AND i.room_id = $2"))
            .bind(user)
            .bind(room)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns the invitations of `user`, the newest first, at most `limit`.
    pub(crate) async fn invites(&self, user: Uuid, limit: u32) -> Result<Vec<Invite>, sqlx::Error> {
        sql(select_invites!("ORDER BY i.invited_at DESC LIMIT $2"))
            .bind(user)
            .bind(limit)
            .fetch_all(&self.reader)
            .await
    }

    /// Counts the open invitations to a room, up to `limit`.
    pub(crate) async fn invites_len(&self, room: Uuid, limit: u32) -> Result<u32, sqlx::Error> {
        sql("SELECT count(*) FROM (SELECT 1 FROM invites WHERE room_id = $1 LIMIT $2) AS counted")
            .bind(room)
            .bind(limit)
            .count(&self.reader)
            .await
    }

    /// Removes an invitation. Returns whether there was one.
    pub(crate) async fn remove_invite(&self, room: Uuid, user: Uuid) -> Result<bool, StorageError> {
        let mut tx = self.writer.begin().await?;
        let removed = sql("DELETE FROM invites WHERE room_id = $1 AND user_id = $2")
            .bind(room)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(removed == 1)
    }
}

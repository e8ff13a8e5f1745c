//! The newest changes of memberships, and of the roles that users have: what a node that missed some reads.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, sql::sql};

/// A change of who is a member of a room.
#[derive(Debug, FromRow)]
pub(crate) struct MemberChange {
    /// The number of the change in its room, where none is left out.
    pub(crate) seq: i64,
    pub(crate) user_id: Uuid,
    /// The name of the user, if it is a member now.
    pub(crate) username: Option<String>,
}

/// A change of the roles that a user has on a server.
#[derive(Debug, FromRow)]
pub(crate) struct HolderChange {
    /// The number of the change on its server, where none is left out.
    pub(crate) seq: i64,
    pub(crate) user_id: Uuid,
}

impl Db {
    /// Returns the changes of a room's members with numbers above `after`, in their order, at most `limit`. The oldest
    /// ones are not kept: the first one returned then is not the next.
    pub(crate) async fn member_changes(
        &self,
        room: Uuid,
        after: i64,
        limit: u32,
    ) -> Result<Vec<MemberChange>, sqlx::Error> {
        sql("SELECT c.seq, c.user_id, u.username FROM member_changes c
             LEFT JOIN room_members m ON m.room_id = c.room_id AND m.user_id = c.user_id
             LEFT JOIN users u ON u.id = m.user_id
             WHERE c.room_id = $1 AND c.seq > $2 ORDER BY c.seq LIMIT $3")
        .bind(room)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns the changes of the roles that users of a server have, as [`member_changes`](Self::member_changes) does.
    pub(crate) async fn holder_changes(
        &self,
        server: Uuid,
        after: i64,
        limit: u32,
    ) -> Result<Vec<HolderChange>, sqlx::Error> {
        sql("SELECT seq, user_id FROM holder_changes
             WHERE server_id = $1 AND seq > $2 ORDER BY seq LIMIT $3")
        .bind(server)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns the number of the newest change of the roles that users of a server have.
    pub(crate) async fn holders_seq(&self, server: Uuid) -> Result<i64, sqlx::Error> {
        let newest = sql("SELECT holders_seq FROM servers WHERE id = $1")
            .bind(server)
            .scalar_optional(&self.reader)
            .await?;
        Ok(newest.unwrap_or_default())
    }
}

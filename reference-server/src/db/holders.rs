//! The users who may be admitted to limited rooms of a server, and the limits of those rooms.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, sql::sql};

/// A user with a role of a server, or its owner.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Holder {
    pub(crate) user_id: Uuid,
    pub(crate) username: String,
    pub(crate) last_seen_at: Option<i64>,
}

/// A limited room and one of the roles that it admits; none if it admits the owner of the server only.
pub(crate) type Admission = (Uuid, Option<Uuid>);

/// The beginning of every query of admissions: of limited rooms that show everyone whom their roles admit. A private
/// room shows its members.
macro_rules! select_admissions {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, l.role_id FROM rooms r LEFT JOIN room_roles l ON l.room_id = r.id
             WHERE r.limited AND NOT r.private AND r.kind = 'group' AND ",
            $rest
        )
    };
}

impl Db {
    /// Returns up to `limit` users with a role and ids above `after`, in order of id.
    pub(crate) async fn role_holders(
        &self,
        role: Uuid,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Holder>, sqlx::Error> {
        sql("SELECT u.id AS user_id, u.username, u.last_seen_at
             FROM role_holders h JOIN users u ON u.id = h.user_id
             WHERE h.role_id = $1 AND h.user_id > $2 ORDER BY h.user_id LIMIT $3")
        .bind(role)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }

    /// Returns the owner of a server, if it has one.
    pub(crate) async fn owner_of(&self, server: Uuid) -> Result<Option<Holder>, sqlx::Error> {
        sql("SELECT u.id AS user_id, u.username, u.last_seen_at
             FROM servers s JOIN users u ON u.id = s.owner_id WHERE s.id = $1")
        .bind(server)
        .fetch_optional(&self.reader)
        .await
    }

    /// Returns a user as one who may be given a role.
    pub(crate) async fn holder(&self, user: Uuid) -> Result<Option<Holder>, sqlx::Error> {
        sql("SELECT id AS user_id, username, last_seen_at FROM users WHERE id = $1")
            .bind(user)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns whom the limited rooms of a server admit.
    pub(crate) async fn admissions(&self, server: Uuid) -> Result<Vec<Admission>, sqlx::Error> {
        sql(select_admissions!("r.server_id = $1"))
            .bind(server)
            .fetch_all(&self.reader)
            .await
    }

    /// Returns whom a room admits; nothing if it is not limited.
    pub(crate) async fn admissions_of(&self, room: Uuid) -> Result<Vec<Admission>, sqlx::Error> {
        sql(select_admissions!("r.id = $1"))
            .bind(room)
            .fetch_all(&self.reader)
            .await
    }
}

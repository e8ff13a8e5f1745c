//! Registered users.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros, rfc3339};

/// A registered user as other users see it.
#[derive(Debug, Clone, Serialize, FromRow)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) username: String,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) inserted_at: i64,
}

impl Db {
    /// Adds a user; `None` if the name is taken in the tenant, compared without case.
    pub(crate) async fn insert_user(
        &self,
        tenant: &str,
        username: String,
        password_hash: &str,
    ) -> Result<Option<User>, StorageError> {
        let user = User {
            id: Uuid::now_v7(),
            username,
            inserted_at: now_micros(),
        };
        let mut tx = self.writer.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO users (id, tenant, username, username_key, password_hash, inserted_at)
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(user.id)
        .bind(tenant)
        .bind(&user.username)
        .bind(user.username.to_lowercase())
        .bind(password_hash)
        .bind(user.inserted_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok((inserted.rows_affected() == 1).then_some(user))
    }

    /// Returns the user of that name and its password hash.
    pub(crate) async fn credentials(
        &self,
        tenant: &str,
        username: &str,
    ) -> Result<Option<(User, String)>, sqlx::Error> {
        let row: Option<(Uuid, String, i64, String)> = sqlx::query_as(
            "SELECT id, username, inserted_at, password_hash FROM users
             WHERE tenant = ? AND username_key = ?",
        )
        .bind(tenant)
        .bind(username.trim().to_lowercase())
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(|(id, username, inserted_at, hash)| {
            (
                User {
                    id,
                    username,
                    inserted_at,
                },
                hash,
            )
        }))
    }

    pub(crate) async fn user(&self, tenant: &str, id: Uuid) -> Result<Option<User>, sqlx::Error> {
        sqlx::query_as("SELECT id, username, inserted_at FROM users WHERE id = ? AND tenant = ?")
            .bind(id)
            .bind(tenant)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns up to `limit` users with ids above `after`, oldest first.
    pub(crate) async fn users(
        &self,
        tenant: &str,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<User>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, username, inserted_at FROM users
             WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(tenant)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
    }
}

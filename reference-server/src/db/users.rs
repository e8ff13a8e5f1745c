//! Registered users.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros, rfc3339};
use crate::names::Username;

/// A registered user as other users see it.
#[derive(Debug, Clone, Serialize, FromRow)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) username: String,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) inserted_at: i64,
}

impl Db {
    /// Adds a user; `None` if the tenant has one whose name looks the same.
    pub(crate) async fn insert_user(
        &self,
        tenant: &str,
        username: Username,
        password_hash: &str,
    ) -> Result<Option<User>, StorageError> {
        let user = User {
            id: Uuid::now_v7(),
            username: username.name,
            inserted_at: now_micros(),
        };
        let mut tx = self.writer.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO users (id, tenant, username, skeleton, password_hash, inserted_at)
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(user.id)
        .bind(tenant)
        .bind(&user.username)
        .bind(username.skeleton)
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
        username: &Username,
    ) -> Result<Option<(User, String)>, sqlx::Error> {
        let row: Option<(Uuid, String, i64, String)> = sqlx::query_as(
            "SELECT id, username, inserted_at, password_hash FROM users
             WHERE tenant = ? AND skeleton = ? AND username = ?",
        )
        .bind(tenant)
        .bind(&username.skeleton)
        .bind(&username.name)
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

    /// Returns whether a user of the tenant has a name with that skeleton.
    pub(crate) async fn is_taken(&self, tenant: &str, skeleton: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE tenant = ? AND skeleton = ?)")
            .bind(tenant)
            .bind(skeleton)
            .fetch_one(&self.reader)
            .await
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

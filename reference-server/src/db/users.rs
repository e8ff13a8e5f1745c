//! Registered users.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Db, StorageError, now_micros, rfc3339, rfc3339_or_null,
    sql::{Link, Reader, id_list, sql},
};
use crate::names::Username;

/// A registered user as other users see it.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) username: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) inserted_at: i64,
    /// When the last connection of the user ended.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_seen_at: Option<i64>,
}

/// The holder of a token.
#[derive(Debug, FromRow)]
pub(crate) struct TokenHolder {
    pub(crate) username: String,
    pub(crate) status: String,
    /// Tokens that were issued before, in microseconds since 1970, are not valid.
    pub(crate) tokens_since: i64,
}

#[derive(FromRow)]
struct Credentials {
    #[sqlx(flatten)]
    user: User,
    password_hash: String,
}

impl Db {
    /// Adds a user; `None` if the tenant has one whose name looks the same.
    pub(crate) async fn insert_user(
        &self,
        tenant: &str,
        username: Username,
        password_hash: &str,
    ) -> Result<Option<User>, StorageError> {
        let mut tx = self.writer.begin().await?;
        let user = insert(&mut tx, tenant, username, password_hash).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Returns the user of that name, with a password or without.
    pub(crate) async fn user_named(
        &self,
        tenant: &str,
        username: &Username,
    ) -> Result<Option<User>, sqlx::Error> {
        sql("SELECT * FROM users WHERE tenant = $1 AND skeleton = $2 AND username = $3")
            .bind(tenant)
            .bind(&username.skeleton)
            .bind(&username.name)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns the user of that name and its password hash, if it has a password.
    pub(crate) async fn credentials(
        &self,
        tenant: &str,
        username: &Username,
    ) -> Result<Option<(User, String)>, sqlx::Error> {
        let row: Option<Credentials> = sql(
            "SELECT id, username, inserted_at, last_seen_at, password_hash FROM users
             WHERE tenant = $1 AND skeleton = $2 AND username = $3 AND password_hash <> ''",
        )
        .bind(tenant)
        .bind(&username.skeleton)
        .bind(&username.name)
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(|row| (row.user, row.password_hash)))
    }

    /// Returns what a token of a user needs to be checked.
    pub(crate) async fn token_holder(
        &self,
        tenant: &str,
        id: Uuid,
    ) -> Result<Option<TokenHolder>, sqlx::Error> {
        sql(
            "SELECT u.username, u.status, coalesce(c.changed_at, 0) AS tokens_since FROM users u
             LEFT JOIN password_changes c ON c.user_id = u.id WHERE u.id = $1 AND u.tenant = $2",
        )
        .bind(id)
        .bind(tenant)
        .fetch_optional(&self.reader)
        .await
    }

    /// Returns the statuses that these users have chosen. O(users).
    pub(crate) async fn statuses(
        &self,
        users: &[Uuid],
    ) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
        let among = match self.reader {
            Reader::Sqlite(_) => sql("SELECT u.id, u.status FROM json_each($1) j
                 JOIN users u ON u.id = unhex(j.value)"),
            Reader::Postgres(_) => sql("SELECT u.id, u.status
                 FROM json_array_elements_text($1::text::json) j
                 JOIN users u ON u.id = j.value::uuid"),
        };
        among.bind(id_list(users)).fetch_all(&self.reader).await
    }

    /// Stores the status that a user has chosen.
    pub(crate) async fn set_status(&self, id: Uuid, status: &str) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sql("UPDATE users SET status = $1 WHERE id = $2")
            .bind(status)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Stores that users were last seen now.
    pub(crate) async fn note_last_seen(&self, users: &[Uuid]) -> Result<(), StorageError> {
        let now = now_micros();
        // In one order on all nodes, so that none waits for another that waits for it.
        let mut users = users.to_vec();
        users.sort_unstable();
        let mut tx = self.writer.begin().await?;
        for user in &users {
            sql("UPDATE users SET last_seen_at = $1 WHERE id = $2")
                .bind(now)
                .bind(user)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// Returns the password hash of a user, if it has a password.
    pub(crate) async fn password_hash(&self, id: Uuid) -> Result<Option<String>, sqlx::Error> {
        sql("SELECT password_hash FROM users WHERE id = $1 AND password_hash <> ''")
            .bind(id)
            .scalar_optional(&self.reader)
            .await
    }

    /// Changes the hash of a password, and ends all tokens of the user that were issued before. Returns when, in
    /// microseconds since 1970; `None` if the hash is not `old` any more.
    pub(crate) async fn change_password(
        &self,
        id: Uuid,
        old: &str,
        new: &str,
    ) -> Result<Option<i64>, StorageError> {
        let mut tx = self.writer.begin().await?;
        let changed =
            sql("UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3")
                .bind(new)
                .bind(id)
                .bind(old)
                .execute(&mut *tx)
                .await?;
        let ended = match changed {
            0 => None,
            _ => Some(end_tokens(&mut tx, id).await?),
        };
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends all tokens of a user that were issued before.
    pub(crate) async fn end_tokens(&self, id: Uuid) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        end_tokens(&mut tx, id).await?;
        tx.commit().await
    }

    /// Returns the users whose tokens have ended since a time, and when; both in microseconds since 1970.
    pub(crate) async fn ended_tokens(&self, since: i64) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
        sql("SELECT user_id, changed_at FROM password_changes WHERE changed_at >= $1")
            .bind(since)
            .fetch_all(&self.reader)
            .await
    }

    /// Stores that a token is revoked.
    pub(crate) async fn revoke_token(&self, id: Uuid, expires_at: u64) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sql("INSERT INTO revoked_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(i64::try_from(expires_at).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Returns the revoked tokens that have not expired by `now`, in seconds since 1970; forgets the others.
    pub(crate) async fn revoked_tokens(&self, now: i64) -> Result<Vec<(Uuid, u64)>, StorageError> {
        let mut tx = self.writer.begin().await?;
        sql("DELETE FROM revoked_tokens WHERE expires_at < $1")
            .bind(now)
            .execute(&mut *tx)
            .await?;
        let tokens: Vec<(Uuid, i64)> = sql("SELECT id, expires_at FROM revoked_tokens")
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        let end = |expires_at: i64| u64::try_from(expires_at).unwrap_or_default();
        Ok(tokens
            .into_iter()
            .map(|(id, expires_at)| (id, end(expires_at)))
            .collect())
    }

    /// Returns whether a user of the tenant has a name with that skeleton.
    pub(crate) async fn is_taken(&self, tenant: &str, skeleton: &str) -> Result<bool, sqlx::Error> {
        sql("SELECT EXISTS (SELECT 1 FROM users WHERE tenant = $1 AND skeleton = $2)")
            .bind(tenant)
            .bind(skeleton)
            .scalar_one(&self.reader)
            .await
    }

    pub(crate) async fn user(&self, tenant: &str, id: Uuid) -> Result<Option<User>, sqlx::Error> {
        sql("SELECT * FROM users WHERE id = $1 AND tenant = $2")
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
        sql("SELECT * FROM users WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
            .bind(tenant)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.reader)
            .await
    }
}

/// Adds a user, without a password if the hash is empty; `None` if the tenant has one whose name looks the same.
pub(super) async fn insert(
    tx: &mut Link,
    tenant: &str,
    username: Username,
    password_hash: &str,
) -> Result<Option<User>, sqlx::Error> {
    let user = User {
        id: Uuid::now_v7(),
        username: username.name,
        inserted_at: now_micros(),
        last_seen_at: None,
    };
    let inserted = sql(
        "INSERT INTO users (id, tenant, username, skeleton, password_hash, inserted_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(user.id)
    .bind(tenant)
    .bind(&user.username)
    .bind(username.skeleton)
    .bind(password_hash)
    .bind(user.inserted_at)
    .execute(tx)
    .await?;
    Ok((inserted == 1).then_some(user))
}

/// Ends all tokens of a user that were issued before now. Returns that time.
async fn end_tokens(tx: &mut Link, user: Uuid) -> Result<i64, sqlx::Error> {
    let now = now_micros();
    sql(
        "INSERT INTO password_changes (user_id, changed_at) VALUES ($1, $2)
         ON CONFLICT (user_id) DO UPDATE SET changed_at = excluded.changed_at",
    )
    .bind(user)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(now)
}

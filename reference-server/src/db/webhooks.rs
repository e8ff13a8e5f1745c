//! Events that wait for the webhook.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros};

/// An event that waits.
#[derive(Debug, FromRow)]
pub(crate) struct WaitingEvent {
    pub(crate) id: Uuid,
    /// The event as JSON.
    pub(crate) payload: String,
    pub(crate) attempts: u32,
    pub(crate) inserted_at: i64,
}

impl Db {
    /// Adds events, each with its id and JSON. Over `max` that wait the oldest are dropped. Returns how many were.
    pub(crate) async fn add_webhook_events(
        &self,
        events: &[(Uuid, String)],
        max: usize,
    ) -> Result<u64, StorageError> {
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        for (id, payload) in events {
            sqlx::query(
                "INSERT INTO webhook_events (id, payload, due_at, inserted_at)
                 VALUES (?1, ?2, ?3, ?3)",
            )
            .bind(id)
            .bind(payload)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        }
        let dropped = sqlx::query(
            "DELETE FROM webhook_events WHERE id IN (SELECT id FROM webhook_events ORDER BY id
             LIMIT max(0, (SELECT count(*) FROM webhook_events) - ?))",
        )
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(dropped.rows_affected())
    }

    /// Returns the oldest events that are due, at most `limit`.
    pub(crate) async fn due_webhook_events(
        &self,
        limit: u32,
    ) -> Result<Vec<WaitingEvent>, sqlx::Error> {
        sqlx::query_as("SELECT * FROM webhook_events WHERE due_at <= ? ORDER BY id LIMIT ?")
            .bind(now_micros())
            .bind(limit)
            .fetch_all(&self.reader)
            .await
    }

    /// Removes events.
    pub(crate) async fn remove_webhook_events(&self, ids: &[Uuid]) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM webhook_events WHERE id = ?")
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// Notes a failed attempt to send events, each with the pause in microseconds before the next.
    pub(crate) async fn delay_webhook_events(
        &self,
        events: &[(Uuid, i64)],
    ) -> Result<(), StorageError> {
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        for (id, pause) in events {
            sqlx::query(
                "UPDATE webhook_events SET attempts = attempts + 1, due_at = ? WHERE id = ?",
            )
            .bind(now + pause)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }
}

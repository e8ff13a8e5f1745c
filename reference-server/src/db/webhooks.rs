//! Events that wait for the webhook.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Db, StorageError, now_micros, sql::sql};

/// The lock under which events are added, claimed and removed.
const LOCK: &str = "webhook events";
/// The time that a node has to send the events that it took, before another one does.
const CLAIM_MICROS: i64 = 30_000_000;

/// An event that waits.
#[derive(Debug, FromRow)]
pub(crate) struct WaitingEvent {
    pub(crate) id: Uuid,
    /// The event as JSON.
    pub(crate) payload: String,
    #[sqlx(try_from = "i64")]
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
        tx.lock(LOCK).await?;
        for (id, payload) in events {
            sql(
                "INSERT INTO webhook_events (id, payload, due_at, inserted_at)
                 VALUES ($1, $2, $3, $3)",
            )
            .bind(id)
            .bind(payload)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        }
        let dropped = sql("DELETE FROM webhook_events WHERE id <=
             (SELECT id FROM webhook_events ORDER BY id DESC LIMIT 1 OFFSET $1)")
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(dropped)
    }

    /// Returns the oldest events that are due, at most `limit`. Those of PostgreSQL are not due to other nodes for
    /// `CLAIM_MICROS`.
    pub(crate) async fn due_webhook_events(
        &self,
        limit: u32,
    ) -> Result<Vec<WaitingEvent>, StorageError> {
        let now = now_micros();
        if !self.is_shared() {
            let due = sql("SELECT * FROM webhook_events WHERE due_at <= $1 ORDER BY id LIMIT $2");
            return Ok(due.bind(now).bind(limit).fetch_all(&self.reader).await?);
        }
        let mut tx = self.writer.begin().await?;
        tx.lock(LOCK).await?;
        let mut due: Vec<WaitingEvent> = sql("UPDATE webhook_events SET due_at = $1 + $2
             WHERE id IN (SELECT id FROM webhook_events WHERE due_at <= $1 ORDER BY id LIMIT $3)
             RETURNING *")
        .bind(now)
        .bind(CLAIM_MICROS)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        due.sort_unstable_by_key(|event| event.id);
        Ok(due)
    }

    /// Removes events.
    pub(crate) async fn remove_webhook_events(&self, ids: &[Uuid]) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(LOCK).await?;
        for id in ids {
            sql("DELETE FROM webhook_events WHERE id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// Makes events due at once that were taken to be sent, and were not.
    pub(crate) async fn release_webhook_events(&self, ids: &[Uuid]) -> Result<(), StorageError> {
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        tx.lock(LOCK).await?;
        for id in ids {
            sql("UPDATE webhook_events SET due_at = $1 WHERE id = $2")
                .bind(now)
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
        tx.lock(LOCK).await?;
        for (id, pause) in events {
            sql("UPDATE webhook_events SET attempts = attempts + 1, due_at = $1 WHERE id = $2")
                .bind(now + pause)
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }
}

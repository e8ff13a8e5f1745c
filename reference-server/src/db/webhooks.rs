//! Events that wait for the webhook.

use std::collections::VecDeque;

use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Db, StorageError, now_micros,
    sql::{Link, sql},
};

/// The lock under which events are claimed and removed, and added unless it is with what they tell of.
const LOCK: &str = "webhook events";
/// The time that a node has to send the events that it took, before another one does.
const CLAIM_MICROS: i64 = 30_000_000;

/// Adds an event, unless it is there.
pub(super) async fn add_event(
    tx: &mut Link,
    (id, payload): &(Uuid, String),
    now: i64,
) -> Result<(), sqlx::Error> {
    sql(
        "INSERT INTO webhook_events (id, payload, due_at, inserted_at) VALUES ($1, $2, $3, $3)
         ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(payload)
    .bind(now)
    .execute(tx)
    .await
    .map(drop)
}

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
    /// Adds events, each with its id and JSON, unless they are there. Over `max` that wait the oldest are dropped.
    /// Returns how many were.
    pub(crate) async fn add_webhook_events(
        &self,
        events: &VecDeque<(Uuid, String)>,
        max: usize,
    ) -> Result<u64, StorageError> {
        let now = now_micros();
        let mut tx = self.writer.begin().await?;
        tx.lock(LOCK).await?;
        // They are sent in the order of these times.
        for (at, event) in (now..).zip(events) {
            add_event(&mut tx, event, at).await?;
        }
        let dropped = sql("DELETE FROM webhook_events WHERE (inserted_at, id) <=
             (SELECT inserted_at, id FROM webhook_events
              ORDER BY inserted_at DESC, id DESC LIMIT 1 OFFSET $1)")
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
            let due = sql("SELECT * FROM webhook_events WHERE due_at <= $1
                 ORDER BY inserted_at, id LIMIT $2");
            return Ok(due.bind(now).bind(limit).fetch_all(&self.reader).await?);
        }
        let mut tx = self.writer.begin().await?;
        tx.lock(LOCK).await?;
        let mut due: Vec<WaitingEvent> = sql("UPDATE webhook_events SET due_at = $1 + $2
             WHERE id IN (SELECT id FROM webhook_events WHERE due_at <= $1
                          ORDER BY inserted_at, id LIMIT $3)
             RETURNING *")
        .bind(now)
        .bind(CLAIM_MICROS)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        due.sort_unstable_by_key(|event| (event.inserted_at, event.id));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn over_the_bound_the_oldest_are_dropped_and_a_repeated_event_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = Db::open(&path, None, Default::default()).await.unwrap();
        let event = |n| (Uuid::from_u128(n), n.to_string());
        let add = async |numbers: [u128; 3]| {
            let events = numbers.map(event).into();
            db.add_webhook_events(&events, 4).await.unwrap()
        };
        assert_eq!(add([1, 2, 3]).await, 0);
        // As after a commit of which no answer came.
        assert_eq!(add([1, 2, 3]).await, 0);
        assert_eq!(add([4, 5, 6]).await, 2);
        let due = db.due_webhook_events(9).await.unwrap();
        let due: Vec<_> = due.iter().map(|event| event.payload.as_str()).collect();
        assert_eq!(due, ["3", "4", "5", "6"]);
    }
}

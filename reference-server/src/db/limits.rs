//! The limit of messages that all nodes share.

use std::time::Duration;

use uuid::Uuid;

use super::{Db, StorageError, sql::sql};
use crate::limit::{MESSAGE_WINDOW, MESSAGES_MAX};

/// Windows that began longer ago than this are forgotten.
const PRUNE_AGE_MICROS: i64 = 60_000_000;

impl Db {
    /// Counts one message of a user, on PostgreSQL, by the clock of the database. Returns the time to wait as an inner
    /// error if its window is full.
    pub(crate) async fn charge_message(
        &self,
        user: Uuid,
    ) -> Result<Result<(), Duration>, StorageError> {
        let window = i64::try_from(MESSAGE_WINDOW.as_micros()).unwrap_or(i64::MAX);
        let (count, left): (i64, i64) = sql(
            "WITH clock AS (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) AS now)
             INSERT INTO message_windows AS w (user_id, started_at, count) SELECT $1, now, 1 FROM clock
             ON CONFLICT (user_id) DO UPDATE SET
                 count = CASE WHEN excluded.started_at - w.started_at >= $2 THEN 1 ELSE w.count + 1 END,
                 started_at = CASE WHEN excluded.started_at - w.started_at >= $2
                              THEN excluded.started_at ELSE w.started_at END
             RETURNING count, started_at + $2 - (SELECT now FROM clock)",
        )
        .bind(user)
        .bind(window)
        .fetch_one(&self.reader)
        .await?;
        if count <= i64::from(MESSAGES_MAX) {
            return Ok(Ok(()));
        }
        let wait = u64::try_from(left).unwrap_or_default();
        Ok(Err(Duration::from_micros(wait)))
    }

    /// Forgets windows that have ended.
    pub(crate) async fn prune_message_windows(&self) -> Result<(), StorageError> {
        sql(
            "DELETE FROM message_windows WHERE user_id IN (SELECT user_id FROM message_windows
             WHERE started_at < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) - $1
             LIMIT 1000 FOR UPDATE SKIP LOCKED)",
        )
        .bind(PRUNE_AGE_MICROS)
        .execute(&self.reader)
        .await?;
        Ok(())
    }
}

//! `Writer`: write transactions, one at a time on SQLite, several at a time on PostgreSQL.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use sqlx::PgPool;

use super::{
    StorageError,
    sql::{Link, answered, name_lost},
    sqlite::{SqliteTurn, SqliteWriter},
};
use crate::metrics::DatabaseMetrics;

/// Begins write transactions.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
    failed: AtomicU64,
    metrics: DatabaseMetrics,
}

#[derive(Debug)]
enum Store {
    Sqlite(Box<SqliteWriter>),
    Postgres(PgPool),
}

impl Writer {
    pub(super) fn sqlite(writer: SqliteWriter, metrics: DatabaseMetrics) -> Self {
        Self::of(Store::Sqlite(Box::new(writer)), metrics)
    }

    pub(super) fn postgres(pool: PgPool, metrics: DatabaseMetrics) -> Self {
        Self::of(Store::Postgres(pool), metrics)
    }

    fn of(store: Store, metrics: DatabaseMetrics) -> Self {
        Self {
            store,
            failed: AtomicU64::new(0),
            metrics,
        }
    }

    /// Begins a transaction. It is rolled back unless it is committed.
    pub(super) async fn begin(&self) -> Result<Write<'_>, StorageError> {
        let attempt = Attempt(self);
        let asked = Instant::now();
        let (link, turn, begun) = match &self.store {
            Store::Sqlite(writer) => {
                let mut turn = writer.turn().await?;
                let begun = Instant::now();
                self.metrics.waits.record(begun - asked);
                (Link::Sqlite(turn.begin().await?), Some(turn), begun)
            }
            Store::Postgres(pool) => {
                let begun = answered(pool.begin()).await.map_err(name_lost)?;
                self.metrics.waits.record(asked.elapsed());
                (Link::Postgres(begun), None, Instant::now())
            }
        };
        Ok(Write {
            link,
            turn,
            begun,
            attempt,
        })
    }

    /// Returns the number of transactions that were not committed, since the start.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for the running transactions, closes the connections and refuses later ones.
    pub(super) async fn close(&self) {
        match &self.store {
            Store::Sqlite(writer) => writer.close().await,
            Store::Postgres(pool) => pool.close().await,
        }
    }
}

/// A write transaction, on which statements run.
#[derive(Debug)]
pub(super) struct Write<'a> {
    link: Link,
    /// The turn of the one connection of SQLite.
    turn: Option<SqliteTurn<'a>>,
    begun: Instant,
    attempt: Attempt<'a>,
}

impl Write<'_> {
    /// Commits. Only after this may a written row be answered or sent.
    pub(super) async fn commit(self) -> Result<(), StorageError> {
        match (self.link, self.turn) {
            (Link::Sqlite(connection), Some(turn)) => turn.commit(connection).await?,
            (Link::Sqlite(_), None) => unreachable!("SQLite begins with a turn"),
            (Link::Postgres(transaction), _) => answered(transaction.commit()).await?,
        }
        self.attempt.succeeded(self.begun.elapsed());
        Ok(())
    }
}

impl Deref for Write<'_> {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// Counts a failure when it is dropped, and the time of a success.
#[derive(Debug)]
struct Attempt<'a>(&'a Writer);

impl Attempt<'_> {
    fn succeeded(self, time: Duration) {
        self.0.metrics.writes.record(time);
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
        self.0.metrics.failed.increment(1);
    }
}

//! SQLite: one writer, several readers, migrations embedded.

mod messages;
mod rooms;
mod users;

use std::{path::Path, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use time::OffsetDateTime;

pub(crate) use messages::{Cursor, Message, NewMessage};
pub(crate) use rooms::{Member, Role, Room};
pub(crate) use users::User;

const READERS: u32 = 4;

/// The database of the server.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Db {
    /// Opens or creates the database at `path` and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!().run(&writer).await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, reader })
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1")
            .execute(&self.reader)
            .await
            .map(drop)
    }

    /// Waits for running statements and closes the files.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Microseconds since 1970, as stored.
pub(crate) fn now_micros() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// Writes stored microseconds as RFC 3339 UTC.
pub(crate) fn rfc3339<S: serde::Serializer>(micros: &i64, s: S) -> Result<S::Ok, S::Error> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*micros) * 1_000)
        .map_err(serde::ser::Error::custom)?;
    time::serde::rfc3339::serialize(&time, s)
}

//! `Db`: SQLite with one writer, several readers and embedded migrations.

mod dms;
mod error;
mod identities;
mod invites;
mod messages;
mod rooms;
mod servers;
mod stats;
mod users;
mod webhooks;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use writer::Writer;

use crate::metrics::DatabaseMetrics;

pub(crate) use dms::Dm;
pub use error::StorageError;
pub(crate) use error::StorageFault;
pub(crate) use identities::{Enrolled, ForeignId};
pub(crate) use invites::Invite;
pub(crate) use messages::{Author, Cursor, Message, NewMessage, Stored};
pub(crate) use rooms::{Member, NewRoom, Role, Room};
pub(crate) use servers::{Category, Server};
pub(crate) use stats::Stats;
pub(crate) use users::User;

const READERS: u32 = 4;
const PAGE_BYTES: u32 = 4096;
const PAGES_PER_MIB: u64 = (1 << 20) / PAGE_BYTES as u64;
/// The time that a write waits for its turn, and again for a lock of another process.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The result of a probe is reused for this long.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// The size of a probe: as much room as the longest message needs.
const PROBE_BYTES: i64 = 16_000;

/// The database of the server.
#[derive(Debug)]
pub(crate) struct Db {
    path: PathBuf,
    writer: Writer,
    reader: SqlitePool,
    probed: Mutex<Option<(Instant, Probe)>>,
}

/// The error of the last probe, if it failed.
type Probe = Result<(), Arc<StorageError>>;

impl Db {
    /// Opens or creates the database at `path`, which may grow to `max_mib`, and brings its tables
    /// up to date.
    pub(crate) async fn open(
        path: &Path,
        max_mib: Option<u32>,
        metrics: DatabaseMetrics,
    ) -> Result<Self, StorageError> {
        create_private(path)?;
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(WAIT_MAX);
        if let Some(mib) = max_mib {
            let pages = u64::from(mib) * PAGES_PER_MIB;
            options = options.pragma("max_page_count", pages.to_string());
        }
        let writer = Writer::open(path, options.clone(), metrics).await?;
        // All are opened now and are not closed: SQLite deletes its log with the last connection, and
        // one opened later could open other files than those of the writer.
        let reader = SqlitePoolOptions::new()
            .min_connections(READERS)
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(WAIT_MAX)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self {
            path: path.into(),
            writer,
            reader,
            probed: Mutex::default(),
        })
    }

    /// Checks that the database can be read and written, by a committed write at most once in
    /// `PROBE_PERIOD`. The error names the database and the cause.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let mut probed = self.probed.lock().await;
        let probe = match &*probed {
            Some((at, probe)) if at.elapsed() < PROBE_PERIOD => probe.clone(),
            _ => {
                let probe = self.try_write().await.map_err(|error| {
                    tracing::error!(path = %self.path.display(), %error, "probe failed");
                    Arc::new(error)
                });
                *probed = Some((Instant::now(), probe.clone()));
                probe
            }
        };
        let name = self.path.file_name().unwrap_or_default().display();
        probe.map_err(|error| {
            let failed = self.writer.failed();
            format!("database {name} (SQLite): {error}; {failed} writes failed since the start")
        })
    }

    /// Writes a new row before it deletes the old one, so that the database has to grow for it.
    async fn try_write(&self) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        let id: i64 =
            sqlx::query_scalar("INSERT INTO probes (filler) VALUES (randomblob(?)) RETURNING id")
                .bind(PROBE_BYTES)
                .fetch_one(&mut *tx)
                .await?;
        sqlx::query("DELETE FROM probes WHERE id < ?")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        sqlx::query("SELECT 1").execute(&self.reader).await?;
        Ok(())
    }

    /// Waits for what runs, then closes the files; the writer last, because only it can move the log into
    /// the database.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Waits for a turn within a limit: a locked database must not build up a queue.
pub(crate) async fn in_time<T>(turn: impl Future<Output = T>) -> Result<T, StorageError> {
    let waited = tokio::time::timeout(WAIT_MAX, turn).await;
    waited.map_err(|_| StorageFault::Busy.into())
}

/// Creates the file readable by its owner only; SQLite gives its other files the same mode. An existing
/// file is not opened: closing it would release SQLite's own locks on it.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Returns the microseconds since 1970, as stored.
pub(crate) fn now_micros() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// Writes stored microseconds as RFC 3339 UTC.
pub(crate) fn rfc3339<S: serde::Serializer>(micros: &i64, s: S) -> Result<S::Ok, S::Error> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*micros) * 1_000)
        .map_err(serde::ser::Error::custom)?;
    time::serde::rfc3339::serialize(&time, s)
}

/// Writes stored microseconds as [`rfc3339`] does, or null.
pub(crate) fn rfc3339_or_null<S: serde::Serializer>(
    micros: &Option<i64>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match micros {
        Some(micros) => rfc3339(micros, s),
        None => s.serialize_none(),
    }
}

//! `Writer`: the one connection that writes, replaced whenever its transaction did not commit.
//!
//! After a failed statement or commit SQLite may have rolled back or not, and a driver that counts
//! transactions may assume either: the next write can then end up in a transaction that
//! is never committed. So a connection is reused only if its last commit succeeded.

use std::{
    fs, io,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, MutexGuard};

use super::{StorageError, StorageFault, in_time};
use crate::metrics::DatabaseMetrics;

/// Hands out one write transaction at a time.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    files: Files,
    place: Mutex<Place>,
    failed: AtomicU64,
    metrics: DatabaseMetrics,
}

#[derive(Debug, Default)]
struct Place {
    /// The connection, if its last transaction was committed.
    connection: Option<SqliteConnection>,
    closed: bool,
}

impl Writer {
    /// Opens an existing database and brings its tables up to date.
    pub(super) async fn open(
        path: &Path,
        options: SqliteConnectOptions,
        metrics: DatabaseMetrics,
    ) -> Result<Self, StorageError> {
        let mut connection = options.connect().await?;
        sqlx::migrate!()
            .run_direct(None, &mut connection, false)
            .await?;
        Ok(Self {
            files: Files::find(path)?,
            options,
            place: Mutex::new(Place {
                connection: Some(connection),
                closed: false,
            }),
            failed: AtomicU64::new(0),
            metrics,
        })
    }

    /// Begins a transaction. It is rolled back, and its connection closed, unless it is committed.
    pub(super) async fn begin(&self) -> Result<Write<'_>, StorageError> {
        let attempt = Attempt(self);
        let asked = Instant::now();
        let mut place = in_time(self.place.lock()).await?;
        let begun = Instant::now();
        self.metrics.waits.record(begun - asked);
        if place.closed {
            return Err(StorageFault::Closed.into());
        }
        self.files.check()?;
        let mut connection = match place.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await?;
        Ok(Write {
            connection,
            place,
            files: &self.files,
            begun,
            attempt,
        })
    }

    /// Returns the number of transactions that were not committed, since the start.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for the running transaction, closes the connection and refuses later ones.
    pub(super) async fn close(&self) {
        let mut place = self.place.lock().await;
        place.closed = true;
        if let Some(connection) = place.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::error!(%error, "the database could not be closed cleanly");
        }
    }
}

/// A write transaction, on which statements run as on a connection.
#[derive(Debug)]
pub(super) struct Write<'a> {
    connection: SqliteConnection,
    place: MutexGuard<'a, Place>,
    files: &'a Files,
    begun: Instant,
    attempt: Attempt<'a>,
}

impl Write<'_> {
    /// Commits. Only after this may a written row be answered or sent.
    pub(super) async fn commit(self) -> Result<(), StorageError> {
        let Self {
            mut connection,
            mut place,
            files,
            begun,
            attempt,
        } = self;
        sqlx::query("COMMIT").execute(&mut connection).await?;
        files.check()?;
        place.connection = Some(connection);
        attempt.succeeded(begun.elapsed());
        Ok(())
    }
}

impl Deref for Write<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
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

/// The database and its log as they were at the start. SQLite continues to write to deleted files,
/// and such commits are lost.
#[derive(Debug)]
struct Files([(PathBuf, FileId); 2]);

/// Device and inode.
type FileId = (u64, u64);

impl Files {
    fn find(path: &Path) -> io::Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let file = |path: PathBuf| Ok::<_, io::Error>((path.clone(), file_id(&path)?));
        Ok(Self([file(path.into())?, file(log.into())?]))
    }

    /// Returns an error if one of them is deleted or another file has its name.
    fn check(&self) -> Result<(), StorageError> {
        let Self(files) = self;
        let in_place = |(path, id): &(PathBuf, FileId)| file_id(path).is_ok_and(|now| now == *id);
        if files.iter().all(in_place) {
            Ok(())
        } else {
            Err(StorageFault::Missing.into())
        }
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// On other systems an open file cannot be deleted.
#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|_| (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(tx: &mut Write<'_>, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)
    }

    /// Marks the connection: only the one that created a temporary table sees it.
    async fn mark(writer: &Writer) {
        let mut tx = writer.begin().await.unwrap();
        run(&mut tx, "CREATE TEMP TABLE mark (x)").await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Returns whether the connection is marked, and the number of rows.
    async fn state(writer: &Writer) -> (bool, i64) {
        let mut tx = writer.begin().await.unwrap();
        let marked = run(&mut tx, "SELECT * FROM mark").await.is_ok();
        let rows = sqlx::query_scalar("SELECT count(*) FROM probes");
        let rows = rows.fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        (marked, rows)
    }

    #[tokio::test]
    async fn a_connection_whose_transaction_did_not_commit_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
        let writer = Writer::open(&path, options.clone(), DatabaseMetrics::default())
            .await
            .unwrap();
        // Like the readers, it prevents the deletion of the log.
        let mut reader = options.connect().await.unwrap();
        let rows = sqlx::query("SELECT count(*) FROM probes");
        rows.execute(&mut reader).await.unwrap();
        mark(&writer).await;
        assert_eq!(state(&writer).await, (true, 0));

        let insert = "INSERT INTO probes (filler) VALUES (x'00')";
        let orphan = "PRAGMA defer_foreign_keys = ON;
                      INSERT INTO room_members VALUES (x'01', x'02', 'member', 0, 0)";
        for (failures, fault) in ["commit", "statement", "given up"].into_iter().enumerate() {
            assert_eq!(writer.failed(), failures as u64);
            let mut tx = writer.begin().await.unwrap();
            run(&mut tx, insert).await.unwrap();
            match fault {
                "commit" => {
                    run(&mut tx, orphan).await.unwrap();
                    assert_eq!(tx.commit().await.unwrap_err().fault, StorageFault::Failed);
                }
                "statement" => {
                    run(&mut tx, "nonsense").await.unwrap_err();
                    drop(tx);
                }
                _ => drop(tx),
            }
            assert_eq!(state(&writer).await, (false, 0), "{fault}");
            mark(&writer).await;
        }
        assert_eq!(writer.failed(), 3);
        writer.close().await;
        let refused = writer.begin().await.unwrap_err();
        assert_eq!(refused.fault, StorageFault::Closed);
    }
}

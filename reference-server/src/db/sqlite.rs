//! `SqliteWriter`: the one connection to SQLite that writes, replaced whenever its transaction did not commit.
//!
//! After a failed statement or commit SQLite may have rolled back or not, and a driver that counts
//! transactions may assume either: the next write can then end up in a transaction that
//! is never committed. So a connection is reused only if its last commit succeeded.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};

use super::{StorageError, StorageFault, WAIT_MAX, in_time};

const READERS: u32 = 4;
const PAGE_BYTES: u32 = 4096;
/// Rows that a connection reads before the first is taken: its thread waits for the taker after as many.
const ROWS_READ_AHEAD: usize = 1_000;
const PAGES_PER_MIB: u64 = (1 << 20) / PAGE_BYTES as u64;

/// Opens or creates the database at `path`, which may grow to `max_mib`, and brings its tables up to date.
pub(super) async fn open(
    path: &Path,
    max_mib: Option<u32>,
) -> Result<(SqliteWriter, SqlitePool), StorageError> {
    create_private(path)?;
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .row_buffer_size(ROWS_READ_AHEAD)
        .busy_timeout(WAIT_MAX);
    if let Some(mib) = max_mib {
        let pages = u64::from(mib) * PAGES_PER_MIB;
        options = options.pragma("max_page_count", pages.to_string());
    }
    let writer = SqliteWriter::open(path, options.clone()).await?;
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
    Ok((writer, reader))
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

/// Hands out one connection at a time.
#[derive(Debug)]
pub(super) struct SqliteWriter {
    options: SqliteConnectOptions,
    files: Files,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// The connection, if its last transaction was committed.
    connection: Option<SqliteConnection>,
    closed: bool,
}

impl SqliteWriter {
    /// Opens an existing database and brings its tables up to date.
    pub(super) async fn open(
        path: &Path,
        options: SqliteConnectOptions,
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
        })
    }

    /// Waits for the turn to write.
    pub(super) async fn turn(&self) -> Result<SqliteTurn<'_>, StorageError> {
        let place = in_time(self.place.lock()).await?;
        if place.closed {
            return Err(StorageFault::Closed.into());
        }
        Ok(SqliteTurn {
            writer: self,
            place,
        })
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

/// The turn to write, held until it is dropped.
#[derive(Debug)]
pub(super) struct SqliteTurn<'a> {
    writer: &'a SqliteWriter,
    place: MutexGuard<'a, Place>,
}

impl SqliteTurn<'_> {
    /// Begins a transaction on a connection, which is closed unless it is committed.
    pub(super) async fn begin(&mut self) -> Result<SqliteConnection, StorageError> {
        self.writer.files.check()?;
        let mut connection = match self.place.connection.take() {
            Some(connection) => connection,
            None => self.writer.options.connect().await?,
        };
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }

    /// Commits the transaction of a connection.
    pub(super) async fn commit(
        mut self,
        mut connection: SqliteConnection,
    ) -> Result<(), StorageError> {
        sqlx::query("COMMIT").execute(&mut connection).await?;
        self.writer.files.check()?;
        self.place.connection = Some(connection);
        Ok(())
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
    use crate::{
        db::{
            sql::{Link, sql},
            writer::{Write, Writer},
        },
        metrics::DatabaseMetrics,
    };

    async fn run(tx: &mut Write<'_>, sql: &'static str) -> Result<(), sqlx::Error> {
        let Link::Sqlite(connection) = &mut **tx else {
            panic!("this is SQLite");
        };
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
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
        let rows = sql("SELECT count(*) FROM probes").scalar_one(&mut *tx);
        let rows = rows.await.unwrap();
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
        let writer = SqliteWriter::open(&path, options.clone()).await.unwrap();
        let writer = Writer::sqlite(writer, DatabaseMetrics::default());
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

//! `Db`: SQLite with one writer and several readers, or PostgreSQL that several nodes share; embedded migrations.

mod added;
mod changes;
mod dms;
mod error;
mod holders;
mod identities;
mod invites;
mod limits;
mod members;
mod mentions;
mod messages;
mod postgres;
mod roles;
mod rooms;
mod servers;
mod sql;
mod sqlite;
mod stats;
mod users;
mod webhooks;
mod writer;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

use sql::{Reader, sql};
use writer::Writer;

use crate::metrics::DatabaseMetrics;

pub(crate) use added::Added;
pub(crate) use changes::MemberChange;
pub(crate) use dms::Dm;
pub use error::StorageError;
pub(crate) use error::StorageFault;
pub(crate) use holders::{Admission, Holder};
pub(crate) use identities::{Enrolled, ForeignId};
pub(crate) use invites::Invite;
pub(crate) use members::Member;
pub(crate) use messages::{Author, Changer, Cursor, Message, NewMessage, Stored};
pub use postgres::DatabaseUrl;
pub(crate) use roles::{RoleContent, ServerRole};
pub(crate) use rooms::{ListedRoom, Most, NewRoom, Role, Room};
pub(crate) use servers::{Category, Deleted, Server};
pub(crate) use stats::Stats;
pub(crate) use users::User;
pub(crate) use webhooks::WaitingEvent;

/// The time that a write waits for its turn, and again for a lock of another process.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The result of a probe is reused for this long.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// The size of a probe, in ids of 16 bytes: as much room as the longest message needs.
const PROBE_IDS: usize = 1_000;

/// The database of the server.
#[derive(Debug)]
pub(crate) struct Db {
    /// The database as errors name it, without a password.
    name: String,
    writer: Writer,
    reader: Reader,
    probed: Mutex<Option<(Instant, Probe)>>,
}

/// The error of the last probe, if it failed.
type Probe = Result<(), Arc<StorageError>>;

impl Db {
    /// Opens or creates the SQLite database at `path`, which may grow to `max_mib`, and brings its tables
    /// up to date.
    pub(crate) async fn open(
        path: &Path,
        max_mib: Option<u32>,
        metrics: DatabaseMetrics,
    ) -> Result<Self, StorageError> {
        let (writer, reader) = sqlite::open(path, max_mib).await?;
        let name = path.file_name().unwrap_or_default().display();
        Ok(Self {
            name: format!("{name} (SQLite)"),
            writer: Writer::sqlite(writer, metrics),
            reader: Reader::Sqlite(reader),
            probed: Mutex::default(),
        })
    }

    /// Connects to the PostgreSQL database at `url` and brings its tables up to date.
    pub(crate) async fn connect(
        url: &DatabaseUrl,
        metrics: DatabaseMetrics,
    ) -> Result<Self, StorageError> {
        let pool = postgres::connect(url).await?;
        Ok(Self {
            name: format!("{url} (PostgreSQL)"),
            writer: Writer::postgres(pool.clone(), metrics),
            reader: Reader::Postgres(pool),
            probed: Mutex::default(),
        })
    }

    /// Returns whether other nodes may use the database.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.reader, Reader::Postgres(_))
    }

    /// Checks that the database can be read and written, by a committed write at most once in
    /// `PROBE_PERIOD`. The error names the database and the cause.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let mut probed = self.probed.lock().await;
        let probe = match &*probed {
            Some((at, probe)) if at.elapsed() < PROBE_PERIOD => probe.clone(),
            _ => {
                let probe = self.try_write().await.map_err(|error| {
                    tracing::error!(database = self.name, %error, "probe failed");
                    Arc::new(error)
                });
                *probed = Some((Instant::now(), probe.clone()));
                probe
            }
        };
        probe.map_err(|error| {
            let name = &self.name;
            let failed = self.writer.failed();
            format!("database {name}: {error}; {failed} writes failed since the start")
        })
    }

    /// Writes a new row before it deletes the old one, so that the database has to grow for it. PostgreSQL would
    /// compress what is not random.
    async fn try_write(&self) -> Result<(), StorageError> {
        let ids = (0..PROBE_IDS).map(|_| Uuid::new_v4().into_bytes());
        let random: Vec<[u8; 16]> = ids.collect();
        let mut tx = self.writer.begin().await?;
        let filler = "INSERT INTO probes (filler) VALUES ($1) RETURNING id";
        let id: i64 = sql(filler)
            .bind(random.concat())
            .scalar_one(&mut *tx)
            .await?;
        sql("DELETE FROM probes WHERE id < $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        sql("SELECT 1").execute(&self.reader).await?;
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

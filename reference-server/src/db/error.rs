//! Faults of the storage: a reason for programs, a hint for operators.

use std::error::Error;

use sqlx::{migrate::MigrateError, postgres::PgDatabaseError};

/// A kind of fault of the storage. Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageFault {
    Full,
    Busy,
    ReadOnly,
    Missing,
    Unopened,
    Unreachable,
    Refused,
    Damaged,
    Newer,
    Closed,
    Failed,
}

impl StorageFault {
    /// Names the fault to clients.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Full => "storage full",
            Self::Busy => "storage busy",
            Self::ReadOnly => "storage read-only",
            Self::Missing => "storage missing",
            Self::Unopened => "storage cannot be opened",
            Self::Unreachable => "storage unreachable",
            Self::Refused => "storage refused",
            Self::Damaged => "storage damaged",
            Self::Newer => "storage of a newer version",
            Self::Closed => "shutting down",
            Self::Failed => "storage failed",
        }
    }

    /// Returns what an operator can do about it.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Full => {
                "free space or raise --database-max-mib; writes then succeed without a restart"
            }
            Self::Busy => {
                "a lock was not free in time; another process holds it: \
                 wait for a node that changes the tables, end any other"
            }
            Self::ReadOnly => {
                "make the file and its directory writable, or name the primary in --database"
            }
            Self::Missing => {
                "its files were deleted or replaced while the server runs; \
                 put them back and restart"
            }
            Self::Unopened => "check that its directory exists and is writable",
            Self::Unreachable => {
                "the database server does not answer, or has no connection left; \
                 start it, check --database or raise its max_connections; \
                 writes then succeed without a restart"
            }
            Self::Refused => "check the user, its password and the database that --database names",
            Self::Damaged => "this is no database or a damaged one; restore a backup",
            Self::Newer => "a newer headcount-server wrote it; run that one",
            Self::Closed => "the server stops",
            Self::Failed => "the disk or the database refused; see the log",
        }
    }

    /// Reads SQLite's result code; the upper bits of an extended one only refine it.
    fn from_sqlite(code: u32) -> Self {
        match code & 0xff {
            5 | 6 => Self::Busy,
            8 => Self::ReadOnly,
            11 | 26 => Self::Damaged,
            13 => Self::Full,
            14 => Self::Unopened,
            _ => Self::Failed,
        }
    }

    /// Reads the SQLSTATE of PostgreSQL.
    fn from_postgres(code: &str) -> Self {
        match code {
            "53100" => Self::Full,
            // A lock was not free in time, transactions waited for each other.
            "55P03" | "57014" | "40001" | "40P01" => Self::Busy,
            "25006" => Self::ReadOnly,
            // Too many connections, a stop or a start of the server.
            "53300" | "57P01" | "57P02" | "57P03" => Self::Unreachable,
            "XX001" | "XX002" => Self::Damaged,
            "3D000" => Self::Refused,
            code if code.starts_with("28") => Self::Refused,
            code if code.starts_with("08") => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// A fault of the storage, with the database's own message. Nothing was stored, unless a connection to
/// PostgreSQL was lost during a commit: then it may have been.
#[derive(Debug)]
pub struct StorageError {
    pub(crate) fault: StorageFault,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.fault.reason())?;
        match &self.source {
            Some(source) => write!(f, ": {source}; {}", self.fault.hint()),
            None => write!(f, "; {}", self.fault.hint()),
        }
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<StorageFault> for StorageError {
    fn from(fault: StorageFault) -> Self {
        Self {
            fault,
            source: None,
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        let fault = match &error {
            sqlx::Error::Database(e) => match e.try_downcast_ref::<PgDatabaseError>() {
                Some(e) => StorageFault::from_postgres(e.code()),
                None => {
                    let code = e.code().and_then(|code| code.parse().ok());
                    StorageFault::from_sqlite(code.unwrap_or_default())
                }
            },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => StorageFault::Unreachable,
            sqlx::Error::PoolTimedOut => StorageFault::Busy,
            sqlx::Error::PoolClosed => StorageFault::Closed,
            _ => StorageFault::Failed,
        };
        Self {
            fault,
            source: Some(error.into()),
        }
    }
}

impl From<MigrateError> for StorageError {
    fn from(error: MigrateError) -> Self {
        let newer = |error: &MigrateError| matches!(error, MigrateError::VersionMissing(_));
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self {
                fault: if newer(&error) {
                    StorageFault::Newer
                } else {
                    StorageFault::Failed
                },
                source: Some(error.into()),
            },
        }
    }
}

impl From<std::io::Error> for StorageError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let fault = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageFault::Full,
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => StorageFault::ReadOnly,
            ErrorKind::NotFound => StorageFault::Unopened,
            _ => StorageFault::Failed,
        };
        Self {
            fault,
            source: Some(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each SQLSTATE by which PostgreSQL refuses leads to what helps.
    #[test]
    fn faults_of_postgresql_have_their_hints() {
        for (codes, fault, hint) in [
            (&["53100"][..], StorageFault::Full, "free space"),
            (
                &["55P03", "57014", "40001", "40P01"],
                StorageFault::Busy,
                "a lock was not free in time",
            ),
            (&["25006"], StorageFault::ReadOnly, "name the primary"),
            (
                &["53300", "57P01", "57P02", "57P03", "08006", "08P01"],
                StorageFault::Unreachable,
                "raise its max_connections",
            ),
            (
                &["XX001", "XX002"],
                StorageFault::Damaged,
                "restore a backup",
            ),
            (
                &["3D000", "28000", "28P01"],
                StorageFault::Refused,
                "check the user",
            ),
            (&["23505", "42P01", ""], StorageFault::Failed, "see the log"),
        ] {
            for code in codes {
                assert_eq!(StorageFault::from_postgres(code), fault, "{code}");
            }
            let text = StorageError::from(fault).to_string();
            assert!(
                text.starts_with(fault.reason()) && text.contains(hint),
                "{text}"
            );
        }
    }

    #[test]
    fn what_the_pool_and_the_network_refuse_has_its_fault() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for (error, fault) in [
            (sqlx::Error::Io(lost), StorageFault::Unreachable),
            (sqlx::Error::PoolTimedOut, StorageFault::Busy),
            (sqlx::Error::PoolClosed, StorageFault::Closed),
            (sqlx::Error::WorkerCrashed, StorageFault::Failed),
        ] {
            assert_eq!(StorageError::from(error).fault, fault);
        }
    }
}

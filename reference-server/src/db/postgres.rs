//! The connections to PostgreSQL, and the address of the database.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{StorageError, WAIT_MAX, sql::name_lost};

/// Connections of a node: those that write, and those that read.
const CONNECTIONS: u32 = 20;
/// A connection that was idle for longer than this is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// Settings of each connection. A commit returns once it is on disk, whatever the database's own default is.
const SETTINGS: [(&str, &str); 4] = [
    ("synchronous_commit", "on"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "30s"),
];

/// The address of a PostgreSQL database. What it prints has no password in it.
#[derive(Clone)]
pub struct DatabaseUrl(Result<Box<PgConnectOptions>, &'static str>);

impl DatabaseUrl {
    pub(crate) fn options(&self) -> Result<&PgConnectOptions, &'static str> {
        self.0.as_deref().map_err(|error| *error)
    }
}

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    /// Never fails, since the error of a flag would print its value: the check of the settings refuses a wrong one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "it is no address like postgres://user@host/database";
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let options = text.parse().map(Box::new).map_err(|_| FORM);
        Ok(Self(if is_postgres { options } else { Err(FORM) }))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(options) = &self.0 else {
            return f.write_str("postgres://..");
        };
        let user = options.get_username();
        let port = options.get_port();
        let database = options.get_database().unwrap_or(user);
        match options.get_socket() {
            Some(socket) => write!(f, "{database} of {user} at {}", socket.display()),
            None => write!(
                f,
                "postgres://{user}@{}:{port}/{database}",
                options.get_host()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Connects, and brings the tables up to date. Nodes that start together do it one after the other.
pub(super) async fn connect(url: &DatabaseUrl) -> Result<PgPool, StorageError> {
    let options = url.options().map_err(std::io::Error::other)?;
    let options = options
        .clone()
        .application_name("headcount-server")
        .options(SETTINGS);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(WAIT_MAX)
        .idle_timeout(IDLE_MAX)
        .connect_with(options)
        .await
        .map_err(name_lost)?;
    sqlx::migrate!("./migrations/postgres").run(&pool).await?;
    Ok(pool)
}

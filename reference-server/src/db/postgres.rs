//! The connections to PostgreSQL, and the address of the database.

use std::{fmt, io, str::FromStr, time::Duration};

use reqwest::Url;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{StorageError, WAIT_MAX, sql::name_lost};

/// Connections of a node: those that write, and those that read.
const CONNECTIONS: u32 = 20;
/// A connection that was idle for longer than this is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// The time in which a connection must answer before and after it is used. One whose other end is gone without a word
/// would take the whole wait for a connection.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The parameters of an address that are obeyed, beside `options[name]`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// Settings of each connection. A commit returns once it is on disk, whatever the database's own default is.
const SETTINGS: [(&str, &str); 4] = [
    ("synchronous_commit", "on"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "30s"),
];

/// The address of a PostgreSQL database. What it prints has no password in it.
#[derive(Clone)]
pub struct DatabaseUrl(Result<Box<PgConnectOptions>, String>);

impl DatabaseUrl {
    pub(crate) fn options(&self) -> Result<&PgConnectOptions, &str> {
        self.0.as_deref().map_err(String::as_str)
    }
}

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    /// Never fails, since the error of a flag would print its value: the check of the settings refuses a wrong one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(parse(text).map(Box::new)))
    }
}

/// Parses an address. The error quotes nothing but the name of a parameter.
fn parse(text: &str) -> Result<PgConnectOptions, String> {
    const FORM: &str = "it is no address like postgres://user@host/database";
    let url = Url::parse(text).map_err(|_| FORM)?;
    if !["postgres", "postgresql"].contains(&url.scheme()) || !text.contains("://") {
        return Err(FORM.into());
    }
    for (name, _) in url.query_pairs() {
        let is_option = name.starts_with("options[") && name.ends_with(']');
        if !is_option && !PARAMETERS.contains(&&*name) {
            let known = PARAMETERS.join(", ");
            return Err(format!("there is no parameter {name:?}, but {known}"));
        }
    }
    text.parse().map_err(|_| FORM.into())
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
    let options = url.options().map_err(io::Error::other)?;
    let mut options = options.clone().options(SETTINGS);
    if options.get_application_name().is_none() {
        options = options.application_name("headcount-server");
    }
    migrate(options.clone()).await?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(WAIT_MAX)
        .idle_timeout(IDLE_MAX)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_alive(connection)))
        // The pool itself would wait for ever for the answer to the statement that was given up.
        .after_release(|connection, _| Box::pin(is_alive(connection)))
        .connect_with(options)
        .await
        .map_err(name_lost)?;
    Ok(pool)
}

/// Brings the tables up to date. A statement for that may take longer than others.
async fn migrate(options: PgConnectOptions) -> Result<(), StorageError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(WAIT_MAX)
        .connect_with(options.options([("statement_timeout", "0")]))
        .await
        .map_err(name_lost)?;
    sqlx::migrate!("./migrations/postgres").run(&pool).await?;
    pool.close().await;
    Ok(())
}

/// Checks that the other end of a connection answers. After an error the pool makes a new connection in its place.
async fn is_alive(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answer = tokio::time::timeout(ANSWER_MAX, connection.ping()).await;
    answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They were ignored, also misspelt ones of TLS.
    #[test]
    fn a_parameter_that_is_not_obeyed_is_refused() {
        let refusal = |text: &str| {
            let url: DatabaseUrl = text.parse().unwrap();
            url.options().err().map(str::to_owned)
        };
        for good in [
            "postgres://chat@db/chat",
            "postgresql://chat@db:5433/chat?sslmode=verify-full&sslrootcert=ca.pem",
            "postgres:///chat?user=chat&host=/run/postgresql",
            "postgres://db/chat?options[search_path]=chat&application_name=chat",
        ] {
            assert_eq!(refusal(good), None, "{good}");
        }
        let refused = refusal("postgres://chat:hunter2@db/chat?sslmod=verify-full").unwrap();
        assert!(refused.contains("\"sslmod\""), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
        for bad in [
            "db/chat",
            "mysql://db/chat",
            "postgres:chat",
            "postgres://db/chat?sslmode=on",
        ] {
            assert!(refusal(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn the_name_of_the_application_may_be_given() {
        let named: DatabaseUrl = "postgres://db/chat?application_name=blue".parse().unwrap();
        assert_eq!(
            named.options().unwrap().get_application_name(),
            Some("blue")
        );
    }
}

//! `Statement`: a statement that runs on SQLite and PostgreSQL alike. Its text names parameters `$1`, `$2`, which both
//! understand, and avoids what only one of them knows.

use std::{io, time::Duration};

use sqlx::{
    Arguments as _, FromRow, PgConnection, PgPool, Postgres, SqliteConnection, SqlitePool,
    Transaction,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};
use tokio::time::timeout;
use uuid::Uuid;

/// The longest wait for PostgreSQL: more than that for a connection and the limit of a statement together.
const STATEMENT_MAX: Duration = Duration::from_secs(40);

/// A value that both databases can read from a row.
pub(super) trait FromEither:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> FromEither for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// The value of a parameter.
#[derive(Debug)]
pub(super) enum Value {
    Id(Option<Uuid>),
    Text(Option<String>),
    Number(i64),
    Truth(bool),
    Bytes(Vec<u8>),
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self::Id(Some(id))
    }
}

impl From<&Uuid> for Value {
    fn from(id: &Uuid) -> Self {
        Self::Id(Some(*id))
    }
}

impl From<Option<Uuid>> for Value {
    fn from(id: Option<Uuid>) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// The connections that only read.
#[derive(Debug)]
pub(super) enum Reader {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Reader {
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The connection of a transaction.
#[derive(Debug)]
pub(super) enum Link {
    Sqlite(SqliteConnection),
    Postgres(Transaction<'static, Postgres>),
}

impl Link {
    /// Waits until no other transaction holds the lock of that name, and holds it until the end of this one. On
    /// SQLite there is no other transaction. What this transaction reads after it has the lock, the last
    /// holder has committed.
    pub(super) async fn lock(&mut self, name: &str) -> Result<(), sqlx::Error> {
        if let Self::Postgres(_) = self {
            sql("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(name)
                .execute(self)
                .await?;
        }
        Ok(())
    }
}

/// The place at which a statement runs.
#[derive(Debug)]
pub(super) enum On<'a> {
    SqlitePool(&'a SqlitePool),
    PostgresPool(&'a PgPool),
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl<'a> From<&'a Reader> for On<'a> {
    fn from(reader: &'a Reader) -> Self {
        match reader {
            Reader::Sqlite(pool) => Self::SqlitePool(pool),
            Reader::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}

impl<'a> From<&'a mut Link> for On<'a> {
    fn from(link: &'a mut Link) -> Self {
        match link {
            Link::Sqlite(connection) => Self::Sqlite(connection),
            Link::Postgres(transaction) => Self::Postgres(transaction),
        }
    }
}

/// A statement with its parameters.
#[derive(Debug)]
#[must_use]
pub(super) struct Statement {
    text: &'static str,
    values: Vec<Value>,
}

/// Begins a statement.
pub(super) fn sql(text: &'static str) -> Statement {
    Statement {
        text,
        values: Vec::new(),
    }
}

/// Writes ids as a list of JSON, in digits alone, which both databases read.
pub(super) fn id_list(ids: &[Uuid]) -> String {
    let ids: Vec<_> = ids
        .iter()
        .map(|id| format!("\"{}\"", id.simple()))
        .collect();
    format!("[{}]", ids.join(","))
}

/// Calls a method of sqlx on the statement with the arguments of the database at hand.
macro_rules! run {
    ($statement:ident, $on:ident, $query:ident, $method:ident) => {
        match $on.into() {
            On::SqlitePool(pool) => {
                let arguments = $statement.sqlite_arguments()?;
                let query = sqlx::$query($statement.text, arguments);
                query.$method(pool).await
            }
            On::Sqlite(connection) => {
                let arguments = $statement.sqlite_arguments()?;
                let query = sqlx::$query($statement.text, arguments);
                query.$method(connection).await
            }
            On::PostgresPool(pool) => {
                let arguments = $statement.postgres_arguments()?;
                let query = sqlx::$query($statement.text, arguments);
                answered(query.$method(pool)).await.map_err(name_lost)
            }
            On::Postgres(connection) => {
                let arguments = $statement.postgres_arguments()?;
                let query = sqlx::$query($statement.text, arguments);
                answered(query.$method(connection)).await
            }
        }
    };
}

impl Statement {
    /// Adds the value of the next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs the statement. Returns the number of rows that it wrote.
    pub(super) async fn execute<'a>(self, on: impl Into<On<'a>>) -> Result<u64, sqlx::Error> {
        match on.into() {
            On::Sqlite(connection) => {
                let arguments = self.sqlite_arguments()?;
                let query = sqlx::query_with(self.text, arguments);
                Ok(query.execute(connection).await?.rows_affected())
            }
            On::SqlitePool(pool) => {
                let arguments = self.sqlite_arguments()?;
                let query = sqlx::query_with(self.text, arguments);
                Ok(query.execute(pool).await?.rows_affected())
            }
            On::Postgres(connection) => {
                let arguments = self.postgres_arguments()?;
                let query = sqlx::query_with(self.text, arguments);
                let done = answered(query.execute(connection)).await?;
                Ok(done.rows_affected())
            }
            On::PostgresPool(pool) => {
                let arguments = self.postgres_arguments()?;
                let query = sqlx::query_with(self.text, arguments);
                let done = answered(query.execute(pool)).await.map_err(name_lost)?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Returns all rows.
    pub(super) async fn fetch_all<'a, T: FromEither>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Vec<T>, sqlx::Error> {
        run!(self, on, query_as_with, fetch_all)
    }

    /// Returns the first row, if there is one.
    pub(super) async fn fetch_optional<'a, T: FromEither>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Option<T>, sqlx::Error> {
        run!(self, on, query_as_with, fetch_optional)
    }

    /// Returns the first row.
    pub(super) async fn fetch_one<'a, T: FromEither>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<T, sqlx::Error> {
        run!(self, on, query_as_with, fetch_one)
    }

    /// Returns the only column of the first row, if there is a row.
    pub(super) async fn scalar_optional<'a, T>(
        self,
        on: impl Into<On<'a>>,
    ) -> Result<Option<T>, sqlx::Error>
    where
        (T,): FromEither,
    {
        Ok(self.fetch_optional::<(T,)>(on).await?.map(|(value,)| value))
    }

    /// Returns the only column of the first row.
    pub(super) async fn scalar_one<'a, T>(self, on: impl Into<On<'a>>) -> Result<T, sqlx::Error>
    where
        (T,): FromEither,
    {
        Ok(self.fetch_one::<(T,)>(on).await?.0)
    }

    /// Returns the number in the only row.
    pub(super) async fn count<'a>(self, on: impl Into<On<'a>>) -> Result<u32, sqlx::Error> {
        let count: i64 = self.scalar_one(on).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn sqlite_arguments(&self) -> Result<SqliteArguments, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        for value in &self.values {
            match value {
                Value::Id(id) => arguments.add(*id),
                Value::Text(text) => arguments.add(text.clone()),
                Value::Number(number) => arguments.add(*number),
                Value::Truth(truth) => arguments.add(*truth),
                Value::Bytes(bytes) => arguments.add(bytes.clone()),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    fn postgres_arguments(&self) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for value in &self.values {
            match value {
                Value::Id(id) => arguments.add(*id),
                Value::Text(text) => arguments.add(text.as_deref()),
                Value::Number(number) => arguments.add(*number),
                Value::Truth(truth) => arguments.add(*truth),
                Value::Bytes(bytes) => arguments.add(bytes.as_slice()),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

/// Waits for what PostgreSQL does, which ends each statement itself before the wait is over: if not, its host is gone.
pub(super) async fn answered<T>(
    done: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(STATEMENT_MAX, done).await.unwrap_or_else(|_| {
        let text = "the database server did not answer in time";
        Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
    })
}

/// Names the usual reason for a pool that gave no connection in time: the server of the database does not answer.
pub(super) fn name_lost(error: sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::PoolTimedOut => {
            let text = "no connection to the database server in time";
            io::Error::new(io::ErrorKind::TimedOut, text).into()
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;
    use crate::db::{StorageError, StorageFault};

    /// It waited for ever.
    #[tokio::test(start_paused = true)]
    async fn a_database_that_does_not_answer_is_unreachable() {
        let error = answered::<()>(future::pending()).await.unwrap_err();
        let error = StorageError::from(error);
        assert_eq!(error.fault, StorageFault::Unreachable);
        let text = error.to_string();
        assert!(text.contains("did not answer in time") && text.contains("start it"));
        assert_eq!(answered(future::ready(Ok(7))).await.unwrap(), 7);
    }
}

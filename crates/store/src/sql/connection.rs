//! A transaction in either database, and what comes back from it.

use std::future::Future;
use std::io;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Postgres, Sqlite};

use super::statement::Statement;
use crate::error::has_outdated_plan;

/// How long Postgres may take for one statement. Longer than it takes to wait for the lock of another writer; whoever
/// waits for a server that went away without a word waits no longer than this.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Connection {
    pub(super) async fn rows(&mut self, statement: Statement) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Sqlite(inner) => Ok(statement.sqlite().fetch_all(&mut **inner).await?.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(inner) => {
                let rows = answered(statement.postgres().fetch_all(&mut **inner)).await;
                Ok(usable(inner, rows).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    pub(super) async fn row(&mut self, statement: Statement) -> sqlx::Result<Option<Row>> {
        match self {
            Self::Sqlite(inner) => Ok(statement.sqlite().fetch_optional(&mut **inner).await?.map(Row::Sqlite)),
            Self::Postgres(inner) => {
                let row = answered(statement.postgres().fetch_optional(&mut **inner)).await;
                Ok(usable(inner, row).await?.map(Row::Postgres))
            }
        }
    }

    /// Answers how many rows it concerned.
    pub(super) async fn execute(&mut self, statement: Statement) -> sqlx::Result<u64> {
        match self {
            Self::Sqlite(inner) => Ok(statement.sqlite().execute(&mut **inner).await?.rows_affected()),
            Self::Postgres(inner) => Ok(answered(statement.postgres().execute(&mut **inner)).await?.rows_affected()),
        }
    }

    /// A statement that answers the time of the database, in microseconds since the Unix epoch.
    pub(super) fn clock(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres(_) => "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
        }
    }

    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(inner) => inner.commit().await,
            Self::Postgres(inner) => answered(inner.commit()).await,
        }
    }
}

/// `work`, or an error where the server stays silent.
pub(crate) async fn answered<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let silence = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", ANSWER.as_secs())));
    tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| Err(silence()))
}

/// Lets go of what was prepared for columns that there were before another replica migrated the schema. This transaction
/// is lost; the next one on the same connection works.
async fn usable<T>(inner: &mut sqlx::Transaction<'static, Postgres>, result: sqlx::Result<T>) -> sqlx::Result<T> {
    if let Err(error) = &result
        && has_outdated_plan(error)
    {
        answered(inner.clear_cached_statements()).await?;
    }
    result
}

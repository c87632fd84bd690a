//! Opening a database without harming it.

use std::io;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::connection_string::ConnectionString;
use crate::error::{is_of_tls, reason, sql_state};
use crate::sql::answered;
use crate::{Result, StoreError, migrations};

/// How long a server may take to let us in.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// For each connection: nobody waits for ever for a lock, a client that is gone without a word does not keep its own for
/// long, and a commit that is answered is on the disk also where the server is set to hurry.
pub(super) const SESSION: &str = "
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '60s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Another replica may be migrating, which may take its time.
const MIGRATION_SESSION: &str = "SET lock_timeout = '5min'; SET client_min_messages = 'warning'";

/// Finds the database fit for use and brings its schema up to date.
pub(super) async fn prepare(database: &ConnectionString, options: &PgConnectOptions) -> Result<()> {
    let found = match look(options).await {
        Ok(found) => found,
        Err(error) => return Err(failed_to_connect(database, &error)),
    };
    judge(database, &found)?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| Box::pin(apply(connection, MIGRATION_SESSION)))
        .connect_lazy_with(options.clone());
    let migrated = migrator().run(&pool).await;
    pool.close().await;
    migrated.map_err(|error| failed_to_migrate(database, error))
}

/// Statements that answer nothing.
pub(super) async fn apply(connection: &mut PgConnection, statements: &'static str) -> sqlx::Result<()> {
    answered(sqlx::raw_sql(statements).execute(connection)).await.map(drop)
}

/// A connection of its own, which tells why there is none where a pool would go on trying.
pub(super) async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let silent = |_| Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", CONNECT.as_secs()))));
    tokio::time::timeout(CONNECT, options.connect()).await.unwrap_or_else(silent)
}

/// What is there before anything is touched.
struct Found {
    is_standby: bool,
    encoding: String,
    tables: Vec<String>,
    /// Version and checksum.
    migrations: Vec<(i64, Vec<u8>)>,
}

const MIGRATIONS: &str = "_sqlx_migrations";

async fn look(options: &PgConnectOptions) -> sqlx::Result<Found> {
    let mut connection = connect(options).await?;
    // One state for all that is asked: another replica may be migrating.
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await?;
    let standing = "SELECT pg_is_in_recovery(), current_setting('server_encoding')";
    let (is_standby, encoding): (bool, String) = sqlx::query_as(standing).fetch_one(&mut connection).await?;
    let tables = "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = (
        SELECT oid FROM pg_namespace WHERE nspname = current_schema()
    )";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await?;
    let migrations: Vec<(i64, Vec<u8>)> = if tables.iter().any(|table| table == MIGRATIONS) {
        let select = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
        sqlx::query_as(select).fetch_all(&mut connection).await?
    } else {
        Vec::new()
    };
    connection.close().await?;
    Ok(Found { is_standby, encoding, tables, migrations })
}

/// Whether this program can work there: the tables are ours, and not from a version that we do not know.
fn judge(database: &ConnectionString, found: &Found) -> Result<()> {
    let unfit = |reason: String, remedy: &'static str| Err(StoreError::Connect { database: database.to_string(), reason, remedy });
    if found.is_standby {
        return unfit("the server is a standby, which cannot write".to_owned(), "name the primary");
    }
    if found.encoding != "UTF8" {
        return unfit(format!("its encoding is {}, which cannot hold every name", found.encoding), "create it with ENCODING 'UTF8'");
    }
    let migrator = migrator();
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    // A released migration never changes, so the first tells whose the database is.
    let is_ours = match (found.migrations.first(), migrator.iter().next()) {
        (Some((version, checksum)), Some(first)) => *version == first.version && **checksum == *first.checksum,
        _ => found.tables.iter().all(|table| table == MIGRATIONS),
    };
    if !is_ours {
        return Err(StoreError::OtherProgram { database: database.to_string() });
    }
    match found.migrations.last() {
        Some((found, _)) if *found > known => Err(StoreError::NewerSchema { database: database.to_string(), found: *found, known }),
        _ => Ok(()),
    }
}

fn migrator() -> Migrator {
    migrations::migrator(&[
        (6, "initial", include_str!("../../migrations/postgres/0006_initial.sql")),
        (7, "trust", include_str!("../../migrations/postgres/0007_trust.sql")),
    ])
}

fn failed_to_migrate(database: &ConnectionString, error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMismatch(version) | MigrateError::VersionMissing(version) => {
            StoreError::OtherSchema { database: database.to_string(), version }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if failed_to_connect_remedy(&error).is_some() => {
            failed_to_connect(database, &error)
        }
        source => StoreError::Migration { database: database.to_string(), source },
    }
}

fn failed_to_connect(database: &ConnectionString, error: &sqlx::Error) -> StoreError {
    let remedy = failed_to_connect_remedy(error).unwrap_or("see the log of the server");
    StoreError::Connect { database: database.to_string(), reason: reason(error), remedy }
}

/// What to do about it, where that is known (PostgreSQL, appendix A, has the codes).
fn failed_to_connect_remedy(error: &sqlx::Error) -> Option<&'static str> {
    Some(match (error, sql_state(error).as_deref()) {
        (sqlx::Error::Io(error), _) if error.kind() == io::ErrorKind::NotFound => {
            "see that the server runs, and that the files and the folder are there that the connection string names"
        }
        (sqlx::Error::Io(error), _) if !is_of_tls(error) => {
            "see that the server runs, that host and port are right, and that this machine may reach it"
        }
        (sqlx::Error::Io(_) | sqlx::Error::Tls(_), _) => {
            "see that the server has TLS switched on and a certificate for the host that is named; sslrootcert names the authority that \
             issued it"
        }
        (sqlx::Error::Configuration(_), _) => "correct the connection string",
        (_, Some("28P01" | "28000")) => "correct the user and the password, or let the user in (pg_hba.conf)",
        (_, Some("3D000")) => "create it, owned by that user (CREATE DATABASE ... OWNER ...), or name another",
        (_, Some("42501" | "3F000")) => "let the user create tables there: make it the owner of the database",
        (_, Some("53300")) => "let the server take more connections (max_connections): this program uses up to 10",
        (_, Some("53100")) => "free some space on the server's disk",
        (_, Some("55P03")) => "another program holds its tables or is migrating them; end it, or try again",
        (_, Some("57P03")) => "try again when the server has started",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(tables: &[&str], migrations: &[(i64, Vec<u8>)]) -> Result<()> {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        let found = Found { is_standby: false, encoding: "UTF8".to_owned(), tables, migrations: migrations.to_vec() };
        judge(&"postgres://u@db.test/cofide".parse().unwrap(), &found)
    }

    #[test]
    fn an_empty_database_and_one_of_ours_are_taken_and_no_other() {
        let first = migrator().iter().map(|first| (first.version, first.checksum.to_vec())).next().unwrap();
        judged(&[], &[]).unwrap();
        judged(&[MIGRATIONS], &[]).unwrap();
        judged(&[MIGRATIONS, "trust_zone"], std::slice::from_ref(&first)).unwrap();
        for (tables, migrations) in [
            (&["bookmarks"][..], vec![]),
            (&[MIGRATIONS, "bookmarks"], vec![]),
            (&[MIGRATIONS, "bookmarks"], vec![(first.0, vec![0])]),
            (&[MIGRATIONS, "bookmarks"], vec![(1, first.1.clone())]),
        ] {
            let error = judged(tables, &migrations).unwrap_err();
            assert!(matches!(error, StoreError::OtherProgram { .. }), "{tables:?}: {error:?}");
        }
        let error = judged(&[MIGRATIONS, "trust_zone"], &[first, (77, vec![])]).unwrap_err();
        assert!(matches!(error, StoreError::NewerSchema { found: 77, .. }), "{error:?}");
        assert!(error.to_string().contains("database cofide at db.test:5432 was written by a newer version"), "{error}");
    }

    #[test]
    fn a_standby_is_refused() {
        let found = Found { is_standby: true, encoding: "UTF8".to_owned(), tables: Vec::new(), migrations: Vec::new() };
        let error = judge(&"postgres://u@db.test/cofide".parse().unwrap(), &found).unwrap_err();
        assert!(
            error.to_string().contains("cofide at db.test:5432: the server is a standby") && error.to_string().contains("primary"),
            "{error}"
        );
    }

    #[test]
    fn every_migration_in_the_folder_is_run() {
        migrations::assert_run("migrations/postgres", &migrator());
    }
}

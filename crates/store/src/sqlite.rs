//! What is particular to SQLite: opening a file without harming it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::{Statvfs, statvfs};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};

use crate::error::{FULL, primary_code};
use crate::{Result, StoreError, migrations};

/// Marks a file as ours: "cofi" in ASCII (SQLite file format, section 1.3.17, application id).
const APPLICATION_ID: u32 = 0x636f_6669;

const READERS: u32 = 8;

/// How long another process may hold the lock before we give up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Size of the index of the write-ahead log, as long as the log has no more than 4096 pages; it is cut off at a thousand.
const LOG_INDEX: u64 = 32 << 10;

/// Where there is less than this, in bytes, a disk is full: SQLite could not make the index and write anything.
const LEAST_ROOM: u64 = 2 * LOG_INDEX;

pub(crate) struct Pools {
    pub(crate) readers: SqlitePool,
    pub(crate) writer: SqlitePool,
    pub(crate) log_index: Arc<File>,
}

pub(crate) async fn file(path: &Path) -> Result<Pools> {
    if is_full(path) {
        return Err(StoreError::NoSpace { path: path.to_owned() });
    }
    if is_occupied(path)? {
        inspect(path).await?;
    }
    let options = options()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL would keep the file sound, but lose the last commits when the power goes.
        .synchronous(SqliteSynchronous::Full);
    let writer = file_pool().max_connections(1).connect_with(options.clone()).await.map_err(|error| failed_to_open(path, &error))?;
    migrate(&writer, path).await?;
    let log_index = Arc::new(reserve_log_index(path)?);
    let readers = file_pool().max_connections(READERS).connect_with(options.pragma("query_only", "ON"));
    Ok(Pools { readers: readers.await.map_err(|error| failed_to_open(path, &error))?, writer, log_index })
}

pub(crate) async fn memory() -> Result<SqlitePool> {
    let pool = lasting_pool().min_connections(1).max_connections(1).connect_with(options().in_memory(true)).await?;
    migrate(&pool, Path::new(":memory:")).await?;
    Ok(pool)
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new().foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

/// There is no server at the other end that would tire of a connection, and one in memory must not be lost.
fn lasting_pool() -> PoolOptions<Sqlite> {
    SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None)
}

/// When the disk is full or fails, SQLite rolls back by itself, and the driver goes on counting a transaction that is not
/// there: the connection would refuse to begin another one for ever. Such a connection is closed; the next one is new.
fn file_pool() -> PoolOptions<Sqlite> {
    lasting_pool().after_release(|connection, _| {
        Box::pin(async move {
            // Waits for the rollback that dropping a transaction has only begun.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}

/// Whether there is something in the file. Creates it where it is not there, so that nobody else can read what follows;
/// SQLite gives the files beside it the same rights.
fn is_occupied(path: &Path) -> Result<bool> {
    let unusable = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace { path: path.to_owned() },
        kind => {
            let remedy = match kind {
                io::ErrorKind::PermissionDenied => "make the file and its folder readable and writable for this user",
                io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only; choose a folder on another",
                io::ErrorKind::NotFound => "make the folder first",
                io::ErrorKind::IsADirectory => "name a file",
                _ => "see that the disk works and that this user may write there",
            };
            StoreError::Open { path: path.to_owned(), reason: error.to_string(), remedy }
        }
    };
    let create = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    Ok(create.and_then(|file| file.metadata()).map_err(unusable)?.len() > 0)
}

/// Looks at a file through a connection that cannot write.
async fn inspect(path: &Path) -> Result<()> {
    let failed = |error: sqlx::Error| failed_to_open(path, &error);
    let mut connection =
        SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT).connect().await.map_err(failed)?;
    let checked = check_contents(&mut connection, path).await;
    connection.close().await.map_err(failed)?;
    checked
}

async fn check_contents(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let failed = |error: sqlx::Error| failed_to_open(path, &error);
    let application_id: i32 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master").fetch_one(&mut *connection).await.map_err(failed)?;
    let application_id = application_id.cast_unsigned();
    if tables == 0 && application_id == 0 {
        return Ok(());
    }
    if application_id != APPLICATION_ID {
        return Err(StoreError::OtherApplication { path: path.to_owned(), application_id });
    }
    let finding: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
    if finding != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), reason: finding });
    }
    if tables == 0 {
        return Ok(());
    }
    let newest = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations";
    let found: i64 = sqlx::query_scalar(newest).fetch_one(connection).await.map_err(failed)?;
    let known = migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known { Err(StoreError::NewerSchema { database: path.display().to_string(), found, known }) } else { Ok(()) }
}

async fn migrate(pool: &SqlitePool, path: &Path) -> Result<()> {
    // A number that is our own; a pragma takes no parameters.
    let mark = sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
    sqlx::query(mark).execute(pool).await.map_err(|error| failed_to_open(path, &error))?;
    migrator().run(pool).await.map_err(|source| failed_to_migrate(path, source))
}

fn failed_to_migrate(path: &Path, error: MigrateError) -> StoreError {
    let database = path.display().to_string();
    match error {
        MigrateError::VersionMismatch(version) | MigrateError::VersionMissing(version) => StoreError::OtherSchema { database, version },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if lacks_space(path, &error) => {
            StoreError::NoSpace { path: path.to_owned() }
        }
        source => StoreError::Migration { database, source },
    }
}

fn migrator() -> Migrator {
    migrations::migrator(&[
        (1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
        (2, "agent presence", include_str!("../migrations/sqlite/0002_agent_presence.sql")),
        (3, "receipts by resource", include_str!("../migrations/sqlite/0003_receipts_by_resource.sql")),
        (4, "audit by actor", include_str!("../migrations/sqlite/0004_audit_by_actor.sql")),
        (5, "unmet conditions", include_str!("../migrations/sqlite/0005_unmet_conditions.sql")),
        (6, "replicas", include_str!("../migrations/sqlite/0006_replicas.sql")),
        (7, "trust", include_str!("../migrations/sqlite/0007_trust.sql")),
    ])
}

/// Whether SQLite failed for want of space. Where it maps shared memory or makes a file, a full disk is an error of another code.
fn lacks_space(path: &Path, error: &sqlx::Error) -> bool {
    const INPUT_OUTPUT: i32 = 10;
    const CANNOT_OPEN: i32 = 14;
    match primary_code(error) {
        Some(FULL) => true,
        Some(INPUT_OUTPUT | CANNOT_OPEN) => is_full(path),
        _ => false,
    }
}

/// Whether the file system of a path has room for nothing more. Some have no size at all, such as `/proc`: they are not full.
fn is_full(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let room = |found: &Statvfs| found.blocks_available().saturating_mul(found.fragment_size());
    statvfs(folder).is_ok_and(|found| found.blocks() > 0 && room(&found) < LEAST_ROOM)
}

/// Takes the whole room of the index of the log, which SQLite shares with other processes through a file in memory.
///
/// SQLite lengthens the file by one byte in each page, and on a file system with blocks smaller than that, as small volumes
/// have, the rest of the page is a hole. A write into a hole of a full disk is no error that SQLite could tell: it is a
/// signal that ends the process. [`LEAST_ROOM`] sees to the time until this is done.
///
/// To close the file would give up SQLite's own locks on it (POSIX advisory locks are those of a process and a file), so the
/// file goes where the connections are and is closed after them.
fn reserve_log_index(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push("-shm");
    let index = PathBuf::from(name);
    let failed = |error: io::Error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => StoreError::NoSpace { path: path.to_owned() },
        _ => StoreError::Open {
            path: index.clone(),
            reason: error.to_string(),
            remedy: "see that the disk works and that this user may write there",
        },
    };
    let file = OpenOptions::new().read(true).write(true).open(&index).map_err(failed)?;
    let length = i64::try_from(file.metadata().map_err(failed)?.len().max(LOG_INDEX)).unwrap_or(i64::MAX);
    match fallocate(&file, FallocateFlags::empty(), 0, length) {
        // Where the file system cannot, it is of a kind without holes, or it says so later in its own way.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(file),
        Err(error) => Err(failed(error.into())),
    }
}

/// Result codes of SQLite say what kind of file this is.
fn failed_to_open(path: &Path, error: &sqlx::Error) -> StoreError {
    const PERMISSION: i32 = 3;
    const BUSY: i32 = 5;
    const READ_ONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const CANNOT_OPEN: i32 = 14;
    const NOT_A_DATABASE: i32 = 26;
    let path = path.to_owned();
    let reason = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    match primary_code(error) {
        Some(CORRUPT) => StoreError::Damaged { path, reason },
        Some(NOT_A_DATABASE) => StoreError::NotADatabase { path },
        Some(_) if lacks_space(&path, error) => StoreError::NoSpace { path },
        code => {
            let remedy = match code {
                Some(BUSY) => "another program holds it; close what has it open, such as a sqlite3 shell",
                Some(PERMISSION | READ_ONLY | CANNOT_OPEN) => {
                    "make the file, those beside it that begin with its name, and the folder writable for this user"
                }
                _ => "see that the disk works and that this user may write there",
            };
            StoreError::Open { path, reason, remedy }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_is_full_at_the_start_is_said_to_be_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.db");
        // SQLite gives the same answer as for a disk without room.
        let full = options().filename(&path).create_if_missing(true).pragma("max_page_count", "3");
        let pool = file_pool().max_connections(1).connect_with(full).await.unwrap();
        let error = migrate(&pool, &path).await.unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
        assert!(error.to_string().contains("connect.db is full; free some space and start again"), "{error}");
    }

    #[test]
    fn only_a_file_system_with_a_size_and_no_room_is_full() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_full(&folder.path().join("connect.db")));
        assert!(!is_full(Path::new("connect.db")), "the current folder");
        assert!(!is_full(Path::new("/proc/connect.db")), "it has no blocks at all");
    }

    #[test]
    fn no_part_of_the_index_of_the_log_is_left_without_room() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.db");
        let index = File::create(folder.path().join("connect.db-shm")).unwrap();
        index.set_len(LOG_INDEX).unwrap();
        let room = || index.metadata().unwrap().blocks() * 512;
        assert!(room() < LOG_INDEX, "there are holes in it");
        let held = reserve_log_index(&path).unwrap();
        assert!(room() >= LOG_INDEX, "{}", room());
        assert_eq!(held.metadata().unwrap().len(), LOG_INDEX);
    }

    #[tokio::test]
    async fn an_open_database_has_the_room_for_the_index_of_its_log() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let pools = file(&folder.path().join("connect.db")).await.unwrap();
        let found = std::fs::metadata(folder.path().join("connect.db-shm")).unwrap();
        assert!(found.len() >= LOG_INDEX && found.blocks() * 512 >= found.len(), "{found:?}");
        assert_eq!(pools.log_index.metadata().unwrap().ino(), found.ino());
    }

    #[test]
    fn every_migration_in_the_folder_is_run() {
        migrations::assert_run("migrations/sqlite", &migrator());
    }

    #[tokio::test]
    async fn a_database_of_another_build_is_told_from_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.db");
        let pools = file(&path).await.unwrap();
        sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").execute(&pools.writer).await.unwrap();
        pools.readers.close().await;
        pools.writer.close().await;
        let error = file(&path).await.err().unwrap();
        assert!(matches!(error, StoreError::OtherSchema { version: 1, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn commits_are_flushed_references_are_checked_and_readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let pools = file(&folder.path().join("connect.db")).await.unwrap();
        for (pool, query_only) in [(&pools.writer, 0), (&pools.readers, 1)] {
            let pragma = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.unwrap();
            assert_eq!(pragma("PRAGMA synchronous").await, 2, "FULL");
            assert_eq!(pragma("PRAGMA foreign_keys").await, 1);
            assert_eq!(pragma("PRAGMA query_only").await, query_only);
            assert_eq!(sqlx::query_scalar::<_, String>("PRAGMA journal_mode").fetch_one(pool).await.unwrap(), "wal");
        }
    }
}

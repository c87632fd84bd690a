//! What is particular to a database in a file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofide_core::Revision;
use cofide_store::{AuditEvents, Changes, ClustersMut, JoinTokens, Receipts, Store, StoreError, TrustZones};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::builders::{cluster, id};
use crate::conformance::{join_tokens, receipts};
use crate::objects::{event, some_change, two_zones, written};

async fn state(store: &Store) -> (Revision, Vec<cofide_core::Noun>, usize) {
    let mut read = store.begin_read().await.unwrap();
    let events = read.audit_events(&Default::default(), &Default::default()).await.unwrap().events.len();
    (read.revision().await.unwrap(), read.nouns().await.unwrap(), events)
}

/// Runs one statement on the file itself, behind the store's back.
async fn tamper(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The error of opening, which must leave the file as it was.
async fn refused(path: &Path) -> StoreError {
    let before = std::fs::read(path).unwrap();
    let error = Store::open(path).await.expect_err("the file is refused");
    assert_eq!(std::fs::read(path).unwrap(), before, "{error}: the file has changed");
    error
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    let store = Store::open(&path).await.unwrap();
    two_zones(&store).await;
    join_tokens::put(&store, 1, "one", "a", 10).await;
    receipts::put(&store, "agent-one", "one", "x").await;
    store.begin_write().await.unwrap().commit(Some(some_change()), vec![event("first", 1)]).await.unwrap();
    let before = state(&store).await;
    store.close().await;

    let store = Store::open(&path).await.unwrap();
    assert_eq!(state(&store).await, before);
    assert_eq!(*store.revisions().borrow(), 1);
    let mut read = store.begin_read().await.unwrap();
    assert!(read.join_token_of_cluster(&id("one")).await.unwrap().is_some());
    assert_eq!(read.receipts(&Default::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_is_in_the_files_before_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    let store = Store::open(&path).await.unwrap();
    two_zones(&store).await;
    let mut unfinished = store.begin_write().await.unwrap();
    unfinished.insert_cluster(&cluster("never", "a")).await.unwrap();

    // What a crash at this moment would leave: the files as they are, while the store still holds them open.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["connect.db", "connect.db-wal"] {
        std::fs::copy(folder.path().join(file), copy.join(file)).unwrap();
    }
    let survivor = Store::open(copy.join("connect.db")).await.unwrap();
    let mut read = survivor.begin_read().await.unwrap();
    assert_eq!(read.trust_zones(&Default::default()).await.unwrap().len(), 2);
    assert_eq!(read.nouns().await.unwrap(), store.begin_read().await.unwrap().nouns().await.unwrap());
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("connect.db")).await.unwrap();
    two_zones(&store).await;
    for file in ["connect.db", "connect.db-wal", "connect.db-shm"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, and not a database\n".repeat(100)).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("notes.txt is not a SQLite database"), "{error}");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("unmarked.db", "CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('https://example.com')"),
        ("marked.db", "PRAGMA application_id = 1234"),
    ] {
        let path = folder.path().join(name);
        tamper(&path, sql).await;
        let error = refused(&path).await;
        assert!(matches!(error, StoreError::OtherApplication { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    Store::open(&path).await.unwrap().close().await;
    tamper(&path, "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (77, 'x', 1, x'00', 0)")
        .await;
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::NewerSchema { found: 77, known: 7, .. }), "{error:?}");
    assert!(error.to_string().contains("written by a newer version"), "{error}");
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    let store = Store::open(&path).await.unwrap();
    two_zones(&store).await;
    store.close().await;
    let (page, page_size) = root_page_of_trust_zones(&path).await;
    let sound = std::fs::read(&path).unwrap();
    // Header and schema are whole in the first; only a look at everything finds the damage.
    for (name, damage) in [("one page", (page - 1) * page_size..page * page_size), ("many pages", 5000..20000)] {
        let path = folder.path().join(name);
        let mut bytes = sound.clone();
        bytes[damage].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&path).await;
        assert!(matches!(error, StoreError::Damaged { .. }), "{name}: {error:?}");
    }
    let path = folder.path().join("truncated");
    std::fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::Damaged { .. }), "truncated: {error:?}");
}

async fn root_page_of_trust_zones(path: &Path) -> (usize, usize) {
    let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let mut number = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap() as usize;
    (number("SELECT rootpage FROM sqlite_master WHERE name = 'trust_zone'").await, number("PRAGMA page_size").await)
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("connect.db");
    let error = Store::open(&missing).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("missing/connect.db"), "{error}");
    let error = Store::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    std::fs::write(&path, "").unwrap();
    two_zones(&Store::open(&path).await.unwrap()).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_by_noun_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connect.db");
    let store = Store::open(&path).await.unwrap();
    two_zones(&store).await;
    tamper(&path, "UPDATE trust_zone SET bundle_document = '{' WHERE id = 'a'").await;
    let error = store.begin_read().await.unwrap().trust_zone(&id("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { noun: "trust zone", column: "bundle_document", .. }), "{error:?}");
    written(&store, async |write| {
        assert!(write.trust_zone(&id("b")).await?.is_some(), "the others are as readable as before");
        Ok(())
    })
    .await;
}

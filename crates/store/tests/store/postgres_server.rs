//! What is particular to PostgreSQL: how it is found, several replicas on one database, and a server that goes away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cofide_core::{JoinTokenHash, Timestamp};
use cofide_store::{AuditEvents, Changes, ConnectionString, JoinTokenUse, JoinTokensMut, Store, StoreError, TrustZones, TrustZonesMut};

use crate::builders::{id, zone};
use crate::conformance::join_tokens;
use crate::objects::{event, some_change, two_zones, written};
use crate::postgres::{PASSWORD, Postgres, USER};

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn database() -> String {
    blocking(|| Postgres::shared().database()).await
}

async fn psql(url: &str, sql: &str) -> String {
    let (database, sql) = (url.rsplit('/').next().unwrap().to_owned(), sql.to_owned());
    blocking(move || Postgres::shared().psql(&database, &sql)).await
}

async fn connect(url: &str) -> Result<Store, StoreError> {
    Store::connect(url.parse::<ConnectionString>().unwrap()).await
}

/// Two replicas on one database.
async fn replicas() -> [Store; 2] {
    let url = database().await;
    [connect(&url).await.unwrap(), connect(&url).await.unwrap()]
}

/// Waits until a replica knows that there is a revision.
async fn told(store: &Store, revision: u64) {
    let mut revisions = store.revisions();
    let told = tokio::time::timeout(Duration::from_secs(10), revisions.wait_for(|newest| *newest >= revision)).await;
    assert!(told.is_ok_and(|told| told.is_ok()), "revision {revision} is not told");
}

/// Whether the answer comes is asked until it does.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{what}: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_at_once_on_an_empty_database_migrate_it_once() {
    let url = database().await;
    let started = futures::future::join_all((0..4).map(|_| connect(&url))).await;
    assert!(started.iter().all(Result::is_ok), "{started:?}");
    assert_eq!(psql(&url, "SELECT COUNT(*) FROM _sqlx_migrations").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_named_with_the_way_out() {
    let server = Postgres::shared();
    let owned_by_another = blocking(|| {
        let shared = Postgres::shared();
        shared.psql("postgres", "CREATE DATABASE foreign_owner");
        shared.psql("postgres", "CREATE DATABASE latin OWNER connect ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0");
        shared.url("foreign_owner")
    })
    .await;
    let of_another_program = database().await;
    psql(&of_another_program, "CREATE TABLE bookmarks (url TEXT)").await;
    let newer = database().await;
    connect(&newer).await.unwrap().close().await;
    psql(&newer, "INSERT INTO _sqlx_migrations VALUES (77, 'x', now(), true, '', 0)").await;
    let good = server.url("nowhere");
    for (url, expected) in [
        (
            format!("postgres://{USER}:{PASSWORD}@127.0.0.1:1/nowhere"),
            ["nowhere at 127.0.0.1:1", "Connection refused", "see that the server runs"],
        ),
        (good.replace(PASSWORD, "letmein"), ["nowhere at", "password authentication failed", "correct the user and the password"]),
        (good.replace(USER, "nobody"), ["nowhere at", "password authentication failed", "correct the user and the password"]),
        (good.clone(), ["nowhere at 127.0.0.1:", "does not exist", "CREATE DATABASE"]),
        (owned_by_another, ["foreign_owner at", "permission denied for schema public", "make it the owner"]),
        (server.url("latin"), ["latin at", "encoding is LATIN1", "ENCODING 'UTF8'"]),
        (of_another_program, ["test_", "tables of another program", "name an empty one"]),
        (newer, ["test_", "written by a newer version (schema 77", "run that version"]),
        (format!("{good}?sslmode=require"), ["nowhere at", "TLS", "has TLS switched on"]),
    ] {
        let error = connect(&url).await.expect_err("it cannot be used");
        let text = format!("{error} {error:?}");
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains(PASSWORD) && !text.contains("letmein"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_one_program_wakes_the_others() {
    let [one, two] = replicas().await;
    two_zones(&one).await;
    let start = Instant::now();
    for expected in 1..=20 {
        one.begin_write().await.unwrap().commit(Some(some_change()), Vec::new()).await.unwrap();
        told(&two, expected).await;
    }
    // Looking alone would take three seconds for each.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(two.begin_read().await.unwrap().changes_since(0).await.unwrap().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_several_programs_get_one_revision_each_without_gaps() {
    let stores = replicas().await;
    two_zones(&stores[0]).await;
    let writer = async |number: usize| {
        let mut write = stores[number % 2].begin_write().await.unwrap();
        // Read, then write what was read: a lost update would show as a name that is taken.
        let count = write.trust_zones(&Default::default()).await.unwrap().len();
        write.insert_trust_zone(&zone(&format!("z{count}"))).await.unwrap();
        let events = vec![event(&format!("event-{number}"), 1)];
        if number.is_multiple_of(5) {
            // A writer that gives up leaves no gap.
            return None;
        }
        Some(write.commit(Some(some_change()), events).await.unwrap())
    };
    let revisions: BTreeSet<u64> = futures::future::join_all((0..40).map(writer)).await.into_iter().flatten().collect();
    assert_eq!(revisions, (1..=32).collect());
    for store in &stores {
        let mut read = store.begin_read().await.unwrap();
        assert_eq!(read.changes_since(0).await.unwrap().map(|changes| changes.len()), Some(32));
        assert_eq!(read.trust_zones(&Default::default()).await.unwrap().len(), 34);
        assert_eq!(read.audit_events(&Default::default(), &Default::default()).await.unwrap().events.len(), 32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_good_once_among_all_programs() {
    let stores = replicas().await;
    two_zones(&stores[0]).await;
    join_tokens::put(&stores[1], 1, "one", "a", 10).await;
    let attempt = async |number: usize| {
        let mut write = stores[number % 2].begin_write().await.unwrap();
        let used = write.consume_join_token(&JoinTokenHash([1; 32]), Timestamp(5)).await.unwrap();
        write.commit(None, Vec::new()).await.unwrap();
        used
    };
    let attempts = futures::future::join_all((0..10).map(attempt)).await;
    assert_eq!(attempts.iter().filter(|used| matches!(used, JoinTokenUse::Valid(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_commit_survives_the_kill_of_its_writer() {
    crate::crash::nothing_acknowledged_is_lost(&database().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_program_that_was_killed_does_not_stay() {
    let url = database().await;
    let [one, two] = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    two_zones(&one).await;
    let mut write = one.begin_write().await.unwrap();
    write.insert_trust_zone(&zone("c")).await.unwrap();
    // What the end of its process is for the server.
    psql(
        &url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'",
    )
    .await;
    written(&two, async |write| write.insert_trust_zone(&zone("c")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_made_again() {
    let url = database().await;
    let store = connect(&url).await.unwrap();
    two_zones(&store).await;
    for _ in 0..3 {
        psql(&url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            .await;
        eventually("reading", async || store.begin_read().await?.trust_zones(&Default::default()).await).await;
        eventually("writing", async || store.begin_write().await?.commit(Some(some_change()), Vec::new()).await).await;
    }
    told(&store, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_transactions_fail_soon_with_the_reason_and_then_it_heals() {
    let server = std::sync::Arc::new(blocking(Postgres::start).await);
    let of = |work: fn(&Postgres)| {
        let server = server.clone();
        blocking(move || work(&server))
    };
    let url = server.database();
    let [one, two] = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    two_zones(&one).await;
    one.begin_write().await.unwrap().commit(Some(some_change()), Vec::new()).await.unwrap();

    of(Postgres::stop).await;
    for store in [&one, &two] {
        let away = |error: StoreError| match error {
            StoreError::Away(reason) => reason,
            other => panic!("{other:?}"),
        };
        let reason = away(store.begin_read().await.expect_err("the server is away"));
        assert!(
            ["refused", "terminating", "ended the connection", "EOF", "no answer"].iter().any(|part| reason.contains(part)),
            "{reason}"
        );
        away(store.begin_write().await.expect_err("the server is away"));
    }
    of(|server| server.begin(&[])).await;
    let revision = eventually("writing", async || one.begin_write().await?.commit(Some(some_change()), Vec::new()).await).await;
    assert_eq!(revision, 2, "what was committed before is there");
    // Those who follow are told again.
    told(&two, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_on_while_another_adds_to_the_schema() {
    let url = database().await;
    let store = connect(&url).await.unwrap();
    two_zones(&store).await;
    let read = async || store.begin_read().await?.trust_zone(&id("a")).await;
    // Prepared on every connection that there may be.
    for _ in 0..20 {
        read().await.unwrap();
    }
    psql(&url, "ALTER TABLE trust_zone ADD COLUMN more TEXT").await;
    for _ in 0..20 {
        let zone = eventually("reading", async || match read().await {
            Err(error @ StoreError::Busy(_)) => Err(error),
            other => Ok(other.unwrap()),
        });
        assert!(zone.await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_tls_proves_its_name() {
    let server = std::sync::Arc::new(blocking(Postgres::prepare).await);
    let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (good, bad) = (roots("good.pem", &certificate.cert.pem()), roots("bad.pem", &other.cert.pem()));
    let begun = server.clone();
    let url = blocking(move || {
        let files = [begun.file("server.crt", &certificate.cert.pem()), begun.file("server.key", &certificate.signing_key.serialize_pem())];
        let [certificate, key] = files.map(|path| path.display().to_string());
        begun.begin(&["ssl=on", &format!("ssl_cert_file={certificate}"), &format!("ssl_key_file={key}")]);
        begun.database()
    })
    .await;
    let store = connect(&format!("{url}?sslmode=verify-full&sslrootcert={good}")).await.unwrap();
    two_zones(&store).await;
    let name = url.rsplit('/').next().unwrap().to_owned();
    let in_clear = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND datname = ";
    assert_eq!(server.psql("postgres", &format!("{in_clear}'{name}'")), "0");
    for (parameters, expected) in
        [(format!("sslrootcert={bad}"), "TLS"), (format!("sslrootcert={}", folder.path().join("missing.pem").display()), "No such file")]
    {
        let error = connect(&format!("{url}?sslmode=verify-full&{parameters}")).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains(PASSWORD), "{error}");
    }
    let error = connect(&format!("{}?sslmode=verify-full&sslrootcert={good}", url.replace("127.0.0.1", "localhost"))).await.unwrap_err();
    assert!(error.to_string().contains("name") && error.to_string().contains("sslrootcert"), "{error}");
}

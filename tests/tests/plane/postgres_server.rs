//! The plane with Connect on PostgreSQL: Connect ends at any moment, and so does its database.

use std::sync::Arc;

use cofide_testkit::plane::Plane;
use cofide_testkit::postgres::Postgres;
use cofide_testkit::wait::eventually;

use crate::world::{A, B, connected, federations_are_healthy, imported, service, still_imported};

const SERVER: &str = "server.demo.a.test";

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Two zones that trust each other, and a service of `a` that `b` imports.
async fn exporting(database: &str) -> Plane {
    let mut plane = Plane::start_on(database).await.unwrap();
    assert_eq!((plane.add_zone("a").await.unwrap(), plane.add_zone("b").await.unwrap()), (A, B));
    plane.federate_both_ways(A, B).await.unwrap();
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    plane
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_was_killed_goes_on_where_it_was_also_without_its_data_folder() {
    let mut plane = exporting(&blocking(|| Postgres::shared().database()).await).await;
    plane.kill_connect().await.unwrap();
    still_imported(&plane.zones[B], SERVER).await;
    std::fs::remove_dir_all(plane.folder().join("connect")).unwrap();
    plane.start_connect().await.unwrap();
    // Agents recognise it, and people do with the credential that they have.
    connected(&plane.zones[A]).await;
    connected(&plane.zones[B]).await;
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "second.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
    federations_are_healthy(&plane).await;
    assert_eq!(plane.services().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_go_on_while_the_database_is_away_and_catch_up_when_it_is_back() {
    let server = Arc::new(blocking(Postgres::start).await);
    let at = |work: fn(&Postgres)| {
        let server = server.clone();
        blocking(move || work(&server))
    };
    let making = server.clone();
    let mut plane = exporting(&blocking(move || making.database()).await).await;

    // Restarted under it.
    at(|server| {
        server.stop();
        server.begin(&[]);
    })
    .await;
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "second.demo.a.test").await;

    at(Postgres::stop).await;
    let listed = || async { plane.services().await.map_err(|error| format!("{error:#}")).map(drop) };
    let said = |answer: &Result<(), String>| answer.as_ref().is_err_and(|error| error.contains("the database of cofide-connect is away"));
    eventually("calls say that the database is away", listed, said).await.unwrap_err();
    // An agent that starts anew now serves its last plan, and what changes at home waits.
    plane.zones[B].stop_agent().await.unwrap();
    plane.zones[B].start_agent().await.unwrap();
    imported(&plane.zones[B], SERVER).await;
    plane.zones[A].write_manifest("third.yaml", &service("third", &["b.test"], 15443)).unwrap();
    still_imported(&plane.zones[B], SERVER).await;

    at(|server| server.begin(&[])).await;
    imported(&plane.zones[B], "third.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
    federations_are_healthy(&plane).await;
    let is_told = |log: &String| log.contains("the database is away") && log.contains("the database is back");
    eventually("Connect's log tells of both", || async { plane.connect_log() }, is_told).await;
}

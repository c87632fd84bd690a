//! Connect on PostgreSQL: alone, as one of several, and while the server is away. `lab/postgres/install` installs what this needs.

use std::sync::Arc;

use cofide_api::connect::receipt_service::{AgentStatus, ListAgentStatusesRequest};
use cofide_api::connect::trust_zone_service::ListTrustZonesRequest;
use cofide_connect::Config;
use cofide_testkit::postgres::{PASSWORD, Postgres, USER};
use tokio_util::sync::CancellationToken;
use tonic::Code::{Unauthenticated, Unavailable};
use tonic::Status;

use crate::federated_services::{register, service};
use crate::plan_stream::{Follower, Versions};
use crate::support::{Client, Plane, eventually, introduction, refused};

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn database() -> String {
    blocking(|| Postgres::shared().database()).await
}

/// A control plane with a data folder of its own on a database that others may use.
async fn on(database: &str) -> Plane {
    Plane::start_with(|config| {
        config.sql_connection_string = Some(database.to_owned());
        config.admin_address = Some("127.0.0.1:0".parse().unwrap());
    })
    .await
}

async fn zones(client: &Client) -> Result<usize, Status> {
    let listed = client.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await?;
    Ok(listed.into_inner().trust_zones.len())
}

/// What the agent of a cluster is said to be.
async fn agent_of(admin: &Client, cluster: &str) -> AgentStatus {
    let listed = admin.receipts().list_agent_statuses(ListAgentStatusesRequest::default()).await.unwrap();
    let is_of_cluster = |status: &AgentStatus| status.agent.as_ref().is_some_and(|agent| agent.cluster_id() == cluster);
    listed.into_inner().statuses.into_iter().find(is_of_cluster).expect("it has joined")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_the_database_and_a_new_data_folder_changes_nothing() {
    let database = database().await;
    let plane = on(&database).await;
    plane.zone("a").await;
    let (token, bundle) = (plane.token(), plane.credential["connect_bundle"].clone());
    let data = plane.folder.path().join("data");
    let mut files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["admin-credential.json", "lock"]);
    drop(plane.stop().await);

    let plane = on(&database).await;
    assert_eq!((plane.token(), &plane.credential["connect_bundle"]), (token, &bundle));
    assert_eq!(zones(&plane.admin().await).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_start_at_once_on_an_empty_database_are_one_control_plane() {
    let database = database().await;
    let (one, two) = tokio::join!(on(&database), on(&database));
    assert_eq!(one.token(), two.token());
    assert_eq!(one.credential["connect_bundle"], two.credential["connect_bundle"]);
    one.zone("a").await;
    assert_eq!(zones(&two.admin().await).await.unwrap(), 2, "the management zone and the new one");
    assert_eq!(zones(&two.user(&one.token()).await).await.unwrap(), 2, "the token of one is good at the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_at_one_replica_follows_what_is_changed_at_another() {
    let database = database().await;
    let (here, there) = (on(&database).await, on(&database).await);
    let (a, b) = (here.zone("a").await, here.zone("b").await);
    let cluster = here.cluster(&a, "one").await;
    let token = here.join_token(&a, &cluster).await;
    let join = async |plane: &Plane| plane.anonymous().await.trust_zones().register_agent(introduction(&a, &cluster, &token)).await;
    let (one, two) = tokio::join!(join(&here), join(&there));
    assert_eq!([&one, &two].iter().filter(|answer| answer.is_ok()).count(), 1, "a token is good once: {one:?} {two:?}");
    refused(if one.is_ok() { two } else { one }, Unauthenticated, &["join-token create"]);
    there.federate(&a, &b).await;
    there.federate(&b, &a).await;
    let client = there.joined(&b, "one").await;

    let agent = eventually(|| here.workload_if_any(b.authority.agent("one")), Option::is_some).await.unwrap();
    let mut follower = Follower::open(&agent, &Versions::new()).await;
    follower.settle().await;
    // The other replica may not know the zone's bundle yet, with which the certificate is verified.
    let server = eventually(|| there.workload_if_any(a.authority.agent("one")), Option::is_some).await.unwrap();
    register(&server, service("server", &["b.test"])).await.unwrap();
    follower.sets(&["ImportedService server.demo.a.test"]).await;

    let admin = there.admin().await;
    let of_client = || agent_of(&admin, &client.id);
    let seen = eventually(&of_client, |status| status.connected && status.outstanding == 0).await;
    assert!(seen.applied_revision.is_some(), "its receipts are known too: {seen:#?}");
    drop((follower, agent));
    eventually(&of_client, |status| !status.connected).await;

    // It comes back at the other replica with what it holds from the first.
    let mut follower = Follower::open(&client.agent, &Versions::new()).await;
    follower.settle().await;
    let held = follower.held.clone();
    drop(follower);
    let agent = here.workload(b.authority.agent("one")).await;
    let _follower = Follower::open(&agent, &held).await;
    eventually(&of_client, |status| status.connected).await;
    // With the replica its streams end, also for those who ask another one.
    drop(here.stop().await);
    eventually(&of_client, |status| !status.connected).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_say_so_streams_stay_and_then_it_heals() {
    let server = Arc::new(blocking(Postgres::start).await);
    let database = {
        let server = server.clone();
        blocking(move || server.database()).await
    };
    let plane = on(&database).await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (exporter, importer) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    let mut follower = Follower::open(&importer.agent, &Versions::new()).await;
    follower.settle().await;
    let admin = plane.admin().await;

    let stopped = server.clone();
    blocking(move || stopped.stop()).await;
    refused(zones(&admin).await, Unavailable, &["the database of cofide-connect is away", "try again"]);
    let refusal = register(&exporter.agent, service("server", &["b.test"])).await;
    refused(refusal, Unavailable, &["the database of cofide-connect is away"]);
    eventually(|| plane.scrape("/healthz/ready"), |answer| answer.contains("503") && answer.contains("the database can be read again"))
        .await;
    assert!(plane.scrape("/healthz/live").await.contains("200"), "nothing is won by starting anew");

    let begun = server.clone();
    blocking(move || begun.begin(&[])).await;
    eventually(|| zones(&admin), Result::is_ok).await.unwrap();
    register(&exporter.agent, service("server", &["b.test"])).await.unwrap();
    // On the stream that was open all the time.
    follower.sets(&["ImportedService server.demo.a.test"]).await;
    eventually(|| agent_of(&admin, &importer.id), |status| status.connected && status.outstanding == 0).await;
    eventually(|| plane.scrape("/healthz/ready"), |answer| answer.contains("200")).await;
    drop(plane.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_with_another_past_under_the_same_revision_is_read_anew() {
    let database = database().await;
    let name = database.rsplit('/').next().unwrap().to_owned();
    let sql = |statement: &'static str| {
        let name = name.clone();
        blocking(move || Postgres::shared().psql(&name, statement))
    };
    let plane = on(&database).await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (exporter, importer) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    plane.federate(&b, &a).await;
    register(&exporter.agent, service("server", &["b.test"])).await.unwrap();
    let mut follower = Follower::open(&importer.agent, &Versions::new()).await;
    follower.settle().await;

    // As after a failover to a server that had not heard of the last commit.
    sql("ALTER TABLE revision RENAME TO gone").await;
    eventually(|| plane.scrape("/healthz/ready"), |answer| answer.contains("the database can be read again")).await;
    sql("DELETE FROM federated_service").await;
    sql("ALTER TABLE gone RENAME TO revision").await;

    let mut removed = Vec::new();
    while removed.is_empty() {
        removed = follower.take().await.1;
    }
    assert_eq!(removed, ["ImportedService server.demo.a.test"]);
    drop(plane.stop().await);
}

async fn failure(change: impl FnOnce(&mut Config)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().join("data"), listen_address: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    change(&mut config);
    let error = Box::pin(cofide_connect::run(config, CancellationToken::new())).await.err().expect("it does not start");
    let text = format!("{error:#}");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_of_the_start_is_named_with_the_way_out() {
    let text = failure(|config| config.sql_connection_string = Some(format!("postgres://{USER}:{PASSWORD}@127.0.0.1:1/cofide"))).await;
    for part in ["sql_connection_string", "cofide at 127.0.0.1:1", "Connection refused", "see that the server runs"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let text = failure(|config| config.sql_connection_string_file = Some("/nowhere/connection-string".into())).await;
    assert!(text.contains("sql_connection_string_file") && text.contains("/nowhere/connection-string"), "{text}");

    let database = database().await;
    drop(on(&database).await.stop().await);
    let text = failure(|config| {
        config.sql_connection_string = Some(database.clone());
        config.connect_trust_domain = "other.local".into();
    })
    .await;
    assert!(text.contains("management.local") && text.contains("other.local"), "{text}");
}

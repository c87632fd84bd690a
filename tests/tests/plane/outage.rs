//! Parts go away and come back; what works goes on, and nothing is deleted on ignorance.

use crate::world::{A, B, imported, not_imported, resolved, service, two_federated_zones};

const SERVER: &str = "server.demo.a.test";

#[tokio::test(flavor = "multi_thread")]
async fn without_connect_a_restarted_agent_serves_its_last_plan() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    let address = resolved(&plane.zones[B], SERVER).await;

    plane.stop_connect().await.unwrap();
    assert!(!imported(&plane.zones[B], SERVER).await.is_empty());

    plane.zones[B].stop_agent().await.unwrap();
    plane.zones[B].start_agent().await.unwrap();
    assert_eq!(imported(&plane.zones[B], SERVER).await, [("127.0.0.9".to_owned(), 15443)]);
    let again = resolved(&plane.zones[B], SERVER).await;
    assert_eq!(again, address, "an import keeps its address over a restart");

    plane.restart_connect().await.unwrap();
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "second.demo.a.test").await;
    assert!(!imported(&plane.zones[B], SERVER).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_during_an_outage_goes_when_connect_returns() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.zones[A].write_manifest("stays.yaml", &service("stays", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    imported(&plane.zones[B], "stays.demo.a.test").await;

    plane.stop_connect().await.unwrap();
    std::fs::remove_file(plane.zones[A].manifest("server.yaml")).unwrap();
    plane.restart_connect().await.unwrap();

    not_imported(&plane.zones[B], SERVER).await;
    assert!(!imported(&plane.zones[B], "stays.demo.a.test").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_away_while_a_manifest_went_withdraws_it_when_it_returns() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;

    plane.zones[A].stop_agent().await.unwrap();
    std::fs::remove_file(plane.zones[A].manifest("server.yaml")).unwrap();
    assert!(!imported(&plane.zones[B], SERVER).await.is_empty(), "an absent agent takes nothing away");
    plane.zones[A].start_agent().await.unwrap();
    not_imported(&plane.zones[B], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_before_connect_and_its_spiffe_server_waits_for_both() {
    let mut plane = cofide_testkit::plane::Plane::start().await.unwrap();
    let a = plane.create_zone("a").await.unwrap();
    let token = plane.join_token(a).await.unwrap();
    plane.write_bootstrap(a, token).unwrap();
    plane.stop_connect().await.unwrap();
    plane.zones[a].start_agent().await.unwrap();
    plane.zones[a].start_trust_zone_server().await.unwrap();
    plane.restart_connect().await.unwrap();

    let b = plane.add_zone("b").await.unwrap();
    plane.federate_both_ways(a, b).await.unwrap();
    plane.zones[a].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[b], SERVER).await;
}

//! Parts go away and come back; what works goes on, and nothing is deleted on ignorance.

use cofide_core::Bundle;
use cofide_testkit::plane::Zone;
use cofide_testkit::wait::eventually;
use cofide_testkit::workload::{Workload, authorities};

use crate::world::{
    A, B, connect_is_missed, connected, fence, imported, not_imported, resolved, service, status_says, still_imported, two_federated_zones,
};

const SERVER: &str = "server.demo.a.test";

#[tokio::test(flavor = "multi_thread")]
async fn without_connect_a_restarted_agent_serves_its_last_plan() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;
    let address = resolved(&plane.zones[B], SERVER).await;

    plane.stop_connect().await.unwrap();
    connect_is_missed(&plane.zones[B]).await;
    still_imported(&plane.zones[B], SERVER).await;

    plane.zones[B].stop_agent().await.unwrap();
    plane.zones[B].start_agent().await.unwrap();
    assert_eq!(imported(&plane.zones[B], SERVER).await, [("127.0.0.9".to_owned(), 15443)]);
    let again = resolved(&plane.zones[B], SERVER).await;
    assert_eq!(again, address, "an import keeps its address over a restart");

    plane.start_connect().await.unwrap();
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "second.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
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
    plane.start_connect().await.unwrap();

    not_imported(&plane.zones[B], SERVER).await;
    fence(&plane.zones[A], &[&plane.zones[B]]).await;
    still_imported(&plane.zones[B], "stays.demo.a.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_away_while_a_manifest_went_withdraws_it_when_it_returns() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], SERVER).await;

    plane.zones[A].stop_agent().await.unwrap();
    std::fs::remove_file(plane.zones[A].manifest("server.yaml")).unwrap();
    // The agent has said goodbye, and another stream of news shows that nothing came of it.
    let other = plane.add_zone("c").await.unwrap();
    plane.federate_both_ways(other, B).await.unwrap();
    fence(&plane.zones[other], &[&plane.zones[B]]).await;
    still_imported(&plane.zones[B], SERVER).await;
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
    plane.start_connect().await.unwrap();

    let b = plane.add_zone("b").await.unwrap();
    plane.federate_both_ways(a, b).await.unwrap();
    plane.zones[a].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[b], SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_authority_was_replaced_while_connect_was_away_is_refused_until_its_bundle_is_set() {
    let mut plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.bind(B, "/ns/demo/sa/client", &[A]).await.unwrap();
    let client = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
    imported(&plane.zones[B], SERVER).await;
    let before = plane.zones[A].spire().own_bundle().await.unwrap();
    holds(&client, &before).await;

    plane.stop_connect().await.unwrap();
    connect_is_missed(&plane.zones[A]).await;
    replace_authority(&plane.zones[A]).await;
    let after = plane.zones[A].spire().own_bundle().await.unwrap();
    assert!(authorities(&before).is_disjoint(&authorities(&after)));

    plane.start_connect().await.unwrap();
    plane.zones[A].write_manifest("second.yaml", &service("second", &["b.test"], 15443)).unwrap();
    // Nobody vouches for the agent of A: it is refused, and what it says counts for nothing.
    connected(&plane.zones[B]).await;
    status_says(&plane.zones[A], "second.yaml", &["ConnectUnreachable"]).await;
    let refusal = "spiffe://a.test/cluster/cluster-a/ns/cofide/sa/cofide-agent is not signed by an authority of trust domain a.test";
    eventually("Connect refuses the agent of A", || async { plane.connect_log() }, |log| log.contains(refusal)).await;
    holds(&client, &before).await;
    still_imported(&plane.zones[B], SERVER).await;
    assert_eq!(plane.services().await.unwrap().len(), 1);

    plane.set_bundle(A).await.unwrap();
    holds(&client, &after).await;
    imported(&plane.zones[B], "second.demo.a.test").await;
    still_imported(&plane.zones[B], SERVER).await;
    connected(&plane.zones[A]).await;
    crate::world::federations_are_healthy(&plane).await;
}

/// Waits until the workload accepts exactly the authorities of a bundle.
async fn holds(workload: &Workload, bundle: &Bundle) {
    let authorities = authorities(bundle);
    let held = || async { workload.authorities_of(&bundle.trust_domain) };
    eventually("the workload accepts the authorities of the bundle", held, |held| *held == authorities).await;
}

/// All three steps at once; nothing that the old authority has signed is in use afterwards.
async fn replace_authority(zone: &Zone) {
    let mut authorities = zone.authorities().await.unwrap();
    let next = authorities.prepare().await.unwrap();
    let old = authorities.activate(next).await.unwrap();
    authorities.retire(old).await.unwrap();
}

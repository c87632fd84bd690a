//! Who holds which bundle: the three steps of setting up trust, and the one that is easy to miss.

use std::collections::BTreeSet;

use cofide_api::connect::receipt_service::federation_status::State;
use cofide_testkit::wait::eventually;
use cofide_testkit::workload::Workload;

use crate::world::{A, B, federations_are_healthy, two_federated_zones, two_zones};

fn domains(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn federation_without_federates_with_gives_a_workload_its_own_bundle_only() {
    let plane = two_federated_zones().await;
    federations_are_healthy(&plane).await;
    let binding_id = plane.bind(B, "/ns/demo/sa/client", &[]).await.unwrap();
    let workload = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
    assert_eq!(workload.trusts(), domains(&["b.test"]), "the zone holds the bundle of a.test, and nobody gave it to the workload");

    plane.update_binding(&binding_id, &[A]).await.unwrap();
    let both = domains(&["a.test", "b.test"]);
    eventually("it holds both, with no restart", || async { workload.trusts() }, |held| *held == both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_is_directed() {
    let plane = two_zones().await;
    plane.federate(A, B).await.unwrap();
    plane.bind(A, "/ns/demo/sa/server", &[B]).await.unwrap();
    let server = Workload::start(&plane.zones[A], "/ns/demo/sa/server").await.unwrap();
    eventually("A trusts B", || async { server.trusts() }, |held| *held == domains(&["a.test", "b.test"])).await;
    // An identity is made when the zone has been told whom it trusts.
    plane.bind(B, "/ns/demo/sa/client", &[]).await.unwrap();
    let client = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
    assert_eq!(client.trusts(), domains(&["b.test"]));
    assert!(plane.zones[B].spire().read().await.unwrap().bundles.is_empty(), "B does not trust A");

    let refused = plane.bind(B, "/ns/demo/sa/other", &[A]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("federation"), "a binding needs the federation first: {refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_each_direction_comes_from_what_agents_applied() {
    let mut plane = two_zones().await;
    plane.federate_both_ways(A, B).await.unwrap();
    let silent = plane.create_zone("c").await.unwrap();
    plane.federate(A, silent).await.unwrap();
    plane.federate(silent, A).await.unwrap();

    let expected: BTreeSet<_> = [
        ("trust-zone-a", "trust-zone-b", State::Healthy),
        ("trust-zone-b", "trust-zone-a", State::Healthy),
        ("trust-zone-a", "trust-zone-c", State::Waiting),
        ("trust-zone-c", "trust-zone-a", State::Unknown),
    ]
    .map(|(from, to, state)| (from.to_owned(), to.to_owned(), state))
    .into();
    let states = || async { plane.federation_states().await.unwrap() };
    eventually("each direction has its state", states, |found| *found == expected).await;
}

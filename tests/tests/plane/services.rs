//! From a manifest in one zone to a client in another.

use cofide_testkit::wait::eventually;

use crate::world::{A, B, fence, imported, not_imported, resolved, service, status_says, two_federated_zones, two_zones};

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_becomes_an_import_with_a_name_and_endpoints() {
    let plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();

    assert_eq!(imported(&plane.zones[B], "server.demo.a.test").await, [("127.0.0.9".to_owned(), 15443)]);
    let addresses = resolved(&plane.zones[B], "server.demo.a.test").await;
    assert!(addresses.iter().all(std::net::Ipv4Addr::is_loopback), "{addresses:?}");
    status_says(&plane.zones[A], "server.yaml", &["gatewayEntries", "Registered", "observedGeneration"]).await;

    fence(&plane.zones[B], &[&plane.zones[A]]).await;
    not_imported(&plane.zones[A], "server.demo.a.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_manifest_reaches_the_client() {
    let plane = two_federated_zones().await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;

    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15444)).unwrap();
    let moved = |found: &Option<Vec<(String, u32)>>| found.as_ref().is_some_and(|found| found == &[("127.0.0.9".to_owned(), 15444)]);
    eventually("the new port arrives", || crate::world::endpoints(&plane.zones[B], "server.demo.a.test"), moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_port_have_addresses_of_their_own() {
    let plane = two_federated_zones().await;
    plane.zones[A].write_manifest("one.yaml", &service("one", &["b.test"], 15443)).unwrap();
    plane.zones[A].write_manifest("two.yaml", &service("two", &["b.test"], 15443)).unwrap();
    let one = resolved(&plane.zones[B], "one.demo.a.test").await;
    assert_ne!(one, resolved(&plane.zones[B], "two.demo.a.test").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_the_manifest_withdraws_the_service_and_its_status() {
    let plane = two_federated_zones().await;
    let zone = &plane.zones[A];
    zone.write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;

    std::fs::remove_file(zone.manifest("server.yaml")).unwrap();
    not_imported(&plane.zones[B], "server.demo.a.test").await;
    eventually("the status file is gone", || async { zone.status_of("server.yaml") }, String::is_empty).await;
    eventually("the name is gone", || plane.zones[B].resolve("server.demo.a.test"), Vec::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_imported_only_while_both_directions_of_trust_exist() {
    let mut plane = two_zones().await;
    let other = plane.add_zone("c").await.unwrap();
    plane.federate_both_ways(other, B).await.unwrap();
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    status_says(&plane.zones[A], "server.yaml", &["trust-zone-a -> trust-zone-b", "trust-zone-b -> trust-zone-a"]).await;

    plane.federate(A, B).await.unwrap();
    status_says(&plane.zones[A], "server.yaml", &["cofidectl federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a"])
        .await;
    fence(&plane.zones[other], &[&plane.zones[B]]).await;
    not_imported(&plane.zones[B], "server.demo.a.test").await;

    let federation_id = plane.federate(B, A).await.unwrap();
    imported(&plane.zones[B], "server.demo.a.test").await;

    plane.unfederate(federation_id).await.unwrap();
    not_imported(&plane.zones[B], "server.demo.a.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_not_on_the_list_imports_nothing() {
    let mut plane = two_federated_zones().await;
    let c = plane.add_zone("c").await.unwrap();
    plane.federate_both_ways(A, c).await.unwrap();
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    plane.zones[A].write_manifest("other.yaml", &service("other", &["c.test"], 15443)).unwrap();

    imported(&plane.zones[B], "server.demo.a.test").await;
    imported(&plane.zones[c], "other.demo.a.test").await;
    fence(&plane.zones[A], &[&plane.zones[B], &plane.zones[c]]).await;
    not_imported(&plane.zones[c], "server.demo.a.test").await;
    not_imported(&plane.zones[B], "other.demo.a.test").await;
}

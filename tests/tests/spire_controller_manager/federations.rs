//! Trust in other domains, by way of objects.

use cofide_agent::spire::Outcome;
use cofide_agent::spire::diff::TrustChange;
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_api::convert::plan::FEDERATED_TRUST;
use cofide_core::{Bundle, TrustDomain};
use cofide_testkit::wait::eventually;
use serde_json::{Value, json};

use crate::support::{OTHER, OWN, World};

/// The trust domains of which the SPIRE server has a relationship.
async fn relationships(world: &World) -> Vec<String> {
    let answer = world.spire.command(&["federation", "list"]).await.unwrap();
    let list = answer["federation_relationships"].as_array().into_iter().flatten();
    list.map(|relationship| relationship["trust_domain"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_brings_relationship_and_bundle_and_takes_the_domain_out_of_every_entry_when_it_ends() {
    let world = World::start_all().await;
    world.run_pod("demo", "server").await;
    let federation = world.plane.federate(OWN, OTHER).await.unwrap();
    world.bind_pods("servers", "server", &[OTHER]).await;
    let held = || world.entries("/ns/demo/sa/server");
    eventually("the entry names the domain", held, |held| *held == [["b.test"]]).await;
    assert_eq!(relationships(&world).await, ["b.test"]);
    let object = world.the_only("there is an object of it", "ClusterFederatedTrustDomain", |spec| spec["trustDomain"] == "b.test").await;
    let spec = &object.data["spec"];
    let profile = json!({ "type": "https_spiffe", "endpointSPIFFEID": "spiffe://b.test/spire/server" });
    assert_eq!(spec["bundleEndpointProfile"], profile);
    let given: Value = serde_json::from_str(spec["trustDomainBundle"].as_str().unwrap()).unwrap();
    let bundles = world.spire.command(&["bundle", "list"]).await.unwrap();
    assert_eq!(bundles["bundles"][0]["trust_domain"], "b.test", "{bundles}");
    assert_eq!(
        bundles["bundles"][0]["x509_authorities"].as_array().map(Vec::len),
        given["keys"].as_array().map(|keys| keys.iter().filter(|key| key["use"] == "x509-svid").count())
    );

    let name = format!("ClusterFederatedTrustDomain {}", object.metadata.name.unwrap_or_default());
    let unseen = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Unseen(reason)) if reason.contains(&name));
    eventually("nobody has shown the agent that it works", || world.trust("b.test"), unseen).await;
    let not_applied = |said: &Option<Result<(), String>>| matches!(said, Some(Err(reason)) if reason.contains("spire.socket.mount"));
    eventually("so Connect does not take it for applied", || world.receipt(FEDERATED_TRUST, "b.test"), not_applied).await;
    let states = world.plane.federation_states().await.unwrap();
    assert_eq!(states.iter().map(|(_, _, state)| *state).collect::<Vec<_>>(), [State::Unknown]);

    world.plane.unfederate(federation).await.unwrap();
    eventually("the entry names it no more", held, |held| *held == [Vec::<String>::new()]).await;
    eventually("the object is gone", || world.names("ClusterFederatedTrustDomain"), Vec::is_empty).await;
    eventually("the relationship is gone", || relationships(&world), Vec::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_has_delivered_nothing_costs_no_identity() {
    let mut world = World::start().await;
    // Of a zone whose agent never came, Connect has no bundle.
    let absent = world.plane.create_zone("c").await.unwrap();
    world.give_bundle_endpoint(absent).await;
    world.plane.federate(OWN, absent).await.unwrap();
    world.start_controller("").await;
    world.start_agent(|_| {}).await;
    world.run_pod("demo", "server").await;
    world.bind_pods("servers", "server", &[absent]).await;
    let held = || world.entries("/ns/demo/sa/server");
    eventually("the identity is there without it", held, |held| *held == [Vec::<String>::new()]).await;
    assert_eq!(world.names("ClusterFederatedTrustDomain").await, [""; 0], "it waits for the bundle");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_socket_beside_the_objects_a_bundle_is_seen_and_one_that_nobody_wanted_is_named() {
    let mut world = World::start().await;
    let (server, other) = (world.plane.zones[OWN].spire(), world.plane.zones[OTHER].spire());
    let theirs = Bundle { trust_domain: TrustDomain::new("c.test").unwrap(), ..other.own_bundle().await.unwrap() };
    server.change_trust(&TrustChange::SetBundle(theirs)).await.unwrap().unwrap();
    world.plane.federate(OWN, OTHER).await.unwrap();
    let socket = world.plane.zones[OWN].admin_socket();
    world.start_agent(|config| config.spire_server_socket = socket).await;
    eventually("the bundle is there", || world.trust("b.test"), |outcome| *outcome == Some(Outcome::Applied)).await;
    eventually("Connect is told", || world.receipt(FEDERATED_TRUST, "b.test"), |said| *said == Some(Ok(()))).await;
    let log = || async { std::fs::read_to_string(world.lab.folder().join("agent.log")).unwrap_or_default() };
    let is_named =
        |log: &String| log.contains("spire-server bundle delete -id spiffe://c.test") && log.contains("ClusterFederatedTrustDomain");
    eventually("the other one is named, with what removes it", log, is_named).await;
    let held = server.bundles().await.unwrap().into_keys().map(|domain| domain.to_string()).collect::<Vec<_>>();
    assert_eq!(held, ["b.test", "c.test"], "and left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_socket_of_another_trust_domain_nothing_is_written_and_everything_is_told_why() {
    let mut world = World::start().await;
    world.plane.federate(OWN, OTHER).await.unwrap();
    let binding = world.bind_entry("gateway", "ns/demo/sa/gateway").await;
    // With another zone's bundle for its own, it would not even join.
    world.start_agent(|_| {}).await;
    world.the_only("it has joined", "ClusterStaticEntry", |_| true).await;
    world.stop_agent().await;
    world.plane.unbind(binding).await.unwrap();
    let binding = world.bind_entry("server", "ns/demo/sa/server").await;

    let socket = world.plane.zones[OTHER].admin_socket();
    world.start_agent(|config| config.spire_server_socket = socket).await;
    let told =
        |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Failed(reason)) if reason.contains("correct spire_server_socket"));
    eventually("the binding is told", || world.outcome(&binding), told).await;
    eventually("and the trust", || world.trust("b.test"), told).await;
    let not_applied =
        |said: &Option<Result<(), String>>| matches!(said, Some(Err(reason)) if reason.contains("correct spire_server_socket"));
    eventually("and Connect", || world.receipt(FEDERATED_TRUST, "b.test"), not_applied).await;
    let path = |spec: &Value| spec["spiffeID"] == "spiffe://a.test/ns/demo/sa/gateway";
    world.the_only("the objects are as they were", "ClusterStaticEntry", path).await;
}

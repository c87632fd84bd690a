//! Trust in other domains, by way of objects.

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

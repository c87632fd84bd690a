//! Whose the objects are.

use cofide_agent::spire::Outcome;
use cofide_k8s_api::testdata;
use cofide_testkit::wait::eventually;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_that_changes_an_object_is_undone_and_what_others_have_written_stays() {
    let mut world = World::start().await;
    let theirs = testdata::spire_objects().remove(0);
    world.cluster.apply(&theirs).await.unwrap();
    world.start_agent(|_| {}).await;
    let binding = world.bind_pods("servers", "server", &[]).await;
    let ours = || async { world.names("ClusterSPIFFEID").await.into_iter().find(|name| name.starts_with("cofide-servers-")) };
    let name = eventually("it is written", ours, Option::is_some).await.unwrap();

    let objects = world.objects("ClusterSPIFFEID");
    let before = objects.get(&name).await.unwrap();
    for edit in [
        json!({ "spec": { "admin": true } }),
        json!({ "spec": { "podSelector": { "matchLabels": { "app": null } } } }),
        json!({ "spec": { "federatesWith": ["evil.test"] } }),
        json!({ "metadata": { "labels": null } }),
    ] {
        objects.patch(&name, &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
        let spec = || async { objects.get(&name).await.map(|object| (object.data["spec"].clone(), object.labels().clone())).unwrap() };
        let mended = |seen: &(Value, _)| seen.0 == before.data["spec"] && seen.1 == *before.labels();
        eventually(&format!("{edit} is undone"), spec, mended).await;
    }
    let version = objects.get(&name).await.unwrap().resource_version();
    world.plane.unbind(binding).await.unwrap();
    eventually("ours is gone", ours, Option::is_none).await;
    let stayed = objects.get("server").await.unwrap();
    assert_eq!(stayed.data["spec"], theirs["spec"]);
    assert_ne!(version, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_somebody_else_with_our_name_is_left_and_the_binding_told() {
    let mut world = World::start().await;
    world.start_agent(|_| {}).await;
    // Its name follows from what the entry is, so it comes again.
    let first = world.bind_entry("first", "ns/demo/sa/gateway").await;
    let object = world.the_only("it is written", "ClusterStaticEntry", |_| true).await;
    world.plane.unbind(first).await.unwrap();
    eventually("it is gone", || world.names("ClusterStaticEntry"), Vec::is_empty).await;
    let mut theirs = testdata::spire_objects().remove(1);
    theirs["metadata"]["name"] = json!(object.name_any());
    world.cluster.apply(&theirs).await.unwrap();

    let second = world.bind_entry("second", "ns/demo/sa/gateway").await;
    let told = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Failed(reason)) if reason.contains("is not the agent's"));
    eventually("the binding is told", || world.outcome(&second), told).await;
    let objects = world.objects("ClusterStaticEntry");
    assert_eq!(objects.get(&object.name_any()).await.unwrap().data["spec"], theirs["spec"]);

    objects.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
    let path = |spec: &Value| spec["spiffeID"] == "spiffe://a.test/ns/demo/sa/gateway";
    world.the_only("ours takes the place once it is free", "ClusterStaticEntry", path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_appear_later_are_used_from_then_on_and_an_agent_at_rest_writes_nothing() {
    let mut world = World::start().await;
    let definitions = ["clusterfederatedtrustdomains", "clusterspiffeids", "clusterstaticentries"].map(|kind| {
        let metadata = json!({ "name": format!("{kind}.spire.spiffe.io") });
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata }).to_string()
    });
    for definition in &definitions {
        world.cluster.delete_yaml(definition).await.unwrap();
    }
    world.start_agent(|_| {}).await;
    let binding = world.bind_pods("servers", "server", &[]).await;
    let log = || async { std::fs::read_to_string(world.lab.folder().join("agent.log")).unwrap_or_default() };
    eventually("the agent says what is missing", log, |log| log.contains("there is no socket of the SPIRE server either")).await;
    let told =
        |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Failed(reason)) if reason.contains("install spire-controller-manager"));
    eventually("and the binding is told", || world.outcome(&binding), told).await;

    world.cluster.install_spire_kinds().await.unwrap();
    let object = world.the_only("it is written now", "ClusterSPIFFEID", |_| true).await;
    let other = world.bind_pods("others", "other", &[]).await;
    eventually("and what comes after it", || world.names("ClusterSPIFFEID"), |names| names.len() == 2).await;
    world.plane.unbind(other).await.unwrap();
    eventually("and goes", || world.names("ClusterSPIFFEID"), |names| names.len() == 1).await;
    let now = world.objects("ClusterSPIFFEID").get(&object.name_any()).await.unwrap();
    assert_eq!(now.resource_version(), object.resource_version(), "what has not changed is not written");
}

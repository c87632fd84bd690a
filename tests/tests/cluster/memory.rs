//! What an agent remembers, what it can do without, and that nothing is left behind where it has forgotten.

use std::sync::Arc;

use cofide_agent::cluster_state::{ClusterState, ClusterStateError};
use cofide_agent::state::{DataFolder, LAST_VALID, TRUST};
use cofide_k8s_api::federated_service::crd;
use cofide_testkit::lab::Lab;
use cofide_testkit::wait::eventually;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{World, federated_service, named};

#[tokio::test]
async fn an_agent_that_lost_its_disk_and_its_bootstrap_file_is_the_same_one() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    world.start_agent(|_| {}).await;
    world.apply(&federated_service("ping-pong")).await;
    world.ready("ping-pong").await;
    let kept =
        || async { world.cluster.get("v1", "ConfigMap", "cofide", "cofide-agent-state").await.unwrap().unwrap().data["data"].clone() };
    let is_kept = |kept: &serde_json::Value| ["identity", "trust"].iter().all(|name| kept[name].is_string());
    eventually("the ConfigMap holds what must not be lost", kept, is_kept).await;
    world.take_agent(0).stop().await.unwrap();

    // Gone while nobody looked.
    assert_eq!(world.trusted().await, ["b.test"]);
    world.unfederate().await;
    world.cluster.delete_yaml(&federated_service("ping-pong").to_string()).await.unwrap();
    world.start_agent(|config| config.bootstrap_file = None).await;
    eventually("it is withdrawn", || world.registered(), |names| names.is_empty()).await;
    eventually("the trust is taken down", || world.trusted(), |trusted| trusted.is_empty()).await;
    world.plane.federate(0, 1).await.unwrap();
    world.fence("fence").await;
}

#[tokio::test]
async fn what_an_agent_without_any_memory_finds_registered_for_its_cluster_it_withdraws_when_nobody_wants_it() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    world.start_agent(|_| {}).await;
    for name in ["goes", "stays"] {
        world.apply(&named(name)).await;
        world.ready(name).await;
    }
    world.take_agent(0).stop().await.unwrap();

    // Deleted while nobody looked, and what was remembered of it is gone too, in the cluster and on the disk.
    world.cluster.delete_yaml(&named("goes").to_string()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.cluster.client().unwrap(), "cofide");
    maps.patch("cofide-agent-state", &PatchParams::default(), &Patch::Merge(json!({ "data": null }))).await.unwrap();
    world.a_new_join_token().await;
    world.start_agent(|_| {}).await;
    eventually("it is withdrawn, and nothing else", || world.registered(), |names| *names == ["stays.demo"]).await;
    world.fence("fence").await;
    assert_eq!(world.registered().await, ["fence.demo", "stays.demo"]);
}

#[tokio::test]
async fn what_users_wrote_does_not_crowd_out_what_the_agent_must_not_forget() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.create_namespace("cofide").await.unwrap();
    let metadata = json!({ "namespace": "cofide", "name": "cofide-agent-state" });
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(DataFolder::open(folder.path()).unwrap());
    let state = ClusterState::new(cluster.client().unwrap(), "cofide", data.clone());
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().unwrap(), "cofide");
    let kept = async |name: &str| maps.get("cofide-agent-state").await.unwrap().data.and_then(|mut texts| texts.remove(name));
    let refused = |outcome| match outcome {
        Err(ClusterStateError::TooLong { name, .. }) => name,
        other => panic!("{other:?}"),
    };

    // As four FederatedServices at the bounds of their definition, which are not valid any more.
    data.save(LAST_VALID, &"x".repeat(1_200_000)).unwrap();
    data.save(TRUST, &["b.test"]).unwrap();
    assert_eq!(refused(state.keep(1).await), LAST_VALID);
    assert_eq!(kept(LAST_VALID).await, None);
    assert_eq!(kept(TRUST).await, data.text(TRUST).unwrap());

    // What fits is kept, for as long as the room is not needed.
    data.save(LAST_VALID, &"x".repeat(900_000)).unwrap();
    state.keep(1).await.unwrap();
    assert_eq!(kept(LAST_VALID).await, data.text(LAST_VALID).unwrap());
    data.save(TRUST, &"b".repeat(200_000)).unwrap();
    assert_eq!(refused(state.keep(1).await), LAST_VALID);
    assert_eq!((kept(LAST_VALID).await, kept(TRUST).await), (None, data.text(TRUST).unwrap()));
}

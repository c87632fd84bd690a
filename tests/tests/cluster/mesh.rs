//! Whether the settings of Istio let the mesh verify federated trust domains: what is told, to whom, and what is written.

use std::time::Duration;

use cofide_agent::config::Config;
use cofide_k8s_api::federated_service::crd;
use cofide_testkit::wait::eventually;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{World, federated_service, named};

/// As Istio's chart writes it.
const CHART: &str = "\
# The trust domain corresponds to the trust root of a system.
trustDomain: \"cluster.local\"
rootNamespace: istio-system
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
";

async fn mesh_config(world: &World, text: &str) {
    let metadata = json!({ "namespace": "istio-system", "name": "istio" });
    world.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "mesh": text, "meshNetworks": "networks: {}" } })).await;
}

async fn istiod(world: &World, env: &Value) {
    let labels = json!({ "istio": "pilot" });
    let containers = json!([{ "name": "discovery", "image": "istiod", "env": env }]);
    world
        .apply(&json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "namespace": "istio-system", "name": "istiod" },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } },
            },
        }))
        .await;
}

async fn held(world: &World) -> ConfigMap {
    let maps: Api<ConfigMap> = Api::namespaced(world.cluster.client().unwrap(), "istio-system");
    maps.get("istio").await.unwrap()
}

async fn text(world: &World) -> String {
    held(world).await.data.unwrap().remove("mesh").unwrap()
}

fn istio_mtls(name: &str) -> Value {
    let mut service = named(name);
    service["spec"]["tlsMode"] = json!("IstioMtls");
    service
}

/// Settings of Istio are looked at each time; nobody tells of their changes.
fn looks_often(config: &mut Config) {
    config.resync_interval = Duration::from_secs(1);
}

async fn told_about_the_config_map(world: &World) -> Vec<(String, String)> {
    let events: Api<Event> = Api::namespaced(world.cluster.client().unwrap(), "istio-system");
    let about = |event: &Event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some("istio"));
    let events = events.list(&Default::default()).await.unwrap().items.into_iter().filter(about);
    events.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
}

#[tokio::test]
async fn what_istio_lacks_is_told_key_by_key_to_the_services_that_need_it_until_it_is_there() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    mesh_config(&world, CHART).await;
    istiod(&world, &json!([{ "name": "REVISION", "value": "default" }])).await;
    world.start_agent(looks_often).await;
    world.apply(&federated_service("passed-through")).await;
    world.apply(&istio_mtls("mesh")).await;

    let wrong = world.condition("mesh", "GatewayReady", "MeshMisconfigured").await;
    for part in ["trustDomain in the mesh configuration (ConfigMap istio-system/istio", "cluster.local", "a.test"] {
        assert!(wrong.message.contains(part), "{part}: {}", wrong.message);
    }
    world.ready("passed-through").await;
    let events = || told_about_the_config_map(&world);
    let told = eventually("the ConfigMap has Events", events, |told| told.len() >= 2).await;
    assert!(told.iter().all(|(reason, _)| reason == "MeshMisconfigured"), "{told:?}");

    // One by one.
    mesh_config(&world, &CHART.replace("cluster.local", "a.test")).await;
    let message = || async { world.condition("mesh", "GatewayReady", "MeshMisconfigured").await.message };
    let only = |message: &String| message.contains("PILOT_SKIP_VALIDATE_TRUST_DOMAIN") && !message.contains("cluster.local");
    let left = eventually("the trust domain is right", message, only).await;
    assert!(left.contains("b.test") && left.contains("Deployment istio-system/istiod") && left.contains("not set"), "{left}");
    let explained = world.plane.services().await.unwrap();
    assert!(explained.iter().any(|service| service.name == "mesh"), "what is not ready for this is announced all the same: {explained:?}");
    istiod(&world, &json!([{ "name": "PILOT_SKIP_VALIDATE_TRUST_DOMAIN", "value": "true" }])).await;
    world.ready("mesh").await;

    // An alias that merges a partner with the mesh itself.
    mesh_config(&world, "{trustDomain: a.test, trustDomainAliases: [b.test]}").await;
    let merged = world.condition("mesh", "GatewayReady", "MeshMisconfigured").await;
    assert!(merged.message.contains("trustDomainAliases") && merged.message.contains("without b.test"), "{}", merged.message);
    world.ready("passed-through").await;
}

#[tokio::test]
async fn what_cannot_be_seen_is_blamed_for_nothing() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    world.start_agent(looks_often).await;
    world.apply(&istio_mtls("mesh")).await;
    world.ready("mesh").await;
    let log = world.agent_log(0);
    for gone in ["there is no ConfigMap istio-system/istio", "there is no Deployment istio-system/istiod"] {
        assert!(log.contains(gone), "{log}");
    }
    assert!(!log.contains("is not as it has to be"), "{log}");
}

#[tokio::test]
async fn bundles_under_names_that_istio_does_not_ask_for_are_told_to_exports_and_to_connect() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    let zone = &mut world.plane.zones[0];
    zone.stop_trust_zone_server().await.unwrap();
    zone.sds = json!({});
    zone.start_trust_zone_server().await.unwrap();
    world.start_agent(looks_often).await;
    world.apply(&istio_mtls("mesh")).await;
    let wrong = world.condition("mesh", "GatewayReady", "MeshMisconfigured").await;
    for key in ["default_bundle_name", "default_all_bundles_name"] {
        assert!(wrong.message.contains(key), "{key}: {}", wrong.message);
    }
    // No sidecar could verify the server of an import either.
    let hostname = "server.demo.b.test";
    world.export("server");
    let refused =
        |said: &Option<(Result<(), String>, bool)>| matches!(said, Some((Err(text), true)) if text.contains("default_bundle_name"));
    eventually("Connect says why the import is not in effect", || world.said_of(hostname), refused).await;
    let zone = &mut world.plane.zones[0];
    zone.stop_trust_zone_server().await.unwrap();
    zone.sds = json!({ "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" });
    zone.start_trust_zone_server().await.unwrap();
    world.ready("mesh").await;
    eventually("the import is in effect", || world.said_of(hostname), |said| matches!(said, Some((Ok(()), true)))).await;
}

/// A mesh with this configuration, an agent that may write it, and a service of the mesh that is ready.
async fn managed(config: &str) -> World {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    mesh_config(&world, config).await;
    istiod(&world, &json!([])).await;
    world
        .start_agent(|config| {
            looks_often(config);
            config.manage_mesh_config = true;
        })
        .await;
    world.apply(&istio_mtls("mesh")).await;
    world.ready("mesh").await;
    world
}

#[tokio::test]
async fn an_agent_that_may_writes_what_the_mesh_configuration_lacks_and_takes_it_out_again() {
    let world = managed(CHART).await;
    let with_partner = CHART.replace("cluster.local", "a.test") + "caCertificates: [{\"trustDomains\":[\"b.test\"]}]\n";
    assert_eq!(text(&world).await, with_partner);
    assert_eq!(held(&world).await.data.unwrap()["meshNetworks"], "networks: {}");
    let told = told_about_the_config_map(&world).await;
    assert!(told.iter().any(|(reason, note)| reason == "MeshConfigWritten" && note.contains("cluster.local")), "{told:?}");

    // What somebody else changes stays, and what they take away comes back.
    let theirs = CHART.to_owned() + "enablePrometheusMerge: false\n";
    mesh_config(&world, &theirs).await;
    let wanted = theirs.replace("cluster.local", "a.test") + "caCertificates: [{\"trustDomains\":[\"b.test\"]}]\n";
    eventually("it is written again", || text(&world), |text| *text == wanted).await;
    let version = held(&world).await.resource_version();
    world.fence("fence").await;
    assert_eq!(held(&world).await.resource_version(), version, "at rest nothing is written");

    world.cluster.delete_yaml(&istio_mtls("mesh").to_string()).await.unwrap();
    let without = theirs.replace("cluster.local", "a.test");
    eventually("nobody is to be let in", || text(&world), |text| *text == without).await;
    assert!(held(&world).await.annotations().is_empty());
}

#[tokio::test]
async fn a_mesh_configuration_that_nobody_can_read_is_left_as_it_is() {
    let world = managed("trustDomain: [\n").await;
    let log = || async { world.agent_log(0) };
    eventually("it is said", log, |log| log.contains("cannot write ConfigMap istio-system/istio") && log.contains("not a map in YAML"))
        .await;
    assert_eq!(text(&world).await, "trustDomain: [\n");
    let maps: Api<ConfigMap> = Api::namespaced(world.cluster.client().unwrap(), "istio-system");
    maps.patch("istio", &PatchParams::default(), &Patch::Merge(json!({ "data": { "mesh": CHART } }))).await.unwrap();
    eventually("and mended once it can be", || text(&world), |text| text.contains("trustDomain: \"a.test\"")).await;
}

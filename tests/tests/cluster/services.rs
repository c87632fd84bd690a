//! What becomes of FederatedServices.

use std::sync::Arc;
use std::time::Duration;

use cofide_agent::bootstrap::EnvoyBootstrap;
use cofide_agent::role::Role;
use cofide_k8s_api::federated_service::crd;
use cofide_k8s_api::{ConditionStatus, testdata};
use cofide_testkit::envoy::Envoy;
use cofide_testkit::wait::{eventually, works};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::support::{World, define, federated_service};

#[tokio::test]
async fn a_service_becomes_ready_is_told_to_connect_and_is_withdrawn_with_its_object() {
    let world = World::start().await;
    world.ping_pong().await;
    world.apply(&federated_service("ping-pong")).await;
    let ready = world.ready("ping-pong").await;
    assert!(ready.message.contains("server.demo.a.test") && ready.message.contains("b.test"), "{}", ready.message);
    let status = world.status("ping-pong").await;
    assert_eq!(status.hostname.as_deref(), Some("server.demo.a.test"));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.gateway_summary.as_deref(), Some("192.0.2.1:443 (+1)"));
    let expected = json!([
        { "type": "istio-ingressgateway", "port": 443, "ip": "192.0.2.1" },
        { "type": "istio-eastwestgateway", "port": 15443, "ip": "192.0.2.2" },
    ]);
    assert_eq!(json!(status.gateway_entries), expected);
    assert_eq!(world.registered().await, ["server.demo"]);

    // At rest nothing is written, also where something happens beside.
    let version = world.version("ping-pong").await;
    world.fence("fence").await;
    assert_eq!(world.version("ping-pong").await, version);

    let events: Api<Event> = Api::namespaced(world.cluster.client().unwrap(), "demo");
    let told = || async {
        let events = events.list(&Default::default()).await.unwrap().items.into_iter();
        let of = |event: &Event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some("ping-pong");
        events.filter(of).filter_map(|event| event.reason).collect::<Vec<_>>()
    };
    assert_eq!(eventually("there is an Event", told, |told| !told.is_empty()).await, ["Exported"]);

    // What somebody writes into the status does not stay there.
    let services: Api<cofide_k8s_api::FederatedServiceObject> = Api::namespaced(world.cluster.client().unwrap(), "demo");
    let edit = kube::api::Patch::Merge(json!({ "status": { "hostname": "elsewhere.test" } }));
    services.patch_status("ping-pong", &Default::default(), &edit).await.unwrap();
    let hostname = || async { world.status("ping-pong").await.hostname };
    eventually("the status is mended", hostname, |hostname| hostname.as_deref() == Some("server.demo.a.test")).await;

    world.cluster.delete_yaml(&federated_service("ping-pong").to_string()).await.unwrap();
    eventually("the service is withdrawn", || world.registered(), |names| *names == ["fence.demo"]).await;
}

#[tokio::test]
async fn a_service_waits_for_its_gateway_and_its_endpoints_and_follows_both() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.start_agent(|_| {}).await;
    world.apply(&federated_service("ping-pong")).await;
    let missing = world.condition("ping-pong", "GatewayReady", "NoGateway").await;
    assert!(missing.message.contains("there is no Service istio-system/istio-ingressgateway"), "{}", missing.message);
    world.condition("ping-pong", "BackendsReady", "NoService").await;
    world.condition("ping-pong", "Registered", "NotAnnounced").await;

    world.service("ping-pong-server", &json!([{ "name": "tls", "port": 8443 }])).await;
    world.condition("ping-pong", "BackendsReady", "NoEndpoint").await;
    world.ping_pong().await;
    world.condition("ping-pong", "BackendsReady", "EndpointsReady").await;
    assert!(world.registered().await.is_empty(), "it was announced without a gateway");

    world.gateway("istio-eastwestgateway", "tls", 15443, &[]).await;
    let entries = || async { json!(world.status("ping-pong").await.gateway_entries) };
    world.gateway("istio-ingressgateway", "https", 443, &[json!({ "hostname": "gw.example.com" }), json!({ "ip": "2001:db8::1" })]).await;
    world.ready("ping-pong").await;
    let discovered = json!([
        { "type": "istio-ingressgateway", "port": 443, "hostname": "gw.example.com" },
        { "type": "istio-ingressgateway", "port": 443, "ip": "2001:db8::1" },
    ]);
    eventually("both addresses are told", entries, |found| *found == discovered).await;

    let manual = json!([{ "type": "istio-ingressgateway", "port": 5432, "ip": "192.0.2.9" }]);
    world.patch("ping-pong", &json!({ "spec": { "gateways": manual } })).await;
    world.condition("ping-pong", "GatewayReady", "ManualGateways").await;
    eventually("the manual gateway is told", entries, |found| *found == manual).await;
    world.patch("ping-pong", &json!({ "spec": { "gateways": null } })).await;
    eventually("discovery is back", entries, |found| *found == discovered).await;

    // Once announced it stays so while its pods are replaced.
    world.cluster.endpoint_slice("demo", "ping-pong-server", ("tls", 8443), &[]).await.unwrap();
    world.condition("ping-pong", "BackendsReady", "NoEndpoint").await;
    assert_eq!(world.registered().await, ["server.demo"]);
}

#[tokio::test]
async fn a_bad_object_harms_only_itself_also_where_the_definition_let_it_pass() {
    let mut world = World::without_agent(Some(testdata::OLDER_CRD)).await;
    world.both_gateways().await;
    world.ping_pong().await;
    let with_paths = |name: &str, field: &str, value: Value| {
        let mut object = federated_service(name);
        object["spec"]["spiffeIDPaths"] = json!(["ns/demo/sa/server"]);
        object["spec"][field] = value;
        object
    };
    world.apply(&with_paths("oldest", "port", json!(8443))).await;
    // A creation time has seconds.
    let created = world.object("oldest").await.unwrap().metadata.creation_timestamp.unwrap().0.as_second();
    let mut number = 0;
    loop {
        number += 1;
        let probe = format!("probe-{number}");
        world.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": "demo", "name": probe } })).await;
        let probe = world.cluster.get("v1", "ConfigMap", "demo", &probe).await.unwrap().unwrap();
        if probe.metadata.creation_timestamp.unwrap().0.as_second() > created {
            break;
        }
    }
    world.apply(&with_paths("later", "port", json!(8443))).await;
    world.apply(&with_paths("broken", "port", json!(0))).await;
    world.apply(&with_paths("neighbour", "namespace", json!("other"))).await;
    world.apply(&with_paths("shouting", "name", json!("Server"))).await;
    world.start_agent(|_| {}).await;

    let reasons =
        [("broken", "Invalid", "spec.port"), ("shouting", "Invalid", "spec.name"), ("neighbour", "Invalid", "cross_namespace_from")];
    for (name, reason, words) in reasons.into_iter().chain([("later", "Conflict", "FederatedService demo/oldest")]) {
        let accepted = world.condition(name, "Accepted", reason).await;
        assert_eq!(accepted.status, ConditionStatus::False);
        assert!(accepted.message.contains(words), "{name}: {}", accepted.message);
    }
    world.ready("oldest").await;
    assert_eq!(world.registered().await, ["server.demo"]);

    // The older definition knows neither the hostname nor the summary; that it drops them is no reason to write again.
    let versions = async || [world.version("oldest").await, world.version("broken").await];
    let before = versions().await;
    world.apply(&with_paths("fence", "name", json!("fence"))).await;
    world.ready("fence").await;
    assert_eq!(versions().await, before);

    // The heir takes over where the oldest goes, and a version that is not valid leaves the last valid one in force.
    world.cluster.delete_yaml(&federated_service("oldest").to_string()).await.unwrap();
    world.ready("later").await;
    world.patch("later", &json!({ "spec": { "port": 0 } })).await;
    world.condition("later", "Accepted", "InvalidKeptLastValid").await;
    assert_eq!(world.registered().await, ["fence.demo", "server.demo"]);

    // Also after a restart, on another disk.
    let kept =
        || async { world.cluster.get("v1", "ConfigMap", "cofide", "cofide-agent-state").await.unwrap().unwrap().data["data"].clone() };
    let is_kept = |kept: &Value| kept["last-valid"].as_str().is_some_and(|text| text.contains("ping-pong-server"));
    eventually("the ConfigMap holds the last valid version", kept, is_kept).await;
    world.take_agent(0).stop().await.unwrap();
    world.start_agent(|_| {}).await;
    world.apply(&with_paths("fence-2", "name", json!("fence-2"))).await;
    world.ready("fence-2").await;
    assert_eq!(world.registered().await, ["fence-2.demo", "fence.demo", "server.demo"]);
    world.condition("later", "Accepted", "InvalidKeptLastValid").await;
}

#[tokio::test]
async fn a_definition_that_comes_later_is_found() {
    let mut world = World::without_agent(None).await;
    world.both_gateways().await;
    world.ping_pong().await;
    let agent = world.start_agent(|_| {}).await;
    let complaint = || async { world.agent_log(agent) };
    eventually("the agent misses the definition", complaint, |log| log.contains("install its CustomResourceDefinition")).await;
    define(&world.cluster, &crd::yaml()).await;
    world.apply(&federated_service("ping-pong")).await;
    world.ready("ping-pong").await;
}

#[tokio::test]
async fn without_istio_the_gateway_is_an_envoy_of_the_agents_that_leads_to_the_endpoints() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    let backend = TcpListener::bind((world.lab.address(), 8443)).await.unwrap();
    world.service("ping-pong-server", &json!([{ "name": "tls", "port": 443, "targetPort": "secure" }])).await;
    let addresses = [world.lab.address().into()];
    world.cluster.endpoint_slice("demo", "ping-pong-server", ("tls", 8443), &addresses).await.unwrap();
    let (xds_address, gateway, socket) =
        world.plane.zones.first().map(|zone| (zone.xds_address, zone.gateway_address, zone.workload_api_socket())).unwrap();
    world
        .start_agent(|config| {
            config.profile = "kubernetes".to_owned();
            config.xds_address = xds_address;
        })
        .await;
    world.apply(&federated_service("ping-pong")).await;
    world.condition("ping-pong", "GatewayReady", "GatewayNotConnected").await;

    let bootstrap = EnvoyBootstrap {
        role: Role::Gateway,
        node_id: None,
        xds_address: xds_address.into(),
        workload_api_socket: socket,
        admin_address: None,
        ready_address: None,
    };
    let _envoy = Envoy::start(bootstrap).await.unwrap();
    world.ready("ping-pong").await;
    world.condition("ping-pong", "GatewayReady", "GatewayConnected").await;
    let first_bytes = works("a client's greeting arrives where the endpoint listens", async || {
        let connector =
            TlsConnector::from(Arc::new(ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()));
        let stream = TcpStream::connect(gateway).await?;
        let _client = tokio::spawn(connector.connect("server.demo.a.test".try_into()?, stream));
        let accepted = tokio::time::timeout(Duration::from_secs(2), backend.accept()).await?;
        let mut first_bytes = [0; 2];
        accepted?.0.read_exact(&mut first_bytes).await?;
        Ok(first_bytes)
    });
    assert_eq!(first_bytes.await, [22, 3], "not a handshake of TLS");
}

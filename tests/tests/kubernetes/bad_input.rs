//! What people get wrong, each with what they are told; and what others do to the agent's objects and rights.

use anyhow::{Context, ensure};
use cofide_testkit::lab::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{EXPORTED, Server, Speaks, World, federated_service};

const NAMESPACE: &str = "mistakes";

pub(crate) async fn each_way_in_which_no_service_stands_behind_is_named(world: &World) {
    let cluster = &world.server.cluster;
    cluster.create_namespace(NAMESPACE).await.unwrap();
    let service = |name: &str, app: &str, spec: Value| {
        let mut service =
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": NAMESPACE, "name": name }, "spec": spec });
        service["spec"]["selector"] = json!({ "app": app });
        service
    };
    let to = |port: u16, target: u16| json!({ "ports": [{ "name": "a", "port": port, "targetPort": target }] });
    let udp = json!({ "ports": [{ "name": "a", "port": 8443, "protocol": "UDP" }] });
    let outward = json!({ "type": "ExternalName", "externalName": "elsewhere.example.com", "ports": [{ "name": "a", "port": 8443 }] });
    for object in [
        service("two-a", "two", to(8443, 1)),
        service("two-b", "two", to(8443, 2)),
        service("elsewhere", "without-the-port", to(9000, 9000)),
        service("outward", "outward", outward),
        service("udp", "udp", udp),
        service("empty", "empty", to(8443, 8443)),
    ] {
        cluster.apply(&object).await.unwrap();
    }
    let cases = [
        ("nothing", "NoService", "app=nothing"),
        ("two", "AmbiguousService", "two-a"),
        ("without-the-port", "NoServicePort", "9000"),
        ("outward", "ExternalName", "outward"),
        ("udp", "PortNotTCP", "UDP"),
        ("empty", "NoEndpoint", "empty"),
    ];
    for (app, ..) in cases {
        cluster.apply(&federated_service(NAMESPACE, app, app, 8443, "Mtls")).await.unwrap();
    }
    for (app, reason, word) in cases {
        let message = world.condition(NAMESPACE, app, "BackendsReady", ("False", reason)).await;
        assert!(message.contains(word), "{word} is not in: {message}");
        world.condition(NAMESPACE, app, "Ready", ("False", reason)).await;
    }
}

pub(crate) async fn a_headless_service_is_as_good_as_another(world: &World) {
    let World { lab, server, .. } = world;
    let pod = Server::start(lab, server, "headless", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    // In place of the Service that the server brought.
    let own = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "headless", "name": "server" } });
    server.cluster.delete_yaml(&own.to_string()).await.unwrap();
    server
        .cluster
        .apply(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": "headless", "name": "headless" },
            "spec": { "clusterIP": "None", "selector": { "app": "server" }, "ports": [{ "name": "tls", "port": 8443 }] },
        }))
        .await
        .unwrap();
    server.cluster.endpoint_slice("headless", "headless", ("tls", 8443), &[pod.address().into()]).await.unwrap();
    server.cluster.apply(&federated_service("headless", "server", "server", 8443, "Mtls")).await.unwrap();
    world.condition("headless", "server", "Ready", ("True", "Exported")).await;
    world.is_reached("server.headless.local.domain:8443").await;
}

pub(crate) async fn the_owner_of_a_namespace_exports_nobody_elses_pods(world: &World) {
    let cluster = &world.server.cluster;
    cluster.create_namespace("nosy").await.unwrap();
    for (name, namespace) in [("neighbour", "demo"), ("missing", "not-there")] {
        let mut service = federated_service("nosy", name, "ping-pong-server", 8443, "Mtls");
        service["spec"]["namespace"] = json!(namespace);
        cluster.apply(&service).await.unwrap();
        let message = world.condition("nosy", name, "Accepted", ("False", "Invalid")).await;
        assert!(message.contains("spec.namespace") && message.contains(namespace), "{message}");
    }
}

pub(crate) async fn three_hundred_trust_domains_are_taken_and_those_that_nobody_has_are_named(world: &World) {
    let World { lab, server, .. } = world;
    let _pod = Server::start(lab, server, "many", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let mut service = federated_service("many", "server", "server", 8443, "Mtls");
    let unknown = (0..298).map(|number| format!("unknown{number}.domain"));
    service["spec"]["exportedTrustDomains"] = EXPORTED.map(str::to_owned).into_iter().chain(unknown).collect();
    server.cluster.apply(&service).await.unwrap();
    let message = world.condition("many", "server", "Ready", ("False", "UnknownTrustDomain")).await;
    assert!(message.contains("unknown0.domain"), "{message}");
    world.is_reached("server.many.local.domain:8443").await;
}

pub(crate) async fn a_name_of_63_characters_is_reached_and_one_of_64_is_refused_at_once(world: &World) {
    let World { lab, server, .. } = world;
    let _pod = Server::start(lab, server, "long", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let named = |name: &str| {
        let mut service = federated_service("long", "server", "server", 8443, "Mtls");
        service["spec"]["name"] = json!(name);
        service
    };
    let refused = server.cluster.apply(&named(&"a".repeat(64))).await.unwrap_err();
    assert!(format!("{refused:#}").contains("spec.name"), "{refused:#}");
    let longest = "a".repeat(63);
    server.cluster.apply(&named(&longest)).await.unwrap();
    world.is_reached(&format!("{longest}.long.local.domain:8443")).await;
}

pub(crate) async fn an_object_of_an_import_that_somebody_edits_or_deletes_is_repaired(world: &World) {
    let World { lab, server, client, .. } = world;
    let _pod = Server::start(lab, server, "edited", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply(&federated_service("edited", "server", "server", 8443, "Mtls")).await.unwrap();
    let hostname = "server.edited.local.domain";
    world.is_reached(&format!("{hostname}:8443")).await;
    let objects = client.objects_for(hostname).await.unwrap();
    let (_, entry) = objects.iter().find(|(name, _)| name.starts_with("WorkloadEntry")).unwrap();
    let (namespace, name) = (entry.namespace().unwrap(), entry.name_any());
    let mut edit =
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": { "namespace": namespace, "name": name } });
    edit["spec"] = json!({ "address": "192.0.2.1" });
    client.cluster.apply(&edit).await.unwrap();
    let is_repaired = async || {
        let found = client.cluster.get("networking.istio.io/v1", "WorkloadEntry", &namespace, &name).await?.context("it is gone")?;
        ensure!(found.data["spec"]["address"] == entry.data["spec"]["address"], "{}", found.data);
        Ok(())
    };
    world.until("the edit is undone", is_repaired).await;
    client.cluster.delete_yaml(&edit.to_string()).await.unwrap();
    world.until("what was deleted is back", is_repaired).await;
}

pub(crate) async fn an_object_of_somebody_else_that_has_our_name_is_left_alone_and_reported(world: &World) {
    let World { lab, server, .. } = world;
    let _pod = Server::start(lab, server, "foreign", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service("foreign", "server", "server", 8443, "Mtls");
    server.cluster.apply(&service).await.unwrap();
    let hostname = "server.foreign.local.domain";
    world.condition("foreign", "server", "Ready", ("True", "Exported")).await;
    let objects = server.objects_for(hostname).await.unwrap();
    let (_, entry) = objects.iter().find(|(name, _)| name.starts_with("ServiceEntry")).unwrap();
    let name = entry.name_any();
    server.cluster.delete_yaml(&service.to_string()).await.unwrap();
    world
        .until("its objects are gone", async || {
            let left = server.objects_for(hostname).await?;
            ensure!(left.is_empty(), "{:?}", left.keys());
            Ok(())
        })
        .await;

    let foreign = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": { "namespace": "foreign", "name": name },
        "spec": { "hosts": ["somebody.example.com"], "resolution": "DNS", "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }] },
    });
    server.cluster.apply(&foreign).await.unwrap();
    server.cluster.apply(&service).await.unwrap();
    world
        .until("its owner is told", async || {
            let conditions = server.conditions("foreign", "server").await?.to_string();
            ensure!(conditions.contains(&name), "{name} is not in {conditions}");
            Ok(())
        })
        .await;
    let found = server.cluster.get("networking.istio.io/v1", "ServiceEntry", "foreign", &name).await.unwrap().unwrap();
    assert_eq!(found.data["spec"]["hosts"], json!(["somebody.example.com"]));
}

pub(crate) async fn rights_that_are_taken_away_are_missed_aloud_and_used_when_they_are_back(world: &mut World) {
    let role = world.plain.cluster.get("rbac.authorization.k8s.io/v1", "ClusterRole", "", "cofide-agent").await.unwrap().unwrap();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "cofide-agent", "labels": role.metadata.labels },
        "rules": role.data["rules"],
    });
    let _pod = Server::start(&world.lab, &world.plain, "rights", "before", 8443, Speaks::Mtls(&["other1.domain"])).await.unwrap();
    let service = |name: &str| {
        let mut service = federated_service("rights", name, name, 8443, "Mtls");
        service["spec"]["exportedTrustDomains"] = json!(["other1.domain"]);
        service
    };
    let plain = &world.plain.cluster;
    plain.apply(&service("before")).await.unwrap();
    let ping =
        async |name: &str| world.in_mesh.ping_mtls(&world.client, &format!("{name}.rights.other2.domain:8443"), "other2.domain").await;
    world.until("it is reached", async || ping("before").await).await;

    assert!(world.plain.agent().refusals().is_empty(), "{:?}", world.plain.agent().refusals());
    plain.delete_yaml(&role.to_string()).await.unwrap();
    plain.run_pod(&Pod::new("rights", "after", std::net::Ipv4Addr::new(192, 0, 2, 1))).await.unwrap();
    plain.apply(&service("after")).await.unwrap();
    world
        .until("the agent says what it may not", async || {
            let refusals = world.plain.agent().refusals();
            ensure!(!refusals.is_empty(), "nothing in its log");
            Ok(())
        })
        .await;
    world.until("what it had is still reached", async || ping("before").await).await;

    plain.apply(&role).await.unwrap();
    let _other = Server::start(&world.lab, &world.plain, "rights", "after", 8443, Speaks::Mtls(&["other1.domain"])).await.unwrap();
    world.until("what was made meanwhile is reached", async || ping("after").await).await;
    world.plain.agent_mut().forgive();
}

pub(crate) async fn no_agent_ever_asked_for_more_than_the_role_of_its_chart_allows(world: &mut World) {
    for site in [&world.server, &world.client, &world.plain] {
        let refusals = site.agent().refusals();
        assert!(refusals.is_empty(), "{:?}: {refusals:#?}", site.cluster);
    }
}

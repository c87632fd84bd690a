//! How remote clients find their way in, and what becomes of that when gateways come, move and go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use cofide_testkit::lab::ISTIO_NAMESPACE;
use serde_json::{Value, json};

use crate::support::{EXPORTED, Forwarder, PATIENCE, Server, Speaks, World, attempts, federated_service};

const INGRESS: &str = "istio-ingressgateway";
const EAST_WEST: &str = "istio-eastwestgateway";

pub(crate) async fn manual_gateways_replace_the_discovered_ones_until_they_are_removed(world: &World) {
    let World { lab, server, .. } = world;
    let balancer = lab.host("balancer").unwrap();
    let (_, east_west) = server.mesh_gateways();
    let to_ingress = Forwarder::start(&balancer, 5432, server.ingress()).unwrap();
    let to_east_west = Forwarder::start(&balancer, 4321, (east_west.host.address, 15443).into()).unwrap();
    let _pod = Server::start(lab, server, "manual", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let discovered = federated_service("manual", "server", "server", 8443, "Mtls");
    let mut manual = discovered.clone();
    manual["spec"]["gateways"] = json!([
        { "type": INGRESS, "ip": balancer.address, "port": 5432 },
        { "type": EAST_WEST, "ip": balancer.address, "port": 4321 },
    ]);
    server.cluster.apply(&manual).await.unwrap();
    world.condition("manual", "server", "GatewayReady", ("True", "ManualGateways")).await;
    world.is_reached("server.manual.local.domain:8443").await;
    let carried = (to_ingress.carried(), to_east_west.carried());
    assert!(carried.0 > 0 && carried.1 > 0, "through the balancer went {carried:?}");

    server.cluster.apply(&discovered).await.unwrap();
    world.condition("manual", "server", "GatewayReady", ("True", "GatewaysDiscovered")).await;
    drop((to_ingress, to_east_west));
    world.is_reached("server.manual.local.domain:8443").await;
}

pub(crate) async fn a_gateway_with_a_name_is_followed_to_its_new_address(world: &World) {
    let World { lab, server, names, .. } = world;
    let (old, new) = (lab.host("old").unwrap(), lab.host("new").unwrap());
    let (_, east_west) = server.mesh_gateways();
    let east_west = (east_west.host.address, 15443).into();
    let at_old = [Forwarder::start(&old, 5432, server.ingress()).unwrap(), Forwarder::start(&old, 4321, east_west).unwrap()];
    let at_new = [Forwarder::start(&new, 5432, server.ingress()).unwrap(), Forwarder::start(&new, 4321, east_west).unwrap()];
    let hostname: cofide_core::Hostname = "gw.example.com".parse().unwrap();
    names.set(BTreeMap::from([(hostname.clone(), old.address)]));
    let _pod = Server::start(lab, server, "named", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let mut service = federated_service("named", "server", "server", 8443, "Mtls");
    service["spec"]["gateways"] = json!([
        { "type": INGRESS, "hostname": "gw.example.com", "port": 5432 },
        { "type": EAST_WEST, "hostname": "gw.example.com", "port": 4321 },
    ]);
    server.cluster.apply(&service).await.unwrap();
    let name = "server.named.local.domain:8443";
    world.is_reached(name).await;
    assert!(at_old.iter().all(|forwarder| forwarder.carried() > 0));

    names.set(BTreeMap::from([(hostname, new.address)]));
    drop(at_old);
    world
        .until("both are at the new address", async || {
            let answers = (world.ping_from_outside(name).await?, world.ping_from_mesh(name).await?);
            ensure!(at_new.iter().all(|forwarder| forwarder.carried() > 0), "{answers:?}, but not by way of the new address");
            Ok(())
        })
        .await;
}

pub(crate) async fn a_service_waits_for_a_gateway_and_is_announced_when_one_appears(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "early", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let cluster = &world.server.cluster;
    for name in [INGRESS, EAST_WEST] {
        cluster.delete_yaml(&service_named(name).to_string()).await.unwrap();
    }
    cluster.apply(&federated_service("early", "server", "server", 8443, "Mtls")).await.unwrap();
    let message = world.condition("early", "server", "GatewayReady", ("False", "NoGateway")).await;
    for looked_for in ["istio-system/istio-ingressgateway", "istio-system/istio-eastwestgateway"] {
        assert!(message.contains(looked_for), "{looked_for} is not in: {message}");
    }
    world
        .until("there is a ServiceEntry alone", async || {
            let written: Vec<_> = world.server.objects_for("server.early.local.domain").await?.into_keys().collect();
            ensure!(written.len() == 1 && written[0].starts_with("ServiceEntry"), "{written:?}");
            Ok(())
        })
        .await;

    let (ingress, east_west) = world.server.mesh_gateways();
    cluster.expose_gateway(ingress, &[("https", 443)]).await.unwrap();
    cluster.expose_gateway(east_west, &[("tls", 15443)]).await.unwrap();
    world.condition("early", "server", "Ready", ("True", "Exported")).await;
    world.is_reached("server.early.local.domain:8443").await;
}

pub(crate) async fn nodes_are_the_way_in_where_the_configuration_says_so(world: &mut World) {
    const NODE_PORTS: [(&str, &str, u16, u16); 2] = [(INGRESS, "https", 443, 30443), (EAST_WEST, "tls", 15443, 31443)];
    let _pod = Server::start(&world.lab, &world.server, "nodes", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let node = world.lab.host("node").unwrap();
    let (ingress, east_west) = world.server.mesh_gateways();
    // What kube-proxy does on a node.
    let at_node = [
        Forwarder::start(&node, 30443, (ingress.host.address, 443).into()).unwrap(),
        Forwarder::start(&node, 31443, (east_west.host.address, 15443).into()).unwrap(),
    ];
    let cluster = &world.server.cluster;
    for (name, port_name, port, node_port) in NODE_PORTS {
        let mut service = service_named(name);
        cluster.delete_yaml(&service.to_string()).await.unwrap();
        let ports = json!([{ "name": port_name, "port": port, "targetPort": port, "nodePort": node_port }]);
        service["spec"] = json!({ "type": "NodePort", "selector": { "istio": name.trim_start_matches("istio-") }, "ports": ports });
        cluster.apply(&service).await.unwrap();
    }
    cluster.apply(&federated_service("nodes", "server", "server", 8443, "Mtls")).await.unwrap();
    let message = world.condition("nodes", "server", "GatewayReady", ("False", "NoGateway")).await;
    assert!(message.contains("NodePort") && message.contains("gateway_node_addresses"), "{message}");

    restart_with(world, Some(&node.address.to_string()));
    world.condition("nodes", "server", "Ready", ("True", "Exported")).await;
    let mut entries = world.server.gateway_entries("nodes", "server").await.unwrap();
    entries.sort_by_key(|entry| entry["type"].to_string());
    let entry = |kind: &str, port: u16| json!({ "type": kind, "ip": node.address, "port": port });
    assert_eq!(entries, [entry(EAST_WEST, 31443), entry(INGRESS, 30443)]);
    world.is_reached("server.nodes.local.domain:8443").await;
    assert!(
        at_node.iter().all(|forwarder| forwarder.carried() > 0),
        "through the node went {:?}",
        at_node.each_ref().map(Forwarder::carried)
    );

    // The addresses of a load balancer are preferred.
    for (name, ..) in NODE_PORTS {
        world.server.cluster.delete_yaml(&service_named(name).to_string()).await.unwrap();
    }
    let (ingress, east_west) = world.server.mesh_gateways();
    world.server.cluster.expose_gateway(ingress, &[("https", 443)]).await.unwrap();
    world.server.cluster.expose_gateway(east_west, &[("tls", 15443)]).await.unwrap();
    world
        .until("the load balancers are announced", async || {
            let entries = world.server.gateway_entries("nodes", "server").await?;
            ensure!(!entries.iter().any(|entry| entry["ip"] == json!(node.address)) && entries.len() == 2, "{entries:?}");
            Ok(())
        })
        .await;
    restart_with(world, None);
    world.is_reached("server.nodes.local.domain:8443").await;
}

/// Starts the agent of `server` anew, with these addresses of nodes.
fn restart_with(world: &mut World, node_addresses: Option<&str>) {
    let agent = world.server.agent_mut();
    agent.kill();
    agent.set("COFIDE_AGENT_GATEWAY_NODE_ADDRESSES", node_addresses);
    agent.start().unwrap();
}

fn service_named(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": ISTIO_NAMESPACE, "name": name } })
}

pub(crate) async fn when_one_of_several_gateways_dies_under_traffic_clients_go_on_through_the_others(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "several", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let server = &world.server;
    let mut second = Vec::new();
    let (ingress, east_west) = server.mesh_gateways();
    for (name, first) in [(INGRESS, ingress), (EAST_WEST, east_west)] {
        let gateway = server.gateway_pod(name, &format!("{name}-2")).await.unwrap();
        let addresses = [json!({ "ip": first.host.address }), json!({ "ip": gateway.host.address })];
        server.cluster.set_load_balancer(ISTIO_NAMESPACE, name, &addresses).await.unwrap();
        second.push(gateway);
    }
    server.cluster.apply(&federated_service("several", "server", "server", 8443, "Mtls")).await.unwrap();
    let name = "server.several.local.domain:8443";
    world.is_reached(name).await;
    world
        .until("both announced", async || {
            let entries = server.gateway_entries("several", "server").await?;
            ensure!(entries.len() == 4, "{entries:?}");
            Ok(())
        })
        .await;

    let (from_outside, from_mesh) = (Traffic::default(), Traffic::default());
    let die = async {
        from_outside.flows().await;
        from_mesh.flows().await;
        for gateway in [ingress, east_west] {
            gateway.host.set_reachable(false).unwrap();
        }
        tokio::join!(from_outside.flows_again(), from_mesh.flows_again())
    };
    let outcome = tokio::select! {
        outcome = die => outcome,
        () = from_outside.run(async || world.ping_from_outside(name).await) => unreachable!("traffic has no end"),
        () = from_mesh.run(async || world.ping_from_mesh(name).await) => unreachable!("traffic has no end"),
    };
    for gateway in [ingress, east_west] {
        gateway.host.set_reachable(true).unwrap();
    }
    for (gateway, name) in [(ingress, INGRESS), (east_west, EAST_WEST)] {
        server.cluster.set_load_balancer(ISTIO_NAMESPACE, name, &[json!({ "ip": gateway.host.address })]).await.unwrap();
    }
    let (outside, mesh) = outcome;
    assert!(outside.is_ok() && mesh.is_ok(), "outside {outside:?}, mesh {mesh:?}\n{}", world.dump().await);
}

/// How many answers in a row say that all is well.
const IN_A_ROW: usize = 10;
/// What is answered later than this was lost.
const ANSWER: Duration = Duration::from_secs(2);

/// Calls, one after the other.
#[derive(Default)]
struct Traffic {
    /// Answers since the last failure.
    in_a_row: AtomicUsize,
}

impl Traffic {
    async fn run(&self, call: impl AsyncFn() -> Result<String>) {
        loop {
            match tokio::time::timeout(ANSWER, call()).await {
                Ok(Ok(_)) => drop(self.in_a_row.fetch_add(1, Ordering::Relaxed)),
                Ok(Err(_)) | Err(_) => self.in_a_row.store(0, Ordering::Relaxed),
            }
        }
    }

    async fn flows(&self) {
        self.flows_again().await.unwrap();
    }

    /// Waits for answers in a row that begin now.
    async fn flows_again(&self) -> Result<(), String> {
        self.in_a_row.store(0, Ordering::Relaxed);
        attempts(PATIENCE, async || {
            let answers = self.in_a_row.load(Ordering::Relaxed);
            ensure!(answers >= IN_A_ROW, "{answers} answers in a row");
            Ok(())
        })
        .await
    }
}

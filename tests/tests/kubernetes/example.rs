//! The page about Federated Services, its example first.

use anyhow::ensure;
use serde_json::json;

use crate::support::{Client, Direct, Server, Speaks, World, federated_service};

const EXPORTED: [&str; 2] = ["other1.domain", "other2.domain"];
const TRUST_DOMAIN: &str = "local.domain";

pub(crate) async fn the_example_of_the_documentation_is_reached_from_a_mesh_and_from_a_cluster_without_one(world: &World) {
    let World { lab, server, client, plain, .. } = world;
    let pod = Server::start(lab, server, "demo", "ping-pong-server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply_yaml(include_str!("ping-pong.yaml")).await.unwrap();

    let name = "server.demo.local.domain:8443";
    let (through_envoy, through_mesh) =
        (Client::behind_envoy(lab, plain).await.unwrap(), Client::behind_sidecar(client, "demo").await.unwrap());
    let reply = world.until("a client behind an Envoy", async || through_envoy.ping_mtls(plain, name, TRUST_DOMAIN).await).await;
    assert_eq!(reply, "...pong from spiffe://local.domain/ns/demo/sa/server");
    let by_xds = Client::alone(lab, plain).unwrap();
    world.until("an SDK", async || by_xds.ping_by_xds(plain, "server.demo.local.domain", TRUST_DOMAIN).await).await;
    let reply = world.until("a client in a mesh", async || through_mesh.ping_mtls(client, name, TRUST_DOMAIN).await).await;
    assert_eq!(reply, "...pong from spiffe://local.domain/ns/demo/sa/server");
    for client in EXPORTED {
        let line = format!("ping from spiffe://{client}/ns/demo/sa/client");
        assert!(pod.log().contains(&line), "no {line} in\n{}", pod.log());
    }
}

//! What the agent says about a FederatedService, what it writes for it, and how that goes.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use serde_json::Value;

use crate::support::{EXPORTED, Server, Site, Speaks, World, federated_service};

pub(crate) async fn the_status_names_the_gateways_and_everything_written_belongs_to_the_federated_service(world: &World) {
    let World { lab, server, .. } = world;
    let _pod = Server::start(lab, server, "status", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply(&federated_service("status", "server", "server", 8443, "Mtls")).await.unwrap();
    world.condition("status", "server", "Ready", ("True", "Exported")).await;

    let object = server.cluster.get("registry.cofide.io/v1alpha1", "FederatedService", "status", "server").await.unwrap().unwrap();
    let (ingress, east_west) = server.mesh_gateways();
    let mut entries: Vec<_> = object.data["status"]["gatewayEntries"].as_array().unwrap().clone();
    entries.sort_by_key(|entry| entry["type"].to_string());
    let entry = |kind: &str, ip: std::net::Ipv4Addr, port: u16| serde_json::json!({ "type": kind, "ip": ip, "port": port });
    let expected =
        [entry("istio-eastwestgateway", east_west.host.address, 15443), entry("istio-ingressgateway", ingress.host.address, 443)];
    assert_eq!(entries, expected);

    // What kubectl prints.
    let row = printed(server, "status", "server").await.unwrap();
    for cell in ["server.status.local.domain", "Mtls", "8443", "True"] {
        assert!(row.iter().any(|found| found == cell), "no {cell} in {row:?}");
    }

    let objects = server.objects_for("server.status.local.domain").await.unwrap();
    let kinds: Vec<_> = objects.keys().filter_map(|name| name.split(' ').next()).collect();
    assert_eq!(kinds, ["Gateway", "Gateway", "PeerAuthentication", "ServiceEntry", "VirtualService"]);
    for (name, written) in &objects {
        let owners: Vec<_> = written.owner_references().iter().map(|owner| owner.uid.clone()).collect();
        assert_eq!(owners, object.metadata.uid.iter().cloned().collect::<Vec<_>>(), "owners of {name}");
        let managers: Vec<_> = written.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
        assert!(managers.contains(&"cofide-agent".to_owned()), "{name}: {managers:?}");
    }
}

/// The cells that the API server gives to kubectl for an object.
async fn printed(site: &Site, namespace: &str, name: &str) -> Result<Vec<String>> {
    let path = format!("/apis/registry.cofide.io/v1alpha1/namespaces/{namespace}/federatedservices/{name}");
    let request = http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").body(vec![])?;
    let table: Value = serde_json::from_str(&site.cluster.client()?.request_text(request).await?)?;
    let cells = table["rows"][0]["cells"].as_array().into_iter().flatten();
    Ok(cells.map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect())
}

pub(crate) async fn when_it_is_deleted_its_objects_go_from_every_cluster_and_clients_are_refused(world: &World) {
    let World { lab, server, client, direct, .. } = world;
    let _pod = Server::start(lab, server, "deleted", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service("deleted", "server", "server", 8443, "Mtls");
    server.cluster.apply(&service).await.unwrap();
    let hostname = "server.deleted.local.domain";
    world.is_reached(&format!("{hostname}:8443")).await;
    assert!(!client.objects_for(hostname).await.unwrap().is_empty());

    server.cluster.delete_yaml(&service.to_string()).await.unwrap();
    is_gone(world, hostname).await;
    world
        .until("the gateway refuses it", async || match direct.ping(server.ingress(), hostname, "local.domain").await {
            Ok(_) => anyhow::bail!("it answers"),
            Err(error) => {
                ensure!(format!("{error:#}").starts_with("no TLS"), "{error:#}");
                Ok(())
            }
        })
        .await;
}

/// Nothing is left of a service: no object in any cluster, no name, nothing at Connect.
async fn is_gone(world: &World, hostname: &str) {
    let World { server, client, plain, plane, .. } = world;
    world
        .until("the objects are gone", async || {
            for site in [server, client] {
                let left = site.objects_for(hostname).await?;
                ensure!(left.is_empty(), "{:?} has {:?}", site.cluster, left.keys());
            }
            Ok(())
        })
        .await;
    world
        .until("Connect has forgotten it", async || {
            let known: Vec<_> =
                plane.services().await?.into_iter().map(|service| format!("{}.{}", service.name, service.namespace)).collect();
            let short = hostname.trim_end_matches(".local.domain");
            ensure!(!known.iter().any(|name| name == short), "{known:?}");
            Ok(())
        })
        .await;
    let name = format!("{hostname}:8443");
    world
        .until("nobody finds it", async || match world.outside.ping_mtls(plain, &name, "local.domain").await {
            Ok(_) => anyhow::bail!("it answers"),
            Err(error) => {
                ensure!(format!("{error:#}").starts_with("name-not-found"), "{error:#}");
                Ok(())
            }
        })
        .await;
}

pub(crate) async fn one_deleted_while_the_agent_is_down_is_collected_when_it_returns(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "absent", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service("absent", "server", "server", 8443, "Mtls");
    world.server.cluster.apply(&service).await.unwrap();
    world.is_reached("server.absent.local.domain:8443").await;

    world.server.agent_mut().kill();
    world.server.cluster.delete_yaml(&service.to_string()).await.unwrap();
    // Kubernetes itself takes away what it owned.
    world
        .until("the objects of the server are gone", async || {
            let left = world.server.objects_for("server.absent.local.domain").await?;
            ensure!(left.is_empty(), "{:?}", left.keys());
            Ok(())
        })
        .await;
    world.server.agent_mut().start().unwrap();
    is_gone(world, "server.absent.local.domain").await;
}

pub(crate) async fn what_an_importing_agent_wrote_is_collected_though_the_service_went_while_it_was_away(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "away", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service("away", "server", "server", 8443, "Mtls");
    world.server.cluster.apply(&service).await.unwrap();
    world.is_reached("server.away.local.domain:8443").await;

    world.client.agent_mut().kill();
    world.server.cluster.delete_yaml(&service.to_string()).await.unwrap();
    world
        .until("the objects of the server are gone", async || {
            let left = world.server.objects_for("server.away.local.domain").await?;
            ensure!(left.is_empty(), "{:?}", left.keys());
            Ok(())
        })
        .await;
    assert!(!world.client.objects_for("server.away.local.domain").await.unwrap().is_empty(), "nobody was there to take them away");
    world.client.agent_mut().start().unwrap();
    is_gone(world, "server.away.local.domain").await;
}

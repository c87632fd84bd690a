//! What goes on while a part is away, and what is made up for when it returns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt};

use crate::support::{EXPORTED, Server, Site, Speaks, World, attempts, federated_service};

/// Within which another agent has to lead.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(15);

pub(crate) async fn without_connect_traffic_and_status_go_on_and_it_hears_of_a_deletion_when_it_returns(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "cut-off", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service("cut-off", "server", "server", 8443, "Mtls");
    world.server.cluster.apply(&service).await.unwrap();
    let name = "server.cut-off.local.domain:8443";
    world.is_reached(name).await;

    world.plane.stop_connect().await.unwrap();
    world.is_reached(name).await;
    let _other = Server::start(&world.lab, &world.server, "cut-off", "other", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    world.server.cluster.apply(&federated_service("cut-off", "other", "other", 8443, "Mtls")).await.unwrap();
    world.condition("cut-off", "other", "BackendsReady", ("True", "EndpointsReady")).await;
    world.condition("cut-off", "other", "Registered", ("Unknown", "ConnectUnreachable")).await;
    world.server.cluster.delete_yaml(&service.to_string()).await.unwrap();
    world
        .until("the objects are gone without Connect", async || {
            let left = world.server.objects_for("server.cut-off.local.domain").await?;
            ensure!(left.is_empty(), "{:?}", left.keys());
            Ok(())
        })
        .await;

    world.plane.start_connect().await.unwrap();
    world
        .until("Connect knows the one and not the other", async || {
            let known: Vec<_> = world
                .plane
                .services()
                .await?
                .into_iter()
                .filter(|service| service.namespace == "cut-off")
                .map(|service| service.name)
                .collect();
            ensure!(known == ["other"], "{known:?}");
            Ok(())
        })
        .await;
    world.is_reached("other.cut-off.local.domain:8443").await;
    world
        .until("importers have forgotten it", async || {
            let left = world.client.objects_for("server.cut-off.local.domain").await?;
            ensure!(left.is_empty(), "{:?}", left.keys());
            Ok(())
        })
        .await;
}

pub(crate) async fn while_an_api_server_restarts_traffic_goes_on_and_changes_are_followed_afterwards(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "restarted", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    world.server.cluster.apply(&federated_service("restarted", "server", "server", 8443, "Mtls")).await.unwrap();
    let name = "server.restarted.local.domain:8443";
    world.is_reached(name).await;

    assert!(world.server.agent().refusals().is_empty(), "{:?}", world.server.agent().refusals());
    world.server.cluster.stop_api_server().await.unwrap();
    world.is_reached(name).await;
    world.server.cluster.start_api_server().await.unwrap();
    let _other = Server::start(&world.lab, &world.server, "restarted", "other", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    world.server.cluster.apply(&federated_service("restarted", "other", "other", 8443, "Mtls")).await.unwrap();
    world.condition("restarted", "other", "Ready", ("True", "Exported")).await;
    world.is_reached("other.restarted.local.domain:8443").await;
    // An API server that has not read the roles yet refuses everybody.
    world.server.agent_mut().forgive();
}

/// Who leads the agents of a cluster.
pub(crate) async fn leader(site: &Site) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(site.cluster.client()?, "cofide");
    leases.get("cofide-agent").await?.spec.and_then(|spec| spec.holder_identity).context("nobody leads")
}

/// The version of everything that was written about a service.
async fn versions(site: &Site, namespace: &str, name: &str, hostname: &str) -> Result<Vec<String>> {
    let own = site.cluster.get("registry.cofide.io/v1alpha1", "FederatedService", namespace, name).await?.context("it is gone")?;
    let objects = site.objects_for(hostname).await?;
    let version = |name: &str, version: Option<String>| format!("{name} {}", version.unwrap_or_default());
    let versions = objects.iter().map(|(name, object)| version(name, object.resource_version()));
    Ok(versions.chain([version("itself", own.resource_version())]).collect())
}

pub(crate) async fn when_the_leader_is_killed_the_other_agent_takes_over_and_writes_nothing_twice(world: &mut World) {
    let _pod = Server::start(&world.lab, &world.server, "led", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    world.server.cluster.apply(&federated_service("led", "server", "server", 8443, "Mtls")).await.unwrap();
    let hostname = "server.led.local.domain";
    world.condition("led", "server", "Ready", ("True", "Exported")).await;
    world.is_reached("server.led.local.domain:8443").await;
    let second = world.server.second_agent(&world.lab, &world.plane, "agent-1").await.unwrap();
    let serves = async || {
        ensure!(second.log().contains("serving"), "{}", second.log());
        Ok(())
    };
    world.until("the second agent serves", serves).await;
    let first = leader(&world.server).await.unwrap();
    assert!(first.starts_with("agent-0"), "{first} leads");
    let before = versions(&world.server, "led", "server", hostname).await.unwrap();

    world.server.agent_mut().kill();
    let start = Instant::now();
    let taken = attempts(HAND_OVER, async || {
        let leader = leader(&world.server).await?;
        ensure!(leader.starts_with("agent-1"), "{leader} leads");
        Ok(())
    });
    taken.await.unwrap_or_else(|error| panic!("{error}\n{}", second.log()));
    // It leads: something new is done, and nothing else is.
    let _other = Server::start(&world.lab, &world.server, "led", "other", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    world.server.cluster.apply(&federated_service("led", "other", "other", 8443, "Mtls")).await.unwrap();
    world.condition("led", "other", "Registered", ("True", "Registered")).await;
    let took = start.elapsed();
    assert!(took < HAND_OVER, "a new service was registered {took:?} after the leader was killed");
    world.is_reached("other.led.local.domain:8443").await;
    assert_eq!(versions(&world.server, "led", "server", hostname).await.unwrap(), before);
    assert!(second.refusals().is_empty(), "{:?}", second.refusals());

    world.server.agent_mut().start().unwrap();
    drop(second);
    world
        .until("the first agent leads again", async || {
            let leader = leader(&world.server).await?;
            ensure!(leader.starts_with("agent-0"), "{leader} leads");
            Ok(())
        })
        .await;
}

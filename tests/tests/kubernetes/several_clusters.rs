//! One hostname that several clusters of a trust zone export.

use anyhow::ensure;
use cofide_core::Profile;

use crate::support::{EXPORTED, SECOND, Server, Site, Speaks, World, federated_service};

const NAMESPACE: &str = "merged";
const HOSTNAME: &str = "server.merged.local.domain";
/// Enough for each of two gateways to get its turn.
const CALLS: usize = 4;

pub(crate) async fn clusters_of_one_trust_zone_that_export_one_hostname_serve_it_together_and_for_each_other(world: &mut World) {
    let beside = world.plane.create_cluster_beside(world.server.zone, SECOND, Profile::Kubernetes).await.unwrap();
    let mut second = Site::start(&world.lab, &world.plane, beside, SECOND, Profile::Kubernetes, &world.server.istio_sds).await.unwrap();
    second.open_gateways(&world.lab).await.unwrap();
    let world = &*world;
    let here = Server::start(&world.lab, &world.server, NAMESPACE, "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let there = Server::start(&world.lab, &second, NAMESPACE, "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    let service = federated_service(NAMESPACE, "server", "server", 8443, "Mtls");
    world.server.cluster.apply(&service).await.unwrap();
    second.cluster.apply(&service).await.unwrap();
    world
        .until("the second cluster exports it", async || second.has_condition(NAMESPACE, "server", "Ready", ("True", "Exported")).await)
        .await;

    let name = format!("{HOSTNAME}:8443");
    let calls = |server: &Server, client: &str| server.log().matches(&format!("ping from spiffe://{client}/")).count();
    world
        .until("a client without a mesh is served by both", async || {
            for _ in 0..CALLS {
                world.ping_from_outside(&name).await?;
            }
            let (here, there) = (calls(&here, "other2.domain"), calls(&there, "other2.domain"));
            ensure!(here > 0 && there > 0, "{here} calls went here, {there} there");
            Ok(())
        })
        .await;
    // The one has an east-west gateway, which a mesh prefers.
    world.until("a client in a mesh is served", async || world.ping_from_mesh(&name).await).await;
    assert!(calls(&here, "other1.domain") > 0);

    // The first cluster exports it no more: the other one serves alone, the mesh through the ingress gateway that it has.
    world.server.cluster.delete_yaml(&service.to_string()).await.unwrap();
    let from_mesh = calls(&there, "other1.domain");
    world
        .until("both clients are served there", async || {
            world.ping_from_mesh(&name).await?;
            ensure!(calls(&there, "other1.domain") > from_mesh, "it was answered elsewhere");
            let before = calls(&here, "other2.domain");
            for _ in 0..CALLS {
                world.ping_from_outside(&name).await?;
            }
            ensure!(calls(&here, "other2.domain") == before, "some were still answered where it is gone");
            Ok(())
        })
        .await;

    // And the other way round.
    world.server.cluster.apply(&service).await.unwrap();
    world.condition(NAMESPACE, "server", "Ready", ("True", "Exported")).await;
    second.cluster.delete_yaml(&service.to_string()).await.unwrap();
    world
        .until("both clients are served here", async || {
            let before = (calls(&there, "other1.domain"), calls(&there, "other2.domain"));
            for _ in 0..CALLS {
                world.is_answered_at_all(&name).await?;
            }
            let after = (calls(&there, "other1.domain"), calls(&there, "other2.domain"));
            ensure!(after == before, "some were still answered where it is gone");
            Ok(())
        })
        .await;
}

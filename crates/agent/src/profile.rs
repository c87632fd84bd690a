//! What each profile starts beside the parts that all have: where local objects are read and their status is written, and what
//! a mesh and spire-controller-manager get.

use std::sync::Arc;

use anyhow::{Context, Result};
use cofide_core::TrustDomain;

use crate::config::{KubernetesSettings, Settings};
use crate::executors::kubernetes::{IstioExecutor, MeshOfCluster, SpireObjects};
use crate::kubernetes::KubernetesCluster;
use crate::leader::Election;
use crate::mesh::{MeshKeeper, MeshKeeperSettings, SecretsClient};
use crate::own_cluster::OwnCluster;
use crate::permissions::LEASE;
use crate::published::Wake;
use crate::render::istio::MeshSettings;
use crate::sources::host::HostSource;
use crate::sources::kubernetes::KubernetesSource;
use crate::sources::kubernetes::decide::SourceSettings;
use crate::sources::kubernetes::last_valid::LastValid;
use crate::spawner::Spawner;
use crate::spire::SpireAccess;
use crate::state::DataFolder;
use crate::status::cluster::ClusterStatus;
use crate::status::reporter::StatusReporter;
use crate::world::World;
use crate::xds_service::XdsService;

/// Of the names of Services in nearly every cluster.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// Woken by everything that a status depends on.
fn status_wake(world: &World, xds: &XdsService) -> Wake {
    let wake = Wake::default();
    world.exports.wakes(&wake);
    world.service_registrations.wakes(&wake);
    world.plan.wakes(&wake);
    world.mesh.wakes(&wake);
    world.mesh_findings.wakes(&wake);
    xds.proxies().wakes(&wake);
    wake
}

/// Manifests in a folder, and their status beside them.
pub(crate) fn host(
    spawn: &Spawner,
    settings: &Settings,
    own: TrustDomain,
    data: &Arc<DataFolder>,
    world: &Arc<World>,
    xds: &Arc<XdsService>,
) -> Result<()> {
    let wake = Wake::default();
    let folder = &settings.manifest_dir;
    let source = HostSource::open(folder.clone(), own, data.clone(), world.clone(), wake.clone(), spawn.shutdown.clone());
    let source = source.context("data_dir")?;
    spawn.at_once("manifests", wake, move || source.reconcile());
    let wake = status_wake(world, xds);
    let reporter = StatusReporter::new(world.clone(), xds.clone(), folder);
    spawn.at_once("status", wake, move || reporter.reconcile());
    Ok(())
}

/// Objects of a cluster, and their status in them.
pub(crate) fn kubernetes(
    spawn: &Spawner,
    cluster: &KubernetesCluster,
    source: SourceSettings,
    own: TrustDomain,
    data: &Arc<DataFolder>,
    world: &Arc<World>,
    xds: &Arc<XdsService>,
) -> Result<()> {
    let KubernetesCluster { client, namespace, instance, leadership, is_istio } = cluster.clone();
    let election = Election::new(client.clone(), &namespace, LEASE, instance.clone(), leadership.clone());
    spawn.tasks.spawn(election.run(spawn.shutdown.clone()));

    let (wake, status_wake) = (Wake::default(), status_wake(world, xds));
    leadership.wakes(&status_wake);
    // The status looks at the objects themselves, for somebody may edit it.
    let wakes = vec![wake.clone(), status_wake.clone()];
    let last_valid = LastValid::open(data.clone()).context("data_dir")?;
    let source = KubernetesSource::start(&client, last_valid, own, source, world.clone(), wakes, &spawn.tasks, &spawn.shutdown);
    let stores = source.stores();
    spawn.at_once("objects", wake, move || source.reconcile());
    let status = ClusterStatus::new(client, instance, leadership, stores, world.clone(), xds.clone(), is_istio, status_wake.clone());
    let status = Arc::new(status);
    spawn.each("status", status_wake, move || {
        let status = status.clone();
        async move { status.reconcile().await }
    });
    Ok(())
}

/// The objects of a mesh whose own ones are in the namespace `root`.
pub(crate) fn istio(spawn: &Spawner, at: &KubernetesCluster, root: &str, cluster: OwnCluster, world: &Arc<World>) {
    let KubernetesCluster { client, namespace, leadership, .. } = at.clone();
    let settings = MeshSettings { agent_namespace: namespace, root_namespace: root.to_owned(), cluster_domain: CLUSTER_DOMAIN.to_owned() };
    let wake = Wake::default();
    world.exports.wakes(&wake);
    world.plan.wakes(&wake);
    world.mesh_findings.wakes(&wake);
    leadership.wakes(&wake);
    let mesh = MeshOfCluster { client, cluster, settings, leadership, world: world.clone() };
    let executor = Arc::new(IstioExecutor::start(mesh, &wake, &spawn.tasks, &spawn.shutdown));
    spawn.each("istio", wake, move || {
        let executor = executor.clone();
        async move { executor.reconcile().await }
    });
}

/// The settings of the mesh.
pub(crate) fn mesh(spawn: &Spawner, at: &KubernetesCluster, of: MeshKeeperSettings, socket: &str, cluster: OwnCluster, world: &Arc<World>) {
    let wake = Wake::default();
    world.exports.wakes(&wake);
    world.plan.wakes(&wake);
    // Without an identity, SDS has no answer.
    world.own_bundle.wakes(&wake);
    let keeper = Arc::new(MeshKeeper::new(at, of, SecretsClient::new(socket), cluster, world.clone(), spawn.interval));
    spawn.as_leader("mesh", wake, &at.leadership, move || {
        let keeper = keeper.clone();
        async move { keeper.reconcile().await }
    });
}

/// The objects of spire-controller-manager, where they may be used.
pub(crate) fn spire_objects(
    spawn: &Spawner,
    at: &KubernetesCluster,
    of: &KubernetesSettings,
    access: SpireAccess,
    cluster: &OwnCluster,
    wake: &Wake,
) -> Option<SpireObjects> {
    let start = || {
        let (client, own) = (at.client.clone(), cluster.trust_domain.clone());
        SpireObjects::start(client, own, of.spire.clone(), wake, &spawn.tasks, &spawn.shutdown)
    };
    matches!(access, SpireAccess::Auto | SpireAccess::Crd).then(start)
}

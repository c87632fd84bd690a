//! The whole program, from its configuration to its last log line.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use anyhow::{Context, Result};
use cofide_dns::{ServeError, Upstream, ZoneHandle};
use cofide_runtime::admin::{self, Metrics};
use cofide_runtime::{Readiness, bind};
use cofide_svid::IdentitySlot;
use cofide_xds::Server as XdsServer;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::addresses::{Addresses, DEFAULT_HOLD};
use crate::cluster_state::{ClusterState, Succession};
use crate::config::Config;
use crate::kubernetes::KubernetesCluster;
use crate::leader::Leadership;
use crate::local::Local;
use crate::observe::Observer;
use crate::own_cluster::OwnCluster;
use crate::plan::PlanStore;
use crate::profile;
use crate::published::Wake;
use crate::render::envoy::{SidecarSettings, TrustBundles};
use crate::spawner::Spawner;
use crate::spire::{self, SpireAccess, SpireClient, SpireKeeper};
use crate::state::DataFolder;
use crate::uplink::membership::Membership;
use crate::uplink::own_bundle::OwnBundle;
use crate::uplink::run::Uplink;
use crate::world::World;
use crate::xds_service::XdsService;

/// How long streams and calls in flight may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// An agent that is up: every socket is bound, and what it knew before is served.
#[derive(Debug)]
pub struct Bound {
    pub cluster: OwnCluster,
    pub xds_address: SocketAddr,
    pub dns_address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    /// What the parts of the agent tell each other.
    pub world: Arc<World>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Bound {
    /// Waits until the agent has stopped, which the token given to [`run`] asks for. Its sockets and its data folder are
    /// free then.
    pub async fn stopped(self) -> Result<()> {
        self.task.await.context("the agent broke down")?
    }
}

/// Starts the agent. It needs neither Connect nor the trust zone's server for that: it serves what it knew before, and
/// does the rest when they answer. `shutdown` stops it.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<Bound> {
    cofide_svid::install_crypto_provider();
    let settings = config.check()?;
    // Ends everything that has begun, should a later step fail or a part break down.
    let shutdown = shutdown.child_token();
    let unfinished = shutdown.clone().drop_guard();

    // What was known before. The folder first: two processes that share one would destroy it.
    let data = Arc::new(DataFolder::open(&settings.data_dir)?);
    let kubernetes = match &settings.kubernetes {
        Some(settings) => Some(KubernetesCluster::open(settings).await?),
        None => None,
    };
    let leadership = kubernetes.as_ref().map_or_else(Leadership::always, |cluster| cluster.leadership.clone());
    let cluster_state =
        kubernetes.as_ref().map(|cluster| Arc::new(ClusterState::new(cluster.client.clone(), &cluster.namespace, data.clone())));
    if let Some(state) = &cluster_state {
        state.restore().await?;
    }
    let membership = Membership::load(&settings.join, &data)?;
    let cluster = membership.cluster.clone();
    let own_trust_domain = cluster.trust_domain.clone();
    let world = Arc::new(World::default());
    world.plan.set(PlanStore(&data).load().context("data_dir")?);
    let addresses = Addresses::open(data.clone(), settings.import_addresses, DEFAULT_HOLD).context("data_dir")?;
    let (keeper, own_bundle) = match settings.spire {
        access @ (SpireAccess::Socket | SpireAccess::Auto | SpireAccess::Crd) => {
            let server = SpireClient::new(&settings.spire_server_socket);
            let (own, reread) = (cluster.trust_domain.clone(), settings.spire_reread);
            let keeper = SpireKeeper::open(own, server.clone(), reread, data.clone(), world.clone());
            let own_bundle = match access {
                SpireAccess::Socket => OwnBundle::SpireServer(server),
                // On a host `auto` is the socket, so that a server that is not there is missed and not gone around.
                _ if kubernetes.is_none() => OwnBundle::SpireServer(server),
                _ => OwnBundle::Either(server, world.clone()),
            };
            (Some(keeper.context("data_dir")?), own_bundle)
        }
        SpireAccess::None => {
            tracing::info!(
                "the SPIRE server is left alone: somebody else gives it the registration entries and the bundles of other trust domains"
            );
            (None, OwnBundle::WorkloadApi(world.clone()))
        }
    };

    // Sockets.
    let xds_listener = bind::tcp(settings.xds_address, "xDS", "xds_address").await?;
    let xds_address = xds_listener.local_addr()?;
    if !xds_address.ip().is_loopback() {
        tracing::warn!(%xds_address, "other machines can read over xDS which services exist and where; use a loopback address unless they should");
    }
    let admin_listener = bind::tcp_if_any(settings.admin_address, "health and metrics", "admin_address").await?;
    let dns = ZoneHandle::new();
    let upstream = match settings.dns_upstreams.as_slice() {
        [] => Upstream::system(),
        servers => Upstream::Servers(servers.to_vec()),
    };
    let resolver =
        cofide_dns::serve(&[settings.dns_address], dns.clone(), upstream, shutdown.clone()).await.map_err(|error| match error {
            ServeError::Bind(error) => anyhow::Error::from(error.with_key("dns_address")),
            error => anyhow::Error::from(error).context("configuration key dns_address"),
        })?;
    let dns_address = resolver.addresses.first().copied().context("the resolver listens nowhere")?;

    // What local clients see.
    let tasks = TaskTracker::new();
    let spawn = Spawner { tasks: tasks.clone(), shutdown: shutdown.clone(), interval: settings.resync };
    let sidecars = SidecarSettings {
        pool: settings.import_addresses,
        resolver: dns_address,
        fallback_resolvers: settings.dns_upstreams.iter().copied().collect(),
    };
    // One SPIFFE agent serves the mesh's proxies and ours, and the mesh's have no choice.
    let has_mesh = kubernetes.as_ref().is_some_and(|cluster| cluster.is_istio);
    let xds = XdsService::with_bundles(sidecars, if has_mesh { TrustBundles::RootCa } else { TrustBundles::All });
    let local = Arc::new(Local {
        cluster: cluster.clone(),
        gateway_listen: settings.gateway_listen_address,
        gateways: settings.gateway_entries.clone(),
        addresses: StdMutex::new(addresses),
        xds: xds.clone(),
        dns,
        world: world.clone(),
    });
    let wake = Wake::default();
    world.view.wakes(&wake);
    world.plan.wakes(&wake);
    spawn.at_once("local", wake, move || local.reconcile());
    let xds_server = tasks.spawn(serve_xds(xds_listener, xds.server(shutdown.clone()), shutdown.clone()));

    // What local objects say, and what is said about them.
    match (&kubernetes, &settings.kubernetes) {
        (Some(at), Some(of)) => {
            profile::kubernetes(&spawn, at, of.source.clone(), own_trust_domain, &data, &world, &xds)?;
            if at.is_istio {
                profile::istio(&spawn, at, &of.mesh.namespace, cluster.clone(), &world);
                profile::mesh(&spawn, at, of.mesh.clone(), &settings.spiffe_endpoint_socket, cluster.clone(), &world);
            }
        }
        _ => profile::host(&spawn, &settings, own_trust_domain, &data, &world, &xds)?,
    }

    // The trust zone's server.
    let wake = Wake::default();
    world.plan.wakes(&wake);
    let succession = Succession::new(cluster_state.clone(), leadership.clone());
    let keeper = keeper.map(|keeper| match (&kubernetes, &settings.kubernetes) {
        (Some(at), Some(of)) => keeper.in_cluster(settings.spire, profile::spire_objects(&spawn, at, of, settings.spire, &cluster, &wake)),
        _ => keeper,
    });
    match keeper.map(Arc::new) {
        Some(keeper) => spawn.as_leader("spire", wake, &leadership, move || {
            let (keeper, succession) = (keeper.clone(), succession.clone());
            async move {
                succession.enter(|| keeper.recall()).await?;
                anyhow::Ok(keeper.reconcile().await?)
            }
        }),
        None => {
            let world = world.clone();
            spawn.at_once("spire", wake, move || {
                spire::leave_alone(&world);
                Ok::<(), Infallible>(())
            });
        }
    }

    // For whoever watches.
    let (readiness, metrics) = (Readiness::default(), Metrics::default());
    let identity = Arc::new(IdentitySlot::default());
    let elected = kubernetes.as_ref().map(|cluster| cluster.leadership.clone());
    let observer = Observer::new(world.clone(), xds.clone(), identity.clone(), elected, &readiness, &metrics);
    let observer_wake = Wake::default();
    let wake = observer_wake.clone();
    leadership.wakes(&wake);
    world.exports.wakes(&wake);
    world.plan.wakes(&wake);
    world.spire.wakes(&wake);
    world.mesh_findings.wakes(&wake);
    world.link.wakes(&wake);
    xds.proxies().wakes(&wake);
    spawn.at_once("observer", wake, move || {
        observer.observe();
        Ok::<(), Infallible>(())
    });
    let admin_address = admin_listener.map(|listener| admin::serve(listener, readiness, metrics, shutdown.clone())).transpose()?;

    // Connect.
    let uplink = Uplink {
        settings,
        data,
        membership: Arc::new(Mutex::new(membership)),
        own_bundle,
        identity,
        observer_wake,
        world: world.clone(),
        leadership,
        cluster_state,
        has_mesh,
        spawn,
    };
    tasks.spawn(uplink.run());

    let stop = unfinished.disarm();
    let task = tokio::spawn(async move {
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = xds_server => ended.context("the xDS port broke down").and_then(|served| served.context("the xDS port failed")),
        };
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!("some calls did not end in time; stopping without them");
        }
        resolver.stopped().await;
        tracing::info!("stopped");
        outcome
    });
    Ok(Bound { cluster, xds_address, dns_address, admin_address, world, task })
}

async fn serve_xds(listener: TcpListener, xds: XdsServer<XdsService>, shutdown: CancellationToken) -> Result<(), tonic::transport::Error> {
    // Here, for tonic heeds its own setting only where it binds the port itself. Without it a small answer waits for the receipt of the
    // one before, which the other side may hold back for 40 ms (Nagle's algorithm, delayed acknowledgements).
    let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(30)))
        .add_service(xds.aggregated())
        .add_service(xds.clusters())
        .add_service(xds.endpoints())
        .add_service(xds.listeners())
        .serve_with_incoming_shutdown(connections, shutdown.cancelled_owned())
        .await
}

/// Runs the agent until `shutdown`, and says where it is reached.
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<()> {
    let manifests = config.manifest_dir.clone();
    let bound = Box::pin(run(config, shutdown)).await?;
    tracing::info!(
        cluster = %bound.cluster.cluster_name,
        trust_domain = %bound.cluster.trust_domain,
        xds = %bound.xds_address,
        dns = %bound.dns_address,
        admin = bound.admin_address.map(|address| format!("http://{address}")),
        manifests = %manifests.display(),
        "serving"
    );
    bound.stopped().await
}

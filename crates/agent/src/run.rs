//! The whole program, from its configuration to its last log line.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use anyhow::{Context, Result};
use cofide_connect_client::{Node, connect_as_agent};
use cofide_core::TrustDomain;
use cofide_dns::{ServeError, Upstream, ZoneHandle};
use cofide_runtime::admin::{self, Metrics};
use cofide_runtime::{Readiness, bind};
use cofide_svid::{BundleSet, IdentitySlot, IdentitySource};
use cofide_xds::Server as XdsServer;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use crate::addresses::{Addresses, DEFAULT_HOLD};
use crate::cluster_state::{ClusterState, Succession};
use crate::config::{Config, KubernetesSettings, Settings};
use crate::executors::kubernetes::{IstioExecutor, MeshOfCluster, SpireObjects};
use crate::identity::{self, OwnIdentity, Received};
use crate::kubernetes::KubernetesCluster;
use crate::leader::{Election, Leadership};
use crate::local::Local;
use crate::observe::Observer;
use crate::own_cluster::OwnCluster;
use crate::permissions::LEASE;
use crate::plan::PlanStore;
use crate::published::Wake;
use crate::reconciler::{self, Pace};
use crate::render::envoy::{SidecarSettings, TrustBundles};
use crate::render::istio::MeshSettings;
use crate::sources::host::HostSource;
use crate::sources::kubernetes::KubernetesSource;
use crate::sources::kubernetes::decide::SourceSettings;
use crate::sources::kubernetes::last_valid::LastValid;
use crate::spire::{self, SpireAccess, SpireClient, SpireKeeper};
use crate::state::DataFolder;
use crate::status::cluster::ClusterStatus;
use crate::status::reporter::StatusReporter;
use crate::uplink::agent_status::StatusPush;
use crate::uplink::bundle::BundlePush;
use crate::uplink::connect::Connect;
use crate::uplink::follow::Follower;
use crate::uplink::held_bundles::HeldBundlesPush;
use crate::uplink::join::Join;
use crate::uplink::membership::Membership;
use crate::uplink::own_bundle::OwnBundle;
use crate::uplink::registrar::Registrar;
use crate::world::{Link, World};
use crate::xds_service::XdsService;

/// How long streams and calls in flight may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How often Connect hears that the agent is alive, and what the SPIRE server holds.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);
const STATUS_PAUSE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(500);
/// Of the names of Services in nearly every cluster.
const CLUSTER_DOMAIN: &str = "cluster.local";

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
            spawn.kubernetes(at, of.source.clone(), own_trust_domain, &data, &world, &xds)?;
            if at.is_istio {
                spawn.istio(at, &of.source.gateways.namespace, cluster.clone(), &world);
            }
        }
        _ => spawn.host(&settings, own_trust_domain, &data, &world, &xds)?,
    }

    // The trust zone's server.
    let wake = Wake::default();
    world.plan.wakes(&wake);
    let succession = Succession::new(cluster_state.clone(), leadership.clone());
    let keeper = keeper.map(|keeper| match (&kubernetes, &settings.kubernetes) {
        (Some(at), Some(of)) => keeper.in_cluster(settings.spire, spawn.spire_objects(at, of, settings.spire, &cluster, &wake)),
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

/// Woken by everything that a status depends on.
fn status_wake(world: &World, xds: &XdsService) -> Wake {
    let wake = Wake::default();
    world.exports.wakes(&wake);
    world.service_registrations.wakes(&wake);
    world.plan.wakes(&wake);
    world.mesh.wakes(&wake);
    xds.proxies().wakes(&wake);
    wake
}

/// Starts reconcilers.
#[derive(Clone)]
struct Spawner {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    interval: Duration,
}

impl Spawner {
    /// Manifests in a folder, and their status beside them.
    fn host(&self, settings: &Settings, own: TrustDomain, data: &Arc<DataFolder>, world: &Arc<World>, xds: &Arc<XdsService>) -> Result<()> {
        let wake = Wake::default();
        let folder = &settings.manifest_dir;
        let source = HostSource::open(folder.clone(), own, data.clone(), world.clone(), wake.clone(), self.shutdown.clone());
        let source = source.context("data_dir")?;
        self.at_once("manifests", wake, move || source.reconcile());
        let wake = status_wake(world, xds);
        let reporter = StatusReporter::new(world.clone(), xds.clone(), folder);
        self.at_once("status", wake, move || reporter.reconcile());
        Ok(())
    }

    /// Objects of a cluster, and their status in them.
    fn kubernetes(
        &self,
        cluster: &KubernetesCluster,
        source: SourceSettings,
        own: TrustDomain,
        data: &Arc<DataFolder>,
        world: &Arc<World>,
        xds: &Arc<XdsService>,
    ) -> Result<()> {
        let KubernetesCluster { client, namespace, instance, leadership, is_istio } = cluster.clone();
        let election = Election::new(client.clone(), &namespace, LEASE, instance.clone(), leadership.clone());
        self.tasks.spawn(election.run(self.shutdown.clone()));

        let (wake, status_wake) = (Wake::default(), status_wake(world, xds));
        leadership.wakes(&status_wake);
        // The status looks at the objects themselves, for somebody may edit it.
        let wakes = vec![wake.clone(), status_wake.clone()];
        let last_valid = LastValid::open(data.clone()).context("data_dir")?;
        let source = KubernetesSource::start(&client, last_valid, own, source, world.clone(), wakes, &self.tasks, &self.shutdown);
        let stores = source.stores();
        self.at_once("objects", wake, move || source.reconcile());
        let status = ClusterStatus::new(client, instance, leadership, stores, world.clone(), xds.clone(), is_istio, status_wake.clone());
        let status = Arc::new(status);
        self.each("status", status_wake, move || {
            let status = status.clone();
            async move { status.reconcile().await }
        });
        Ok(())
    }

    /// The objects of a mesh whose own ones are in the namespace `root`.
    fn istio(&self, at: &KubernetesCluster, root: &str, cluster: OwnCluster, world: &Arc<World>) {
        let KubernetesCluster { client, namespace, leadership, .. } = at.clone();
        let settings =
            MeshSettings { agent_namespace: namespace, root_namespace: root.to_owned(), cluster_domain: CLUSTER_DOMAIN.to_owned() };
        let wake = Wake::default();
        world.exports.wakes(&wake);
        world.plan.wakes(&wake);
        leadership.wakes(&wake);
        let mesh = MeshOfCluster { client, cluster, settings, leadership, world: world.clone() };
        let executor = Arc::new(IstioExecutor::start(mesh, &wake, &self.tasks, &self.shutdown));
        self.each("istio", wake, move || {
            let executor = executor.clone();
            async move { executor.reconcile().await }
        });
    }

    /// The objects of spire-controller-manager, where they may be used.
    fn spire_objects(
        &self,
        at: &KubernetesCluster,
        of: &KubernetesSettings,
        access: SpireAccess,
        cluster: &OwnCluster,
        wake: &Wake,
    ) -> Option<SpireObjects> {
        let start = || {
            let (client, own) = (at.client.clone(), cluster.trust_domain.clone());
            SpireObjects::start(client, own, of.spire.clone(), wake, &self.tasks, &self.shutdown)
        };
        matches!(access, SpireAccess::Auto | SpireAccess::Crd).then(start)
    }

    /// For what only the leader does: it ends in the middle where another one becomes leader.
    fn as_leader<F, Fut, E>(&self, name: &'static str, wake: Wake, leadership: &Leadership, once: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        self.as_leader_at(name, Pace { interval: self.interval, retry: RETRY }, wake, leadership, once);
    }

    fn as_leader_at<F, Fut, E>(&self, name: &'static str, pace: Pace, wake: Wake, leadership: &Leadership, mut once: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        leadership.wakes(&wake);
        let leadership = leadership.clone();
        self.tasks.spawn(reconciler::run(name, pace, wake, self.shutdown.clone(), move || {
            let (leadership, work) = (leadership.clone(), once());
            async move { leadership.fenced(work).await.unwrap_or(Ok(())) }
        }));
    }

    fn each<F, Fut, E>(&self, name: &'static str, wake: Wake, once: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let pace = Pace { interval: self.interval, retry: RETRY };
        self.tasks.spawn(reconciler::run(name, pace, wake, self.shutdown.clone(), once));
    }

    /// For what waits for nobody: it works in memory and on files.
    fn at_once<E: std::fmt::Display + Send + 'static>(
        &self,
        name: &'static str,
        wake: Wake,
        once: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) {
        let pace = Pace { interval: self.interval, retry: RETRY };
        self.tasks.spawn(reconciler::run_blocking(name, pace, wake, self.shutdown.clone(), self.tasks.clone(), once));
    }
}

/// Everything between the agent and Connect.
struct Uplink {
    settings: Settings,
    data: Arc<DataFolder>,
    membership: Arc<Mutex<Membership>>,
    own_bundle: OwnBundle,
    /// Filled here.
    identity: Arc<IdentitySlot>,
    observer_wake: Wake,
    world: Arc<World>,
    leadership: Leadership,
    /// Absent on a host.
    cluster_state: Option<Arc<ClusterState>>,
    has_mesh: bool,
    spawn: Spawner,
}

impl Uplink {
    async fn run(self) {
        let Self { settings, data, membership, own_bundle, identity, observer_wake, world, leadership, cluster_state, has_mesh, spawn } =
            self;
        let shutdown = spawn.shutdown.clone();
        let cluster = membership.lock().await.cluster.clone();

        // The agent's own identity, from the zone's server.
        let bundle_wake = Wake::default();
        let identity_wake = Wake::default();
        let own = cluster.agent_identity();
        let spiffe_id = own.spiffe_id();
        let changed = vec![bundle_wake.clone(), identity_wake.clone(), observer_wake];
        spawn.tasks.spawn(identity::keep_fresh(
            settings.spiffe_endpoint_socket.clone(),
            OwnIdentity(own),
            Received { identity: identity.clone(), world: world.clone() },
            changed,
            shutdown.clone(),
        ));

        // Membership, once.
        let join = Join {
            settings: settings.join.clone(),
            membership: membership.clone(),
            data: data.clone(),
            own_bundle: own_bundle.clone(),
            identity: identity.clone(),
        };
        let joining = shutdown.child_token();
        let pace = Pace { interval: settings.resync, retry: RETRY };
        reconciler::run("join", pace, identity_wake.clone(), joining.clone(), || async {
            let outcome = join.attempt().await;
            if outcome.is_ok() {
                joining.cancel();
            }
            outcome
        })
        .await;
        world.link.set(Link::Disconnected("no identity from the SPIFFE Workload API yet".to_owned()));
        let identified = async {
            while identity.identity().is_none() {
                identity_wake.woken().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = identified => {}
        }

        // The way to Connect, which follows both sides' rotations.
        let held = membership.lock().await.clone();
        let bundles = Arc::new(BundleSet::from_iter([held.connect.bundle.clone()]));
        let channel = connect_as_agent(&held.connect_url, held.connect.spiffe_id.clone(), bundles.clone(), identity);
        let connect = Connect::new(channel.clone());
        world.link.set(Link::Disconnected("connecting".to_owned()));

        // The zone's bundle, the services of the cluster, and a sign of life.
        world.link.wakes(&bundle_wake);
        let spire = match &own_bundle {
            OwnBundle::SpireServer(server) | OwnBundle::Either(server, _) => Some(server.clone()),
            OwnBundle::WorkloadApi(_) => None,
        };
        let push = Arc::new(BundlePush::new(cluster.clone(), own_bundle, connect.clone(), world.clone()));
        spawn.as_leader("bundle", bundle_wake, &leadership, move || {
            let push = push.clone();
            async move { push.reconcile().await }
        });
        match Registrar::open(cluster.clone(), connect.clone(), data.clone(), world.clone(), cluster_state.is_some()) {
            Ok(registrar) => {
                let (registrar, wake) = (Arc::new(registrar), Wake::default());
                world.exports.wakes(&wake);
                world.link.wakes(&wake);
                let succession = Succession::new(cluster_state.clone(), leadership.clone());
                spawn.as_leader("registrations", wake, &leadership, move || {
                    let (registrar, succession) = (registrar.clone(), succession.clone());
                    async move {
                        succession.enter(|| registrar.recall()).await?;
                        anyhow::Ok(registrar.reconcile().await?)
                    }
                });
            }
            // To register without knowing what is registered would leave orphans.
            Err(error) => {
                tracing::error!(%error, "no service is registered until the data folder can be read; correct that and start again");
            }
        }
        if let Some(state) = &cluster_state {
            let (state, wake) = (state.clone(), Wake::default());
            world.service_registrations.wakes(&wake);
            world.exports.wakes(&wake);
            world.plan.wakes(&wake);
            world.spire.wakes(&wake);
            let leading = leadership.clone();
            spawn.as_leader("state", wake, &leadership, move || {
                let (state, leading) = (state.clone(), leading.clone());
                async move { state.keep(leading.term()).await }
            });
        }
        if let Some(server) = spire {
            let wake = Wake::default();
            world.spire.wakes(&wake);
            world.link.wakes(&wake);
            let pace = Pace { interval: STATUS_INTERVAL, retry: RETRY };
            let push = Arc::new(HeldBundlesPush::new(server, connect.clone()));
            spawn.as_leader_at("held bundles", pace, wake, &leadership, move || {
                let push = push.clone();
                async move { push.reconcile().await }
            });
        }
        let status = Arc::new(StatusPush::new(connect, world.clone()));
        let wake = Wake::default();
        world.link.wakes(&wake);
        world.unmet_conditions.wakes(&wake);
        leadership.wakes(&wake);
        let pace = Pace { interval: STATUS_INTERVAL, retry: STATUS_INTERVAL };
        let (push, leading) = (status.clone(), leadership.clone());
        spawn.tasks.spawn(reconciler::run("agent status", pace, wake, shutdown.clone(), move || {
            let (push, leading) = (push.clone(), leading.clone());
            async move {
                let pushed = leading.fenced(push.reconcile()).await.unwrap_or(Ok(()));
                // A service that comes and goes is not told each time: changes have an allowance.
                tokio::time::sleep(STATUS_PAUSE).await;
                pushed
            }
        }));

        // The plan.
        let node = Node {
            id: spiffe_id.to_string(),
            cluster: cluster.cluster_name.to_string(),
            user_agent_name: "cofide-agent".to_owned(),
            ..Node::default()
        };
        let on_control_plane = {
            let (data, membership) = (data.clone(), membership.clone());
            move |trust: &cofide_core::ControlPlaneTrust| {
                bundles.set(trust.bundle.clone());
                // Held only while joining, which is over.
                if let Ok(mut membership) = membership.try_lock()
                    && let Err(error) = membership.follow(trust, &data)
                {
                    tracing::error!(%error, "cannot keep Connect's new authorities");
                }
            }
        };
        let follower = Follower { channel, node, data, world, leadership, has_mesh, on_control_plane: Box::new(on_control_plane) };
        follower.run(shutdown).await;
        // So that nobody has to wait for the sign of life to be missed. In a cluster, another agent is there or comes.
        if cluster_state.is_some() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), status.stopped()).await;
    }
}

async fn serve_xds(listener: TcpListener, xds: XdsServer<XdsService>, shutdown: CancellationToken) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(30)))
        .tcp_nodelay(true)
        .add_service(xds.aggregated())
        .add_service(xds.clusters())
        .add_service(xds.endpoints())
        .add_service(xds.listeners())
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.cancelled_owned())
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

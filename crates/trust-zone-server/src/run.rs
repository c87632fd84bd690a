//! The whole server, in reading order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use cofide_core::TrustDomain;
use cofide_runtime::files::FolderLock;
use cofide_runtime::{Readiness, admin, bind};
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server as GrpcServer;

use crate::attestation::{self, Attestor, ConnectionLimit};
use crate::authority::Authority;
use crate::config::{Config, StaticEntry};
use crate::datastore::{Datastore, Entry};
use crate::federation::{Federation, HeldBundles};
use crate::issuer::{Issuer, ServerIdentity};
use crate::metrics::Metrics;
use crate::unix_socket::{self, Access, SocketFile};
use crate::workload::Workloads;
use crate::{bundle_endpoint, sds, spire_api, workload_api};

/// How long a stop waits for calls that do not end.
const DRAIN: Duration = Duration::from_secs(5);
/// How often expired entries are swept out.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Where the server listens; paths are absolute.
#[derive(Clone, Debug)]
pub struct Bound {
    pub trust_domain: TrustDomain,
    pub workload_api_socket: PathBuf,
    pub admin_socket: PathBuf,
    pub bundle_endpoint: Option<SocketAddr>,
    pub admin_address: Option<SocketAddr>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    _sockets: [SocketFile; 2],
    _lock: FolderLock,
}

/// Starts the server and serves until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let server = start(config, shutdown).await?;
    let Bound { trust_domain, workload_api_socket, admin_socket, bundle_endpoint, admin_address } = server.bound();
    tracing::info!(
        %trust_domain,
        workload_api = %format!("unix://{}", workload_api_socket.display()),
        admin_socket = %admin_socket.display(),
        bundle_endpoint = bundle_endpoint.map(|address| format!("https://{address}")),
        admin_address = admin_address.map(|address| format!("http://{address}")),
        "serving; register workloads with: trust-zone-server entry create --socket {}",
        admin_socket.display()
    );
    server.wait().await
}

/// Binds everything, then serves in the background. An error leaves nothing behind but the data folder.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Server> {
    cofide_svid::install_crypto_provider();
    config.check()?;
    let lock = FolderLock::open(&config.data_dir)?;

    // State.
    let static_entries = static_entries(&config.trust_domain, &config.entries)?;
    let datastore = Datastore::open(&config.data_dir.join("datastore.json"), config.trust_domain.clone(), static_entries)?;
    let authority = Authority::open(&config.data_dir, &config, SystemTime::now())?;
    // A server that slept past its authority's life begins with a rotation, not with refusals.
    authority.maintain_once().await;
    let metrics = Metrics::default();
    let issuer = Arc::new(Issuer::new(authority.clone(), metrics.clone(), config.x509_svid_ttl, config.jwt_svid_ttl));
    let attestor = Arc::new(Attestor::new(config.attestation.executable_size_limit));
    let workloads = Workloads::new(datastore.clone(), authority.clone(), issuer.clone(), attestor, shutdown.clone());
    let bundles = HeldBundles { datastore: datastore.clone(), authority: authority.clone() };
    let federation = Federation::new(bundles, metrics.clone(), config.federation.clone());

    // Addresses.
    let (workload_socket, admin_socket) = (config.workload_api_socket(), config.admin_socket());
    let (workload_listener, workload_file) = unix_socket::listen(&workload_socket, Access::Everybody)?;
    let (admin_listener, admin_file) = unix_socket::listen(&admin_socket, Access::Owner)?;
    let bundle_address = config.bundle_endpoint.as_ref().map(|endpoint| endpoint.address);
    let bundle_listener = bind::tcp_if_any(bundle_address, "the bundle endpoint", "bundle_endpoint.address").await?;
    let admin_port = bind::tcp_if_any(config.admin_address, "health and metrics", "admin_address").await?;

    // Services.
    let mut tasks = JoinSet::new();
    let bundle_endpoint = match bundle_listener {
        Some(listener) => {
            let identity = Arc::new(ServerIdentity::new(authority.clone(), config.x509_svid_ttl));
            Some(bundle_endpoint::serve(listener, authority.clone(), identity, shutdown.clone())?)
        }
        None => None,
    };
    let readiness = Readiness::default();
    let serving = readiness.component("apis", "the sockets");
    let admin_address = admin_port.map(|listener| admin::serve(listener, readiness, metrics.registry(), shutdown.clone())).transpose()?;
    let workload_server = GrpcServer::builder()
        .add_service(workload_api::service(workloads.clone()))
        .add_service(sds::service(workloads, config.sds.clone(), shutdown.clone()))
        .serve_with_incoming_shutdown(
            attestation::incoming(workload_listener, ConnectionLimit::new(config.max_connections_per_user)),
            shutdown.clone().cancelled_owned(),
        );
    tasks.spawn(async move { workload_server.await.context("the workload socket failed") });

    let (_, grpc_health) = tonic_health::server::health_reporter();
    let admin_server = GrpcServer::builder()
        .add_service(spire_api::entry_service(datastore.clone()))
        .add_service(spire_api::bundle_service(datastore.clone(), authority.clone()))
        .add_service(spire_api::trust_domain_service(datastore.clone(), federation.clone()))
        .add_service(spire_api::local_authority_service(authority.clone()))
        .add_service(grpc_health)
        .serve_with_incoming_shutdown(UnixListenerStream::new(admin_listener), shutdown.clone().cancelled_owned());
    tasks.spawn(async move { admin_server.await.context("the admin socket failed") });

    // Upkeep.
    tasks.spawn(federation.run(shutdown.clone()).map(Ok));
    tasks.spawn(authority.maintain(shutdown.clone()).map(Ok));
    tasks.spawn(sweep(datastore, issuer, metrics, shutdown.clone()).map(Ok));
    serving.ready();

    let bound = Bound {
        trust_domain: config.trust_domain,
        workload_api_socket: absolute(workload_socket),
        admin_socket: absolute(admin_socket),
        bundle_endpoint,
        admin_address,
    };
    Ok(Server { bound, shutdown, tasks, _sockets: [workload_file, admin_file], _lock: lock })
}

impl Server {
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Returns when the server has stopped. A part that fails stops the others.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        let first = tokio::select! {
            () = self.shutdown.cancelled() => None,
            ended = self.tasks.join_next() => ended,
        };
        if let Some(ended) = first {
            outcome = ended.context("a part of the server stopped").and_then(std::convert::identity);
        }
        self.shutdown.cancel();
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("some calls did not end in time; stopping without them");
        }
        outcome
    }
}

/// As clients of other folders need it. The server itself binds what was given, which may be shorter.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn static_entries(trust_domain: &TrustDomain, entries: &[StaticEntry]) -> anyhow::Result<Vec<Entry>> {
    let mut all: Vec<Entry> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let entry = Entry::from_config(trust_domain, entry).map_err(|reason| anyhow::anyhow!("entries[{index}]: {reason}"))?;
        let twin = all.iter().position(|earlier| earlier.is_similar(&entry));
        ensure!(
            twin.is_none(),
            "entries[{index}] gives the same SPIFFE ID to the same selectors as entries[{}]; remove one",
            twin.unwrap_or(0)
        );
        all.push(entry);
    }
    Ok(all)
}

/// Removes what has expired, and the keys of entries that are gone.
async fn sweep(datastore: Datastore, issuer: Arc<Issuer>, metrics: Metrics, shutdown: CancellationToken) {
    let mut changes = datastore.subscribe();
    let mut timer = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {
                if let Err(error) = datastore.update(|content| content.prune_entries(SystemTime::now().into())).await {
                    tracing::error!(%error, "cannot remove expired entries");
                }
            }
            changed = changes.changed() => if changed.is_err() { return },
        }
        let content = changes.borrow_and_update().clone();
        issuer.forget_deleted(&content);
        metrics.observe(&content);
    }
}

//! The whole program, from its configuration to its last log line.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cofide_bundle_endpoint::{BundleClient, WebRoots};
use cofide_connect_client::ConnectUrl;
use cofide_core::ControlPlaneTrust;
use cofide_runtime::files::FolderLock;
use cofide_runtime::{Chain, Readiness, admin, bind, build_info};
use cofide_store::{ConnectionString, Store};
use cofide_svid::{ClientAuth, tls};
use cofide_xds::Server as XdsServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::app::{App, Settings, organization};
use crate::authentication::agent::AgentAuthenticator;
use crate::authentication::bearer::AdminToken;
use crate::authentication::{Authentication, Rejection};
use crate::bundle_endpoint::certificate::WebCertificate;
use crate::bundle_endpoint::{self, folder};
use crate::config::Config;
use crate::connections::Connections;
use crate::credential::{self, AdminCredential};
use crate::denials::Denials;
use crate::gate::Gate;
use crate::grpc::{self, Api};
use crate::housekeeping::{self, AuditRetention};
use crate::hub::{Hub, PlanRouter, ReceiptLog, ZoneBundles};
use crate::keeping::Keeping;
use crate::listener::{self, Limits};
use crate::management::{self, Management};
use crate::metrics;
use crate::partners::{Partners, Troubles};
use crate::presence::Presence;
use crate::rate::AgentRate;

/// How long calls in flight may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the connections of agents are looked at again when nothing has happened.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// For one fetch from the bundle endpoint of a partner.
const FETCH: Duration = Duration::from_secs(10);
/// HTTP/2 pings, so that a peer that is gone without a word is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A control plane that is up: every socket is bound, and what it needs is made.
pub struct Bound {
    /// Of the TLS listener.
    pub address: SocketAddr,
    pub plaintext_address: Option<SocketAddr>,
    pub admin_address: Option<SocketAddr>,
    pub bundle_endpoint_address: Option<SocketAddr>,
    pub credential: AdminCredential,
    /// The PostgreSQL database, where it is not the SQLite file of the data folder.
    pub database: Option<ConnectionString>,
    /// What was made, for people to read.
    pub made: Vec<String>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Bound {
    /// Waits until the control plane has stopped, which the token given to [`run`] asks for.
    pub async fn stopped(self) -> Result<()> {
        self.task.await.context("the control plane broke down")?
    }
}

/// Starts the control plane. `shutdown` stops it: calls in flight get a few seconds, then everything is closed.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<Bound> {
    cofide_svid::install_crypto_provider();
    let configuration = config.check()?;
    let database = configuration.database()?;
    let mut made = Vec::new();

    // The folder first: two processes that share one would destroy it, and the lock is cheap to lose again.
    let data_dir = std::path::absolute(&configuration.config.data_dir).context("data_dir must not be empty")?;
    let lock = FolderLock::open(&data_dir)?;
    if lock.is_new() {
        made.push(format!("data folder {}", data_dir.display()));
    }
    let listen = bind::tcp(configuration.config.listen_address, "users and agents", "listen_address").await?;
    let plaintext = bind::tcp_if_any(configuration.config.plaintext_address, "users in plain text", "plaintext_address").await?;
    let admin_port = bind::tcp_if_any(configuration.config.admin_address, "health and metrics", "admin_address").await?;

    let bundle_endpoint = match &configuration.config {
        Config { bundle_endpoint_certificate_file: Some(certificate), bundle_endpoint_key_file: Some(key), .. } => {
            let listener = bind::tcp_if_any(configuration.config.bundle_endpoint_address, "bundles", "bundle_endpoint_address").await?;
            let certificate = WebCertificate::open(certificate, key).context("configuration keys bundle_endpoint_*")?;
            listener.map(|listener| (listener, Arc::new(certificate)))
        }
        _ => None,
    };

    let (store, keeping) = open(&data_dir, database.clone()).await?;
    let organization = organization::ensure(&store, &configuration.organization).await.context("cannot prepare the database")?;
    let hub = Hub::load(store.clone(), configuration.spiffe_id.clone()).await.context("cannot read the database")?;

    // What runs in the background stops after the last call has ended, not with the signal.
    let background = TaskTracker::new();
    let stop = CancellationToken::new();
    // Also where the start fails half-way.
    let stop_background = stop.clone().drop_guard();
    let readiness = Readiness::default();
    background.spawn(hub.clone().run(readiness.component("database", "the first look at the database"), stop.clone()));
    let receipts = ReceiptLog::start(store.clone(), &background, stop.clone());
    let denials = Arc::new(Denials::start(store.clone(), &background, stop.clone()));

    let presence = Presence::default();
    let retention = AuditRetention { age: configuration.config.audit_retention, events: configuration.config.audit_max_events };
    background.spawn(housekeeping::run(store.clone(), presence.clone(), retention, stop.clone()));

    if matches!(keeping, Keeping::Database(_)) {
        background.spawn(presence.clone().share(store.clone(), stop.clone()));
    }

    let (package_signer, is_first) = keeping.package_signer(&data_dir).await?;
    if is_first {
        made.push("key that signs bundle packages".to_owned());
    }
    let settings = Settings {
        organization_id: organization.id,
        join_token_ttl: configuration.config.join_token_ttl,
        max_federated_services_per_cluster: configuration.config.max_federated_services_per_cluster,
        bundle_endpoint_url: configuration.config.bundle_endpoint_url.clone(),
        package_signer: Arc::new(package_signer),
    };
    let troubles = Troubles::default();
    let app = App::new(store.clone(), hub.clone(), presence.clone(), troubles.clone(), settings);
    let (management, is_first) = Management::open(configuration.clone(), keeping.clone(), SystemTime::now()).await?;
    if is_first {
        made.push(format!("certificate authority of the management trust domain {}", configuration.trust_domain));
    }
    let management = Arc::new(management);
    let address = listen.local_addr()?;
    let url = configuration.connect_url(address);
    // The bundle first, then the certificate: nobody meets a certificate that the bundle does not vouch for.
    management.rotate(SystemTime::now()).await?;
    let trust = management.trust();
    publish(&app, &trust).await?;
    let token = match keeping.shared_admin_token().await? {
        Some(shared) => shared,
        None => credential::token(&data_dir)?,
    };
    let credential = credential::keep(&data_dir, token, &url, trust)?;
    management.renew(SystemTime::now())?;
    if credential.is_new {
        made.push(format!("admin credential {}", credential.path.display()));
    }
    background.spawn(keep_fresh(management.clone(), app.clone(), credential.clone(), url, stop.clone()));

    let bundles = Arc::new(ZoneBundles(hub.clone()));
    let client = BundleClient {
        bundles: bundles.clone(),
        timeout: FETCH,
        web_roots: WebRoots::new(configuration.config.web_roots_file.clone(), "web_roots_file"),
    };
    let partners = Partners {
        app: app.clone(),
        hub: hub.clone(),
        client: Arc::new(client),
        troubles,
        poll_interval: configuration.config.bundle_poll_interval,
    };
    background.spawn(partners.run(stop.clone()));
    let agents = AgentAuthenticator::new(app.clone(), bundles.clone());
    let authentication = Authentication::new(Arc::new(AdminToken::new(credential.token.expose())), agents.clone());
    let connections = Connections::default();
    let metrics = admin::Metrics::default();
    let calls = metrics::register(&metrics, hub.clone(), connections.clone());
    let rate = AgentRate::new(configuration.config.max_agent_changes_per_minute, configuration.config.agent_change_burst());
    let gate = Gate::new(authentication, denials, calls, presence.clone(), rate);
    background.spawn(look_again(connections.clone(), agents, hub.clone(), stop.clone()));

    if let Some(folder) = configuration.config.bundle_folder.clone() {
        background.spawn(folder::run(folder, data_dir.clone(), hub.clone(), stop.clone()));
    }
    let bundle_endpoint_address = bundle_endpoint
        .map(|(listener, certificate)| {
            background.spawn(certificate.clone().keep_fresh(stop.clone()));
            bundle_endpoint::serve(listener, &certificate, hub.clone(), shutdown.clone())
        })
        .transpose()?;

    let discovery = XdsServer::with(PlanRouter::new(hub, receipts, presence), shutdown.clone(), cofide_xds::Limits::default(), DRAIN);
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(cofide_api::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the embedded API description is damaged")?;
    let routes = Api::routes(app).add_service(discovery.aggregated()).add_service(health_service).add_service(reflection);
    for service in grpc::SERVICES {
        health.set_service_status(service, ServingStatus::Serving).await;
    }

    let limits = Limits::new(
        configuration.config.max_connections,
        configuration.config.max_connections_per_address,
        configuration.config.handshake_timeout,
    );
    let mut server_config = tls::server_config(management.identity(), bundles, ClientAuth::Optional);
    server_config.alpn_protocols = vec![b"h2".to_vec()];
    let over_tls = listener::accept(listen, Some(Arc::new(server_config)), limits.clone(), connections.clone(), shutdown.clone());
    let mut servers = JoinSet::new();
    servers.spawn(serve_listener(over_tls, gate.clone(), routes.clone(), shutdown.clone()));
    let plaintext_address = plaintext.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(plaintext) = plaintext {
        let incoming = listener::accept(plaintext, None, limits, connections.clone(), shutdown.clone());
        servers.spawn(serve_listener(incoming, gate, routes, shutdown.clone()));
    }
    let admin_address = admin_port.map(|listener| admin::serve(listener, readiness, metrics, stop.clone())).transpose()?;
    tracing::info!(%address, "serving");

    let task = tokio::spawn(async move {
        // A listener that ends by itself ends everything: half a control plane would only look like one.
        let first = tokio::select! {
            () = shutdown.cancelled() => None,
            ended = servers.join_next() => ended,
        };
        shutdown.cancel();
        for service in grpc::SERVICES.into_iter().chain([""]) {
            health.set_service_status(service, ServingStatus::NotServing).await;
        }
        // Streams of health watchers, and calls that hang, do not end by themselves.
        let cutting = tokio::spawn(async move {
            tokio::time::sleep(DRAIN).await;
            connections.cut_all();
        });
        let mut ended: Vec<_> = first.into_iter().collect();
        while let Some(next) = servers.join_next().await {
            ended.push(next);
        }
        let result = ended.into_iter().try_for_each(|ended| ended.context("a listener broke down")?.context("a listener failed"));
        cutting.abort();
        drop(stop_background);
        background.close();
        background.wait().await;
        if tokio::time::timeout(DRAIN, store.close()).await.is_err() {
            tracing::warn!("a call still holds the database; the next start reads its log");
        }
        drop(lock);
        tracing::info!("stopped");
        result
    });
    Ok(Bound { address, plaintext_address, admin_address, bundle_endpoint_address, credential, database, made, task })
}

/// The database, and where beside it the control plane's own secrets are.
async fn open(data_dir: &Path, database: Option<ConnectionString>) -> Result<(Store, Keeping)> {
    let file = data_dir.join("connect.db");
    let Some(database) = database else {
        let store = Store::open(file).await.context("cannot open the database of the data folder")?;
        return Ok((store, Keeping::Folder(data_dir.join("authority.json"))));
    };
    if file.exists() {
        tracing::warn!(file = %file.display(), %database, "the SQLite database of the data folder is not used: another one is configured");
    }
    if database.is_in_clear() {
        tracing::warn!(%database, "keys and tokens cross the network in clear: the connection string says so with its sslmode");
    }
    let store = Store::connect(database).await.context("cannot open the database of sql_connection_string")?;
    let keeping = Keeping::Database(store.clone());
    Ok((store, keeping))
}

async fn serve_listener(
    incoming: impl tokio_stream::Stream<Item = std::io::Result<listener::Connection>>,
    gate: Gate,
    routes: Routes,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(Some(256))
        .layer(gate)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}

/// Keeps the management trust zone in step with the control plane's own authority.
async fn publish(app: &App, trust: &ControlPlaneTrust) -> Result<()> {
    let name = "management".parse().expect("the word is a name");
    app.publish_management_zone(&name, trust.bundle.clone()).await.context("cannot keep the management trust zone")
}

/// Rotates the control plane's own authority, tells everyone, and renews the certificate, each when it is time.
async fn keep_fresh(management: Arc<Management>, app: App, credential: AdminCredential, url: ConnectUrl, stop: CancellationToken) {
    let look = async || -> Result<()> {
        management.rotate(SystemTime::now()).await?;
        let trust = management.trust();
        publish(&app, &trust).await?;
        credential.refresh(&url, trust)?;
        management.renew(SystemTime::now())
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(management::LOOK_EVERY) => {}
        }
        if let Err(error) = look().await {
            tracing::error!(error = %Chain(error.as_ref()), "the control plane's own identity is not kept fresh");
        }
    }
}

/// Ends connections whose certificate would not be accepted any more.
async fn look_again(connections: Connections, agents: AgentAuthenticator, hub: Hub, stop: CancellationToken) {
    let mut trust = hub.trust_changes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = trust.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        for connection in connections.open() {
            let Some(chain) = connection.certificates() else { continue };
            match agents.authenticate(chain).await {
                Err(Rejection { error, .. }) if error.is_refusal() => {
                    tracing::info!(address = %connection.peer.address, %error, "a connection is closed: its certificate is no longer accepted");
                    connection.cut();
                }
                // What fails here for another reason says nothing about the connection.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Runs the control plane until `shutdown`, and says on stderr what was made and what to do next.
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<()> {
    let bound = Box::pin(run(config, shutdown)).await?;
    // Whether or not anybody reads it.
    let _ = std::io::stderr().write_all(greeting(&bound).as_bytes());
    bound.stopped().await
}

/// What happened and what to do next.
fn greeting(bound: &Bound) -> String {
    let credential = bound.credential.path.display();
    let mut text = format!("{}\n", build_info::line("cofide-connect"));
    for made in &bound.made {
        text += &format!("  made        {made}\n");
    }
    text += &format!("  listening   {} (TLS)\n", bound.address);
    if let Some(address) = bound.plaintext_address {
        text += &format!("  listening   {address} (plain text, users only)\n");
    }
    if let Some(address) = bound.admin_address {
        text += &format!("  admin       http://{address}/healthz/ready and /metrics\n");
    }
    if let Some(database) = &bound.database {
        text += &format!("  database    {database} (PostgreSQL)\n");
    }
    if let Some(address) = bound.bundle_endpoint_address {
        text += &format!("  bundles     https://{address}/<trust zone>/bundle\n");
    }
    text += &format!("  credential  {credential}\n");
    if !bound.made.is_empty() {
        text += &format!(
            "next:\n  export COFIDE_CREDENTIALS={credential}\n  cofidectl trust-zone add my-zone --trust-domain my.example\n  cofidectl \
             cluster add my-cluster --trust-zone my-zone --profile host\n"
        );
    }
    text
}

//! The whole plane in one process: Connect, and for each trust zone a SPIFFE server and an agent.
//!
//! All of it is the product's own `run`, on ports and sockets of its own, in a folder that goes with the [`Plane`]. Only
//! the Envoys are missing; [`crate::envoy`] has them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};
use cofide_api::connect::agent_service::CreateAgentJoinTokenRequest;
use cofide_api::connect::agent_service::agent_service_client::AgentServiceClient;
use cofide_api::connect::ap_binding_service::CreateApBindingRequest;
use cofide_api::connect::ap_binding_service::ap_binding_service_client::ApBindingServiceClient;
use cofide_api::connect::attestation_policy_service::CreateAttestationPolicyRequest;
use cofide_api::connect::attestation_policy_service::attestation_policy_service_client::AttestationPolicyServiceClient;
use cofide_api::connect::cluster_service::CreateClusterRequest;
use cofide_api::connect::cluster_service::cluster_service_client::ClusterServiceClient;
use cofide_api::connect::federation_service::CreateFederationRequest;
use cofide_api::connect::federation_service::federation_service_client::FederationServiceClient;
use cofide_api::connect::trust_zone_service::CreateTrustZoneRequest;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_api::types::{ap_binding, attestation_policy, cluster, federation, trust_zone};
use cofide_connect_client::{Bootstrap, Credential, UserChannel, connect_as_user};
use cofide_core::{ClusterId, JoinTokenSecret, TrustDomain, TrustZoneId};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A program of the plane that runs in this process.
struct Running {
    shutdown: CancellationToken,
    stopped: tokio::task::JoinHandle<Result<()>>,
}

impl Running {
    /// Stops it as a signal would, and waits until its sockets and locks are free again.
    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.stopped.await?
    }
}

/// Connect with any number of trust zones.
pub struct Plane {
    folder: TempDir,
    address: SocketAddr,
    connect: Option<Running>,
    pub credential: Credential,
    pub zones: Vec<Zone>,
}

/// One trust zone with one cluster: its SPIFFE server and its agent.
pub struct Zone {
    pub name: String,
    pub trust_domain: TrustDomain,
    pub id: TrustZoneId,
    pub cluster_id: ClusterId,
    pub folder: PathBuf,
    /// Where the agent listens; kept over its restarts.
    pub xds_address: SocketAddr,
    pub dns_address: SocketAddr,
    pub gateway_address: SocketAddr,
    trust_zone_server: Option<Running>,
    agent: Option<Running>,
}

impl Plane {
    /// Starts Connect on a free port, in an empty folder.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plane").tempdir()?;
        let (address, connect) = start_connect(folder.path(), any_port()).await?;
        let credential = Credential::read(&folder.path().join("connect/admin-credential.json"))?;
        Ok(Self { folder, address, connect: Some(connect), credential, zones: Vec::new() })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where Connect listens; kept over its restarts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn stop_connect(&mut self) -> Result<()> {
        match self.connect.take() {
            Some(connect) => connect.stop().await,
            None => Ok(()),
        }
    }

    pub async fn restart_connect(&mut self) -> Result<()> {
        self.stop_connect().await?;
        let (_, connect) = start_connect(self.folder.path(), self.address).await?;
        self.connect = Some(connect);
        Ok(())
    }

    /// A channel with the administrator's token.
    pub async fn admin(&self) -> Result<UserChannel> {
        Ok(connect_as_user(&self.credential).await?)
    }

    /// Adds the trust zone `trust-zone-<letter>` with trust domain `<letter>.test` and cluster `cluster-<letter>`, without
    /// starting anything of it.
    pub async fn create_zone(&mut self, letter: &str) -> Result<usize> {
        let channel = self.admin().await?;
        let name = format!("trust-zone-{letter}");
        let trust_domain = TrustDomain::new(format!("{letter}.test"))?;
        let zone = trust_zone::TrustZone { name: name.clone(), trust_domain: trust_domain.to_string(), ..Default::default() };
        let request = CreateTrustZoneRequest { trust_zone: Some(zone) };
        let created = TrustZoneServiceClient::new(channel.clone()).create_trust_zone(request).await?.into_inner();
        let id: TrustZoneId = created.trust_zone.and_then(|zone| zone.id).context("no id")?.parse()?;

        let cluster = cluster::Cluster {
            name: Some(format!("cluster-{letter}")),
            trust_zone_id: Some(id.to_string()),
            profile: Some("host".to_owned()),
            ..Default::default()
        };
        let created = ClusterServiceClient::new(channel).create_cluster(CreateClusterRequest { cluster: Some(cluster) }).await?;
        let cluster_id = created.into_inner().cluster.and_then(|cluster| cluster.id).context("no id")?.parse()?;

        let folder = self.folder.path().join(letter);
        std::fs::create_dir_all(folder.join("manifests"))?;
        let ip = own_address();
        self.zones.push(Zone {
            name,
            trust_domain,
            id,
            cluster_id,
            folder,
            xds_address: (ip, 18001).into(),
            dns_address: (ip, 10053).into(),
            gateway_address: (ip, 15443).into(),
            trust_zone_server: None,
            agent: None,
        });
        Ok(self.zones.len() - 1)
    }

    /// Adds a trust zone and starts its SPIFFE server and its agent.
    pub async fn add_zone(&mut self, letter: &str) -> Result<usize> {
        let index = self.create_zone(letter).await?;
        let token = self.join_token(index).await?;
        self.write_bootstrap(index, token)?;
        self.zones[index].start_trust_zone_server().await?;
        self.zones[index].start_agent().await?;
        Ok(index)
    }

    pub async fn join_token(&self, zone: usize) -> Result<JoinTokenSecret> {
        let zone = &self.zones[zone];
        let request =
            CreateAgentJoinTokenRequest { trust_zone_id: Some(zone.id.to_string()), cluster_id: Some(zone.cluster_id.to_string()) };
        let answer = AgentServiceClient::new(self.admin().await?).create_agent_join_token(request).await?.into_inner();
        Ok(JoinTokenSecret::new(answer.agent_token.context("no token")?))
    }

    /// What the agent of the zone needs to join with this token.
    pub fn bootstrap(&self, zone: usize, agent_token: JoinTokenSecret) -> Result<Bootstrap> {
        let zone = &self.zones[zone];
        Ok(Bootstrap {
            connect_url: self.address.to_string().parse()?,
            connect: self.credential.connect.clone().context("the credential has no bundle")?,
            trust_zone_id: zone.id.clone(),
            trust_domain: zone.trust_domain.clone(),
            cluster_id: zone.cluster_id.clone(),
            cluster_name: zone.cluster_name().parse()?,
            agent_token,
        })
    }

    pub fn write_bootstrap(&self, zone: usize, agent_token: JoinTokenSecret) -> Result<()> {
        Ok(self.bootstrap(zone, agent_token)?.write(&self.zones[zone].folder.join("bootstrap.yaml"))?)
    }

    /// One direction: `from` trusts `to`.
    pub async fn federate(&self, from: usize, to: usize) -> Result<String> {
        let federation = federation::Federation {
            trust_zone_id: Some(self.zones[from].id.to_string()),
            remote_trust_zone_id: Some(self.zones[to].id.to_string()),
            ..Default::default()
        };
        let request = CreateFederationRequest { federation: Some(federation) };
        let created = FederationServiceClient::new(self.admin().await?).create_federation(request).await?.into_inner();
        created.federation.and_then(|federation| federation.id).context("no id")
    }

    pub async fn federate_both_ways(&self, one: usize, other: usize) -> Result<()> {
        self.federate(one, other).await?;
        self.federate(other, one).await?;
        Ok(())
    }

    /// A static policy for this very process, bound in the zone. Gives the id of the binding.
    ///
    /// Everything in the plane is one process, so an identity is chosen by its SPIFFE ID, not by selectors.
    pub async fn bind(&self, zone: usize, path: &str, federates_with: &[usize]) -> Result<String> {
        let channel = self.admin().await?;
        let statically = attestation_policy::ApStatic {
            spiffe_id_path: Some(path.to_owned()),
            parent_id_path: Some("/spire/agent".to_owned()),
            selectors: vec![cofide_api::spire::types::Selector {
                r#type: "unix".into(),
                value: format!("path:{}", this_program()?.display()),
            }],
            ..Default::default()
        };
        let policy = attestation_policy::AttestationPolicy {
            name: format!("{}{}", self.zones[zone].name, path.replace('/', "-")),
            policy: Some(attestation_policy::attestation_policy::Policy::Static(statically)),
            ..Default::default()
        };
        let request = CreateAttestationPolicyRequest { policy: Some(policy) };
        let created = AttestationPolicyServiceClient::new(channel.clone()).create_attestation_policy(request).await?.into_inner();
        let binding = ap_binding::ApBinding {
            trust_zone_id: Some(self.zones[zone].id.to_string()),
            policy_id: created.policy.and_then(|policy| policy.id),
            federations: self.binding_federations(federates_with),
            ..Default::default()
        };
        let request = CreateApBindingRequest { binding: Some(binding) };
        let created = ApBindingServiceClient::new(channel).create_ap_binding(request).await?.into_inner();
        created.binding.and_then(|binding| binding.id).context("no id")
    }

    pub fn binding_federations(&self, zones: &[usize]) -> Vec<ap_binding::ApBindingFederation> {
        let of = |zone: &usize| ap_binding::ApBindingFederation { trust_zone_id: Some(self.zones[*zone].id.to_string()) };
        zones.iter().map(of).collect()
    }
}

impl Zone {
    pub fn cluster_name(&self) -> String {
        self.name.replace("trust-zone", "cluster")
    }

    pub fn workload_api_socket(&self) -> PathBuf {
        self.folder.join("workload-api.sock")
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    pub fn manifest(&self, name: &str) -> PathBuf {
        self.folder.join("manifests").join(name)
    }

    /// Puts a manifest into the agent's folder, whole at once.
    pub fn write_manifest(&self, name: &str, content: &str) -> Result<()> {
        let staged = self.folder.join(name);
        std::fs::write(&staged, content)?;
        Ok(std::fs::rename(staged, self.manifest(name))?)
    }

    /// What the agent wrote beside the manifest; empty where it has not.
    pub fn status_of(&self, manifest: &str) -> String {
        let stem = manifest.trim_end_matches(".yaml");
        std::fs::read_to_string(self.manifest(&format!("{stem}.status.yaml"))).unwrap_or_default()
    }

    pub async fn start_trust_zone_server(&mut self) -> Result<()> {
        let config = cofide_runtime::config::load(
            None,
            &json!({
                "trust_domain": self.trust_domain.as_str(),
                "data_dir": self.folder.join("trust-zone-server"),
                "workload_api_socket": self.workload_api_socket(),
                "admin_socket": self.admin_socket(),
                "entries": [{
                    "spiffe_id_path": format!("/cluster/{}/ns/cofide/sa/cofide-agent", self.cluster_name()),
                    "selectors": [format!("unix:path:{}", this_program()?.display())],
                }],
            }),
        )?;
        let shutdown = CancellationToken::new();
        let server = cofide_trust_zone_server::run::start(config, shutdown.clone()).await?;
        self.trust_zone_server = Some(Running { shutdown, stopped: tokio::spawn(server.wait()) });
        Ok(())
    }

    pub async fn stop_trust_zone_server(&mut self) -> Result<()> {
        match self.trust_zone_server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    pub async fn start_agent(&mut self) -> Result<()> {
        let config = cofide_agent::config::Config {
            data_dir: self.folder.join("agent"),
            manifest_dir: self.folder.join("manifests"),
            bootstrap_file: Some(self.folder.join("bootstrap.yaml")),
            spiffe_endpoint_socket: format!("unix://{}", self.workload_api_socket().display()),
            spire_server_socket: self.admin_socket(),
            xds_address: self.xds_address,
            dns_address: self.dns_address,
            gateway_listen_address: self.gateway_address,
            resync_seconds: 2,
            ..Default::default()
        };
        let shutdown = CancellationToken::new();
        let bound = cofide_agent::run::run(config, shutdown.clone()).await?;
        self.agent = Some(Running { shutdown, stopped: tokio::spawn(bound.stopped()) });
        Ok(())
    }

    pub async fn stop_agent(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(agent) => agent.stop().await,
            None => Ok(()),
        }
    }
}

async fn start_connect(folder: &Path, listen_address: SocketAddr) -> Result<(SocketAddr, Running)> {
    let config = cofide_connect::config::Config { data_dir: folder.join("connect"), listen_address, ..Default::default() };
    let shutdown = CancellationToken::new();
    let bound = cofide_connect::run::run(config, shutdown.clone()).await?;
    Ok((bound.address, Running { shutdown, stopped: tokio::spawn(bound.stopped()) }))
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A loopback address that no other zone of this or another test process uses. With one, a zone keeps the usual ports,
/// which lie below those that the kernel gives out: nothing can take one while its agent restarts.
fn own_address() -> Ipv4Addr {
    static ZONES: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 + ZONES.fetch_add(1, Ordering::Relaxed) % 64, high, low.max(1))
}

fn this_program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.canonicalize()?)
}

//! One trust zone of a plane: its SPIFFE server, its agent, its manifests.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cofide_agent::addresses::LoopbackPool;
use cofide_agent::config::Config;
use cofide_agent::spire::SpireClient;
use cofide_agent::spire::diff::EntryChange;
use cofide_agent::spire::model::{EntryContent, EntryKey};
use cofide_agent::world::{Link, World};
use cofide_core::{ClusterId, Selector, TrustDomain, TrustZoneId};
use serde_json::{Value, json};

use crate::authorities::Authorities;
use crate::loopback::own_import_addresses;
use crate::resolver;
use crate::running::{Running, log_tail, this_program};
use crate::spire::{Spire, SpireOptions};

/// How often an agent of the plane looks again without being told: never, as far as a test is concerned. What a test waits
/// for comes because somebody said so.
const RESYNC_INTERVAL: Duration = Duration::from_secs(3600);

/// One trust zone with one cluster: its SPIFFE server and its agent.
pub struct Zone {
    pub name: String,
    pub trust_domain: TrustDomain,
    pub id: TrustZoneId,
    pub cluster_id: ClusterId,
    pub folder: PathBuf,
    /// The executable that the SPIFFE server takes for the agent's.
    pub agent_program: PathBuf,
    /// Names of further clusters whose agents take their identity from this zone's SPIFFE server.
    pub other_clusters: Vec<String>,
    /// The names of secrets for Envoys that are not told SPIRE's; the key `sds` of the SPIFFE server's configuration.
    pub sds: Value,
    /// Where the agent listens; kept over its restarts.
    pub xds_address: SocketAddr,
    pub dns_address: SocketAddr,
    pub gateway_address: SocketAddr,
    import_addresses: LoopbackPool,
    trust_zone_server: Option<Running>,
    /// In the place of the trust-zone-server.
    spire: Option<Spire>,
    agent: Option<Agent>,
}

/// An agent that runs.
pub struct Agent {
    running: Running,
    world: Arc<World>,
}

impl Agent {
    /// Starts an agent of any configuration, such as a second one of a cluster. What it says goes to the end of `log`.
    pub async fn start(config: Config, log: &Path) -> Result<Self> {
        let start = async |shutdown| {
            let bound = Box::pin(cofide_agent::run::run(config, shutdown)).await?;
            Ok((bound.world.clone(), bound.stopped()))
        };
        let (world, running) = Running::start(log, start).await?;
        Ok(Self { running, world })
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    pub async fn stop(self) -> Result<()> {
        self.running.stop().await
    }

    /// Ends it as `kill -9` would.
    pub async fn kill(self) -> Result<()> {
        self.running.kill().await
    }
}

impl Zone {
    pub(crate) fn new(
        name: &str,
        trust_domain: &str,
        ip: Ipv4Addr,
        folder: PathBuf,
        id: TrustZoneId,
        cluster_id: ClusterId,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder.join("manifests"))?;
        Ok(Self {
            name: format!("trust-zone-{name}"),
            trust_domain: TrustDomain::new(trust_domain)?,
            id,
            cluster_id,
            folder,
            agent_program: this_program()?,
            other_clusters: Vec::new(),
            sds: json!({}),
            xds_address: (ip, 18001).into(),
            dns_address: (ip, 10053).into(),
            gateway_address: (ip, 15443).into(),
            import_addresses: own_import_addresses()?,
            trust_zone_server: None,
            spire: None,
            agent: None,
        })
    }

    pub fn cluster_name(&self) -> String {
        self.name.replace("trust-zone", "cluster")
    }

    pub fn workload_api_socket(&self) -> PathBuf {
        self.folder.join("workload-api.sock")
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// The SPIFFE server of the zone, as the agent calls it.
    pub fn spire(&self) -> SpireClient {
        SpireClient::new(&self.admin_socket())
    }

    pub async fn authorities(&self) -> Result<Authorities> {
        Authorities::at(&self.admin_socket()).await
    }

    pub fn manifest(&self, name: &str) -> PathBuf {
        self.manifest_dir().join(name)
    }

    pub fn manifest_dir(&self) -> PathBuf {
        self.folder.join("manifests")
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

    /// The addresses that the zone's resolver gives for a name; none where it does not answer.
    pub async fn resolve(&self, hostname: &str) -> Vec<Ipv4Addr> {
        resolver::ask(self.dns_address, hostname).await
    }

    /// The file in which the agent remembers this, such as `plan`.
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.folder.join("agent").join(format!("{name}.state"))
    }

    pub async fn start_trust_zone_server(&mut self) -> Result<()> {
        ensure!(self.trust_zone_server.is_none(), "the trust-zone-server of {} runs", self.name);
        let agent = |cluster: &String| {
            json!({
                "spiffe_id_path": format!("/cluster/{cluster}/ns/cofide/sa/cofide-agent"),
                "selectors": [format!("unix:path:{}", self.agent_program.display())],
            })
        };
        let agents: Vec<_> = std::iter::once(&self.cluster_name()).chain(&self.other_clusters).map(agent).collect();
        let config = cofide_runtime::config::load(
            None,
            &json!({
                "trust_domain": self.trust_domain.as_str(),
                "data_dir": self.folder.join("trust-zone-server"),
                "workload_api_socket": self.workload_api_socket(),
                "admin_socket": self.admin_socket(),
                "entries": agents,
                "sds": self.sds,
            }),
        )?;
        let start = async |shutdown| {
            let server = cofide_trust_zone_server::run::start(config, shutdown).await?;
            Ok(((), server.wait()))
        };
        let ((), running) = Running::start(&self.log("trust-zone-server"), start).await?;
        self.trust_zone_server = Some(running);
        Ok(())
    }

    pub async fn stop_trust_zone_server(&mut self) -> Result<()> {
        match self.trust_zone_server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// Starts SPIRE in the place of the trust-zone-server: its server and its agent, and in the server the entry for the agent of
    /// the zone, as whoever runs SPIRE would make it.
    pub async fn start_spire(&mut self, options: SpireOptions) -> Result<()> {
        ensure!(self.trust_zone_server.is_none() && self.spire.is_none(), "the SPIFFE server of {} runs", self.name);
        let IpAddr::V4(address) = self.xds_address.ip() else { bail!("SPIRE listens at an IPv4 address here") };
        let mut spire = Spire::new(&self.folder, &self.trust_domain, address, options).await?;
        spire.start_server().await?;
        spire.start_agent().await?;
        self.spire = Some(spire);
        self.enter_agent().await
    }

    /// The entry without which the agent of the zone has no identity. It is not one of the agent's own.
    pub async fn enter_agent(&self) -> Result<()> {
        let id = |path: &str| format!("spiffe://{}{path}", self.trust_domain);
        let selector: Selector = format!("unix:path:{}", self.agent_program.display()).parse().map_err(anyhow::Error::msg)?;
        let key = EntryKey {
            spiffe_id: id(&format!("/cluster/{}/ns/cofide/sa/cofide-agent", self.cluster_name())),
            parent_id: id(Spire::PARENT_ID_PATH),
            selectors: BTreeSet::from([selector]),
        };
        let content = EntryContent { dns_names: Vec::new(), federates_with: BTreeSet::new(), store_svid: false, hint: String::new() };
        let create = EntryChange::Create { key, content, bindings: BTreeSet::new() };
        self.spire().change_entries(&[create]).await?.remove(0)?;
        Ok(())
    }

    /// The SPIRE of the zone.
    ///
    /// # Errors
    ///
    /// Where the zone has a trust-zone-server.
    pub fn spire_mut(&mut self) -> Result<&mut Spire> {
        self.spire.as_mut().with_context(|| format!("{} has no SPIRE", self.name))
    }

    pub async fn start_agent(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "the agent of {} runs", self.name);
        self.agent = Some(Agent::start(self.agent_config(), &self.log("agent")).await?);
        Ok(())
    }

    /// As the agent of the zone is configured.
    pub fn agent_config(&self) -> Config {
        Config {
            data_dir: self.folder.join("agent"),
            manifest_dir: self.manifest_dir(),
            bootstrap_file: Some(self.folder.join("bootstrap.yaml")),
            spiffe_endpoint_socket: format!("unix://{}", self.workload_api_socket().display()),
            spire_server_socket: self.admin_socket(),
            xds_address: self.xds_address,
            dns_address: self.dns_address,
            gateway_listen_address: self.gateway_address,
            import_addresses: self.import_addresses,
            resync_interval: RESYNC_INTERVAL,
            ..Config::default()
        }
    }

    pub async fn stop_agent(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(agent) => agent.stop().await,
            None => Ok(()),
        }
    }

    /// Ends the agent as `kill -9` would: nothing is said or written on the way out.
    pub async fn kill_agent(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(agent) => agent.kill().await,
            None => Ok(()),
        }
    }

    /// How the agent finds its way to Connect; `None` while it does not run.
    pub fn link(&self) -> Option<Link> {
        self.agent.as_ref().map(|agent| (*agent.world.link.get()).clone())
    }

    fn log(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.log"))
    }

    /// What helps to see why a test failed.
    pub fn dump(&self) -> String {
        let mut text = format!("=== {}: link {:?}\n", self.name, self.link());
        if let Some(Agent { world, .. }) = &self.agent {
            let plan = world.plan.get();
            let names = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
            let parts = [
                ("imports", names(&mut plan.imports().map(|import| import.hostname.to_string()))),
                ("trusts", names(&mut plan.trust().map(|trust| trust.trust_domain.to_string()))),
                ("registrations", names(&mut plan.registrations().map(|registration| registration.binding_id.to_string()))),
                ("what became of exports", format!("{:?}", world.service_registrations.get())),
                ("what became of the plan", format!("{:?}", world.spire.get())),
            ];
            text.extend(parts.map(|(what, said)| format!("{what}: {said}\n")));
        }
        let files = std::fs::read_dir(self.manifest_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in files.filter(|file| file.to_string_lossy().ends_with(".status.yaml")) {
            text.push_str(&format!("--- {}\n{}\n", file.display(), std::fs::read_to_string(&file).unwrap_or_default()));
        }
        for program in ["agent", "trust-zone-server", "spire-server", "spire-agent"] {
            if self.log(program).exists() {
                text.push_str(&log_tail(&self.log(program)));
            }
        }
        text
    }
}

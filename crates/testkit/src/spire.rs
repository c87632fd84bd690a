//! A real SPIRE for one trust zone: a server and an agent, as processes on this machine.
//!
//! The programs are those that `lab/spire/install` builds. The agent proves what it is with a join token, which also gives
//! its node the name [`Spire::PARENT_ID_PATH`]: entries name that as their parent. Workloads are attested by what the kernel
//! says of their process, the path of their program included.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cofide_agent::spire::SpireClient;
use cofide_core::TrustDomain;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::lab::install;
use crate::lab::process::Process;
use crate::wait::works;

const SERVER_PORT: u16 = 8081;
const BUNDLE_ENDPOINT_PORT: u16 = 8443;

/// What of SPIRE's configuration a test chooses.
#[derive(Clone, Debug)]
pub struct SpireOptions {
    pub ca_ttl: Duration,
    pub x509_svid_ttl: Duration,
    /// How often the agent asks its server for changes, and how often the server reads its database for it. SPIRE's own is 5
    /// s for each.
    pub sync_interval: Duration,
    /// Whether the server's log has a line for each call of its API, and little else.
    pub audit_log: bool,
    /// The names of the secrets for Envoy: the SVID, the own bundle, all bundles.
    pub sds: [&'static str; 3],
}

impl Default for SpireOptions {
    fn default() -> Self {
        Self {
            ca_ttl: Duration::from_secs(24 * 3600),
            x509_svid_ttl: Duration::from_secs(3600),
            sync_interval: Duration::from_secs(1),
            audit_log: false,
            sds: ["default", "ROOTCA", "ALL"],
        }
    }
}

/// A server and its agent, each running or not.
#[derive(Debug)]
pub struct Spire {
    folder: PathBuf,
    trust_domain: TrustDomain,
    address: Ipv4Addr,
    options: SpireOptions,
    programs: PathBuf,
    server: Option<Process>,
    agent: Option<Process>,
}

impl Spire {
    /// The path of the node's SPIFFE ID: the parent of every entry for a workload of this machine.
    pub const PARENT_ID_PATH: &str = "/host";

    /// Prepares one in this folder; nothing of it runs yet. It listens at `address` on SPIRE's usual ports, and on the sockets
    /// `admin.sock` and `workload-api.sock` in the folder.
    pub async fn new(folder: &Path, trust_domain: &TrustDomain, address: Ipv4Addr, options: SpireOptions) -> Result<Self> {
        let programs = install("spire").await?;
        let (folder, trust_domain) = (folder.to_owned(), trust_domain.clone());
        Ok(Self { folder, trust_domain, address, options, programs, server: None, agent: None })
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    pub fn workload_api_socket(&self) -> PathBuf {
        self.folder.join("workload-api.sock")
    }

    /// Where the server publishes its bundle, with the profile `https_spiffe`.
    pub fn bundle_endpoint_url(address: Ipv4Addr) -> String {
        format!("https://{address}:{BUNDLE_ENDPOINT_PORT}")
    }

    /// Starts the server, on what it kept, and waits until it answers.
    pub async fn start_server(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the SPIRE server of {} runs", self.trust_domain);
        let file = self.folder.join("spire-server.conf");
        std::fs::create_dir_all(self.folder.join("spire-server"))?;
        std::fs::write(&file, self.server_configuration())?;
        self.server = Some(self.start("spire-server", &file)?);
        let client = SpireClient::new(&self.admin_socket());
        works("the SPIRE server answers", || async { Ok(client.own_bundle().await?) }).await;
        Ok(())
    }

    /// Starts the agent, on what it kept, and waits until its Workload API is there.
    pub async fn start_agent(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "the SPIRE agent of {} runs", self.trust_domain);
        let token = self.join_token().await?;
        let file = self.folder.join("spire-agent.conf");
        std::fs::create_dir_all(self.folder.join("spire-agent"))?;
        std::fs::write(&file, self.agent_configuration(&token))?;
        self.agent = Some(self.start("spire-agent", &file)?);
        works("the SPIRE agent serves the Workload API", || async { Ok(UnixStream::connect(self.workload_api_socket()).await.map(drop)?) })
            .await;
        Ok(())
    }

    pub async fn stop_server(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.terminate().await,
            None => Ok(()),
        }
    }

    pub async fn stop_agent(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(agent) => agent.terminate().await,
            None => Ok(()),
        }
    }

    /// Deletes everything that the server and the agent kept, as if both were installed anew. Neither may run.
    pub fn forget(&self) -> Result<()> {
        ensure!(self.server.is_none() && self.agent.is_none(), "SPIRE of {} runs", self.trust_domain);
        for folder in ["spire-server", "spire-agent"].map(|name| self.folder.join(name)) {
            if folder.exists() {
                std::fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// Everything that the server has said.
    pub fn server_log(&self) -> String {
        std::fs::read_to_string(self.folder.join("spire-server.log")).unwrap_or_default()
    }

    /// What the server's own command line says to these words, such as `["entry", "show"]`.
    pub async fn command(&self, words: &[&str]) -> Result<Value> {
        let socket = self.admin_socket();
        let mut command = Command::new(self.programs.join("spire-server"));
        command.args(words).arg("-socketPath").arg(&socket).args(["-output", "json"]).kill_on_drop(true);
        let output = command.output().await.context("cannot run spire-server")?;
        ensure!(output.status.success(), "spire-server {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Good for one agent, which gets the name of the node too.
    async fn join_token(&self) -> Result<String> {
        let node = format!("spiffe://{}{}", self.trust_domain, Self::PARENT_ID_PATH);
        let answer = self.command(&["token", "generate", "-spiffeID", &node]).await?;
        Ok(answer["value"].as_str().with_context(|| format!("no token in {answer}"))?.to_owned())
    }

    fn start(&self, program: &str, configuration: &Path) -> Result<Process> {
        let mut command = std::process::Command::new(self.programs.join(program));
        command.arg("run").arg("-config").arg(configuration);
        Process::start(program, command, self.folder.join(format!("{program}.log")))
    }

    fn server_configuration(&self) -> String {
        let Self { folder, trust_domain, address, options, .. } = self;
        let (folder, socket) = (folder.join("spire-server"), self.admin_socket());
        let (folder, socket) = (folder.display(), socket.display());
        let SpireOptions { ca_ttl, x509_svid_ttl, sync_interval, audit_log, .. } = options;
        let log_level = if *audit_log { "INFO" } else { "DEBUG" };
        let (ca_ttl, x509_svid_ttl, sync) = (ca_ttl.as_secs(), x509_svid_ttl.as_secs(), sync_interval.as_millis());
        format!(
            r#"server {{
    bind_address = "{address}"
    bind_port = "{SERVER_PORT}"
    socket_path = "{socket}"
    trust_domain = "{trust_domain}"
    data_dir = "{folder}"
    log_level = "{log_level}"
    audit_log_enabled = {audit_log}
    ca_ttl = "{ca_ttl}s"
    default_x509_svid_ttl = "{x509_svid_ttl}s"
    experimental {{ cache_reload_interval = "{sync}ms" }}
    federation {{
        bundle_endpoint {{
            address = "{address}"
            port = {BUNDLE_ENDPOINT_PORT}
            refresh_hint = "10s"
            profile "https_spiffe" {{}}
        }}
    }}
}}
plugins {{
    DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/datastore.sqlite3" }} }}
    KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/keys.json" }} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
        )
    }

    fn agent_configuration(&self, token: &str) -> String {
        let Self { folder, trust_domain, address, options, .. } = self;
        let (folder, socket) = (folder.join("spire-agent"), self.workload_api_socket());
        let (folder, socket) = (folder.display(), socket.display());
        let SpireOptions { sync_interval, sds: [svid, bundle, all], .. } = options;
        let sync = sync_interval.as_millis();
        format!(
            r#"agent {{
    data_dir = "{folder}"
    log_level = "DEBUG"
    server_address = "{address}"
    server_port = "{SERVER_PORT}"
    socket_path = "{socket}"
    trust_domain = "{trust_domain}"
    insecure_bootstrap = true
    join_token = "{token}"
    sds {{
        default_svid_name = "{svid}"
        default_bundle_name = "{bundle}"
        default_all_bundles_name = "{all}"
    }}
    experimental {{ sync_interval = "{sync}ms" }}
}}
plugins {{
    KeyManager "disk" {{ plugin_data {{ directory = "{folder}" }} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
    WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true }} }}
}}
"#
        )
    }
}

//! etcd and kube-apiserver in a namespace of their own: what a cluster without nodes is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::audit;
use super::certificates::{Credentials, kubeconfig};
use super::kubelet::Kubelet;
use super::network::{Host, Network};
use super::parts::install;
use super::process::Process;

/// What the service account tokens of a cluster say who made them.
pub const TOKEN_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Far beyond the few seconds that a start takes, for a machine that compiles at the same time.
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A cluster whose API server answers.
pub struct Cluster {
    name: String,
    // Before the host: what runs in a namespace ends first.
    pub(super) istiod: Option<Process>,
    controllers: Option<Process>,
    api_server: Option<Process>,
    etcd: Process,
    /// The namespace of the cluster's own programs; its address is that of the API server and of istiod.
    pub host: Host,
    credentials: Credentials,
    kubeconfig: PathBuf,
    config: Config,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {} at {}", self.name, self.url())
    }
}

impl Cluster {
    pub(super) async fn start(network: &Arc<Network>, name: &str) -> Result<Self> {
        let (etcd, kubernetes) = (install("etcd").await?, install("kubernetes").await?);
        // The client of Kubernetes asks rustls for its default.
        cofide_svid::install_crypto_provider();
        let host = network.host(name)?;
        let credentials = Credentials::create(&host.folder, host.address)?;
        let url = format!("https://{}:6443", host.address);
        let path = host.folder.join("kubeconfig");
        std::fs::write(&path, kubeconfig(name, &url, &credentials.authority, &credentials.admin_token))?;
        let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(&path)?, &KubeConfigOptions::default()).await?;

        let mut command = host.command(etcd.join("etcd"));
        command.args(["--unsafe-no-fsync", "--log-level", "warn", "--name", name, "--data-dir"]).arg(host.folder.join("etcd"));
        let etcd = Process::start("etcd", command, host.folder.join("etcd.log"))?;
        let mut cluster = Self {
            name: name.to_owned(),
            istiod: None,
            controllers: None,
            api_server: None,
            etcd,
            host,
            credentials,
            kubeconfig: path,
            config,
        };
        cluster.spawn_api_server(&kubernetes, &[])?;
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's; usable from this process and from every host of the lab.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn url(&self) -> String {
        format!("https://{}:6443", self.host.address)
    }

    /// The administrator, with a connection that belongs to the current runtime.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config.clone())?)
    }

    /// Writes a kubeconfig of a service account, which has to exist: its rights are those that RBAC gives it.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        service_account_kubeconfig(&self.client()?, &self.kubeconfig, &self.host.folder, namespace, name).await
    }

    /// Starts pods from Deployments.
    pub fn kubelet(&self) -> Result<Kubelet> {
        Ok(Kubelet::new(self.client()?, self.kubeconfig.clone(), self.host.network().clone()))
    }

    /// A kubeconfig of the administrator's for whoever reaches the API server by something that carries connections on to it.
    pub fn kubeconfig_by_way_of(&self, address: SocketAddr) -> Result<PathBuf> {
        let path = self.host.folder.join(format!("kubeconfig-{}", address.port()));
        let Credentials { authority, admin_token, .. } = &self.credentials;
        let mut document: serde_json::Value =
            serde_json::from_str(&kubeconfig(&self.name, &format!("https://{address}"), authority, admin_token))?;
        // Its certificate is for its own address.
        document["clusters"][0]["cluster"]["tls-server-name"] = self.host.address.to_string().into();
        std::fs::write(&path, document.to_string())?;
        Ok(path)
    }

    /// Ends the API server as a kubelet does. Its data stays.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        match self.api_server.take() {
            Some(server) => server.terminate().await,
            None => Ok(()),
        }
    }

    /// Starts the API server again, and waits until it is ready.
    pub async fn start_api_server(&mut self) -> Result<()> {
        self.start_api_server_with(&[]).await
    }

    /// The same, with further flags.
    pub async fn start_api_server_with(&mut self, flags: &[&str]) -> Result<()> {
        if self.api_server.is_none() {
            self.spawn_api_server(&install("kubernetes").await?, flags)?;
        }
        self.wait_until_ready().await
    }

    /// Starts kube-controller-manager with these of its controllers, such as `garbage-collector-controller` and
    /// `namespace-controller`. Without it nothing follows an owner reference and no namespace goes.
    pub async fn with_controllers(mut self, controllers: &[&str]) -> Result<Self> {
        let program = install("kubernetes").await?.join("kube-controller-manager");
        let mut command = self.host.command(program);
        command.args(["--leader-elect=false", "--concurrent-gc-syncs=5"]);
        for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            command.arg(flag).arg(&self.kubeconfig);
        }
        command.arg(format!("--controllers={}", controllers.join(",")));
        self.controllers = Some(Process::start("kube-controller-manager", command, self.host.folder.join("controllers.log"))?);
        Ok(self)
    }

    fn spawn_api_server(&mut self, programs: &Path, flags: &[&str]) -> Result<()> {
        let mut command = self.host.command(programs.join("kube-apiserver"));
        command.args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=6443",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            // No kubelet would mount a token, and a pod without its service account is refused.
            "--disable-admission-plugins=ServiceAccount",
            "--profiling=false",
            // Without it a server that is to stop waits a minute for those who watch.
            "--shutdown-watch-termination-grace-period=1s",
        ]);
        command.arg(format!("--bind-address={}", self.host.address));
        command.arg(format!("--advertise-address={}", self.host.address));
        command.arg(format!("--service-account-issuer={TOKEN_ISSUER}"));
        let files = [
            ("--tls-cert-file", &self.credentials.certificate),
            ("--tls-private-key-file", &self.credentials.key),
            ("--service-account-key-file", &self.credentials.token_public_key),
            ("--service-account-signing-key-file", &self.credentials.token_key),
            ("--token-auth-file", &self.credentials.tokens),
        ];
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        let policy = self.host.folder.join("audit-policy.json");
        std::fs::write(&policy, audit::policy().to_string())?;
        command.arg("--audit-policy-file").arg(policy).arg("--audit-log-path").arg(self.host.folder.join(audit::LOG));
        command.args(flags);
        self.api_server = Some(Process::start("kube-apiserver", command, self.host.folder.join("api-server.log"))?);
        Ok(())
    }

    /// Waits until the API server is ready, and with it the namespace `default`, without which little can be created.
    async fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        let client = self.client()?;
        loop {
            let ready = async {
                client.request_text(http::Request::get("/readyz").body(vec![])?).await?;
                client.request_text(http::Request::get("/api/v1/namespaces/default").body(vec![])?).await?;
                anyhow::Ok(())
            };
            let Err(error) = ready.await else { return Ok(()) };
            let api_server = self.api_server.as_mut().context("the API server was stopped")?;
            if let Some(status) = self.etcd.ended()?.or(api_server.ended()?) {
                bail!("a program of {self:?} ended with {status}\n{}", self.log());
            }
            ensure!(start.elapsed() < START_DEADLINE, "{self:?} is not ready after {START_DEADLINE:?}: {error:#}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// The end of what its programs have said.
    pub fn log(&self) -> String {
        let processes = [Some(&self.etcd), self.api_server.as_ref(), self.controllers.as_ref(), self.istiod.as_ref()];
        processes.into_iter().flatten().map(Process::log_tail).collect::<Vec<_>>().join("\n")
    }

    /// The programs of the cluster that run, with their process ids.
    pub fn processes(&self) -> Vec<(&str, u32)> {
        let processes = [Some(&self.etcd), self.api_server.as_ref(), self.controllers.as_ref(), self.istiod.as_ref()];
        processes.into_iter().flatten().map(|process| (process.name.as_str(), process.pid())).collect()
    }
}

/// The administrator's kubeconfig with the token of a service account in it.
pub(super) async fn service_account_kubeconfig(
    client: &Client,
    administrator: &Path,
    folder: &Path,
    namespace: &str,
    name: &str,
) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..Default::default() };
    let request = TokenRequest { spec, ..Default::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("no token for the service account {namespace}/{name}"))?;
    let token = answer.status.context("the token request has no status")?.token;
    let mut document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(administrator)?)?;
    document["users"][0]["user"]["token"] = token.into();
    let path = folder.join(format!("kubeconfig-{namespace}-{name}"));
    std::fs::write(&path, format!("{document:#}\n"))?;
    Ok(path)
}

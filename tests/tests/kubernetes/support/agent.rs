//! The agent's program, in a pod of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;
use cofide_core::Profile;
use cofide_testkit::lab::{Cluster, Host, Lab, Process};
use cofide_testkit::plane::Zone;

use super::chart::{Installed, NAMESPACE};
use super::program;

/// One agent of a cluster.
pub(crate) struct Agent {
    process: Option<Process>,
    environment: BTreeMap<String, String>,
    /// Lines of the log.
    forgiven: usize,
    pub(crate) host: Host,
}

impl Agent {
    /// An agent that is not started yet, with the environment that the chart gives it and the rights of its service account.
    pub(crate) async fn create(lab: &Lab, cluster: &Cluster, zone: &Zone, profile: Profile, chart: &Installed, pod: &str) -> Result<Self> {
        let host = lab.host(&format!("{}-{pod}", cluster.name()))?;
        let bootstrap = host.folder.join("bootstrap.yaml");
        write_secret(&bootstrap, &chart.bootstrap)?;
        let mut environment = chart.environment.clone();
        let path = |path: &Path| path.display().to_string();
        // What a pod has by its volumes.
        let mounted = [
            ("COFIDE_AGENT_BOOTSTRAP_FILE", path(&bootstrap)),
            ("COFIDE_AGENT_DATA_DIR", path(&host.folder.join("data"))),
            ("COFIDE_AGENT_SPIRE_SERVER_SOCKET", path(&zone.admin_socket())),
            ("KUBECONFIG", path(&cluster.service_account_kubeconfig(NAMESPACE, "cofide-agent").await?)),
            ("PATH", std::env::var("PATH")?),
            ("POD_NAME", pod.to_owned()),
            ("POD_NAMESPACE", NAMESPACE.to_owned()),
            ("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", path(&zone.workload_api_socket()))),
        ];
        environment.extend(mounted.map(|(name, value)| (name.to_owned(), value)));
        if profile == Profile::Kubernetes {
            // There is no Service between a client and the gateway that would change the port.
            environment.insert("COFIDE_AGENT_GATEWAY_LISTEN_ADDRESS".into(), "0.0.0.0:443".into());
        }
        Ok(Self { process: None, environment, forgiven: 0, host })
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let mut command = self.host.command(program("cofide-agent"));
        command.arg("run").env_clear().envs(&self.environment);
        self.process = Some(self.host.start("agent", command)?);
        Ok(())
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Where it serves xDS and DNS, as the Services of the chart do.
    pub(crate) fn xds(&self) -> SocketAddr {
        (self.host.address, 18001).into()
    }

    pub(crate) fn dns(&self) -> SocketAddr {
        (self.host.address, 10053).into()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.host.folder.join("agent.log")).unwrap_or_default()
    }

    /// What the API server has refused it, since [`Self::forgive`].
    pub(crate) fn refusals(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().skip(self.forgiven);
        lines.filter(|line| line.to_lowercase().contains("forbidden")).map(str::to_owned).collect()
    }

    /// After a test in which it had to be refused something.
    pub(crate) fn forgive(&mut self) {
        self.forgiven = self.log().lines().count();
    }
}

fn write_secret(path: &Path, content: &str) -> Result<()> {
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_bytes())?)
}

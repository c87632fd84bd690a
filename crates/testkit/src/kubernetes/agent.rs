//! The agent's program, in a pod of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cofide_connect_client::Bootstrap;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::chart::{Installed, NAMESPACE};
use super::program;
use crate::lab::{Cluster, Host, Lab, Process};
use crate::plane::Zone;

/// One agent of a cluster.
pub struct Agent {
    process: Option<Process>,
    environment: BTreeMap<String, String>,
    /// Lines of the log.
    forgiven: usize,
    pub host: Host,
}

impl Agent {
    /// An agent that is not started yet, with the environment that the chart gives it and the rights of its service account.
    pub async fn create(lab: &Lab, cluster: &Cluster, zone: &Zone, chart: &Installed, pod: &str) -> Result<Self> {
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
        Ok(Self { process: None, environment, forgiven: 0, host })
    }

    pub fn start(&mut self) -> Result<()> {
        let mut command = self.host.command(program("cofide-agent")?);
        command.arg("run").env_clear().envs(&self.environment);
        self.process = Some(self.host.start("agent", command)?);
        Ok(())
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Asks it to end, as a kubelet does, and waits until it has.
    pub async fn terminate(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.terminate().await,
            None => Ok(()),
        }
    }

    /// What its readiness probe would find.
    pub async fn is_ready(&self) -> bool {
        let answer = async {
            let port = self.environment["COFIDE_AGENT_ADMIN_ADDRESS"].parse::<SocketAddr>()?.port();
            let mut stream = TcpStream::connect((self.host.address, port)).await?;
            stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer.starts_with("HTTP/1.1 200"))
        };
        answer.await.unwrap_or(false)
    }

    /// What it is told beside the chart, from its next start on.
    pub fn set(&mut self, variable: &str, value: Option<&str>) {
        match value {
            Some(value) => drop(self.environment.insert(variable.to_owned(), value.to_owned())),
            None => drop(self.environment.remove(variable)),
        }
    }

    pub fn replace_bootstrap(&self, bootstrap: &Bootstrap) -> Result<()> {
        let path = self.host.folder.join("bootstrap.yaml");
        std::fs::remove_file(&path)?;
        Ok(bootstrap.write(&path)?)
    }

    /// Lets it take this for the time: so many seconds ahead of ours.
    pub fn set_clock_off(&mut self, seconds: i64) -> Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kubernetes/clock.c");
        let library = self.host.folder.join("clock.so");
        let compiled = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output();
        let compiled = compiled.context("cannot run the C compiler cc, without which nothing here can be built")?;
        ensure!(compiled.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&compiled.stderr));
        self.set("LD_PRELOAD", Some(&library.display().to_string()));
        self.set("CLOCK_OFFSET", Some(&seconds.to_string()));
        Ok(())
    }

    /// The time that it gives to the last line of its log, in seconds since 1970.
    pub fn seconds_of_its_log(&self) -> Result<i64> {
        let log = self.log();
        let times = log.lines().rev().filter_map(|line| line.split_whitespace().next()?.parse::<Timestamp>().ok());
        times.map(Timestamp::as_second).next().context("no line of its log begins with a time")
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Where it serves xDS and DNS, as the Services of the chart do.
    pub fn xds(&self) -> SocketAddr {
        (self.host.address, 18001).into()
    }

    pub fn dns(&self) -> SocketAddr {
        (self.host.address, 10053).into()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.host.folder.join("agent.log")).unwrap_or_default()
    }

    /// What the API server has refused it, since [`Self::forgive`].
    pub fn refusals(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().skip(self.forgiven);
        lines.filter(|line| line.to_lowercase().contains("forbidden")).map(str::to_owned).collect()
    }

    /// After a test in which it had to be refused something.
    pub fn forgive(&mut self) {
        self.forgiven = self.log().lines().count();
    }
}

fn write_secret(path: &Path, content: &str) -> Result<()> {
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_bytes())?)
}

//! The client of the ping-pong example, in a pod.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cofide_agent::bootstrap::EnvoyBootstrap;
use cofide_agent::role::Role;
use serde_json::Value;

use super::{Site, program};
use crate::envoy::Envoy;
use crate::lab::{Host, IstioProxy, Lab, Proxy};
use crate::resolver;

/// A pod from which calls are made.
pub struct Client {
    pub proxy: Option<Envoy>,
    place: Place,
    dns: SocketAddr,
    xds: SocketAddr,
    workload_api: PathBuf,
}

#[expect(clippy::large_enum_variant, reason = "there is a handful of them in a whole run")]
enum Place {
    Host(Host),
    Sidecar(IstioProxy),
}

impl Client {
    /// A pod with an Envoy that takes its listeners from the agent.
    pub async fn behind_envoy(lab: &Lab, site: &Site) -> Result<Self> {
        let host = lab.host("client")?;
        let bootstrap = EnvoyBootstrap {
            role: Role::Client,
            node_id: None,
            xds_address: site.agent().xds().into(),
            workload_api_socket: site.workload_api.clone(),
            admin_address: Some((host.address, 15000).into()),
            ready_address: None,
        };
        let envoy = Envoy::start_with("client", &bootstrap.to_json(), &host.wrapper()).await?;
        Ok(Self { proxy: Some(envoy), ..Self::at(site, Place::Host(host), site.agent().dns()) })
    }

    /// A pod with nothing but the application.
    pub fn alone(lab: &Lab, site: &Site) -> Result<Self> {
        Ok(Self::at(site, Place::Host(lab.host("client")?), site.agent().dns()))
    }

    /// A pod with a sidecar of Istio's.
    pub async fn behind_sidecar(site: &Site, namespace: &str) -> Result<Self> {
        Self::behind_sidecar_of(site, namespace, &site.workload_api).await
    }

    /// The same, with a sidecar whose certificates come from here; the application has its own.
    pub async fn behind_sidecar_of(site: &Site, namespace: &str, sds: &Path) -> Result<Self> {
        let mut proxy = Proxy::new(namespace, "client", sds).label("app", "client");
        // As in a mesh whose sidecars answer DNS: only they tell services on one port apart, by the addresses that they answer.
        proxy.metadata.insert("DNS_CAPTURE".into(), "true".into());
        let sidecar = site.cluster.istio_sidecar(&proxy).await?;
        // In place of Istio's agent, which would answer.
        let names = site.mesh_names().context("no mesh")?;
        Ok(Self::at(site, Place::Sidecar(sidecar), names))
    }

    fn at(site: &Site, place: Place, dns: SocketAddr) -> Self {
        Self { proxy: None, place, dns, xds: site.agent().xds(), workload_api: site.workload_api.clone() }
    }

    /// What its application is told when it asks for a name.
    pub async fn resolve(&self, hostname: &str) -> Vec<Ipv4Addr> {
        resolver::ask(self.dns, hostname).await
    }

    pub fn host(&self) -> &Host {
        match &self.place {
            Place::Host(host) => host,
            Place::Sidecar(sidecar) => &sidecar.host,
        }
    }

    pub fn sidecar(&self) -> Option<&IstioProxy> {
        match &self.place {
            Place::Host(_) => None,
            Place::Sidecar(sidecar) => Some(sidecar),
        }
    }

    /// A ping by name, with TLS of the application's own, to a server of this trust domain. Gives the answer.
    pub async fn ping_mtls(&self, site: &Site, server: &str, expected: &str) -> Result<String> {
        self.ping(site, server, &["--mode", "mtls", "--expect", expected], true).await
    }

    /// A ping by name in plain text.
    pub async fn ping_plain(&self, site: &Site, server: &str) -> Result<String> {
        self.ping(site, server, &["--mode", "plain"], true).await
    }

    /// A ping to where the agent's xDS says that the server is.
    pub async fn ping_by_xds(&self, site: &Site, hostname: &str, expected: &str) -> Result<String> {
        let xds = self.xds.to_string();
        self.ping(site, hostname, &["--mode", "mtls", "--expect", expected, "--xds-server", &xds], false).await
    }

    async fn ping(&self, site: &Site, server: &str, arguments: &[&str], by_name: bool) -> Result<String> {
        let mut command = tokio::process::Command::from(self.host().command(program("ping-pong-client")?));
        command.args(["--connect", server, "--json", "--timeout", "4000"]).args(arguments);
        command.arg("--workload-api").arg(format!("unix:{}", self.workload_api.display()));
        if by_name {
            if self.sidecar().is_some() {
                site.learn_mesh_names().await?;
            }
            command.arg("--dns-server").arg(self.dns.to_string());
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let first: Value = serde_json::from_str(said.lines().next().unwrap_or_default())
            .with_context(|| format!("the client said {said:?} {}", String::from_utf8_lossy(&output.stderr).trim()))?;
        match first["result"].as_str() {
            Some("pong") => Ok(first["reply"].as_str().unwrap_or_default().to_owned()),
            _ => bail!("{}: {}", first["reason"].as_str().unwrap_or_default(), first["message"].as_str().unwrap_or_default()),
        }
    }
}

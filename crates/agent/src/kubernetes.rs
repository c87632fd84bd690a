//! The way to the API server of the agent's own cluster, and who the agent is there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use uuid::Uuid;

use crate::config::KubernetesSettings;
use crate::leader::Leadership;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where neither the configuration nor the service account says it: outside of a pod.
const USUAL_NAMESPACE: &str = "cofide";

/// What the parts of the agent that work on a cluster have in common.
#[derive(Clone)]
pub struct KubernetesCluster {
    pub client: Client,
    /// The agent's namespace, in which its Lease, its ConfigMap and the objects of imported services are.
    pub namespace: String,
    /// This agent among those of the cluster; it lasts no longer than the process.
    pub instance: String,
    /// Whether this agent is the one that writes.
    pub leadership: Leadership,
    /// Whether gateways and clients are Istio's.
    pub is_istio: bool,
}

impl KubernetesCluster {
    /// Reads how the API server is reached; whether it answers is not asked.
    ///
    /// # Errors
    ///
    /// When there is no such description, or it cannot be used.
    pub async fn open(settings: &KubernetesSettings) -> Result<Self> {
        let mut config = match &settings.kubeconfig {
            Some(path) => from_file(path, settings.context.as_deref()).await.with_context(|| format!("kubeconfig: {}", path.display()))?,
            None => Config::incluster().context("not in a pod with a service account; name a file as kubeconfig")?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let is_in_pod = settings.kubeconfig.is_none();
        let namespace = settings
            .namespace
            .clone()
            .unwrap_or_else(|| if is_in_pod { config.default_namespace.clone() } else { USUAL_NAMESPACE.to_owned() });
        let name = settings.pod_name.clone().or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        let client = Client::try_from(config).context("cannot make a client for the API server")?;
        Ok(Self {
            client,
            namespace,
            instance: format!("{}_{}", name.as_deref().map_or("cofide-agent", str::trim), Uuid::new_v4()),
            leadership: Leadership::candidate(),
            is_istio: settings.is_istio,
        })
    }
}

async fn from_file(path: &Path, context: Option<&str>) -> Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?)
}

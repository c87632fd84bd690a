//! spire-controller-manager of a cluster: real, beside a SPIRE server that is a process of this machine.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::Cluster;
use super::parts::install;
use super::process::Process;

/// What of its configuration a test chooses.
#[derive(Clone, Debug)]
pub struct SpireControllerManager {
    pub trust_domain: String,
    /// The API socket of the SPIRE server.
    pub server_socket: PathBuf,
    /// Empty for none; then it takes objects of every class.
    pub class_name: String,
    /// With one, it knows only the entries that it has made: their ids begin with it.
    pub entry_id_prefix: String,
}

impl Cluster {
    /// Installs the kinds of spire-controller-manager, and waits until they are served.
    pub async fn install_spire_kinds(&self) -> Result<()> {
        let definitions = install("spire-controller-manager").await?.join("crds.yaml");
        self.apply_yaml(&std::fs::read_to_string(definitions)?).await?;
        self.wait_until_established().await
    }

    /// Starts spire-controller-manager, as an administrator of the cluster. Its webhooks, which judge objects before they are
    /// kept, want a certificate that the API server knows: they stay off.
    pub async fn start_spire_controller_manager(&self, settings: &SpireControllerManager) -> Result<Process> {
        let program = install("spire-controller-manager").await?.join("spire-controller-manager");
        let configuration = json!({
            "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": "ControllerManagerConfig",
            "trustDomain": settings.trust_domain,
            "clusterName": self.name(),
            "clusterDomain": "cluster.local",
            "spireServerSocketPath": settings.server_socket,
            "className": settings.class_name,
            "entryIDPrefix": settings.entry_id_prefix,
            "metrics": { "bindAddress": "0" },
            "health": { "healthProbeBindAddress": "0" },
            "leaderElection": { "leaderElect": false },
        });
        let file = self.host.folder.join("spire-controller-manager.yaml");
        std::fs::write(&file, configuration.to_string())?;
        let mut command = self.host.command(program);
        command.arg("--config").arg(file).env("KUBECONFIG", self.kubeconfig()).env("ENABLE_WEBHOOKS", "false");
        self.host.start("spire-controller-manager", command)
    }
}

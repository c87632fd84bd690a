//! A cluster with a trust zone of its own: what an agent and its clients find around them, from the product's own programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Cluster, ISTIO_NAMESPACE, IstioProxy, Kubelet, Lab, Mesh, Process, Proxy};
use crate::envoy;

/// The folder of a node in which the chart of the agent looks for the SPIRE server's socket.
const SERVER_SOCKETS: &str = "/run/spire/server-sockets";
/// What the pods of charts and examples run, beside Envoy.
const IN_PODS: [&str; 3] = ["cofide-agent", "ping-pong-client", "ping-pong-server"];

/// A cluster and its SPIFFE server, which knows the agent by its program, and of other workloads what it is told.
#[derive(Debug)]
pub struct TrustZone {
    pub gateways: Vec<IstioProxy>,
    pub cluster: Cluster,
    _server: Process,
}

impl Lab {
    /// A cluster of this trust domain; with Istio, also both of its gateways. `programs` is the folder of the product's.
    pub async fn trust_zone(&self, name: &str, trust_domain: &str, has_istio: bool, programs: &Path) -> Result<TrustZone> {
        let mut cluster = self.cluster(name).await?;
        let mut sds = json!({});
        if has_istio {
            cluster = cluster.with_istiod(&Mesh::new(trust_domain)).await?;
            sds = json!({ "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" });
        }
        // Before there is an identity for them they cannot be ready, and are not waited for.
        let mut gateways = Vec::new();
        for kind in ["ingressgateway", "eastwestgateway"].into_iter().filter(|_| has_istio) {
            let proxy = Proxy::new(ISTIO_NAMESPACE, &format!("istio-{kind}"), sds_socket(&cluster.host.folder)).label("istio", kind);
            let gateway = cluster.istio_gateway(&proxy).await?;
            cluster.expose_gateway(&gateway, &[("tls", 15443), ("https", 443)]).await?;
            gateways.push(gateway);
        }
        let server = spiffe_server(&cluster, trust_domain, &sds, programs)?;
        Ok(TrustZone { gateways, cluster, _server: server })
    }
}

impl TrustZone {
    pub fn kubelet(&self, programs: &Path) -> Result<Kubelet> {
        self.cluster.kubelet()?.of_trust_zone(&self.cluster.host.folder, programs)
    }
}

impl Kubelet {
    /// With the programs in this folder, and the sockets of the trust zone whose cluster has its files in `cluster`.
    pub fn of_trust_zone(self, cluster: &Path, programs: &Path) -> Result<Self> {
        let mut known = BTreeMap::from([("envoy".to_owned(), envoy::binary()?)]);
        for name in IN_PODS {
            known.insert(name.to_owned(), program(programs, name)?);
        }
        let host_paths = BTreeMap::from([(SERVER_SOCKETS.to_owned(), server_sockets(cluster))]);
        Ok(Self { programs: known, workload_api: workload_api(cluster), host_paths, ..self })
    }
}

fn spiffe_server(cluster: &Cluster, trust_domain: &str, sds: &Value, programs: &Path) -> Result<Process> {
    let folder = &cluster.host.folder;
    std::fs::create_dir_all(workload_api(folder))?;
    std::fs::create_dir_all(server_sockets(folder))?;
    let config = json!({
        "trust_domain": trust_domain,
        "data_dir": folder.join("trust-zone-server"),
        "workload_api_socket": sds_socket(folder),
        "admin_socket": server_sockets(folder).join("api.sock"),
        "sds": sds,
        "entries": [{
            "spiffe_id_path": "/ns/cofide/sa/cofide-agent",
            "selectors": [format!("unix:path:{}", program(programs, "cofide-agent")?.display())],
        }],
    });
    let file = folder.join("trust-zone-server.yaml");
    std::fs::write(&file, format!("{config:#}\n"))?;
    let mut command = cluster.host.command(program(programs, "trust-zone-server")?);
    command.arg("run").arg("--config").arg(file);
    cluster.host.start("trust-zone-server", command)
}

fn workload_api(cluster: &Path) -> PathBuf {
    cluster.join("workload-api")
}

/// By the name that SPIRE's CSI driver gives it.
fn sds_socket(cluster: &Path) -> PathBuf {
    workload_api(cluster).join("spire-agent.sock")
}

fn server_sockets(cluster: &Path) -> PathBuf {
    cluster.join("server-sockets")
}

fn program(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is missing; run: cargo build --workspace --bins", path.display());
    Ok(path.canonicalize()?)
}

/// One kubeconfig with a context for each cluster; that of the first is the current one.
pub fn merged_kubeconfig<'a>(clusters: impl IntoIterator<Item = &'a Cluster>) -> Result<String> {
    let mut merged = json!({ "apiVersion": "v1", "kind": "Config" });
    for cluster in clusters {
        let text = std::fs::read_to_string(cluster.kubeconfig())?;
        let mut one: Value = serde_json::from_str(&text).context("the lab writes kubeconfigs as JSON")?;
        // The user of each has the same name, and another token.
        one["users"][0]["name"] = cluster.name().into();
        one["contexts"][0]["context"]["user"] = cluster.name().into();
        for key in ["clusters", "users", "contexts"] {
            let mut of_all = merged[key].as_array().cloned().unwrap_or_default();
            of_all.extend(one[key].as_array().into_iter().flatten().cloned());
            merged[key] = of_all.into();
        }
        if merged["current-context"].is_null() {
            merged["current-context"] = cluster.name().into();
        }
    }
    Ok(format!("{merged:#}\n"))
}

//! The chart of the agent, as somebody installs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use cofide_connect_client::Bootstrap;
use cofide_core::Profile;
use cofide_svid::bundle::to_jwks;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::lab::{Cluster, install};

/// Where the chart is made to be installed.
pub(super) const NAMESPACE: &str = "cofide";
const NAME: &str = "cofide-agent";
/// What the chart calls all that belongs to the gateway.
pub(crate) const GATEWAY: &str = "cofide-agent-gateway";

/// What the chart says about a pod of the agent, and about its rights.
pub struct Installed {
    /// The environment of the container.
    pub environment: BTreeMap<String, String>,
    /// The file that the Secret is mounted as.
    pub bootstrap: String,
    /// The file that the gateway's Envoy starts with, where the chart has one.
    pub gateway_bootstrap: Option<String>,
}

/// Renders the chart with the values that `cofidectl agent helm-values` would print, and applies every object of it.
pub(super) async fn install_into(cluster: &Cluster, profile: Profile, bootstrap: &Bootstrap) -> Result<Installed> {
    let values = json!({
        "agent": { "env": {
            "AGENT_PROFILE": profile.as_str(),
            "AGENT_TOKEN": bootstrap.agent_token.expose(),
            "CLUSTER_ID": bootstrap.cluster_id.as_str(),
            "COFIDE_AGENT_CLUSTER_NAME": bootstrap.cluster_name.as_str(),
            "COFIDE_CONNECT_URL": bootstrap.connect_url.to_string(),
            "TRUST_DOMAIN": bootstrap.trust_domain.as_str(),
            "TRUST_ZONE_ID": bootstrap.trust_zone_id.as_str(),
        } },
        "bootstrap": { "connect": {
            "spiffeID": bootstrap.connect.spiffe_id.to_string(),
            "bundle": to_jwks(&bootstrap.connect.bundle),
        } },
        "spire": { "mode": "socket" },
        "gateway": { "enabled": profile == Profile::Kubernetes },
    });
    let rendered = template(&cluster.host.folder, &values).await?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered)?;
    let objects: Vec<_> = objects.into_iter().filter(|object| !object.is_null()).collect();
    cluster.create_namespace(NAMESPACE).await?;
    for object in &objects {
        cluster.apply(object).await?;
    }
    cluster.wait_until_established().await?;

    let find = |kind: &str, name: &str| {
        let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.with_context(|| format!("the chart has no {kind} {name}"))
    };
    let mut environment = texts(&find("ConfigMap", NAME)?["data"]);
    let container = &find("Deployment", NAME)?["spec"]["template"]["spec"]["containers"][0];
    for variable in container["env"].as_array().context("no environment")? {
        // The others are about the pod, which is not one.
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    let secret = find("Secret", "cofide-agent-bootstrap")?["stringData"]["bootstrap.yaml"].as_str().context("no file")?;
    let gateway = find("ConfigMap", GATEWAY).ok();
    let gateway_bootstrap = gateway.and_then(|map| map["data"]["bootstrap.yaml"].as_str()).map(str::to_owned);
    Ok(Installed { environment, bootstrap: secret.to_owned(), gateway_bootstrap })
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

async fn template(folder: &Path, values: &Value) -> Result<String> {
    let file = folder.join("values.json");
    std::fs::write(&file, values.to_string())?;
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts").join(NAME);
    let mut helm = Command::new(install("helm").await?.join("helm"));
    helm.args(["template", NAME, "--include-crds", "--namespace", NAMESPACE, "--values"]).arg(file).arg(chart);
    let output = helm.env_clear().env("HOME", folder).stdin(Stdio::null()).output().await.context("cannot run helm")?;
    ensure!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

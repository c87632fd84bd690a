//! Who wrote what: the audit log of an API server.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Cluster;

/// Below the folder of the cluster's host.
pub(super) const LOG: &str = "audit.log";

/// Each request that writes, when it was answered, without its content.
pub(super) fn policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"] },
            { "level": "None" },
        ],
    })
}

/// A request that writes, and was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Such as `system:serviceaccount:cofide:cofide-agent`.
    pub user: String,
    pub verb: String,
    /// With its subresource after a slash.
    pub resource: String,
    pub namespace: String,
    /// Empty where the API server made it up.
    pub name: String,
    /// Of HTTP.
    pub status: u64,
}

impl Write {
    fn new(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let resource = match object["subresource"].as_str() {
            Some(subresource) => format!("{}/{subresource}", text(&object["resource"])),
            None => text(&object["resource"]),
        };
        Self {
            user: text(&event["user"]["username"]),
            verb: text(&event["verb"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            status: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        }
    }
}

impl Cluster {
    /// Every write that the API server has answered since the cluster began, whatever the answer was, in order. A write is in
    /// here before its answer is with whoever made it.
    pub fn writes(&self) -> Result<Vec<Write>> {
        read(&self.host.folder.join(LOG))
    }
}

fn read(path: &Path) -> Result<Vec<Write>> {
    let log = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The last line may be under way.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().map(|line| Ok(Write::new(&serde_json::from_str(line)?)));
    lines.collect::<Result<_>>().with_context(|| format!("{} is no audit log", path.display()))
}

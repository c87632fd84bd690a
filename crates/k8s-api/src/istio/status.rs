//! What Istio says about its objects.

use serde::Deserialize;

/// The status that all of Istio's kinds share, as far as it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioStatus {
    pub conditions: Vec<IstioCondition>,
}

/// As a Kubernetes condition, without anything that must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

impl IstioStatus {
    /// The word for a type of condition: `True`, `False` or `Unknown`.
    pub fn condition(&self, kind: &str) -> Option<&str> {
        self.conditions.iter().find(|condition| condition.kind == kind).map(|condition| condition.status.as_str())
    }

    /// Whether a workload with a health check is known to be ill. One without a check has no such condition.
    pub fn is_unhealthy(&self) -> bool {
        self.condition("Healthy") == Some("False")
    }
}

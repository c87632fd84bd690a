//! <https://github.com/spiffe/spire-controller-manager/blob/v0.6.3/docs/clusterspiffeid-crd.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSPIFFEIDSpec {
    /// The class of controllers that act on it; empty for those that take objects without a class.
    pub class_name: String,
    /// The whole SPIFFE ID as a Go template over pod and node.
    #[serde(rename = "spiffeIDTemplate")]
    pub spiffe_id_template: String,
    pub dns_name_templates: Vec<String>,
    /// Further selectors beside the pod's UID, as `type:value` in Go templates.
    pub workload_selector_templates: Vec<String>,
    /// Names of trust domains.
    pub federates_with: Vec<String>,
    /// One without any requirement selects everything.
    pub namespace_selector: LabelSelector,
    pub pod_selector: LabelSelector,
    /// Goes to the workload with its SVIDs.
    pub hint: String,
    /// May use SPIRE's own administrative APIs.
    pub admin: bool,
    /// Is a SPIRE server below this one.
    pub downstream: bool,
    /// DNS names of the pod's Services.
    #[serde(rename = "autoPopulateDNSNames")]
    pub auto_populate_dns_names: bool,
    /// Only for pods that no other ClusterSPIFFEID selects.
    pub fallback: bool,
}

/// As in the Kubernetes API. The API server takes it as a whole: it has one writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelSelectorRequirement {
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterSPIFFEIDStatus {
    pub stats: ClusterSPIFFEIDStats,
}

/// What the last run of the controller came to. It says nothing about which version of the object it was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSPIFFEIDStats {
    pub pods_selected: u64,
    /// Pods for which the templates made no valid entry.
    pub pod_entry_render_failures: u64,
    /// Entries that another object asks for too, which is older.
    pub entries_masked: u64,
    pub entries_to_set: u64,
    /// Entries that the SPIRE server did not take.
    pub entry_failures: u64,
}

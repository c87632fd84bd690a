//! Who gets an identity, and which foreign bundles come with it.
//!
//! A policy describes workloads; a binding applies it in a trust zone and names the zones whose bundles those workloads
//! receive. Without such a name a workload holds its own zone's bundle only, whatever federations exist.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AttestationPolicyBindingId, AttestationPolicyId, Name, OrganizationId, Timestamp, TrustZoneId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationPolicy {
    pub id: AttestationPolicyId,
    pub organization_id: OrganizationId,
    /// Unique.
    pub name: Name,
    /// Newer clients attach a policy to a zone and its federations directly; kept as given, bindings decide.
    pub trust_zone_id: Option<TrustZoneId>,
    pub federations: Vec<TrustZoneId>,
    pub kind: PolicyKind,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    Kubernetes(KubernetesPolicy),
    Static(StaticPolicy),
    TpmNode(TpmNodePolicy),
}

impl PolicyKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Static(_) => "static",
            Self::TpmNode(_) => "tpm-node",
        }
    }
}

/// Pods by label, with SPIFFE IDs from a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesPolicy {
    pub namespace_selector: Option<LabelSelector>,
    pub pod_selector: Option<LabelSelector>,
    pub dns_name_templates: Vec<String>,
    pub spiffe_id_path_template: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSelector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<MatchExpression>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchExpression {
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    pub values: Vec<String>,
}

/// One identity for whatever carries all of the selectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPolicy {
    /// Absolute path of the SPIFFE ID within the binding's trust domain, beginning with a slash.
    pub spiffe_id_path: String,
    /// Absolute path of the parent (an agent or node), beginning with a slash.
    pub parent_id_path: String,
    /// Never empty.
    pub selectors: Vec<Selector>,
    pub dns_names: Vec<String>,
    pub store_svid: bool,
}

/// A SPIRE selector: the type and the rest, as in `unix` and `uid:1000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl std::str::FromStr for Selector {
    type Err = String;
    /// Reads `type:value`, where the value may hold further colons.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => Ok(Self { kind: kind.into(), value: value.into() }),
            _ => Err(format!("selector {text:?} is not of the form type:value, as in unix:uid:1000")),
        }
    }
}

/// A node with a TPM, by its endorsement key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TpmNodePolicy {
    /// SHA-256 of the endorsement key, lower-case hexadecimal.
    pub ek_hash: Option<String>,
    pub selector_values: Vec<String>,
}

/// Applies a policy in a trust zone. At most one binding per (policy, zone).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationPolicyBinding {
    pub id: AttestationPolicyBindingId,
    pub organization_id: OrganizationId,
    pub trust_zone_id: TrustZoneId,
    pub policy_id: AttestationPolicyId,
    /// The zones whose bundles the workloads receive, in the order given, without duplicates. Each had a federation
    /// from `trust_zone_id` when it was named.
    pub federates_with: Vec<TrustZoneId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

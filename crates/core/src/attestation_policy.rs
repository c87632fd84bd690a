//! Who gets an identity: which workloads, and which SPIFFE ID.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AttestationPolicyId, Name, OrganizationId, Timestamp, TrustZoneId, closest};

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

/// A selector that no workload attestor of SPIRE ever yields, so that its policy would match nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("{kind} selectors have no key {key:?}; {}", remedy(.meant.as_deref(), .kind))]
    Key { kind: String, key: String, meant: Option<String> },
    #[error("{kind}:{key} needs a value, as in {example}")]
    NoValue { kind: String, key: String, example: String },
    #[error("{kind}:{key} takes a number, not {value:?}; {kind}:{by_name} takes a name")]
    NoNumber { kind: String, key: String, value: String, by_name: &'static str },
}

fn remedy(meant: Option<&str>, kind: &str) -> String {
    match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("use one of {}", Selector::keys(kind).unwrap_or_default().join(", ")),
    }
}

impl Selector {
    /// The keys of SPIRE's workload attestor of this type; `None` for a type that is not known here, of which there are
    /// many: attestors are plugins.
    fn keys(kind: &str) -> Option<&'static [&'static str]> {
        match kind {
            "unix" => Some(&["uid", "user", "gid", "group", "supplementary_gid", "supplementary_group", "path", "sha256"]),
            "k8s" => Some(&[
                "ns",
                "sa",
                "container-name",
                "container-image",
                "node-name",
                "pod-label",
                "pod-name",
                "pod-uid",
                "pod-owner",
                "pod-owner-uid",
                "pod-image",
                "pod-image-count",
                "pod-init-image",
                "pod-init-image-count",
                "image-signature",
                "image-signature-subject",
                "image-signature-issuer",
                "image-signature-value",
                "image-signature-log-id",
                "image-signature-log-index",
                "image-signature-integrated-time",
                "image-signature-signed-entry-timestamp",
                "image-attestations",
                "sigstore-validation",
            ]),
            _ => None,
        }
    }

    /// Whether a workload could ever carry this selector, as far as the type is known.
    ///
    /// # Errors
    ///
    /// A key that the type does not have, with the one that was probably meant; a key without a value; a name where a
    /// number belongs.
    pub fn check(&self) -> Result<(), SelectorError> {
        let Some(keys) = Self::keys(&self.kind) else { return Ok(()) };
        let kind = || self.kind.clone();
        let (key, value) = self.value.split_once(':').unwrap_or((&self.value, ""));
        if !keys.contains(&key) {
            let meant = closest(key, keys.iter().copied());
            let meant = meant.map(|known| format!("{}:{known}{}", self.kind, self.value.strip_prefix(key).unwrap_or_default()));
            return Err(SelectorError::Key { kind: kind(), key: key.to_owned(), meant });
        }
        if value.is_empty() {
            let example = match key {
                "uid" | "gid" | "supplementary_gid" => format!("{}:{key}:1000", self.kind),
                "pod-label" => "k8s:pod-label:app:server".to_owned(),
                _ => format!("{}:{key}:<{key}>", self.kind),
            };
            return Err(SelectorError::NoValue { kind: kind(), key: key.to_owned(), example });
        }
        let by_name = match (self.kind.as_str(), key) {
            ("unix", "uid") => "user",
            ("unix", "gid") => "group",
            ("unix", "supplementary_gid") => "supplementary_group",
            _ => return Ok(()),
        };
        match value.parse::<u32>() {
            Ok(_) => Ok(()),
            Err(_) => Err(SelectorError::NoNumber { kind: kind(), key: key.to_owned(), value: value.to_owned(), by_name }),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        text.parse::<Selector>().unwrap().check().map_err(|error| error.to_string())
    }

    #[test]
    fn selectors_of_known_types_have_known_keys_and_those_of_others_are_taken_as_they_are() {
        for good in [
            "unix:uid:1000",
            "unix:path:/usr/bin/server",
            "unix:supplementary_group:www-data",
            "k8s:ns:demo",
            "k8s:pod-label:app:server",
            "k8s:container-image:registry.test/server@sha256:00",
            "docker:label:com.example:x",
            "systemd:id:nginx.service",
            "k8s_psat:cluster:one",
        ] {
            checked(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
    }

    #[test]
    fn a_selector_that_no_workload_can_carry_is_refused_with_what_was_meant() {
        for (bad, expected) in [
            ("unix:uuid:1000", "unix selectors have no key \"uuid\"; did you mean unix:uid:1000?"),
            ("unix:supplementary-gid:7", "unix selectors have no key \"supplementary-gid\"; did you mean unix:supplementary_gid:7?"),
            ("unix:1000", "unix selectors have no key \"1000\"; use one of uid, user, gid, group,"),
            ("k8s:namespce:demo", "k8s selectors have no key \"namespce\"; "),
            ("k8s:podlabel:app:server", "did you mean k8s:pod-label:app:server?"),
            ("unix:uid", "unix:uid needs a value, as in unix:uid:1000"),
            ("k8s:ns:", "k8s:ns needs a value, as in k8s:ns:<ns>"),
            ("unix:uid:alice", "unix:uid takes a number, not \"alice\"; unix:user takes a name"),
        ] {
            let error = checked(bad).expect_err(bad);
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}

//! <https://istio.io/latest/docs/reference/config/networking/service-entry/>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::known;
use crate::WorkloadEntrySpec;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    pub hosts: Vec<String>,
    /// Virtual addresses; none: Istio assigns one where the mesh has automatic addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    pub ports: Vec<ServicePort>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub location: Option<Location>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub resolution: Option<Resolution>,
    /// Excludes `workload_selector`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// Pods and WorkloadEntries of the same namespace that carry these labels are the endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<LabelSelector>,
    /// Namespaces that see the host: `.` for its own, `*` for all; none: as the mesh is configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
    /// What clients accept in a server's certificate; for SPIFFE IDs the whole `spiffe://` URI.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
}

/// A selector whose field is `labels`, where the newer kinds say `matchLabels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelSelector {
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    pub number: u32,
    /// `TLS`, `TCP`, `HTTP`, `HTTPS`, `GRPC` and others; empty: proxies look at what the client says first, and tell HTTP from
    /// everything else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Of each port of an entry its own; an endpoint's ports are named after it.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    MeshExternal,
    MeshInternal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// Where the client already connects to.
    None,
    /// Endpoints are IP addresses.
    Static,
    /// Endpoints are names, each of which is resolved.
    Dns,
    DnsRoundRobin,
}

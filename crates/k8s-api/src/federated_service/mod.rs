//! `registry.cofide.io/v1alpha1` FederatedService: the wish to export a service.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Field, Fields, Read, map};
use crate::{Condition, ObjectMeta, Problem};

pub use check::ServiceSpec;
pub(crate) use check::label_problem;

pub const API_VERSION: &str = "registry.cofide.io/v1alpha1";
pub const KIND: &str = "FederatedService";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FederatedService {
    pub metadata: ObjectMeta,
    pub spec: FederatedServiceSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<FederatedServiceStatus>,
}

/// What the owner writes. Every field has a default only so that a missing one can be reported beside the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FederatedServiceSpec {
    /// First label of the hostname.
    pub name: String,
    /// Second label of the hostname, and where the workload runs.
    pub namespace: String,
    pub exported_trust_domains: Vec<String>,
    /// Labels of the workloads behind the service.
    pub workload_labels: BTreeMap<String, String>,
    /// The port that the server listens on.
    pub port: i32,
    /// `Mtls` or `IstioMtls`.
    pub tls_mode: String,
    /// Paths of the SPIFFE IDs that the server presents; none: any ID of its trust domain.
    #[serde(rename = "spiffeIDPaths", skip_serializing_if = "Vec::is_empty")]
    pub spiffe_id_paths: Vec<String>,
    /// Where there are any, discovery is not asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewaySpec>,
}

/// A gateway, in the specification as in the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewaySpec {
    /// `istio-ingressgateway` or `istio-eastwestgateway`.
    #[serde(rename = "type")]
    pub kind: String,
    pub port: i32,
    /// Set, or else `ip` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Set, or else `hostname` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

impl From<&cofide_core::Gateway> for GatewaySpec {
    fn from(gateway: &cofide_core::Gateway) -> Self {
        Self {
            kind: gateway.kind.to_string(),
            port: gateway.port.get().into(),
            hostname: gateway.address.hostname().map(ToString::to_string),
            ip: gateway.address.ip().map(|ip| ip.to_string()),
        }
    }
}

/// What the agent writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FederatedServiceStatus {
    /// The gateways that were discovered and registered.
    pub gateway_entries: Vec<GatewaySpec>,
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

const SPEC_FIELDS: [&str; 8] =
    ["name", "namespace", "exportedTrustDomains", "workloadLabels", "port", "tlsMode", "spiffeIDPaths", "gateways"];

impl FederatedService {
    /// Reads an object of this kind; its status, which is ours to write, is not looked at.
    pub(crate) fn read(value: &Value) -> Read<Self> {
        let mut problems = Vec::new();
        // A name at the top is more likely the object's than the service's.
        let in_metadata = ["name", "namespace", "labels", "annotations"].map(|field| (field, "metadata"));
        let elsewhere: Vec<_> = in_metadata.into_iter().chain(SPEC_FIELDS.map(|field| (field, "spec"))).collect();
        let object = map(value, "", &mut problems, &elsewhere, |fields| {
            fields.ignore("apiVersion");
            fields.ignore("kind");
            let object = Self { metadata: fields.get("metadata"), spec: fields.get("spec"), status: None };
            fields.ignore("status");
            object
        });
        Read { object, problems }
    }
}

impl Field for FederatedServiceSpec {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        let in_gateways = ["type", "hostname", "ip"].map(|field| (field, "an entry of gateways"));
        map(value, path, problems, &in_gateways, |fields: &mut Fields<'_>| Self {
            name: fields.get("name"),
            namespace: fields.get("namespace"),
            exported_trust_domains: fields.get("exportedTrustDomains"),
            workload_labels: fields.get("workloadLabels"),
            port: fields.require("port", "write the port that the server listens on, from 1 to 65535"),
            tls_mode: fields.get("tlsMode"),
            spiffe_id_paths: fields.get("spiffeIDPaths"),
            gateways: fields.get("gateways"),
        })
    }
}

impl Field for GatewaySpec {
    fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Self {
        map(value, path, problems, &[], |fields| Self {
            kind: fields.get("type"),
            port: fields.require("port", "write the port that the gateway listens on, from 1 to 65535"),
            hostname: fields.get("hostname"),
            ip: fields.get("ip"),
        })
    }
}

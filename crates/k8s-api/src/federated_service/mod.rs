//! `registry.cofide.io/v1alpha1` FederatedService: the wish to export a service.

mod check;
pub mod crd;
mod object;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Field, Fields, Read, map};
use crate::{Condition, ObjectMeta, Problem};

pub use check::ServiceSpec;
pub(crate) use check::label_problem;
pub use object::{FederatedServiceObject, UncheckedSpec, UncheckedStatus};

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

/// What is to be exported, to whom, and how clients reach it.
// Every field has a default only so that a missing one can be reported beside the others; what is required is said to
// the schema apart from that. Doc comments of the fields are what `kubectl explain` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name", "namespace", "exportedTrustDomains", "workloadLabels", "port", "tlsMode"]))]
pub struct FederatedServiceSpec {
    /// Name of the service and first label of the hostname that remote clients connect to, which is
    /// name.namespace.trustDomain with the trust domain of the cluster. Independent of metadata.name. The whole hostname
    /// has at most 253 characters.
    #[schemars(length(min = 1, max = schema::MAX_LABEL), extend("x-kubernetes-validations" = schema::dns_label()))]
    pub name: String,
    /// Namespace of the workloads, and second label of the hostname. It is the object's own namespace unless the agent is
    /// configured to allow others.
    #[schemars(length(min = 1, max = schema::MAX_LABEL), extend("x-kubernetes-validations" = schema::dns_label()))]
    pub namespace: String,
    /// Remote trust domains whose workloads may use the service. With each of them a federation must exist, in both
    /// directions. The cluster's own trust domain is not listed.
    #[schemars(length(min = 1, max = cofide_core::MAX_EXPORTED_TRUST_DOMAINS), extend("x-kubernetes-list-type" = "set", "items" = schema::trust_domain()))]
    pub exported_trust_domains: Vec<String>,
    /// Labels of the pods behind the service. A Kubernetes Service that selects them must exist in the namespace.
    #[schemars(extend("minProperties" = 1, "maxProperties" = cofide_core::MAX_WORKLOAD_LABELS, "additionalProperties" = schema::label_value()))]
    pub workload_labels: BTreeMap<String, String>,
    /// Port that the server listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// How mutual TLS is handled; there is no default. Mtls: the application terminates TLS with its own SVID, and gateways
    /// and sidecars pass it through. IstioMtls: the server's sidecar terminates TLS, and the application sees plain text.
    #[schemars(extend("enum" = schema::tls_modes()))]
    pub tls_mode: String,
    /// Paths of the SPIFFE IDs that the server presents, as in /ns/demo/sa/server; the leading slash may be left out.
    /// Clients accept these and no others. Where none is given, they accept any SPIFFE ID of the server's trust domain.
    #[serde(rename = "spiffeIDPaths", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = cofide_core::MAX_SPIFFE_ID_PATHS), extend("x-kubernetes-list-type" = "atomic", "items" = schema::spiffe_id_path()))]
    pub spiffe_id_paths: Vec<String>,
    /// Gateways through which remote clients enter the cluster. Where any is given, they replace the discovered ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = cofide_core::MAX_GATEWAYS), extend("x-kubernetes-list-type" = "atomic"))]
    pub gateways: Vec<GatewaySpec>,
}

/// A gateway through which remote clients enter the cluster: a type, a port, and either a hostname or an ip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["type", "port"], "x-kubernetes-validations" = schema::one_address()))]
pub struct GatewaySpec {
    /// Kind of the gateway. Clients without a mesh enter by istio-ingressgateway, clients in an Istio mesh by
    /// istio-eastwestgateway.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = schema::gateway_types()))]
    pub kind: String,
    /// Port that the gateway listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// DNS name of the gateway. Excludes ip.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = schema::MAX_HOSTNAME), extend("x-kubernetes-validations" = schema::hostname()))]
    pub hostname: Option<String>,
    /// IPv4 or IPv6 address of the gateway. Excludes hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = schema::MAX_IP), extend("x-kubernetes-validations" = schema::ip()))]
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

/// What the agent found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FederatedServiceStatus {
    /// Name by which remote clients connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub hostname: Option<String>,
    /// The gateways in a few words: the first one's address and port, and how many there are besides.
    // A printer column shows one value and cannot count, so it needs this one made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub gateway_summary: Option<String>,
    /// The gateways by which remote clients enter, as Connect is told: those of spec.gateways where it has any, else those
    /// that were discovered.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub gateway_entries: Vec<GatewaySpec>,
    /// Whether the service was accepted, has gateways and backends, and is registered; Ready sums them up.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The metadata.generation that the status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 0))]
    pub observed_generation: Option<i64>,
}

impl FederatedServiceStatus {
    /// The body of a JSON merge patch (RFC 7386) for the status subresource; what is not set is taken away.
    ///
    /// Not for server-side apply: a definition that is older than the agent lacks two of the fields. The API server drops
    /// those from a merge patch, and refuses an apply that has them.
    pub fn merge_patch(&self) -> Value {
        let mut status = serde_json::json!(self);
        for optional in ["hostname", "gatewaySummary", "observedGeneration"] {
            if status.get(optional).is_none() {
                status[optional] = Value::Null;
            }
        }
        serde_json::json!({ "status": status })
    }

    /// What is left of the status where the definition is an older one. Such a cluster shows itself in the answer to the
    /// first patch, which lacks the hostname.
    pub fn for_older_definition(self) -> Self {
        Self { hostname: None, gateway_summary: None, ..self }
    }
}

/// The text of `status.gatewaySummary`; nothing where there is no gateway.
pub fn gateway_summary(gateways: &[GatewaySpec]) -> Option<String> {
    let (first, others) = gateways.split_first()?;
    let address = match (&first.hostname, &first.ip) {
        (Some(hostname), _) => hostname.clone(),
        (None, Some(ip)) if ip.contains(':') => format!("[{ip}]"),
        (None, ip) => ip.clone().unwrap_or_default(),
    };
    let more = if others.is_empty() { String::new() } else { format!(" (+{})", others.len()) };
    Some(format!("{address}:{}{more}", first.port))
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

//! The Istio kinds that we read and write, with the fields that we need of them.
//!
//! ```text
//!  cluster that exports   ServiceEntry, PeerAuthentication, Gateway, VirtualService, AuthorizationPolicy, DestinationRule
//!  cluster that imports   ServiceEntry, WorkloadEntry, DestinationRule, VirtualService, EnvoyFilter
//! ```
//!
//! A field that is not here is read over, and left to whoever owns it: with server-side apply an object consists of what
//! each writer says. To learn whether an object is as it should be, compare its JSON and not these types, which do not see
//! what somebody added inside of a list: [`crate::is_applied`].
//!
//! Field names, values and their meaning are those of the Istio API, version 1.31 (`networking.istio.io/v1`,
//! `security.istio.io/v1`; an EnvoyFilter is still
//! `v1alpha3`).

mod authorization_policy;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod peer_authentication;
mod service_entry;
mod status;
#[cfg(test)]
mod tests;
mod virtual_service;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::kinds::kinds;
use crate::workload_entry::WorkloadEntrySpec;

pub use authorization_policy::{Action, AuthorizationPolicySpec, AuthorizationRule, Condition, From, Operation, Source, To};
pub use destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, DestinationRuleSpec, OutlierDetection, PortSelector, PortTrafficPolicy, Subset, TcpKeepalive,
    TcpSettings, TrafficPolicy,
};
pub use envoy_filter::{ApplyTo, ClusterMatch, ConfigPatch, EnvoyFilterSpec, ObjectMatch, Operation as PatchOperation, Patch};
pub use gateway::{GatewaySpec, Server, ServerTls, ServerTlsMode};
pub use peer_authentication::{MutualTls, MutualTlsMode, PeerAuthenticationSpec};
pub use service_entry::{LabelSelector, Location, Resolution, ServiceEntrySpec, ServicePort};
pub use status::{IstioCondition, IstioStatus};
pub use virtual_service::{Destination, HttpRoute, RouteDestination, TcpRoute, TlsMatch, TlsRoute, VirtualServiceSpec};

kinds! {
    scope ::kube_core::NamespaceResourceScope;

    /// Admits callers to workloads.
    AuthorizationPolicy: "security.istio.io" "v1" "authorizationpolicies" AuthorizationPolicySpec, IstioStatus;
    /// How proxies connect to a host.
    DestinationRule: "networking.istio.io" "v1" "destinationrules" DestinationRuleSpec, IstioStatus;
    /// What Istio's own kinds cannot say, in Envoy's words.
    EnvoyFilter: "networking.istio.io" "v1alpha3" "envoyfilters" EnvoyFilterSpec, IstioStatus;
    /// What a gateway's proxies listen for.
    Gateway: "networking.istio.io" "v1" "gateways" GatewaySpec, IstioStatus;
    /// Whether proxies demand mutual TLS.
    PeerAuthentication: "security.istio.io" "v1" "peerauthentications" PeerAuthenticationSpec, IstioStatus;
    /// A host that the mesh knows although Kubernetes does not.
    ServiceEntry: "networking.istio.io" "v1" "serviceentries" ServiceEntrySpec, IstioStatus;
    /// Where requests to a host go.
    VirtualService: "networking.istio.io" "v1" "virtualservices" VirtualServiceSpec, IstioStatus;
    /// An address behind a host, as in [`crate::WorkloadEntry`] of a file.
    WorkloadEntry: "networking.istio.io" "v1" "workloadentries" WorkloadEntrySpec, IstioStatus;
}

/// Labels that choose workloads of the object's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    pub match_labels: std::collections::BTreeMap<String, String>,
}

/// A port of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub number: u32,
    /// `TLS`, `TCP`, `HTTPS` and others.
    pub protocol: String,
    pub name: String,
}

/// Reads a word of a fixed set; one that a newer Istio added is as good as none, and no reason to read nothing at all.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

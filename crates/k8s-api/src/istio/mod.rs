//! The Istio kinds that we read and write, with the fields that we need of them.
//!
//! ```text
//!  cluster that exports   ServiceEntry, PeerAuthentication, Gateway, VirtualService, AuthorizationPolicy, DestinationRule
//!  cluster that imports   ServiceEntry, WorkloadEntry, DestinationRule, VirtualService, EnvoyFilter
//! ```
//!
//! A field that is not here is read over, and left to whoever owns it: with server-side apply an object consists of what
//! each writer says. To learn whether an object is as it should be, compare its JSON and not these types, which do not see
//! what somebody added inside of a list: [`is_applied`].
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

use kube_core::ApiResource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

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

/// Makes an object of a kind, with the API server's metadata around our specification.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $group:literal $version:literal $plural:literal $spec:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, ::serde::Deserialize)]
        // An object may have no specification, and Istio takes that for an empty one.
        #[serde(default)]
        pub struct $kind {
            pub metadata: ::kube_core::ObjectMeta,
            pub spec: $spec,
            /// Istio's, and never written.
            pub status: Option<IstioStatus>,
        }

        impl $kind {
            pub fn new(metadata: ::kube_core::ObjectMeta, spec: $spec) -> Self {
                Self { metadata, spec, status: None }
            }
        }

        impl ::serde::Serialize for $kind {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeStruct;
                let mut object = serializer.serialize_struct(stringify!($kind), 4)?;
                object.serialize_field("apiVersion", concat!($group, "/", $version))?;
                object.serialize_field("kind", stringify!($kind))?;
                object.serialize_field("metadata", &self.metadata)?;
                object.serialize_field("spec", &self.spec)?;
                object.end()
            }
        }

        impl ::kube_core::Resource for $kind {
            type DynamicType = ();
            type Scope = ::kube_core::NamespaceResourceScope;

            fn kind(_: &()) -> ::std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group(_: &()) -> ::std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> ::std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> ::std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &::kube_core::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ::kube_core::ObjectMeta {
                &mut self.metadata
            }
        }
    )*

        /// All kinds, for probing which of them a cluster has and for watching them alike. The definition of each is
        /// named `{plural}.{group}`.
        pub fn kinds() -> Vec<ApiResource> {
            vec![$(ApiResource::erase::<$kind>(&())),*]
        }
    };
}

kinds! {
    /// Admits callers to workloads.
    AuthorizationPolicy: "security.istio.io" "v1" "authorizationpolicies" AuthorizationPolicySpec;
    /// How proxies connect to a host.
    DestinationRule: "networking.istio.io" "v1" "destinationrules" DestinationRuleSpec;
    /// What Istio's own kinds cannot say, in Envoy's words.
    EnvoyFilter: "networking.istio.io" "v1alpha3" "envoyfilters" EnvoyFilterSpec;
    /// What a gateway's proxies listen for.
    Gateway: "networking.istio.io" "v1" "gateways" GatewaySpec;
    /// Whether proxies demand mutual TLS.
    PeerAuthentication: "security.istio.io" "v1" "peerauthentications" PeerAuthenticationSpec;
    /// A host that the mesh knows although Kubernetes does not.
    ServiceEntry: "networking.istio.io" "v1" "serviceentries" ServiceEntrySpec;
    /// Where requests to a host go.
    VirtualService: "networking.istio.io" "v1" "virtualservices" VirtualServiceSpec;
    /// An address behind a host, as in [`crate::WorkloadEntry`] of a file.
    WorkloadEntry: "networking.istio.io" "v1" "workloadentries" WorkloadEntrySpec;
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

/// Whether an object holds all that was applied: every field has the same value, and lists are the same altogether.
/// Fields beside them belong to others.
///
/// Both are JSON of a `spec` (or of labels, or owner references); lists of Istio's kinds have one owner, apart from
/// a ServiceEntry's ports, to which somebody else can add.
pub fn is_applied(live: &Value, applied: &Value) -> bool {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            applied.iter().all(|(field, applied)| live.get(field).is_some_and(|live| is_applied(live, applied)))
        }
        (live, applied) => live == applied,
    }
}

/// Reads a word of a fixed set; one that a newer Istio added is as good as none, and no reason to read nothing at all.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

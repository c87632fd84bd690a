//! xDS resources for Envoy and for xDS SDKs.
//!
//! ```text
//!  GatewayPlan ──> gateway   one listener, one filter chain per exported hostname, chosen by SNI
//!                            <hostname>_backends            where the workload listens
//!
//!  imports ──────> client    a listener per import on its own loopback address
//!                            <hostname>_cluster             SPIFFE mTLS by Envoy, for clients that speak plain text
//!                            <hostname>_passthrough_cluster the client's own TLS, untouched
//!             ├──> sidecar   the same clusters behind one listener that takes redirected connections, and DNS
//!             └──> sdk       the same clusters without listeners, and endpoints for all of them
//! ```
//!
//! Four rules keep live connections alive. Equal input renders to equal bytes, whatever its order. An import has clusters
//! and a listener of its own. The gateway's listener differs from one version to the next in its filter chains only,
//! which Envoy then changes in place: a chain that is the same keeps its connections, a chain that is gone or
//! different loses them after the drain time (see [`crate::bootstrap`]). And endpoints travel apart from their cluster
//! (EDS), so that a gateway that comes or goes replaces no cluster.
//!
//! A gateway with a host name is the exception to the last rule. Envoy refuses names in EDS, so such a cluster is of type
//! STRICT_DNS and holds its endpoints: Envoy resolves the name, follows its TTL, uses all addresses, and keeps the last
//! good ones while resolution fails. SDKs dial names themselves and get them by EDS.

mod access_log;
mod client;
mod cluster;
mod gateway;
mod listener;
mod names;
mod sdk;
mod sidecar;
mod tls;
mod wire;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use cofide_xds::Resource;

pub use client::client;
pub use gateway::gateway;
pub use names::{backends_cluster, cluster, hostname_of_listener, listener, passthrough_cluster};
pub use sdk::sdk;
pub use sidecar::{SidecarSettings, sidecar_clusters, sidecar_listeners};
pub use tls::TrustBundles;

/// Type URL and resource, as [`Cache::replace_all`](cofide_xds::Cache::replace_all) takes them.
pub type Rendered = Vec<(String, Resource)>;

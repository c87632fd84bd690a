//! The names of resources. A hostname holds no `_`, so no two of them can meet.

use cofide_core::Hostname;

/// The cluster of an import in which Envoy speaks mTLS for its client; also the name of the import's endpoints, the one
/// that xDS SDKs ask for.
pub fn cluster(hostname: &Hostname) -> String {
    format!("{hostname}_cluster")
}

/// The cluster of an import in which the client's own TLS is passed through.
pub fn passthrough_cluster(hostname: &Hostname) -> String {
    format!("{hostname}_passthrough_cluster")
}

/// The cluster of the workload behind an exported hostname.
pub fn backends_cluster(hostname: &Hostname) -> String {
    format!("{hostname}_backends")
}

const LISTENER_SUFFIX: &str = "_listener";

/// The listener of an import.
pub fn listener(hostname: &Hostname) -> String {
    format!("{hostname}{LISTENER_SUFFIX}")
}

/// The hostname of the import whose listener has this name; `None` where it is no import's.
pub fn hostname_of_listener(name: &str) -> Option<&str> {
    name.strip_suffix(LISTENER_SUFFIX)
}

pub(super) const GATEWAY_LISTENER: &str = "gateway";
pub(super) const OUTBOUND_LISTENER: &str = "outbound";
pub(super) const DNS_UDP_LISTENER: &str = "dns_udp";
pub(super) const DNS_TCP_LISTENER: &str = "dns_tcp";
pub(super) const ORIGINAL_DESTINATION_CLUSTER: &str = "original_destination";
pub(super) const DNS_CLUSTER: &str = "dns";

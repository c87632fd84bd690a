//! Clusters, and the endpoints that belong to them.

use std::collections::BTreeSet;
use std::time::Duration;

use cofide_core::{GatewayAddress, Port};
use cofide_xds::envoy::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy,
};
use cofide_xds::envoy::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions, circuit_breakers,
};
use cofide_xds::envoy::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, RoutingPriority, TransportSocket, config_source::ConfigSourceSpecifier,
};
use cofide_xds::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use cofide_xds::envoy::envoy::r#type::v3::Percent;

use super::wire;

/// For a TCP connection and the TLS handshake on it. Three round trips fit in it on any path.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a gateway that refused several connections in a row is passed over at first; it grows with each time.
const BASE_EJECTION: Duration = Duration::from_secs(5);
const MAX_EJECTION: Duration = Duration::from_secs(30);

/// Where a cluster's connections go.
pub(super) struct Endpoints {
    /// The name of the endpoints as a resource of their own; several clusters may share them.
    name: String,
    /// Sorted, so that equal sets are equal lists; each once, for the gateway of two clusters is still one gateway.
    addresses: BTreeSet<(GatewayAddress, Port)>,
}

impl Endpoints {
    pub(super) fn new(name: String, addresses: impl IntoIterator<Item = (GatewayAddress, Port)>) -> Self {
        Self { name, addresses: addresses.into_iter().collect() }
    }

    /// Whether Envoy has to resolve a name, which rules out EDS.
    fn need_dns(&self) -> bool {
        self.addresses.iter().any(|(address, _)| address.hostname().is_some())
    }

    /// The endpoints as Envoy asks for them, where it does.
    pub(super) fn for_envoy(&self) -> Option<ClusterLoadAssignment> {
        (!self.need_dns()).then(|| self.load_assignment())
    }

    /// All endpoints in one locality, names among them.
    pub(super) fn load_assignment(&self) -> ClusterLoadAssignment {
        let lb_endpoints = self.addresses.iter().map(|(host, port)| {
            let endpoint = Endpoint { address: Some(wire::endpoint_address(host, *port)), ..Default::default() };
            LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
        });
        let lb_endpoints: Vec<_> = lb_endpoints.collect();
        // No locality at all rather than an empty one: clients then see that there is nothing.
        let endpoints = if lb_endpoints.is_empty() { vec![] } else { vec![LocalityLbEndpoints { lb_endpoints, ..Default::default() }] };
        ClusterLoadAssignment { cluster_name: self.name.clone(), endpoints, ..Default::default() }
    }
}

/// A cluster of raw TCP connections, over the given transport.
pub(super) fn cluster(name: String, endpoints: &Endpoints, transport_socket: Option<TransportSocket>) -> Cluster {
    let common = Cluster {
        name,
        connect_timeout: wire::duration(CONNECT_TIMEOUT),
        transport_socket,
        outlier_detection: Some(outlier_detection()),
        circuit_breakers: Some(no_connection_limit()),
        upstream_connection_options: Some(UpstreamConnectionOptions { tcp_keepalive: wire::tcp_keepalive(), ..Default::default() }),
        // As long as one gateway is healthy, the others are left alone; when none is, all are tried.
        common_lb_config: Some(CommonLbConfig { healthy_panic_threshold: Some(Percent { value: 1.0 }), ..Default::default() }),
        ..Default::default()
    };
    if endpoints.need_dns() {
        #[expect(deprecated, reason = "the cluster extension that replaces the field is unknown to the older Envoys of sidecars")]
        Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into())),
            load_assignment: Some(endpoints.load_assignment()),
            respect_dns_ttl: true,
            // Many hosts have IPv6 addresses on paper only.
            dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
            ..common
        }
    } else {
        Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), service_name: endpoints.name.clone() }),
            ..common
        }
    }
}

/// A cluster that connects to wherever the client meant to connect before it was redirected.
pub(super) fn original_destination(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
        lb_policy: LbPolicy::ClusterProvided.into(),
        connect_timeout: wire::duration(CONNECT_TIMEOUT),
        circuit_breakers: Some(no_connection_limit()),
        ..Default::default()
    }
}

/// From the stream over which everything else comes.
fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

/// Passes over a gateway to which three connections in a row could not be opened: refused, timed out, or no TLS handshake.
/// It does so for this service alone, for the same gateway may serve the next one well.
///
/// Nothing else is judged: what happens inside an open connection is between client and server.
fn outlier_detection() -> OutlierDetection {
    OutlierDetection {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: wire::number(3),
        enforcing_consecutive_local_origin_failure: wire::number(100),
        enforcing_local_origin_success_rate: wire::number(0),
        enforcing_consecutive_5xx: wire::number(0),
        enforcing_consecutive_gateway_failure: wire::number(0),
        enforcing_success_rate: wire::number(0),
        interval: wire::duration(Duration::from_secs(1)),
        base_ejection_time: wire::duration(BASE_EJECTION),
        max_ejection_time: wire::duration(MAX_EJECTION),
        max_ejection_percent: wire::number(100),
        ..Default::default()
    }
}

/// Envoy's default of 1024 connections per cluster protects HTTP backends; here each client connection is one upstream
/// connection, and the limit belongs to the whole proxy.
pub(super) fn no_connection_limit() -> CircuitBreakers {
    let thresholds = circuit_breakers::Thresholds {
        priority: RoutingPriority::Default.into(),
        max_connections: wire::number(u32::MAX),
        max_pending_requests: wire::number(u32::MAX),
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}

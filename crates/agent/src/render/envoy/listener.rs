//! Listeners, filter chains and filters.

use std::time::Duration;

use cofide_xds::Any;
use cofide_xds::envoy::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, ListenerFilter, filter, listener_filter};
use cofide_xds::envoy::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use cofide_xds::envoy::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use cofide_xds::envoy::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier};
use cofide_xds::envoy::google::protobuf::BoolValue;

use super::access_log::access_log;
use super::wire;

/// How long Envoy looks for the start of a TLS handshake before it takes the client for one that speaks plain text and
/// waits for the server to speak first.
///
/// It delays each new connection of such protocols (SMTP, MySQL). If it were shorter, a client that is slow to begin its
/// handshake would have TLS put around its TLS; clients are on the same host, so this is ample.
pub(super) const SERVER_FIRST_WAIT: Duration = Duration::from_millis(250);

/// How often a new connection is tried before the client's is closed; each try is with the next gateway.
const CONNECT_ATTEMPTS: u32 = 3;

/// Makes the port this Envoy's alone. By default Envoys share ports (SO_REUSEPORT), so a second one of the same user, of
/// another trust zone even, would silently be given some of the connections; now it is refused the port and says so.
pub(super) fn alone() -> Option<BoolValue> {
    wire::boolean(false)
}

pub(super) fn tls_inspector() -> ListenerFilter {
    listener_filter("envoy.filters.listener.tls_inspector", wire::typed(&TlsInspector::default()))
}

/// Finds out where a redirected connection was meant to go.
pub(super) fn original_destination() -> ListenerFilter {
    listener_filter("envoy.filters.listener.original_dst", wire::typed(&OriginalDst::default()))
}

fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter { name: name.into(), config_type: Some(listener_filter::ConfigType::TypedConfig(config)), ..Default::default() }
}

/// A chain that passes bytes between the client and a cluster.
///
/// No idle timeout: a database connection may be silent for a night, and keepalive finds the dead ones on both sides.
pub(super) fn proxy_chain(name: String, matching: Option<FilterChainMatch>, cluster: String) -> FilterChain {
    let proxy = TcpProxy {
        stat_prefix: name.clone(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        idle_timeout: wire::duration(Duration::ZERO),
        max_connect_attempts: wire::number(CONNECT_ATTEMPTS),
        access_log: vec![access_log()],
        ..Default::default()
    };
    let filter =
        Filter { name: "envoy.filters.network.tcp_proxy".into(), config_type: Some(filter::ConfigType::TypedConfig(wire::typed(&proxy))) };
    FilterChain { name, filter_chain_match: matching, filters: vec![filter], ..Default::default() }
}

/// A chain without filters: Envoy closes the connection.
pub(super) fn refusing_chain(name: String, matching: FilterChainMatch) -> FilterChain {
    FilterChain { name, filter_chain_match: Some(matching), ..Default::default() }
}

pub(super) const TLS: &str = "tls";

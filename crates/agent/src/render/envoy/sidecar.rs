//! The sidecar that shares a pod with its client: it finds TCP connections to loopback, and DNS, redirected to two ports.
//!
//! The redirects catch everything that the pod's processes send to 127.0.0.0/8 over TCP, which is not all ours: what was
//! not meant for an import is connected to where it was meant to go.
//!
//! # DNS
//!
//! The DNS listeners hand queries to the agent's resolver, over UDP and TCP. Envoy has a DNS filter of its own, which could
//! answer imported names from a table without the agent, but it answers NXDOMAIN for the AAAA record of a name that has
//! an A record only, so a client that asks for both may conclude that the name does not exist (RFC 8020 lets resolvers
//! apply NXDOMAIN to every type); it compares names by case; and it answers any other type of query, also of names that
//! are not ours, with NOTIMP. The price is that a pod's DNS needs the agent. It is paid back by health checks: while the
//! agent does not answer, queries go to the fallback resolvers, and only imported names are unknown.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use cofide_xds::envoy::envoy::config::cluster::v3::{
    Cluster,
    cluster::{ClusterDiscoveryType, DiscoveryType},
};
use cofide_xds::envoy::envoy::config::core::v3::{CidrRange, HealthCheck, TrafficDirection, health_check};
use cofide_xds::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use cofide_xds::envoy::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener, ListenerFilter, listener_filter};
use cofide_xds::envoy::envoy::extensions::filters::udp::udp_proxy::v3::{Route, UdpProxyConfig, udp_proxy_config::RouteSpecifier};
use cofide_xds::envoy::xds::core::v3::TypedExtensionConfig;
use cofide_xds::envoy::xds::r#type::matcher::v3::{
    Matcher,
    matcher::{OnMatch, on_match},
};

use super::names::{DNS_CLUSTER, DNS_TCP_LISTENER, DNS_UDP_LISTENER, ORIGINAL_DESTINATION_CLUSTER, OUTBOUND_LISTENER};
use super::{Rendered, TrustBundles, client, cluster, listener, names, wire};
use crate::addresses::LoopbackPool;
use crate::desired::DesiredImport;

/// Where the pod's redirects lead TCP connections to loopback.
const OUTBOUND_PORT: u16 = 10000;
/// Where they lead DNS, UDP and TCP.
const DNS_PORT: u16 = 15053;

/// What a sidecar has to know beside the imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarSettings {
    /// The loopback addresses that are the imports', assigned or not.
    pub pool: LoopbackPool,
    /// The agent's resolver, as sidecars reach it.
    pub resolver: SocketAddr,
    /// Resolvers that stand in for the agent's while it does not answer; they know no imports.
    pub fallback_resolvers: BTreeSet<SocketAddr>,
}

/// Of the resources of a sidecar, those that follow from single imports.
pub fn sidecar_clusters(imports: &[DesiredImport], bundles: TrustBundles) -> Rendered {
    let mut rendered = Rendered::new();
    for DesiredImport { import, .. } in imports {
        client::clusters(&mut rendered, import, bundles);
    }
    rendered
}

/// Of the resources of a sidecar, those that there are once.
pub fn sidecar_listeners(imports: &[DesiredImport], settings: &SidecarSettings) -> Rendered {
    let mut rendered = Rendered::new();
    for cluster in [cluster::original_destination(ORIGINAL_DESTINATION_CLUSTER), dns_cluster(settings)] {
        wire::push(&mut rendered, cluster.name.clone(), &cluster);
    }
    for listener in [outbound_listener(imports, settings.pool), dns_udp_listener(), dns_tcp_listener()] {
        wire::push(&mut rendered, listener.name.clone(), &listener);
    }
    rendered
}

/// One listener for all imports, which a connection's original destination tells apart.
///
/// Envoy chooses the chain by port first, then by the longest prefix, and does not turn back; a connection that finds none
/// takes the default.
fn outbound_listener(imports: &[DesiredImport], pool: LoopbackPool) -> Listener {
    let mut filter_chains = Vec::new();
    let mut ports = BTreeSet::new();
    for DesiredImport { import, address } in imports {
        let Some(address) = *address else { continue };
        let port = import.port.get();
        ports.insert(port);
        let plain = FilterChainMatch {
            destination_port: wire::number(port.into()),
            prefix_ranges: vec![prefix(address, 32)],
            ..Default::default()
        };
        let tls = FilterChainMatch { transport_protocol: listener::TLS.into(), ..plain.clone() };
        for (cluster, matching) in [(names::passthrough_cluster(&import.hostname), tls), (names::cluster(&import.hostname), plain)] {
            filter_chains.push(listener::proxy_chain(cluster.clone(), Some(matching), cluster));
        }
    }
    filter_chains.extend(refusals(&ports, pool));
    Listener {
        name: OUTBOUND_LISTENER.into(),
        address: Some(wire::tcp_address(IpAddr::V4(Ipv4Addr::LOCALHOST), OUTBOUND_PORT)),
        // As in the gateway, nothing but the filter chains may depend on the imports.
        listener_filters: vec![listener::original_destination(), listener::tls_inspector()],
        listener_filters_timeout: wire::duration(listener::SERVER_FIRST_WAIT),
        continue_on_listener_filters_timeout: true,
        filter_chains,
        default_filter_chain: Some(listener::proxy_chain(ORIGINAL_DESTINATION_CLUSTER.into(), None, ORIGINAL_DESTINATION_CLUSTER.into())),
        traffic_direction: TrafficDirection::Outbound.into(),
        ..Default::default()
    }
}

/// What must not be connected to where it was meant to go: addresses of the pool at ports that are not the import's, where a
/// process of the pod that listens on all addresses would answer in the import's name; and this listener itself, which
/// would connect to itself for ever.
fn refusals(ports: &BTreeSet<u16>, pool: LoopbackPool) -> impl Iterator<Item = FilterChain> {
    let in_pool = FilterChainMatch { prefix_ranges: vec![prefix(pool.network(), pool.prefix_length())], ..Default::default() };
    let other_ports = listener::refusing_chain("refuse_pool".into(), in_pool.clone());
    let known_ports = ports.iter().map(move |&port| {
        let matching = FilterChainMatch { destination_port: wire::number(port.into()), ..in_pool.clone() };
        listener::refusing_chain(format!("refuse_pool_{port}"), matching)
    });
    let itself = FilterChainMatch {
        destination_port: wire::number(OUTBOUND_PORT.into()),
        prefix_ranges: vec![prefix(Ipv4Addr::LOCALHOST, 32)],
        ..Default::default()
    };
    std::iter::once(other_ports).chain(known_ports.collect::<Vec<_>>()).chain([listener::refusing_chain("refuse_itself".into(), itself)])
}

fn prefix(address: Ipv4Addr, length: u8) -> CidrRange {
    CidrRange { address_prefix: address.to_string(), prefix_len: wire::number(length.into()) }
}

fn dns_cluster(settings: &SidecarSettings) -> Cluster {
    let priority = |priority, resolvers: Vec<SocketAddr>| LocalityLbEndpoints {
        priority,
        lb_endpoints: resolvers.into_iter().map(resolver_endpoint).collect(),
        ..Default::default()
    };
    let fallback: Vec<_> = settings.fallback_resolvers.iter().copied().filter(|&resolver| resolver != settings.resolver).collect();
    let mut cluster = Cluster {
        name: DNS_CLUSTER.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        connect_timeout: wire::duration(Duration::from_secs(1)),
        circuit_breakers: Some(cluster::no_connection_limit()),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: DNS_CLUSTER.into(),
            endpoints: vec![priority(0, vec![settings.resolver])],
            ..Default::default()
        }),
        ..Default::default()
    };
    if !fallback.is_empty() {
        cluster.health_checks = vec![resolver_health_check()];
        cluster.load_assignment.get_or_insert_default().endpoints.push(priority(1, fallback));
    }
    cluster
}

fn resolver_endpoint(resolver: SocketAddr) -> LbEndpoint {
    let endpoint = Endpoint { address: Some(wire::tcp_address(resolver.ip(), resolver.port())), ..Default::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}

/// A resolver that accepts TCP connections is taken to answer UDP as well.
fn resolver_health_check() -> HealthCheck {
    HealthCheck {
        timeout: wire::duration(Duration::from_secs(1)),
        interval: wire::duration(Duration::from_secs(2)),
        // Envoy does not count UDP as traffic, and checks a cluster without traffic once a minute.
        no_traffic_interval: wire::duration(Duration::from_secs(2)),
        unhealthy_threshold: wire::number(2),
        healthy_threshold: wire::number(1),
        health_checker: Some(health_check::HealthChecker::TcpHealthCheck(health_check::TcpHealthCheck::default())),
        ..Default::default()
    }
}

fn dns_udp_listener() -> Listener {
    let route = wire::typed(&Route { cluster: DNS_CLUSTER.into() });
    let action = on_match::OnMatch::Action(TypedExtensionConfig { name: "route".into(), typed_config: Some(route) });
    let always = OnMatch { on_match: Some(action), ..Default::default() };
    let proxy = UdpProxyConfig {
        stat_prefix: DNS_UDP_LISTENER.into(),
        // A client's socket is answered within seconds or never.
        idle_timeout: wire::duration(Duration::from_secs(10)),
        route_specifier: Some(RouteSpecifier::Matcher(Matcher { on_no_match: Some(Box::new(always)), ..Default::default() })),
        ..Default::default()
    };
    Listener {
        name: DNS_UDP_LISTENER.into(),
        address: Some(wire::udp_address(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT)),
        listener_filters: vec![ListenerFilter {
            name: "envoy.filters.udp_listener.udp_proxy".into(),
            config_type: Some(listener_filter::ConfigType::TypedConfig(wire::typed(&proxy))),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn dns_tcp_listener() -> Listener {
    Listener {
        name: DNS_TCP_LISTENER.into(),
        address: Some(wire::tcp_address(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT)),
        filter_chains: vec![listener::proxy_chain(DNS_TCP_LISTENER.into(), None, DNS_CLUSTER.into())],
        ..Default::default()
    }
}

//! The client side: each import on a loopback address of its own, at the port of the service.

use std::net::Ipv4Addr;

use cofide_core::ImportedService;
use cofide_xds::envoy::envoy::config::cluster::v3::Cluster;
use cofide_xds::envoy::envoy::config::core::v3::TrafficDirection;
use cofide_xds::envoy::envoy::config::listener::v3::{FilterChainMatch, Listener};

use super::cluster::{Endpoints, cluster};
use super::{Rendered, TrustBundles, listener, names, tls, wire};
use crate::desired::DesiredImport;

/// The resources of an Envoy that serves the clients on its host.
///
/// A client that begins with a TLS handshake does mTLS itself and is passed through; one that speaks plain text, or
/// waits for the server to speak, gets SPIFFE mTLS from Envoy. An import without an address has no listener.
pub fn client(imports: &[DesiredImport], bundles: TrustBundles) -> Rendered {
    let mut rendered = Rendered::new();
    for DesiredImport { import, address } in imports {
        clusters(&mut rendered, import, bundles);
        if let Some(address) = address {
            wire::push(&mut rendered, names::listener(&import.hostname), &import_listener(import, *address));
        }
    }
    rendered
}

/// The two clusters of an import, and the endpoints that they share where these are IP addresses.
pub(super) fn clusters(rendered: &mut Rendered, import: &ImportedService, bundles: TrustBundles) {
    let endpoints = endpoints(import);
    if let Some(assignment) = endpoints.for_envoy() {
        wire::push(rendered, assignment.cluster_name.clone(), &assignment);
    }
    for cluster in [originating_cluster(import, &endpoints, bundles), passthrough_cluster(import, &endpoints)] {
        wire::push(rendered, cluster.name.clone(), &cluster);
    }
}

pub(super) fn endpoints(import: &ImportedService) -> Endpoints {
    let gateways = import.gateways_for_envoy();
    Endpoints::new(names::cluster(&import.hostname), gateways.into_iter().map(|gateway| (gateway.address.clone(), gateway.port)))
}

/// SPIFFE mTLS by Envoy, pinned to the IDs that the server may have.
fn originating_cluster(import: &ImportedService, endpoints: &Endpoints, bundles: TrustBundles) -> Cluster {
    cluster(names::cluster(&import.hostname), endpoints, Some(tls::upstream(import, bundles)))
}

/// The client's own TLS, and the client's own server name: the hostname that it connects to.
fn passthrough_cluster(import: &ImportedService, endpoints: &Endpoints) -> Cluster {
    cluster(names::passthrough_cluster(&import.hostname), endpoints, None)
}

fn import_listener(import: &ImportedService, address: Ipv4Addr) -> Listener {
    let hostname = &import.hostname;
    let tls = FilterChainMatch { transport_protocol: listener::TLS.into(), ..Default::default() };
    Listener {
        name: names::listener(hostname),
        address: Some(wire::tcp_address(address.into(), import.port.get())),
        listener_filters: vec![listener::tls_inspector()],
        listener_filters_timeout: wire::duration(listener::SERVER_FIRST_WAIT),
        continue_on_listener_filters_timeout: true,
        filter_chains: vec![listener::proxy_chain(names::passthrough_cluster(hostname), Some(tls), names::passthrough_cluster(hostname))],
        default_filter_chain: Some(listener::proxy_chain(names::cluster(hostname), None, names::cluster(hostname))),
        traffic_direction: TrafficDirection::Outbound.into(),
        enable_reuse_port: listener::alone(),
        ..Default::default()
    }
}

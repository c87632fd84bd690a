//! The zone's ingress gateway: only exported hostnames are reachable, by the server name of the ClientHello.

use std::time::Duration;

use cofide_core::TlsMode;
use cofide_xds::envoy::envoy::config::core::v3::{Metadata, TrafficDirection};
use cofide_xds::envoy::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};
use cofide_xds::envoy::google::protobuf::{Struct, Value, value};

use super::cluster::{Endpoints, cluster};
use super::names::{GATEWAY_LISTENER, backends_cluster};
use super::tls::AcceptedIds;
use super::{Rendered, TrustBundles, listener, tls, wire};
use crate::desired::{GatewayPlan, GatewayRoute};

/// For the ClientHello, and again for the handshake where Envoy terminates TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The resources of a gateway Envoy. Without routes there is no listener, so nothing answers on its port.
///
/// A connection without a server name, or with one that no route has, finds no filter chain and is closed.
pub fn gateway(plan: &GatewayPlan, bundles: TrustBundles) -> Rendered {
    let mut rendered = Rendered::new();
    let mut filter_chains = Vec::new();
    for route in &plan.routes {
        let Some(chain) = filter_chain(route, bundles) else { continue };
        filter_chains.push(chain);
        let name = backends_cluster(&route.hostname);
        let backends = route.backends.iter().map(|backend| (backend.address.clone(), backend.port));
        let endpoints = Endpoints::new(name.clone(), backends);
        if let Some(assignment) = endpoints.for_envoy() {
            wire::push(&mut rendered, name.clone(), &assignment);
        }
        wire::push(&mut rendered, name.clone(), &cluster(name, &endpoints, None));
    }
    if !filter_chains.is_empty() {
        // Whatever is added here must not depend on the routes: a listener that differs in more than its filter chains
        // is replaced, and all connections with it.
        let listener = Listener {
            name: GATEWAY_LISTENER.into(),
            address: Some(wire::tcp_address(plan.listen.ip(), plan.listen.port())),
            listener_filters: vec![listener::tls_inspector()],
            listener_filters_timeout: wire::duration(HANDSHAKE_TIMEOUT),
            tcp_keepalive: wire::tcp_keepalive(),
            traffic_direction: TrafficDirection::Inbound.into(),
            enable_reuse_port: listener::alone(),
            filter_chains,
            ..Default::default()
        };
        wire::push(&mut rendered, GATEWAY_LISTENER.into(), &listener);
    }
    rendered
}

/// `None` where nobody may connect: then the hostname is as unknown as any other.
fn filter_chain(route: &GatewayRoute, bundles: TrustBundles) -> Option<FilterChain> {
    if route.admitted.is_empty() {
        return None;
    }
    let (transport_socket, metadata) = match route.mode {
        TlsMode::Mtls => (None, Some(admitted(route))),
        TlsMode::IstioMtls => (Some(tls::downstream(AcceptedIds::of_clients(&route.admitted)?, bundles)), None),
    };
    let matching =
        FilterChainMatch { server_names: route.server_names().into(), transport_protocol: listener::TLS.into(), ..Default::default() };
    Some(FilterChain {
        transport_socket_connect_timeout: transport_socket.as_ref().and_then(|_| wire::duration(HANDSHAKE_TIMEOUT)),
        transport_socket,
        metadata,
        ..listener::proxy_chain(route.hostname.to_string(), Some(matching), backends_cluster(&route.hostname))
    })
}

/// Makes whom the service is for part of the chain's identity where Envoy does not see who connects. Envoy compares
/// whole chains, so one that admits others than before is another chain, and the connections of the old one are drained:
/// a server looks at a certificate once, at the handshake, and nothing else would end what that has let in.
fn admitted(route: &GatewayRoute) -> Metadata {
    let names: Vec<_> = route.admitted.iter().map(ToString::to_string).collect();
    let value = Value { kind: Some(value::Kind::StringValue(names.join(","))) };
    // One key each: the order of a map would not be the same in each run.
    let fields = Struct { fields: [("admitted_trust_domains".to_owned(), value)].into() };
    Metadata { filter_metadata: [("cofide".to_owned(), fields)].into(), ..Default::default() }
}

//! What this host should look like: the one value that every renderer reads.
//!
//! ```text
//!  exports (local manifests) ──> GatewayRoute ──┐
//!  imports (Connect's plan) ────────────────────┼──> Desired ──> Envoy resources, DNS zone
//!  loopback addresses ──────────────────────────┘
//! ```
//!
//! [`desired`] is pure and does not depend on the order of its inputs, so equal worlds render to equal bytes and an
//! unchanged service is never pushed again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use cofide_core::{GatewayAddress, Hostname, ImportedService, Port, TlsMode, TrustDomain};

/// Everything that the renderers of one agent show to the proxies and resolvers beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub gateway: GatewayPlan,
    /// Sorted by hostname; each hostname once.
    pub imports: Vec<DesiredImport>,
    /// What the resolver answers. Imports without an address are not in it.
    pub dns: BTreeMap<Hostname, Ipv4Addr>,
}

/// The ingress gateway of this trust zone on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Where the gateway's only listener is bound.
    pub listen: SocketAddr,
    /// Sorted by hostname; each hostname once. Empty: the gateway does not listen at all.
    pub routes: Vec<GatewayRoute>,
}

/// One exported service as the gateway serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRoute {
    pub hostname: Hostname,
    /// The port that clients believe to connect to: part of the server name in Istio's form.
    pub port: Port,
    /// [`TlsMode::Mtls`]: TLS is passed through to the backends. [`TlsMode::IstioMtls`]: the gateway terminates it.
    pub mode: TlsMode,
    /// The trust domains whose workloads may connect, and no others. Enforced by the gateway where it terminates TLS;
    /// where it passes TLS through, the server decides, and its trust bundles are what bounds it. In both modes another set
    /// ends the connections that were made under the one before; those that are still admitted connect again.
    pub admitted: BTreeSet<TrustDomain>,
    /// Where the workload listens. Empty: connections are accepted by no one and closed.
    pub backends: BTreeSet<Backend>,
}

impl GatewayRoute {
    /// The server names in a ClientHello that lead here: the hostname, and the form in which Istio's clients ask an
    /// AUTO_PASSTHROUGH gateway for it.
    pub fn server_names(&self) -> [String; 2] {
        [self.hostname.to_string(), self.hostname.istio_server_name(self.port)]
    }
}

/// One place where a local workload listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    pub address: GatewayAddress,
    pub port: Port,
}

/// One remote service as local clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredImport {
    pub import: ImportedService,
    /// The loopback address that is this service's own. `None` where the pool had none left: then clients that need an
    /// address (Envoy's listeners, DNS) do without the service, and xDS SDKs still reach it.
    pub address: Option<Ipv4Addr>,
}

/// Puts the decisions together.
///
/// A hostname that occurs twice is taken once, the first wins: a second one would make Envoy refuse the whole listener, and
/// with it the services of everybody else. (Which of two exports is right is decided, and its owner told, before.)
pub fn desired(
    gateway_listen: SocketAddr,
    routes: impl IntoIterator<Item = GatewayRoute>,
    imports: impl IntoIterator<Item = ImportedService>,
    addresses: &BTreeMap<Hostname, Ipv4Addr>,
) -> Desired {
    let mut by_hostname = BTreeMap::new();
    for route in routes {
        by_hostname.entry(route.hostname.clone()).or_insert(route);
    }
    let mut imported = BTreeMap::new();
    for import in imports {
        let address = addresses.get(&import.hostname).copied();
        imported.entry(import.hostname.clone()).or_insert(DesiredImport { import, address });
    }
    let dns = imported.iter().filter_map(|(hostname, import)| Some((hostname.clone(), import.address?))).collect();
    Desired {
        gateway: GatewayPlan { listen: gateway_listen, routes: by_hostname.into_values().collect() },
        imports: imported.into_values().collect(),
        dns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_test_objects::{imported_service as import, port};

    fn route(hostname: &str, mode: TlsMode) -> GatewayRoute {
        GatewayRoute { hostname: hostname.parse().unwrap(), port: port(8443), mode, admitted: BTreeSet::new(), backends: BTreeSet::new() }
    }

    fn listen() -> SocketAddr {
        "127.0.0.1:15443".parse().unwrap()
    }

    #[test]
    fn a_route_is_found_by_its_hostname_and_by_istios_form_of_it() {
        let route = route("server.demo.a.test", TlsMode::Mtls);
        assert_eq!(route.server_names(), ["server.demo.a.test", "outbound_.8443_._.server.demo.a.test"]);
    }

    #[test]
    fn the_order_of_the_inputs_does_not_matter() {
        let addresses = BTreeMap::new();
        let routes = [route("b.demo.a.test", TlsMode::Mtls), route("a.demo.a.test", TlsMode::Mtls)];
        let imports = [import("y.demo.b.test", &[]), import("x.demo.b.test", &[])];
        let forward = desired(listen(), routes.clone(), imports.clone(), &addresses);
        let backward = desired(listen(), routes.into_iter().rev(), imports.into_iter().rev(), &addresses);
        assert_eq!(forward, backward);
        assert_eq!(forward.gateway.routes[0].hostname.as_str(), "a.demo.a.test");
    }

    #[test]
    fn a_hostname_is_routed_once() {
        let routes = [route("a.demo.a.test", TlsMode::Mtls), route("a.demo.a.test", TlsMode::IstioMtls)];
        let desired = desired(listen(), routes, [], &BTreeMap::new());
        assert_eq!(desired.gateway.routes.iter().map(|route| route.mode).collect::<Vec<_>>(), [TlsMode::Mtls]);
    }

    #[test]
    fn an_import_without_an_address_is_kept_but_has_no_name() {
        let addresses = BTreeMap::from([("x.demo.b.test".parse().unwrap(), Ipv4Addr::new(127, 77, 0, 1))]);
        let desired = desired(listen(), [], [import("x.demo.b.test", &[]), import("y.demo.b.test", &[])], &addresses);
        assert_eq!(desired.imports.len(), 2);
        assert_eq!(desired.imports[1].address, None);
        assert_eq!(desired.dns, addresses);
    }
}

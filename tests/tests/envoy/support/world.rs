//! An agent's xDS without the rest of the agent, and builders for what it shows.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use cofide_agent::bootstrap::EnvoyBootstrap;
use cofide_agent::desired::{Backend, DesiredImport, GatewayRoute, desired};
use cofide_agent::render::envoy::SidecarSettings;
use cofide_agent::role::Role;
use cofide_agent::xds_service::XdsService;
use cofide_core::{Gateway, GatewayAddress, GatewayKind, Hostname, ImportedGateway, ImportedService, Port, TlsMode, TrustDomain};
use cofide_testkit::envoy::Envoy;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Zone;

/// A loopback address that no other test of this run uses, and hardly any other run: ports on it are free.
pub(crate) fn own_loopback() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + high % 64, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn port(number: u16) -> Port {
    Port::try_from(i64::from(number)).unwrap()
}

/// A service that is exported to these trust domains.
pub(crate) fn route(hostname: &str, mode: TlsMode, admitted: &[&str], backends: &[SocketAddr]) -> GatewayRoute {
    let backend = |backend: &SocketAddr| Backend { address: GatewayAddress::Ip(backend.ip()), port: port(backend.port()) };
    GatewayRoute {
        hostname: hostname.parse().unwrap(),
        port: port(8443),
        mode,
        admitted: admitted.iter().map(|name| TrustDomain::new(name).unwrap()).collect(),
        backends: backends.iter().map(backend).collect(),
    }
}

pub(crate) fn gateway_at(host: &str, number: u16) -> Gateway {
    let address = host.parse().map_or_else(|_| GatewayAddress::Hostname(host.parse().unwrap()), GatewayAddress::Ip);
    Gateway { kind: GatewayKind::Ingress, address, port: port(number) }
}

/// A service of a.test on port 8443, behind these gateways.
pub(crate) fn import(hostname: &str, mode: TlsMode, gateways: &[Gateway]) -> ImportedService {
    let mut gateways: Vec<_> =
        gateways.iter().map(|gateway| ImportedGateway { gateway: gateway.clone(), cluster_name: "one".parse().unwrap() }).collect();
    gateways.sort();
    ImportedService {
        hostname: hostname.parse().unwrap(),
        port: port(8443),
        tls_mode: mode,
        trust_domain: TrustDomain::new("a.test").unwrap(),
        spiffe_id_paths: vec![],
        gateways,
    }
}

/// All addresses that [`own_loopback`] gives out are in it.
pub(crate) const POOL: &str = "127.64.0.0/10";

fn any_port(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((ip, 0))
}

fn no_sidecar() -> SidecarSettings {
    SidecarSettings { pool: POOL.parse().unwrap(), resolver: any_port(Ipv4Addr::LOCALHOST), fallback_resolvers: [].into() }
}

type Addresses = BTreeMap<Hostname, Ipv4Addr>;

/// A port that no other test of this run uses, hardly one of another run, and no program by chance: it lies below those
/// that the kernel gives out.
fn own_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let first = u16::from_be_bytes([high, low]).wrapping_mul(7);
    20_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000
}

/// The xDS of one agent.
pub(crate) struct Agent {
    pub(crate) xds: Arc<XdsService>,
    /// Where its gateway listens, once there is a route.
    pub(crate) gateway_address: SocketAddr,
    pub(crate) xds_address: SocketAddr,
    addresses: Mutex<Addresses>,
    stop: DropGuard,
    served: JoinHandle<()>,
}

impl Agent {
    /// On an address of its own, xDS and gateway alike.
    pub(crate) async fn start() -> Self {
        let ip = own_loopback();
        Self::serve((ip, 18001).into(), (ip, 15443).into(), no_sidecar(), Addresses::new()).await
    }

    /// With a gateway on 127.0.0.1, which has a name that every machine can resolve.
    pub(crate) async fn start_on_localhost() -> Self {
        let gateway = (Ipv4Addr::LOCALHOST, own_port()).into();
        Self::serve((own_loopback(), 18001).into(), gateway, no_sidecar(), Addresses::new()).await
    }

    /// On this address, xDS and gateway alike, and with sidecars.
    pub(crate) async fn start_at(ip: Ipv4Addr, sidecar_settings: SidecarSettings) -> Self {
        Self::serve(any_port(ip), SocketAddr::from((ip, 15443)), sidecar_settings, Addresses::new()).await
    }

    async fn serve(xds_address: SocketAddr, gateway_address: SocketAddr, sidecar_settings: SidecarSettings, addresses: Addresses) -> Self {
        let xds = XdsService::new(sidecar_settings);
        let listener = TcpListener::bind(xds_address).await.unwrap();
        let xds_address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tonic::transport::Server::builder().add_service(xds.server(stop.clone()).aggregated());
        let stopped = stop.clone().cancelled_owned();
        let served =
            tokio::spawn(async move { server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await.unwrap() });
        Self { xds, gateway_address, xds_address, addresses: Mutex::new(addresses), stop: stop.drop_guard(), served }
    }

    /// Stops serving, connections and all, and forgets everything but the addresses.
    pub(crate) async fn stop(self) -> StoppedAgent {
        drop(self.stop);
        self.served.await.unwrap();
        StoppedAgent {
            xds_address: self.xds_address,
            gateway_address: self.gateway_address,
            addresses: self.addresses.into_inner().unwrap(),
        }
    }

    /// The routes of the gateway are these from now on.
    pub(crate) fn export(&self, routes: &[GatewayRoute]) {
        let plan = desired(self.gateway_address, routes.to_vec(), [], &BTreeMap::new()).gateway;
        self.xds.publish_gateway(plan);
    }

    /// The imports are these from now on; answers where each is, in their order.
    pub(crate) fn import(&self, imports: &[ImportedService]) -> Vec<SocketAddr> {
        let mut addresses = self.addresses.lock().unwrap();
        for import in imports {
            addresses.entry(import.hostname.clone()).or_insert_with(own_loopback);
        }
        let desired: Vec<DesiredImport> = desired(self.gateway_address, [], imports.to_vec(), &addresses).imports;
        self.xds.publish_imports(desired);
        imports.iter().map(|import| SocketAddr::from((addresses[&import.hostname], import.port.get()))).collect()
    }

    /// An Envoy beside this agent, with the identity of a zone.
    pub(crate) async fn envoy(&self, role: Role, zone: &Zone) -> Envoy {
        let bootstrap = EnvoyBootstrap {
            role,
            node_id: Some(format!("{} of {}", role.node_cluster(), zone.trust_domain)),
            xds_address: self.xds_address.into(),
            workload_api_socket: zone.socket(),
            admin_address: None,
            ready_address: None,
        };
        Envoy::start(bootstrap).await.unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// What is left of an agent between two runs.
pub(crate) struct StoppedAgent {
    xds_address: SocketAddr,
    gateway_address: SocketAddr,
    addresses: Addresses,
}

impl StoppedAgent {
    /// In the same place as before.
    pub(crate) async fn start(self) -> Agent {
        Agent::serve(self.xds_address, self.gateway_address, no_sidecar(), self.addresses).await
    }
}

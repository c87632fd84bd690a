//! Everything together: Connect, SPIFFE servers and agents, with an Envoy on either side. What ends a service ends its
//! connections in time.
//!
//! ```text
//!  zone b.test                                              zone a.test
//!  application ── plain text ──> Envoy (client) ══ mTLS ══> Envoy (gateway) ──> application
//!  application ══ mTLS of its own ═════════════════════════════^
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofide_agent::bootstrap::EnvoyBootstrap;
use cofide_agent::role::Role;
use cofide_svid::BundleSet;
use cofide_testkit::envoy::{self, Envoy};
use cofide_testkit::plane::{Plane, Zone};
use cofide_testkit::wait::{eventually, within, works};
use cofide_testkit::workload::Workload;

use crate::support::{Connection, Server, Tls, connect_plain, connect_tls};

/// Within this time of the change, whatever makes it, nothing flows any more.
const REVOCATION: Duration = Duration::from_secs(5);

const A: usize = 0;
const B: usize = 1;
/// One service in each mode.
const SERVICES: [(&str, &str); 2] = [("mtls", "Mtls"), ("plain", "IstioMtls")];

struct Whole {
    plane: Plane,
    /// A trusts B, and B trusts A.
    federations: [String; 2],
    /// What the client held at the beginning: it has not heard of any change since.
    stale: Tls,
    gateway: Envoy,
    _client_envoy: Envoy,
    _workloads: [Workload; 2],
    _servers: [Server; 2],
}

fn manifest(name: &str, mode: &str, server: SocketAddr) -> String {
    format!(
        "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {{name: {name}, namespace: demo}}\nspec:\n  name: {name}\n  \
         namespace: demo\n  exportedTrustDomains: [b.test]\n  workloadLabels: {{app: {name}}}\n  port: 8443\n  tlsMode: {mode}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: demo}}\nspec:\n  address: {}\n  \
         ports: {{tcp: {}}}\n  labels: {{app: {name}}}\n",
        server.ip(),
        server.port()
    )
}

async fn envoy(zone: &Zone, role: Role) -> Envoy {
    let bootstrap = EnvoyBootstrap {
        role,
        node_id: Some(format!("{} of {}", role.node_cluster(), zone.trust_domain)),
        xds_address: zone.xds_address.into(),
        workload_api_socket: zone.workload_api_socket(),
        admin_address: None,
        ready_address: None,
    };
    Envoy::start(bootstrap).await.unwrap_or_else(|error| panic!("{error:#}"))
}

impl Whole {
    /// Two zones that trust each other, with `mtls` and `plain` exported from A to B and in use.
    async fn start() -> Self {
        let mut plane = Plane::start().await.unwrap();
        assert_eq!((plane.add_zone("a").await.unwrap(), plane.add_zone("b").await.unwrap()), (A, B));
        let federations = [plane.federate(A, B).await.unwrap(), plane.federate(B, A).await.unwrap()];
        let proxy = envoy::binary().unwrap();
        plane.bind(A, "/ns/demo/sa/server", &[B]).await.unwrap();
        plane.bind(B, "/ns/demo/sa/client", &[A]).await.unwrap();
        plane.bind_program(A, "/ns/demo/sa/gateway", &proxy, &[B]).await.unwrap();
        plane.bind_program(B, "/ns/demo/sa/proxy", &proxy, &[A]).await.unwrap();
        let server = Workload::start(&plane.zones[A], "/ns/demo/sa/server").await.unwrap();
        let client = Workload::start(&plane.zones[B], "/ns/demo/sa/client").await.unwrap();
        for (workload, other) in [(&server, "b.test"), (&client, "a.test")] {
            eventually("each trusts the other", || async { workload.trusts() }, |trusts| trusts.contains(other)).await;
        }
        let bundles: BundleSet = client.bundles.all().iter().map(|bundle| bundle.as_ref().clone()).collect();
        let stale = Tls { identity: Some(client.identity.clone()), bundles: Arc::new(bundles) };

        let tls = Tls { identity: Some(server.identity.clone()), bundles: server.bundles.clone() };
        let servers = [Server::mtls("mtls", tls).await, Server::plain("plain").await];
        for ((name, mode), server) in SERVICES.into_iter().zip(&servers) {
            plane.zones[A].write_manifest(&format!("{name}.yaml"), &manifest(name, mode, server.address)).unwrap();
        }
        let (gateway, client_envoy) = tokio::join!(envoy(&plane.zones[A], Role::Gateway), envoy(&plane.zones[B], Role::Client));
        Self { plane, federations, stale, gateway, _client_envoy: client_envoy, _workloads: [server, client], _servers: servers }
    }

    /// Where clients in B find the service.
    async fn address(&self, name: &str) -> SocketAddr {
        let hostname = format!("{name}.demo.a.test");
        let ask = || self.plane.zones[B].resolve(&hostname);
        let found = eventually(&format!("{hostname} has an address"), ask, |found| !found.is_empty()).await;
        (found[0], 8443).into()
    }

    async fn direct(&self, name: &str) -> anyhow::Result<Connection> {
        let hostname = format!("{name}.demo.a.test");
        let (connection, answer) = connect_tls(self.plane.zones[A].gateway_address, Some(&hostname), &self.stale, "a.test").await?;
        assert!(answer.starts_with(&format!("{name} to ")), "{answer}");
        Ok(connection)
    }

    async fn by_envoy(&self, name: &str, address: SocketAddr) -> anyhow::Result<Connection> {
        let (connection, answer) = connect_plain(address).await?;
        assert!(answer.starts_with(&format!("{name} to ")), "{answer}");
        Ok(connection)
    }

    /// A connection of each service by each way.
    async fn in_use(&self) -> InUse {
        let mut in_use = InUse { addresses: Vec::new(), connections: Vec::new() };
        for (name, mode) in SERVICES {
            let address = self.address(name).await;
            in_use.addresses.push((name, address));
            let direct = works(&format!("{mode}, by the client's own TLS"), || self.direct(name)).await;
            let by_envoy = works(&format!("{mode}, by the client's Envoy"), || self.by_envoy(name, address)).await;
            in_use.connections.push((format!("{mode}, by the client's own TLS"), direct));
            in_use.connections.push((format!("{mode}, by the client's Envoy"), by_envoy));
        }
        in_use
    }

    /// Waits until nothing of what was in use flows any more, and no way in is left.
    async fn ends(&self, in_use: InUse) {
        let deadline = Instant::now() + REVOCATION;
        for (what, connection) in in_use.connections {
            let closed = connection.closed_within(deadline.saturating_duration_since(Instant::now())).await;
            closed.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        }
        for (name, address) in in_use.addresses {
            let refused = async || [self.direct(name).await.is_err(), self.by_envoy(name, address).await.is_err()];
            within(REVOCATION, &format!("{name} refuses everybody"), refused, |refused| refused == &[true, true]).await;
        }
    }
}

struct InUse {
    addresses: Vec<(&'static str, SocketAddr)>,
    connections: Vec<(String, Connection)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_manifest_a_service_loses_its_connections_in_time_and_its_neighbour_keeps_its_own() {
    let whole = Whole::start().await;
    let neighbour = Server::plain("neighbour").await;
    whole.plane.zones[A].write_manifest("neighbour.yaml", &manifest("neighbour", "IstioMtls", neighbour.address)).unwrap();
    let address = whole.address("neighbour").await;
    let mut stays = works("the neighbour", || whole.by_envoy("neighbour", address)).await;
    let in_use = whole.in_use().await;

    for (name, _) in SERVICES {
        std::fs::remove_file(whole.plane.zones[A].manifest(&format!("{name}.yaml"))).unwrap();
    }
    whole.ends(in_use).await;
    assert_eq!(stays.say("still").await.unwrap(), "neighbour to somebody: still");
    whole.by_envoy("neighbour", address).await.unwrap();
    let replaced = whole.gateway.stat("listener_manager.listener_modified").await.unwrap();
    assert_eq!(replaced, whole.gateway.stat("listener_manager.listener_in_place_updated").await.unwrap(), "only ever changed in place");
}

/// Ends one direction of trust in Connect, while both services are in use.
async fn a_federation_ends(direction: usize) {
    let whole = Whole::start().await;
    let in_use = whole.in_use().await;
    whole.plane.unfederate(whole.federations[direction].clone()).await.unwrap();
    whole.ends(in_use).await;

    // And comes back, with nothing restarted.
    let (from, to) = if direction == A { (A, B) } else { (B, A) };
    whole.plane.federate(from, to).await.unwrap();
    whole.in_use().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_in_time_when_the_servers_zone_no_longer_trusts_the_clients() {
    a_federation_ends(A).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_in_time_when_the_clients_zone_no_longer_trusts_the_servers() {
    a_federation_ends(B).await;
}

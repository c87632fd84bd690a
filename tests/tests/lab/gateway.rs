//! A stock Envoy as Istio's ingress and east-west gateway.

use std::net::SocketAddr;

use cofide_testkit::lab::{Cluster, IstioProxy, Lab, Mesh, Pod, Proxy};

use crate::support::{Certificate, SpiffeServer, call_tls, call_tls_with_alpn, echo, works_through};

const HOSTNAME: &str = "server.demo.a.test";

/// A cluster with a mesh, one of its gateways, and a server behind it.
struct World {
    cluster: Cluster,
    gateway: IstioProxy,
    /// Where the gateway takes TLS.
    address: SocketAddr,
    server: Pod,
    /// The server's.
    certificate: Certificate,
    _zone: SpiffeServer,
    _lab: Lab,
}

impl World {
    /// The gateway is `istio-{kind}`; the server answers to `hostname`.
    async fn start(kind: &str, hostname: &str) -> Self {
        let lab = Lab::start().unwrap();
        let zone = SpiffeServer::start("a.test").await;
        let cluster = lab.cluster("server").await.unwrap().with_istiod(&Mesh::new("a.test")).await.unwrap();
        let gateway = Proxy::new("istio-system", &format!("istio-{kind}"), &zone.socket).label("istio", kind);
        let gateway = cluster.istio_gateway(&gateway).await.unwrap();
        cluster.expose_gateway(&gateway, &[("tls", 15443)]).await.unwrap();

        let host = lab.host("server").unwrap();
        let certificate = Certificate::of(hostname);
        echo(host.listen(8443).unwrap(), Some(&certificate));
        cluster.create_namespace("demo").await.unwrap();
        let server = Pod::new("demo", "server", host.address).label("app", "server");
        let address = (gateway.host.address, 15443).into();
        Self { cluster, gateway, address, server, certificate, _zone: zone, _lab: lab }
    }

    async fn works(&self, what: &str, attempt: impl AsyncFnMut() -> anyhow::Result<()>) {
        works_through(what, &self.cluster, &self.gateway, attempt).await;
    }
}

#[tokio::test]
async fn istiod_programs_a_passthrough_gateway_from_objects_written_by_hand() {
    let world = World::start("ingressgateway", HOSTNAME).await;
    world.cluster.run_pod(&world.server).await.unwrap();
    world.cluster.apply_yaml(OBJECTS).await.unwrap();
    let call = async |hostname: &str| call_tls(world.address, hostname, &world.certificate).await;
    world.works("the server answers through the gateway", async || call(HOSTNAME).await).await;
    let other = call("other.demo.a.test").await.unwrap_err();
    assert!(format!("{other:#}").starts_with("no TLS"), "an SNI that nobody exports: {other:#}");

    world.cluster.run_pod(&world.server.clone().not_ready()).await.unwrap();
    let refused = async || match call(HOSTNAME).await {
        Ok(()) => anyhow::bail!("it still answers"),
        Err(_) => Ok(()),
    };
    world.works("a pod that is not ready is left out", refused).await;
}

const OBJECTS: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  namespace: demo
  name: server
spec:
  hosts: [server.demo.a.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - number: 8443
      name: tls
      protocol: TLS
  workloadSelector:
    labels:
      app: server
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  namespace: demo
  name: server
spec:
  selector:
    istio: ingressgateway
  servers:
    - port:
        number: 15443
        name: tls
        protocol: TLS
      hosts: [server.demo.a.test]
      tls:
        mode: PASSTHROUGH
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  namespace: demo
  name: server
spec:
  hosts: [server.demo.a.test]
  gateways: [server]
  tls:
    - match:
        - port: 15443
          sniHosts: [server.demo.a.test]
      route:
        - destination:
            host: server.demo.a.test
            port:
              number: 8443
";

/// How mTLS between meshes names a port of a service: an east-west gateway needs no route for it.
const MESH_SNI: &str = "outbound_.8443_._.server.demo.a.test";

/// What marks TLS between meshes; Istio's sidecars offer it for TCP.
const MESH_ALPN: &str = "istio";

#[tokio::test]
async fn istiod_programs_an_east_west_gateway_to_find_its_way_by_the_sni_and_the_alpn_of_meshes() {
    let world = World::start("eastwestgateway", MESH_SNI).await;
    // Only to pods that speak the mesh's mTLS does such a gateway lead.
    let server = world.server.clone().label("security.istio.io/tlsMode", "istio");
    world.cluster.run_pod(&server).await.unwrap();
    world.cluster.apply_yaml(EAST_WEST).await.unwrap();
    let call = async |sni: &str, alpn: &[&str]| call_tls_with_alpn(world.address, sni, alpn, &world.certificate).await;
    world.works("the server answers through the gateway", async || call(MESH_SNI, &[MESH_ALPN]).await).await;
    // Each alone leads nowhere, so a client without a sidecar has to send both.
    for (what, sni, alpn) in [("the SNI alone", MESH_SNI, &[][..]), ("the ALPN alone", HOSTNAME, &[MESH_ALPN])] {
        let refused = call(sni, alpn).await.unwrap_err();
        assert!(format!("{refused:#}").starts_with("no TLS"), "{what}: {refused:#}");
    }
}

const EAST_WEST: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  namespace: demo
  name: server
spec:
  hosts: [server.demo.a.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - number: 8443
      name: tcp
      protocol: TCP
  workloadSelector:
    labels:
      app: server
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  namespace: demo
  name: server
spec:
  selector:
    istio: eastwestgateway
  servers:
    - port:
        number: 15443
        name: tls
        protocol: TLS
      hosts: [server.demo.a.test]
      tls:
        mode: AUTO_PASSTHROUGH
";

//! A stock Envoy as Istio's ingress and east-west gateway.

use cofide_testkit::lab::{Lab, Mesh, Pod, Proxy};

use crate::support::{Certificate, SpiffeServer, call_tls, call_tls_with_alpn, echo, eventually_through};

const HOSTNAME: &str = "server.demo.a.test";

#[tokio::test]
async fn istiod_programs_a_passthrough_gateway_from_objects_written_by_hand() {
    let lab = Lab::start().unwrap();
    let zone = SpiffeServer::start("a.test").await;
    let cluster = lab.cluster("server").await.unwrap().with_istiod(&Mesh::new("a.test")).await.unwrap();
    let gateway = Proxy::new("istio-system", "istio-ingressgateway", &zone.socket).label("istio", "ingressgateway");
    let gateway = cluster.istio_gateway(&gateway).await.unwrap();
    cluster.expose_gateway(&gateway, &[("tls", 15443), ("https", 443)]).await.unwrap();

    let server = lab.host("server").unwrap();
    let certificate = Certificate::of(HOSTNAME);
    echo(server.listen(8443).unwrap(), Some(&certificate));
    cluster.create_namespace("demo").await.unwrap();
    let pod = Pod::new("demo", "server", server.address).label("app", "server");
    cluster.run_pod(&pod).await.unwrap();
    cluster.apply_yaml(OBJECTS).await.unwrap();

    let address = (gateway.host.address, 15443).into();
    let call = async || call_tls(address, HOSTNAME, &certificate).await;
    eventually_through("the server answers through the gateway", &cluster, &gateway, call).await;
    let other = call_tls(address, "other.demo.a.test", &certificate).await.unwrap_err();
    assert!(format!("{other:#}").starts_with("no TLS"), "an SNI that nobody exports: {other:#}");

    cluster.run_pod(&pod.not_ready()).await.unwrap();
    let refused = async || match call_tls(address, HOSTNAME, &certificate).await {
        Ok(()) => anyhow::bail!("it still answers"),
        Err(_) => Ok(()),
    };
    eventually_through("a pod that is not ready is left out", &cluster, &gateway, refused).await;
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
    let lab = Lab::start().unwrap();
    let zone = SpiffeServer::start("a.test").await;
    let cluster = lab.cluster("server").await.unwrap().with_istiod(&Mesh::new("a.test")).await.unwrap();
    let gateway = Proxy::new("istio-system", "istio-eastwestgateway", &zone.socket).label("istio", "eastwestgateway");
    let gateway = cluster.istio_gateway(&gateway).await.unwrap();
    cluster.expose_gateway(&gateway, &[("tls", 15443)]).await.unwrap();

    let server = lab.host("server").unwrap();
    let certificate = Certificate::of(MESH_SNI);
    echo(server.listen(8443).unwrap(), Some(&certificate));
    cluster.create_namespace("demo").await.unwrap();
    // Only to pods that speak the mesh's mTLS does such a gateway lead.
    let pod = Pod::new("demo", "server", server.address).label("app", "server").label("security.istio.io/tlsMode", "istio");
    cluster.run_pod(&pod).await.unwrap();
    cluster.apply_yaml(EAST_WEST).await.unwrap();

    let address = (gateway.host.address, 15443).into();
    let call = async || call_tls_with_alpn(address, MESH_SNI, &[MESH_ALPN], &certificate).await;
    eventually_through("the server answers through the gateway", &cluster, &gateway, call).await;
    // Each alone leads nowhere, so a client without a sidecar has to send both.
    for (what, sni, alpn) in [("the SNI alone", MESH_SNI, &[][..]), ("the ALPN alone", HOSTNAME, &[MESH_ALPN])] {
        let refused = call_tls_with_alpn(address, sni, alpn, &certificate).await.unwrap_err();
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

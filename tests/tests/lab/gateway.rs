//! A stock Envoy as Istio's ingress gateway.

use cofide_testkit::lab::{Lab, Mesh, Pod, Proxy};

use crate::support::{Certificate, SpiffeServer, call_tls, echo, eventually_through};

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

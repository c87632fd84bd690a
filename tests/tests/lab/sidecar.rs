//! A stock Envoy as Istio's sidecar.

use cofide_testkit::lab::{Lab, Mesh, Proxy};

use crate::support::{SpiffeServer, call, echo, works_through};

#[tokio::test]
async fn sidecars_turn_plain_text_between_two_pods_into_mtls() {
    let lab = Lab::start().unwrap();
    let zone = SpiffeServer::start("a.test").await;
    let cluster = lab.cluster("server").await.unwrap().with_istiod(&Mesh::new("a.test")).await.unwrap();
    let proxy = |name: &str| Proxy::new("demo", name, &zone.socket).label("app", name);
    let server = cluster.istio_sidecar(&proxy("server")).await.unwrap();
    let client = cluster.istio_sidecar(&proxy("client")).await.unwrap();
    echo(server.host.listen(8080).unwrap(), None);
    cluster.apply_yaml(OBJECTS).await.unwrap();
    cluster.endpoint_slice("demo", "server", ("tcp", 8080), &[server.host.address.into()]).await.unwrap();

    // Nobody has this address: it is the client's sidecar that knows what it means.
    let service = cluster.get("v1", "Service", "demo", "server").await.unwrap().unwrap();
    let address = format!("{}:8080", service.data["spec"]["clusterIP"].as_str().unwrap()).parse().unwrap();
    let attempt = async || {
        call(client.host.connect(address).await?).await?;
        // A connection that took another way leaves no trace of this kind.
        let handshakes = server.envoy.stat("listener.0.0.0.0_15006.ssl.handshake").await?;
        anyhow::ensure!(handshakes > 0, "the echo was not over TLS");
        Ok(())
    };
    works_through("the client's plain text arrives over mTLS", &cluster, &server, attempt).await;

    // The mesh is strict: who has no sidecar is refused.
    let (stranger, direct) = (lab.host("stranger").unwrap(), (server.host.address, 8080).into());
    let refused = async || match call(stranger.connect(direct).await?).await {
        Ok(()) => anyhow::bail!("the server answers plain text"),
        Err(_) => Ok(()),
    };
    works_through("plain text without a sidecar is refused", &cluster, &server, refused).await;
}

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata:
  namespace: demo
  name: server
spec:
  selector:
    app: server
  ports:
    - name: tcp
      port: 8080
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  namespace: demo
  name: strict
spec:
  mtls:
    mode: STRICT
";

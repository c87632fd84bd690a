//! The page about Federated Services, its example first.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cofide_svid::{ClientAuth, tls};
use cofide_testkit::workload::Workload;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Client, DIRECT, EXPORTED, Server, Speaks, World, federated_service};

const TRUST_DOMAIN: &str = "local.domain";
const SERVER: &str = "spiffe://local.domain/ns/demo/sa/server";

pub(crate) async fn the_example_of_the_documentation_is_reached_from_a_mesh_and_from_a_cluster_without_one(world: &World) {
    let World { lab, server, plain, .. } = world;
    let pod = Server::start(lab, server, "demo", "ping-pong-server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply_yaml(include_str!("ping-pong.yaml")).await.unwrap();

    let replies = world.is_reached("server.demo.local.domain:8443").await;
    assert_eq!(replies, [format!("...pong from {SERVER}"), format!("...pong from {SERVER}")]);
    for client in EXPORTED {
        let line = format!("ping from spiffe://{client}/ns/demo/sa/client");
        assert!(pod.log().contains(&line), "no {line} in\n{}", pod.log());
    }
    let sdk = Client::alone(lab, plain).unwrap();
    world.until("an SDK", async || sdk.ping_by_xds(plain, "server.demo.local.domain", TRUST_DOMAIN).await).await;
}

pub(crate) async fn a_client_that_speaks_plain_text_gets_mtls_from_the_envoy_beside_it(world: &World) {
    let World { lab, server, plain, .. } = world;
    let pod = Server::start(lab, server, "plain-text", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply(&federated_service("plain-text", "server", "server", 8443, "Mtls")).await.unwrap();
    let name = "server.plain-text.local.domain:8443";
    let reply = world.until("plain text from outside of a mesh", async || world.outside.ping_plain(plain, name).await).await;
    assert_eq!(reply, format!("...pong from {SERVER}"));
    let line = "ping from spiffe://other2.domain/ns/demo/sa/proxy";
    assert!(pod.log().contains(line), "no {line} in\n{}", pod.log());
}

pub(crate) async fn http_in_plain_text_gets_mtls_from_the_sidecar_of_a_mesh(world: &World) {
    let World { lab, server, client, plane, .. } = world;
    let host = lab.host("http").unwrap();
    let workload = Workload::start(&plane.zones[server.zone], DIRECT).await.unwrap();
    serve_http(host.listen(8443).unwrap(), &workload);
    server.publish("http", "server", host.address, 8443).await.unwrap();
    server.cluster.apply(&federated_service("http", "server", "server", 8443, "Mtls")).await.unwrap();

    let sidecar = world.in_mesh.sidecar().unwrap();
    let hostname = "server.http.local.domain";
    let answer = world
        .until("HTTP from a mesh", async || get(sidecar.host.connect(client.mesh_address(hostname, 8443).await?).await?, hostname).await);
    // Who asked, as the server saw it in the certificate.
    assert!(answer.await.ends_with("spiffe://other1.domain/ns/demo/sa/proxy"));
}

/// Answers each request with the SPIFFE ID of who asked.
fn serve_http(listener: TcpListener, workload: &Workload) {
    let config = tls::server_config(workload.identity.clone(), workload.bundles.clone(), ClientAuth::Required);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let peer = tls::peer_spiffe_id(stream.get_ref().1.peer_certificates().context("no certificate")?)?.to_string();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await?;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{peer}", peer.len());
                stream.write_all(answer.as_bytes()).await?;
                anyhow::Ok(stream.shutdown().await?)
            });
        }
    });
}

async fn get(mut stream: tokio::net::TcpStream, host: &str) -> Result<String> {
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}:8443\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}

pub(crate) async fn where_the_sidecar_terminates_tls_plain_text_arrives_from_a_mesh_and_from_without_one(world: &World) {
    let World { server, client, plain, .. } = world;
    let pod = Server::with_sidecar(server, "terminated", "server", 8080, Speaks::Plain).await.unwrap();
    server.cluster.apply(&federated_service("terminated", "server", "server", 8080, "IstioMtls")).await.unwrap();
    let name = "server.terminated.local.domain:8080";
    let from_outside = world.until("from outside of a mesh", async || world.outside.ping_plain(plain, name).await).await;
    let from_mesh = world.until("from a mesh", async || world.in_mesh.ping_plain(client, name).await).await;
    assert_eq!([from_outside, from_mesh], ["...pong from server", "...pong from server"]);
    let handshakes = pod.sidecar().unwrap().envoy.stat("listener.0.0.0.0_15006.ssl.handshake").await.unwrap();
    assert!(handshakes >= 2, "the sidecar has terminated TLS {handshakes} times");
}

pub(crate) async fn the_sidecar_of_an_mtls_server_leaves_its_port_alone(world: &World) {
    let server = &world.server;
    let pod = Server::with_sidecar(server, "untouched", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply(&federated_service("untouched", "server", "server", 8443, "Mtls")).await.unwrap();
    let replies = world.is_reached("server.untouched.local.domain:8443").await;
    assert_eq!(replies, [format!("...pong from {SERVER}"), format!("...pong from {SERVER}")]);
    assert_eq!(pod.sidecar().unwrap().envoy.stat("listener.0.0.0.0_15006.ssl.handshake").await.unwrap(), 0);
}

pub(crate) async fn it_works_whatever_authority_the_certificates_of_istio_itself_come_from(world: &World) {
    let World { server, client, .. } = world;
    // Sidecars and gateways on the way have certificates that no trust zone knows.
    let _pod = Server::with_sidecar(server, "authority", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply(&federated_service("authority", "server", "server", 8443, "Mtls")).await.unwrap();
    let in_mesh = Client::behind_sidecar_of(client, "authority", &client.istio_sds).await.unwrap();
    let name = "server.authority.local.domain:8443";
    let reply = world.until("from a mesh", async || in_mesh.ping_mtls(client, name, TRUST_DOMAIN).await).await;
    assert_eq!(reply, format!("...pong from {SERVER}"));
    world.is_reached(name).await;
}

pub(crate) async fn an_undeclared_trust_domain_is_refused_and_an_unexported_name_leads_nowhere(world: &World) {
    let World { lab, server, direct, stranger, .. } = world;
    let _pod = Server::start(lab, server, "guarded", "server", 8443, Speaks::Mtls(&EXPORTED)).await.unwrap();
    server.cluster.apply(&federated_service("guarded", "server", "server", 8443, "Mtls")).await.unwrap();
    let (gateway, name) = (server.ingress(), "server.guarded.local.domain");
    world.until("a declared trust domain", async || direct.ping(gateway, name, TRUST_DOMAIN).await).await;
    let refused = stranger.ping(gateway, name, TRUST_DOMAIN).await.unwrap_err();
    assert!(!format!("{refused:#}").starts_with("cannot connect"), "{refused:#}");
    for unexported in
        ["other.guarded.local.domain", "server.guarded.svc.cluster.local", "outbound_.8443_._.server.guarded.svc.cluster.local"]
    {
        let nowhere = direct.ping(gateway, unexported, TRUST_DOMAIN).await.unwrap_err();
        assert!(format!("{nowhere:#}").starts_with("no TLS"), "{unexported}: {nowhere:#}");
    }
}

pub(crate) async fn the_sidecar_refuses_an_undeclared_trust_domain_whose_certificates_it_could_verify(world: &World) {
    let World { server, direct, stranger, .. } = world;
    let _pod = Server::with_sidecar(server, "policed", "server", 8080, Speaks::Plain).await.unwrap();
    server.cluster.apply(&federated_service("policed", "server", "server", 8080, "IstioMtls")).await.unwrap();
    let (gateway, name) = (server.ingress(), "outbound_.8080_._.server.policed.local.domain");
    world.until("a declared trust domain", async || direct.ping(gateway, name, TRUST_DOMAIN).await).await;
    // The policy is written before anything that lets traffic in, but istiod tells gateway and sidecar each in its own time.
    let is_refused = async || match stranger.ping(gateway, name, TRUST_DOMAIN).await {
        Ok(reply) => anyhow::bail!("the stranger is answered: {reply}"),
        Err(error) => anyhow::Ok(format!("{error:#}")),
    };
    world.until("the stranger is refused", is_refused).await;
    for _ in 0..5 {
        let refused = is_refused().await.unwrap();
        assert!(!refused.starts_with("cannot connect"), "{refused}");
    }
    // And it is the policy that refuses it.
    server
        .cluster
        .apply(&json!({
            "apiVersion": "registry.cofide.io/v1alpha1",
            "kind": "FederatedService",
            "metadata": { "namespace": "policed", "name": "server" },
            "spec": {
                "name": "server",
                "namespace": "policed",
                "exportedTrustDomains": [EXPORTED[0], EXPORTED[1], "third.domain"],
                "workloadLabels": { "app": "server" },
                "port": 8080,
                "tlsMode": "IstioMtls",
            },
        }))
        .await
        .unwrap();
    world.until("the stranger, declared", async || stranger.ping(gateway, name, TRUST_DOMAIN).await).await;
}

pub(crate) async fn a_cluster_without_istio_exports_through_an_envoy_of_its_agent(world: &World) {
    let World { lab, client, plain, .. } = world;
    let _pod = Server::start(lab, plain, "own", "server", 8443, Speaks::Mtls(&["other1.domain"])).await.unwrap();
    let mut service = federated_service("own", "server", "server", 8443, "Mtls");
    service["spec"]["exportedTrustDomains"] = json!(["other1.domain"]);
    plain.cluster.apply(&service).await.unwrap();
    let name = "server.own.other2.domain:8443";
    let reply = world.until("from a mesh", async || world.in_mesh.ping_mtls(client, name, "other2.domain").await).await;
    assert_eq!(reply, "...pong from spiffe://other2.domain/ns/demo/sa/server");
    plain.has_condition("own", "server", "Ready", ("True", "Exported")).await.unwrap();
}

pub(crate) async fn two_services_share_a_port_and_each_name_leads_to_its_own_server(world: &World) {
    let World { server, client, plain, .. } = world;
    let mut pods = Vec::new();
    for app in ["one", "other"] {
        pods.push(Server::with_sidecar(server, "shared", app, 8080, Speaks::Plain).await.unwrap());
        server.cluster.apply(&federated_service("shared", app, app, 8080, "IstioMtls")).await.unwrap();
    }
    for app in ["one", "other"] {
        let (name, expected) = (format!("{app}.shared.local.domain:8080"), format!("...pong from {app}"));
        let from_outside = world.until("from outside of a mesh", async || world.outside.ping_plain(plain, &name).await).await;
        let from_mesh = world.until("from a mesh", async || world.in_mesh.ping_plain(client, &name).await).await;
        assert_eq!([from_outside, from_mesh], [expected.clone(), expected]);
    }
}

//! The client side, from the application in one zone to the application in the other.

use std::net::SocketAddr;

use cofide_agent::role::Role;
use cofide_core::ImportedService;
use cofide_core::TlsMode::{IstioMtls, Mtls};
use cofide_testkit::envoy::Envoy;
use cofide_testkit::wait::works;

use crate::support::{Agent, Server, Zone, connect_plain, connect_tls, gateway_at, import, route};

/// Both sides of a connection: a.test exports, b.test imports.
struct Pair {
    a: Zone,
    b: Zone,
    exporter: Agent,
    importer: Agent,
    _gateway: Envoy,
    _client: Envoy,
}

impl Pair {
    async fn start() -> Self {
        let (a, b) = Zone::pair().await;
        let (exporter, importer) = (Agent::start().await, Agent::start().await);
        exporter.export(&[]);
        importer.import(&[]);
        let (gateway, client) = tokio::join!(exporter.envoy(Role::Gateway, &a), importer.envoy(Role::Client, &b));
        Self { a, b, exporter, importer, _gateway: gateway, _client: client }
    }

    fn import(&self, hostname: &str, mode: cofide_core::TlsMode) -> ImportedService {
        let SocketAddr::V4(gateway) = self.exporter.gateway_address else { unreachable!("loopback is IPv4 here") };
        import(hostname, mode, &[gateway_at(&gateway.ip().to_string(), gateway.port())])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_becomes_mtls_and_tls_passes_through_in_both_modes() {
    let pair = Pair::start().await;
    let mtls = Server::mtls("mtls", pair.a.tls().await).await;
    let plain = Server::plain("plain").await;
    pair.exporter.export(&[
        route("mtls.demo.a.test", Mtls, &["b.test"], &[mtls.address]),
        route("plain.demo.a.test", IstioMtls, &["b.test"], &[plain.address]),
    ]);
    // Two services on one port, each on an address of its own.
    let [mtls, plain] = pair.importer.import(&[pair.import("mtls.demo.a.test", Mtls), pair.import("plain.demo.a.test", IstioMtls)])[..]
    else {
        unreachable!("two imports have two addresses")
    };
    assert_eq!(mtls.port(), plain.port());
    let tls = pair.b.tls().await;

    let (_, answer) = works("plain text to Mtls", || connect_plain(mtls)).await;
    assert_eq!(answer, "mtls to spiffe://b.test/workload: hello", "the server sees the identity that Envoy showed");
    let (_, answer) = works("plain text to IstioMtls", || connect_plain(plain)).await;
    assert_eq!(answer, "plain to somebody: hello");
    let (_, answer) = works("TLS to Mtls", || connect_tls(mtls, Some("mtls.demo.a.test"), &tls, "a.test")).await;
    assert_eq!(answer, "mtls to spiffe://b.test/workload: hello");
    let (_, answer) = works("TLS to IstioMtls", || connect_tls(plain, Some("plain.demo.a.test"), &tls, "a.test")).await;
    assert_eq!(answer, "plain to somebody: hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_speak_first() {
    let pair = Pair::start().await;
    let server = Server::plain_that_speaks_first("mail").await;
    pair.exporter.export(&[route("mail.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let address = pair.importer.import(&[pair.import("mail.demo.a.test", IstioMtls)])[0];
    let greeting = works("a greeting", async || crate::support::listen_first(address).await).await;
    assert_eq!(greeting, "mail is ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_to_be_who_the_import_says() {
    let pair = Pair::start().await;
    let server = Server::plain("plain").await;
    pair.exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let right = pair.import("plain.demo.a.test", IstioMtls);
    let with_paths =
        |paths: &[&str]| ImportedService { spiffe_id_paths: paths.iter().map(|path| path.parse().unwrap()).collect(), ..right.clone() };
    let other_domain = ImportedService { trust_domain: cofide_core::TrustDomain::new("b.test").unwrap(), ..right.clone() };

    // All of them lead to the same server by the same name; only what is expected of it differs. An import cannot change under
    // one hostname in this test, because the moment at which Envoy takes it over could not be told from a refusal.
    for (imported, expected) in [
        (right.clone(), true),
        (with_paths(&["workload"]), true),
        (with_paths(&["other", "workload"]), true),
        (with_paths(&["work"]), false),
        (with_paths(&["workload/x"]), false),
        (other_domain, false),
    ] {
        let agent = Agent::start().await;
        let address = agent.import(std::slice::from_ref(&imported))[0];
        let envoy = agent.envoy(Role::Client, &pair.b).await;
        envoy.until_listening("plain.demo.a.test_listener").await;
        if expected {
            works("the right server", || connect_plain(address)).await;
        } else {
            assert!(connect_plain(address).await.is_err(), "{imported:?}");
            let refused = "cluster.plain.demo.a.test_cluster.ssl.fail_verify_san";
            assert!(envoy.stat(refused).await.unwrap() > 0, "refused for another reason");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_servers_bundle_the_server_is_refused_until_it_arrives() {
    let (a, b) = (Zone::start("a.test").await, Zone::start("b.test").await);
    a.trusts(&[&b]).await;
    b.trusts(&[]).await;
    let (exporter, importer) = (Agent::start().await, Agent::start().await);
    let server = Server::plain("plain").await;
    exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let gateway = exporter.envoy(Role::Gateway, &a).await;
    gateway.until_listening("gateway").await;
    let listen = exporter.gateway_address;
    let imported = import("plain.demo.a.test", IstioMtls, &[gateway_at(&listen.ip().to_string(), listen.port())]);
    let address = importer.import(&[imported])[0];
    let client = importer.envoy(Role::Client, &b).await;
    client.until_listening("plain.demo.a.test_listener").await;

    // Often enough to eject the only gateway, which must not stand in the way afterwards.
    for _ in 0..5 {
        assert!(connect_plain(address).await.is_err(), "the issuer is not trusted");
    }
    let refused = "cluster.plain.demo.a.test_cluster.ssl.fail_verify_error";
    assert!(client.stat(refused).await.unwrap() >= 5, "refused for another reason");
    b.trusts(&[&a]).await;
    works("trusted now, with no restart", || connect_plain(address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_comes_or_goes_leaves_the_others_alone() {
    let pair = Pair::start().await;
    let server = Server::mtls("mtls", pair.a.tls().await).await;
    let hostnames = ["one.demo.a.test", "two.demo.a.test"];
    pair.exporter.export(&hostnames.map(|hostname| route(hostname, Mtls, &["b.test"], &[server.address])));
    let [one, two] = hostnames.map(|hostname| pair.import(hostname, Mtls));
    let address = pair.importer.import(std::slice::from_ref(&one))[0];
    let (mut connection, _) = works("one", || connect_plain(address)).await;

    let both = pair.importer.import(&[one.clone(), two]);
    let (gone, _) = works("two", || connect_plain(both[1])).await;
    assert_eq!(connection.say("still").await.unwrap(), "mtls to spiffe://b.test/workload: still");

    pair.importer.import(&[one]);
    gone.closed_within(std::time::Duration::from_secs(5)).await.unwrap();
    assert!(tokio::net::TcpStream::connect(both[1]).await.is_err(), "its address answers no more");
    assert_eq!(connection.say("again").await.unwrap(), "mtls to spiffe://b.test/workload: again");
}

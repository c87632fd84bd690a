//! The two programs as a user runs them, over sockets, with identities from a Workload API.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop at the first surprise, as tests do")]

mod programs;
mod workload_api;
mod xds;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use cofide_dns::{Upstream, ZoneHandle};
use programs::{Client, Server};
use tokio_util::sync::CancellationToken;
use workload_api::{WorkloadApi, Zone};

const SERVER: &str = "spiffe://a.test/ns/demo/sa/ping-pong-server";
const CLIENT: &str = "spiffe://b.test/ns/demo/sa/ping-pong-client";

/// Two trust zones, each with a workload that trusts the other zone as well.
struct World {
    a: Zone,
    b: Zone,
    server_identity: WorkloadApi,
    client_identity: WorkloadApi,
}

impl World {
    async fn new() -> Self {
        let (a, b) = (Zone::new("a.test"), Zone::new("b.test"));
        let server_identity = WorkloadApi::start(SERVER, &a, &[&b]).await;
        let client_identity = WorkloadApi::start(CLIENT, &b, &[&a]).await;
        Self { a, b, server_identity, client_identity }
    }

    async fn server(&self) -> Server {
        Server::start(&["--mode", "mtls", "--admit", "b.test", "--workload-api", &self.server_identity.endpoint()]).await
    }

    fn client(&self, connect: &impl ToString) -> Client {
        Client::new(connect).with(&["--mode", "mtls", "--expect", "a.test", "--workload-api", &self.client_identity.endpoint()])
    }
}

fn plain_client(connect: &impl ToString) -> Client {
    Client::new(connect).with(&["--mode", "plain"])
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let world = World::new().await;
    let mut server = world.server().await;
    let outcome = world.client(&server.address).run().await;
    outcome.assert_code(0);
    let pong = &outcome.lines[0];
    assert_eq!((pong["result"].as_str(), pong["peer"].as_str()), (Some("pong"), Some(SERVER)));
    assert_eq!(pong["reply"], format!("...pong from {SERVER}"));
    server.until("ping from the client", |line| line == format!("ping from {CLIENT}")).await;
}

#[tokio::test]
async fn without_the_bundle_the_issuer_is_untrusted_and_with_it_the_same_process_succeeds() {
    let world = World::new().await;
    world.client_identity.update(&world.b, &[]);
    let server = world.server().await;
    let outcome = world.client(&server.address).run().await;
    outcome.assert_code(5);
    assert_eq!(outcome.lines[0]["reason"], "untrusted-issuer");

    let mut client = world.client(&server.address).with(&["--count", "0", "--interval", "20", "--keep-going"]).start();
    client.until("a refusal", |line| line["reason"] == "untrusted-issuer").await;
    world.client_identity.update(&world.b, &[&world.a]);
    client.until("a pong", |line| line["result"] == "pong").await;
}

#[tokio::test]
async fn an_authority_that_is_not_in_the_bundle_is_untrusted() {
    let world = World::new().await;
    let server = world.server().await;
    // Another authority under the name of the same trust domain.
    world.client_identity.update(&world.b, &[&Zone::new("a.test")]);
    let outcome = world.client(&server.address).run().await;
    outcome.assert_code(5);
}

#[tokio::test]
async fn a_server_that_is_not_the_expected_one_is_told_from_an_untrusted_one() {
    let world = World::new().await;
    let server = world.server().await;
    for expected in ["b.test", "spiffe://a.test/ns/demo/sa/other"] {
        let client = Client::new(&server.address).with(&["--mode", "mtls", "--expect", expected]);
        let outcome = client.with(&["--workload-api", &world.client_identity.endpoint()]).run().await;
        outcome.assert_code(6);
        assert_eq!(outcome.lines[0]["reason"], "unexpected-identity");
    }
    let exact = Client::new(&server.address).with(&["--mode", "mtls", "--expect", SERVER]);
    exact.with(&["--workload-api", &world.client_identity.endpoint()]).run().await.assert_code(0);
}

#[tokio::test]
async fn a_server_refuses_whom_it_does_not_trust_or_admit() {
    let world = World::new().await;
    world.server_identity.update(&world.a, &[]);
    let mut untrusting = world.server().await;
    let outcome = world.client(&untrusting.address).run().await;
    outcome.assert_code(7);
    untrusting.until("the refusal", |line| line.starts_with("refused ") && line.contains("b.test")).await;

    world.server_identity.update(&world.a, &[&world.b]);
    let endpoint = world.server_identity.endpoint();
    let mut choosy = Server::start(&["--mode", "mtls", "--admit", "spiffe://b.test/other", "--workload-api", &endpoint]).await;
    world.client(&choosy.address).run().await.assert_code(7);
    choosy.until("the refusal", |line| line.starts_with("refused ") && line.contains(CLIENT)).await;
}

#[tokio::test]
async fn the_authority_of_a_zone_rotates_under_traffic_without_a_failed_ping() {
    let mut world = World::new().await;
    let server = world.server().await;
    let mut client = world.client(&server.address).with(&["--count", "0", "--interval", "10", "--keep-going"]).start();
    client.until("the first pong", |line| line["result"] == "pong").await;

    // Published before it signs: both sides hold the new authority first.
    world.a.prepare();
    world.client_identity.update(&world.b, &[&world.a]);
    world.server_identity.update(&world.a, &[&world.b]);
    client.pongs(20).await;
    world.a.activate();
    world.server_identity.update(&world.a, &[&world.b]);
    workload_api::until_presented(server.address, &world.a).await;

    // Nothing is signed by the old one any more, so it goes, and only the new one can be behind the pongs.
    world.a.revoke_retired();
    world.client_identity.update(&world.b, &[&world.a]);
    world.server_identity.update(&world.a, &[&world.b]);
    client.pongs(20).await;
    let failures: Vec<_> = client.seen.iter().filter(|line| line["result"] == "failed").collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test]
async fn identities_that_change_all_the_time_fail_no_ping() {
    let world = World::new().await;
    let server = world.server().await;
    let mut client = world.client(&server.address).with(&["--count", "0", "--interval", "1", "--keep-going"]).start();
    for _ in 0..50 {
        client.pongs(2).await;
        world.client_identity.update(&world.b, &[&world.a]);
        client.pongs(2).await;
        world.server_identity.update(&world.a, &[&world.b]);
    }
    let failures: Vec<_> = client.seen.iter().filter(|line| line["result"] == "failed").collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test]
async fn where_nobody_listens_the_server_is_unreachable() {
    let nobody = {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap()
    };
    let outcome = plain_client(&nobody).run().await;
    outcome.assert_code(4);
    assert_eq!(outcome.lines[0]["reason"], "unreachable");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    // Accepts, by the backlog, and never reads.
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let outcome = plain_client(&silent.local_addr().unwrap()).with(&["--timeout", "200"]).run().await;
    outcome.assert_code(8);
    assert_eq!(outcome.lines[0]["reason"], "timed-out");
}

#[tokio::test]
async fn a_service_is_found_by_the_dns_server_that_was_named() {
    let world = World::new().await;
    let server = world.server().await;
    let zone = ZoneHandle::new();
    let any_port: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let dns = cofide_dns::serve(&[any_port], zone.clone(), Upstream::Nobody, CancellationToken::new()).await.unwrap();
    let dns_server = dns.addresses[0].to_string();
    let ask = || world.client(&format!("server.demo.a.test:{}", server.address.port())).with(&["--dns-server", &dns_server]);

    let outcome = ask().run().await;
    outcome.assert_code(3);
    assert_eq!(outcome.lines[0]["reason"], "name-not-found");
    zone.set(BTreeMap::from([("server.demo.a.test".parse().unwrap(), Ipv4Addr::LOCALHOST)]));
    ask().run().await.assert_code(0);
}

#[tokio::test]
async fn a_service_is_found_by_endpoint_discovery() {
    let world = World::new().await;
    let server = world.server().await;
    let xds = xds::EndpointServer::start().await;
    let ask = || world.client(&"server.demo.a.test").with(&["--xds-server", &xds.address.to_string()]);

    let outcome = ask().with(&["--timeout", "500"]).run().await;
    outcome.assert_code(3);
    assert_eq!(outcome.lines[0]["reason"], "name-not-found");

    // A client that is told "none yet" is told the truth as soon as there is one.
    let mut waiting = ask().start();
    xds.until_asked(2).await;
    xds.set("server.demo.a.test_cluster", &[server.address]);
    waiting.until("a pong", |line| line["peer"] == SERVER).await;
    ask().run().await.assert_code(0);
}

#[tokio::test]
async fn a_held_connection_that_is_closed_is_noticed_between_two_pings() {
    let mut server = Server::start(&["--mode", "plain", "--name", "someone"]).await;
    // The next ping would be an hour away.
    let mut client = plain_client(&server.address).with(&["--hold", "--count", "0", "--interval", "3600000"]).start();
    client.until("a pong", |line| line["reply"] == "...pong from someone").await;
    server.stop().await;
    client.until("the end of the connection", |line| line["reason"] == "refused").await;
    assert_eq!(client.exit_code().await, Some(7));
}

#[tokio::test]
async fn a_held_connection_carries_all_pings() {
    let mut server = Server::start(&["--mode", "plain"]).await;
    let outcome = plain_client(&server.address).with(&["--hold", "--count", "3", "--interval", "1"]).run().await;
    outcome.assert_code(0);
    assert_eq!(outcome.lines.last().unwrap()["answered"], 3);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.until("a ping", |line| line.starts_with("ping from ")).await);
    }
    assert_eq!((&clients[0], &clients[1]), (&clients[1], &clients[2]), "all from one port");
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let server = Server::start(&["--mode", "plain", "--greet"]).await;
    plain_client(&server.address).with(&["--expect-greeting"]).run().await.assert_code(0);

    let taciturn = Server::start(&["--mode", "plain"]).await;
    plain_client(&taciturn.address).with(&["--expect-greeting", "--timeout", "200"]).run().await.assert_code(8);
}

#[tokio::test]
async fn without_an_identity_the_programs_say_where_they_looked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:{}", folder.path().join("none.sock").display());
    let client = Client::new(&"127.0.0.1:1").with(&["--mode", "mtls", "--expect", "a.test", "--workload-api", &nowhere]);
    let outcome = client.with(&["--identity-timeout", "200"]).run().await;
    outcome.assert_code(1);
    for expected in [nowhere.as_str(), "attestation-policy-binding", "cofidectl explain"] {
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("waiting for"), "it did not wait for long: {}", outcome.stderr);
}

#[tokio::test]
async fn a_program_that_waits_for_an_identity_says_so_before_it_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:{}", folder.path().join("none.sock").display());
    let client = Client::new(&"127.0.0.1:1").with(&["--mode", "mtls", "--expect", "a.test", "--workload-api", &nowhere]);
    let outcome = client.with(&["--identity-timeout", "3000"]).run().await;
    outcome.assert_code(1);
    let waiting = format!("waiting for an identity from the Workload API at {nowhere}\n");
    assert!(outcome.stderr.starts_with(&waiting), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_dns_server_that_does_not_answer_is_named() {
    // One that is silent, and an address at which there is none.
    let silent = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let nobody = {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.local_addr().unwrap()
    };
    for server in [silent.local_addr().unwrap(), nobody] {
        let outcome =
            plain_client(&"server.demo.a.test:8443").with(&["--dns-server", &server.to_string(), "--timeout", "1000"]).run().await;
        outcome.assert_code(4);
        let told = outcome.lines[0].to_string();
        assert!(told.contains(&format!("the DNS server {server} does not answer")) && told.contains("--dns-server"), "{told}");
    }
}

//! The gateway, met by clients that do TLS themselves.

use std::time::Duration;

use cofide_agent::role::Role;
use cofide_core::TlsMode::{IstioMtls, Mtls};
use cofide_testkit::wait::works;

use crate::support::{Agent, Server, Zone, connect_plain, connect_tls, route};

/// What the drain time promises, and some.
const REVOCATION: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn only_exported_hostnames_are_reachable_and_each_leads_to_its_own_server() {
    let (a, b) = Zone::pair().await;
    let one = Server::mtls("one", a.tls().await).await;
    let two = Server::mtls("two", a.tls().await).await;
    let agent = Agent::start().await;
    agent.export(&[
        route("one.demo.a.test", Mtls, &["b.test"], &[one.address]),
        route("two.demo.a.test", Mtls, &["b.test"], &[two.address]),
    ]);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let tls = b.tls().await;

    for (server_name, server) in [
        ("one.demo.a.test", "one"),
        ("two.demo.a.test", "two"),
        ("outbound_.8443_._.one.demo.a.test", "one"),
        ("outbound_.8443_._.two.demo.a.test", "two"),
    ] {
        let connect = || connect_tls(agent.gateway_address, Some(server_name), &tls, "a.test");
        let (_, answer) = works(server_name, connect).await;
        assert_eq!(answer, format!("{server} to spiffe://b.test/workload: hello"), "{server_name}");
    }
    for unknown in [Some("three.demo.a.test"), Some("demo.a.test"), Some("x.one.demo.a.test"), Some("outbound_.9_._.one.demo.a.test"), None]
    {
        let refused = connect_tls(agent.gateway_address, unknown, &tls, "a.test").await;
        assert!(refused.is_err(), "{unknown:?}");
    }
    assert!(connect_plain(agent.gateway_address).await.is_err(), "plain text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_service_admits_exactly_the_trust_domains_it_is_exported_to() {
    let a = Zone::start("a.test").await;
    let (b, c, lookalike) = (Zone::start("b.test").await, Zone::start("c.test").await, Zone::start("b.test.evil").await);
    // All are federated, so that only the list of exported trust domains tells them apart.
    a.trusts(&[&b, &c, &lookalike]).await;
    for client in [&b, &c, &lookalike] {
        client.trusts(&[&a]).await;
    }
    let stranger = Zone::start("stranger.test").await;
    stranger.trusts(&[&a]).await;
    let server = Server::plain("plain").await;
    let agent = Agent::start().await;
    agent.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let connect = async |tls| connect_tls(agent.gateway_address, Some("plain.demo.a.test"), &tls, "a.test").await;

    let (admitted, istio) = (b.tls().await, b.tls().await);
    let (_, answer) = works("b.test is admitted", || connect(admitted.clone())).await;
    assert_eq!(answer, "plain to somebody: hello");
    connect_tls(agent.gateway_address, Some("outbound_.8443_._.plain.demo.a.test"), &istio, "a.test").await.unwrap();

    assert!(connect(c.tls().await).await.is_err(), "trusted, but the service is not exported to it");
    assert!(connect(lookalike.tls().await).await.is_err(), "a trust domain that begins with the name of an admitted one");
    assert!(connect(a.tls().await).await.is_err(), "the service's own trust domain");
    assert!(connect(stranger.tls().await).await.is_err(), "not trusted");
    assert!(connect(b.tls().await.without_identity()).await.is_err(), "no certificate");
    connect(b.tls().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexported_service_loses_its_connections_in_time_and_its_neighbours_keep_theirs() {
    let (a, b) = Zone::pair().await;
    let agent = Agent::start().await;
    let (mtls, plain) = (Server::mtls("mtls", a.tls().await).await, Server::plain("plain").await);
    let all = [
        route("gone.demo.a.test", Mtls, &["b.test"], &[mtls.address]),
        route("gone-plain.demo.a.test", IstioMtls, &["b.test"], &[plain.address]),
        route("stays.demo.a.test", Mtls, &["b.test"], &[mtls.address]),
        route("stays-plain.demo.a.test", IstioMtls, &["b.test"], &[plain.address]),
    ];
    agent.export(&all);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let tls = b.tls().await;
    let connect = async |hostname: &str| connect_tls(agent.gateway_address, Some(hostname), &tls, "a.test").await;

    let (gone, _) = works("connect", || connect("gone.demo.a.test")).await;
    let (gone_plain, _) = works("connect", || connect("gone-plain.demo.a.test")).await;
    let (mut stays, _) = connect("stays.demo.a.test").await.unwrap();
    let (mut stays_plain, _) = connect("stays-plain.demo.a.test").await.unwrap();

    agent.export(&all[2..]);
    let (closed, closed_plain) = tokio::join!(gone.closed_within(REVOCATION), gone_plain.closed_within(REVOCATION));
    closed.unwrap();
    closed_plain.unwrap();
    assert!(connect("gone.demo.a.test").await.is_err());
    assert!(connect("gone-plain.demo.a.test").await.is_err());
    assert_eq!(stays.say("again").await.unwrap(), "mtls to spiffe://b.test/workload: again");
    assert_eq!(stays_plain.say("again").await.unwrap(), "plain to somebody: again");

    agent.export(&all);
    works("exported again", || connect("gone-plain.demo.a.test")).await;
    assert_eq!(stays.say("still").await.unwrap(), "mtls to spiffe://b.test/workload: still");
    assert_eq!(stays_plain.say("still").await.unwrap(), "plain to somebody: still");
    assert_eq!(envoy.stat("listener_manager.listener_in_place_updated").await.unwrap(), 2, "the listener was never replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_through_service_that_is_narrowed_loses_its_connections_in_time_and_its_neighbours_keep_theirs() {
    let (a, b) = Zone::pair().await;
    let server = Server::mtls("mtls", a.tls().await).await;
    let agent = Agent::start().await;
    let neighbour = route("stays.demo.a.test", Mtls, &["b.test"], &[server.address]);
    let wide = route("server.demo.a.test", Mtls, &["b.test", "c.test"], &[server.address]);
    let narrow = route("server.demo.a.test", Mtls, &["c.test"], &[server.address]);
    agent.export(&[wide, neighbour.clone()]);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let tls = b.tls().await;
    let connect = async |hostname: &str| connect_tls(agent.gateway_address, Some(hostname), &tls, "a.test").await;
    let (connection, _) = works("connect", || connect("server.demo.a.test")).await;
    let (mut stays, _) = connect("stays.demo.a.test").await.unwrap();

    agent.export(&[narrow, neighbour]);
    connection.closed_within(REVOCATION).await.unwrap();
    assert_eq!(stays.say("again").await.unwrap(), "mtls to spiffe://b.test/workload: again");
    assert_eq!(envoy.stat("listener_manager.listener_in_place_updated").await.unwrap(), 1, "the listener was not replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_domain_that_is_admitted_no_longer_loses_its_connections_in_time() {
    let a = Zone::start("a.test").await;
    let (b, c) = (Zone::start("b.test").await, Zone::start("c.test").await);
    a.trusts(&[&b, &c]).await;
    b.trusts(&[&a]).await;
    c.trusts(&[&a]).await;
    let server = Server::plain("plain").await;
    let agent = Agent::start().await;
    agent.export(&[route("plain.demo.a.test", IstioMtls, &["b.test", "c.test"], &[server.address])]);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let (tls_b, tls_c) = (b.tls().await, c.tls().await);
    let connect = async |tls| connect_tls(agent.gateway_address, Some("plain.demo.a.test"), tls, "a.test").await;
    let (connection, _) = works("c.test is admitted", || connect(&tls_c)).await;

    agent.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    connection.closed_within(REVOCATION).await.unwrap();
    assert!(connect(&tls_c).await.is_err());
    connect(&tls_b).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_come_and_go_under_open_connections() {
    let (a, b) = Zone::pair().await;
    let (old, new) = (Server::mtls("old", a.tls().await).await, Server::mtls("new", a.tls().await).await);
    let agent = Agent::start().await;
    agent.export(&[route("server.demo.a.test", Mtls, &["b.test"], &[old.address])]);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let tls = b.tls().await;
    let connect = async || connect_tls(agent.gateway_address, Some("server.demo.a.test"), &tls, "a.test").await;
    let (mut connection, _) = works("connect", connect).await;

    agent.export(&[route("server.demo.a.test", Mtls, &["b.test"], &[new.address])]);
    works("new connections go to the new server", async || {
        let (_, answer) = connect().await?;
        anyhow::ensure!(answer.starts_with("new "), "{answer}");
        Ok(())
    })
    .await;
    assert_eq!(connection.say("again").await.unwrap(), "old to spiffe://b.test/workload: again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_exports_nothing_listens() {
    let (a, b) = Zone::pair().await;
    let server = Server::mtls("one", a.tls().await).await;
    let agent = Agent::start().await;
    agent.export(&[]);
    let _envoy = agent.envoy(Role::Gateway, &a).await;
    assert!(tokio::net::TcpStream::connect(agent.gateway_address).await.is_err());

    agent.export(&[route("one.demo.a.test", Mtls, &["b.test"], &[server.address])]);
    let tls = b.tls().await;
    let (connection, _) = works("connect", || connect_tls(agent.gateway_address, Some("one.demo.a.test"), &tls, "a.test")).await;

    agent.export(&[]);
    connection.closed_within(REVOCATION).await.unwrap();
    works("nothing listens", async || {
        anyhow::ensure!(tokio::net::TcpStream::connect(agent.gateway_address).await.is_err(), "still listening");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_one_trust_domain_cannot_speak_for_another() {
    let (a, b) = Zone::pair().await;
    let impostor = Zone::start("b.test").await;
    impostor.trusts(&[&a]).await;
    // A trusts the impostor's authority, but for c.test alone.
    let c = cofide_core::TrustDomain::new("c.test").unwrap();
    a.trusts_as(&impostor, &c).await;
    let server = Server::plain("plain").await;
    let agent = Agent::start().await;
    agent.export(&[route("plain.demo.a.test", IstioMtls, &["b.test", "c.test"], &[server.address])]);
    let envoy = agent.envoy(Role::Gateway, &a).await;
    envoy.until_listening("gateway").await;
    let connect = async |tls| connect_tls(agent.gateway_address, Some("plain.demo.a.test"), &tls, "a.test").await;
    let own = b.tls().await;
    works("b.test is admitted", || connect(own.clone())).await;
    assert!(connect(impostor.tls().await).await.is_err(), "an authority of c.test has spoken for b.test");
    connect(b.tls().await).await.unwrap();
}

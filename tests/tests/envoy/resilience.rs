//! When parts fail: gateways, names, identities, the agent.

use std::time::Instant;

use cofide_agent::role::Role;
use cofide_core::TlsMode::{IstioMtls, Mtls};
use cofide_testkit::envoy::Envoy;
use cofide_testkit::wait::{PATIENCE, works};

use crate::support::{Agent, Server, Zone, connect_plain, connect_tls, gateway_at, import, route};

fn gateway_of(agent: &Agent) -> cofide_core::Gateway {
    gateway_at(&agent.gateway_address.ip().to_string(), agent.gateway_address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_gateway_is_passed_over_for_the_service_that_met_it() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let routes = ["one.demo.a.test", "two.demo.a.test"].map(|hostname| route(hostname, IstioMtls, &["b.test"], &[server.address]));
    let (first, second, importer) = (Agent::start().await, Agent::start().await, Agent::start().await);
    first.export(&routes);
    second.export(&routes);
    let (one_gateway, other_gateway) = tokio::join!(first.envoy(Role::Gateway, &a), second.envoy(Role::Gateway, &a));
    one_gateway.until_listening("gateway").await;
    other_gateway.until_listening("gateway").await;
    let gateways = [gateway_of(&first), gateway_of(&second)];
    let imports = ["one.demo.a.test", "two.demo.a.test"].map(|hostname| import(hostname, IstioMtls, &gateways));
    let address = importer.import(&imports)[0];
    let client = importer.envoy(Role::Client, &b).await;
    works("connect", || connect_plain(address)).await;

    // Both are used while both are there.
    let served = async |envoy: &Envoy| envoy.stat("tcp.one.demo.a.test.downstream_cx_total").await.unwrap();
    for _ in 0..16 {
        connect_plain(address).await.unwrap();
    }
    assert!(served(&one_gateway).await > 0 && served(&other_gateway).await > 0);

    drop(one_gateway);
    for _ in 0..16 {
        connect_plain(address).await.unwrap_or_else(|error| panic!("a client noticed: {error:#}"));
    }
    let ejected = |service: &str| format!("cluster.{service}.demo.a.test_cluster.outlier_detection.ejections_active");
    assert_eq!(client.stat(&ejected("one")).await.unwrap(), 1);
    assert_eq!(client.stat(&ejected("two")).await.unwrap(), 0, "another service has not met it");

    let returned = first.envoy(Role::Gateway, &a).await;
    returned.until_listening("gateway").await;
    works("the gateway is used again", async || {
        connect_plain(address).await?;
        anyhow::ensure!(served(&returned).await > 0, "not yet");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_host_name_is_resolved_by_envoy() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let (exporter, importer) = (Agent::start_on_localhost().await, Agent::start().await);
    exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let _gateway = exporter.envoy(Role::Gateway, &a).await;
    let address =
        importer.import(&[import("plain.demo.a.test", IstioMtls, &[gateway_at("localhost", exporter.gateway_address.port())])])[0];
    let _client = importer.envoy(Role::Client, &b).await;
    let tls = b.tls().await;
    works("plain text", || connect_plain(address)).await;
    works("TLS", || connect_tls(address, Some("plain.demo.a.test"), &tls, "a.test")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_may_change_from_address_to_host_name_under_traffic() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let (exporter, importer) = (Agent::start_on_localhost().await, Agent::start().await);
    exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let _gateway = exporter.envoy(Role::Gateway, &a).await;
    let port = exporter.gateway_address.port();
    let [by_ip, by_name] = ["127.0.0.1", "localhost"].map(|host| import("plain.demo.a.test", IstioMtls, &[gateway_at(host, port)]));
    let address = importer.import(std::slice::from_ref(&by_ip))[0];
    let client = importer.envoy(Role::Client, &b).await;
    works("connect", || connect_plain(address)).await;

    for imported in [&by_name, &by_ip, &by_name] {
        let updates = client.stat("cluster_manager.cluster_modified").await.unwrap();
        importer.import(std::slice::from_ref(imported));
        // Both clusters of the import are replaced; no connection fails in the meantime.
        let start = Instant::now();
        while client.stat("cluster_manager.cluster_modified").await.unwrap() < updates + 2 {
            connect_plain(address).await.unwrap_or_else(|error| panic!("a client noticed: {error:#}"));
            assert!(start.elapsed() < PATIENCE);
        }
        connect_plain(address).await.unwrap_or_else(|error| panic!("a client noticed: {error:#}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_an_identity_still_passes_tls_through() {
    let (a, b) = Zone::pair().await;
    let mtls = Server::mtls("mtls", a.tls().await).await;
    let plain = Server::plain("plain").await;
    // A SPIFFE server that has no entry for anybody: Envoy waits there in vain.
    let nobody = Zone::start("a.test").await;
    let agent = Agent::start().await;
    agent.export(&[
        route("mtls.demo.a.test", Mtls, &["b.test"], &[mtls.address]),
        route("plain.demo.a.test", IstioMtls, &["b.test"], &[plain.address]),
    ]);
    let envoy = agent.envoy(Role::Gateway, &nobody).await;
    envoy.until_listening("gateway").await;
    let tls = b.tls().await;
    let connect = async |hostname| connect_tls(agent.gateway_address, Some(hostname), &tls, "a.test").await;
    works("passed through", || connect("mtls.demo.a.test")).await;
    assert!(connect("plain.demo.a.test").await.is_err(), "there is nothing to terminate with");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_outlives_the_agent_and_its_return() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let (exporter, importer) = (Agent::start().await, Agent::start().await);
    exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let imported = import("plain.demo.a.test", IstioMtls, &[gateway_of(&exporter)]);
    let address = importer.import(std::slice::from_ref(&imported))[0];
    let (_gateway, client) = tokio::join!(exporter.envoy(Role::Gateway, &a), importer.envoy(Role::Client, &b));
    let (mut connection, _) = works("connect", || connect_plain(address)).await;

    let stopped = importer.stop().await;
    client.until("the agent is missed", "/stats?filter=control_plane.connected_state", |stats| stats.contains("connected_state: 0")).await;
    assert_eq!(connection.say("alone").await.unwrap(), "plain to somebody: alone");
    connect_plain(address).await.unwrap();

    let importer = stopped.start().await;
    assert_eq!(importer.import(std::slice::from_ref(&imported))[0], address);
    client.until("the agent is back", "/stats?filter=control_plane.connected_state", |stats| stats.contains("connected_state: 1")).await;
    connect_plain(address).await.unwrap();
    assert_eq!(connection.say("together").await.unwrap(), "plain to somebody: together");
    assert_eq!(client.stat("listener_manager.listener_modified").await.unwrap(), 0, "equal content is not applied again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_harms_only_its_own_import() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let (exporter, importer) = (Agent::start().await, Agent::start().await);
    let hostnames = ["free.demo.a.test", "taken.demo.a.test"];
    exporter.export(&hostnames.map(|hostname| route(hostname, IstioMtls, &["b.test"], &[server.address])));
    let _gateway = exporter.envoy(Role::Gateway, &a).await;
    let imports = hostnames.map(|hostname| import(hostname, IstioMtls, &[gateway_of(&exporter)]));
    let addresses = importer.import(&imports);
    let _taken = tokio::net::TcpListener::bind(addresses[1]).await.unwrap();
    let _client = importer.envoy(Role::Client, &b).await;
    works("the other import works", || connect_plain(addresses[0])).await;

    let reason = works("the agent knows which one was refused, and why", async || {
        let proxies = importer.xds.proxies().get();
        let rejected = proxies.iter().flat_map(|proxy| &proxy.rejected).collect::<Vec<_>>();
        anyhow::ensure!(rejected.len() == 1, "{rejected:?}");
        anyhow::ensure!(rejected[0].0.1 == "taken.demo.a.test_listener", "{rejected:?}");
        Ok(rejected[0].1.clone())
    })
    .await;
    assert!(reason.contains("Address already in use"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_envoy_at_the_same_address_is_refused_instead_of_sharing_its_connections() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let (exporter, importer) = (Agent::start().await, Agent::start().await);
    exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let _gateway = exporter.envoy(Role::Gateway, &a).await;
    let address = importer.import(&[import("plain.demo.a.test", IstioMtls, &[gateway_of(&exporter)])])[0];
    let _first = importer.envoy(Role::Client, &b).await;
    works("the first serves", || connect_plain(address)).await;

    let _second = importer.envoy(Role::Client, &b).await;
    let reason = works("the second is refused the address", async || {
        let proxies = importer.xds.proxies().get();
        let rejected = proxies.iter().flat_map(|proxy| &proxy.rejected).next();
        rejected.map(|(_, reason)| reason.clone()).ok_or_else(|| anyhow::anyhow!("nothing was rejected"))
    })
    .await;
    // The agent's log takes the address from these words.
    let words = format!("plain.demo.a.test_listener: cannot bind '{address}': Address already in use");
    assert!(reason.contains(&words), "{reason}");
    connect_plain(address).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_replaced_under_traffic_and_no_connection_fails() {
    let (a, b) = Zone::pair().await;
    let server = Server::plain("plain").await;
    let (exporter, importer) = (Agent::start().await, Agent::start().await);
    exporter.export(&[route("plain.demo.a.test", IstioMtls, &["b.test"], &[server.address])]);
    let address = importer.import(&[import("plain.demo.a.test", IstioMtls, &[gateway_of(&exporter)])])[0];
    let (gateway, client) = tokio::join!(exporter.envoy(Role::Gateway, &a), importer.envoy(Role::Client, &b));
    works("connect", || connect_plain(address)).await;

    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let traffic = tokio::spawn(async move {
        let mut count = 0;
        while !stopped.is_cancelled() {
            connect_plain(address).await.map_err(|error| format!("connection {count}: {error:#}"))?;
            count += 1;
        }
        Ok::<_, String>(count)
    });

    // Each step begins when the Envoys concerned have taken the one before.
    let mut authorities = a.authorities().await;
    let next = authorities.prepare().await.unwrap();
    after_update_of(&client, "ALL", b.trusts(&[&a])).await;
    let old = after_update_of(&gateway, "default", authorities.activate(next)).await.unwrap();
    authorities.retire(old).await.unwrap();
    after_update_of(&client, "ALL", b.trusts(&[&a])).await;
    for _ in 0..8 {
        connect_plain(address).await.unwrap();
    }

    stop.cancel();
    assert!(traffic.await.unwrap().unwrap() > 8);
}

/// Waits until Envoy has taken a secret that came of this.
async fn after_update_of<T>(envoy: &Envoy, secret: &str, change: impl Future<Output = T>) -> T {
    let stat = format!("sds.{secret}.update_success");
    let before = envoy.stat(&stat).await.unwrap();
    let outcome = change.await;
    works(&stat, async || {
        anyhow::ensure!(envoy.stat(&stat).await? > before, "no update of {secret} since the {before}th");
        Ok(())
    })
    .await;
    outcome
}

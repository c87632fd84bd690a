//! A SPIRE server that the agent is to leave alone.

use cofide_agent::config::Config;
use cofide_agent::spire::SpireAccess;
use cofide_agent::world::Link;
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_testkit::plane::{Agent, Plane};
use cofide_testkit::wait::eventually;

use crate::world::{A, B, imported, service};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_leaves_the_spire_server_alone_joins_exports_and_imports_without_its_socket() {
    let mut plane = Plane::start().await.unwrap();
    assert_eq!(plane.add_zone("a").await.unwrap(), A);
    assert_eq!(plane.create_zone("b").await.unwrap(), B);
    plane.federate_both_ways(A, B).await.unwrap();
    plane.zones[B].start_trust_zone_server().await.unwrap();
    plane.write_bootstrap(B, plane.join_token(B).await.unwrap()).unwrap();
    let b = &plane.zones[B];
    let nowhere = b.folder.join("no-such.sock");
    let config = Config { spire: SpireAccess::None, spire_server_socket: nowhere, ..b.agent_config() };
    let agent = Agent::start(config, &b.folder.join("agent.log")).await.unwrap();

    let link = || async { (*agent.world().link.get()).clone() };
    eventually("it joined, and follows the plan", link, |link| *link == Link::Connected).await;
    plane.zones[A].write_manifest("server.yaml", &service("server", &["b.test"], 15443)).unwrap();
    imported(b, "server.demo.a.test").await;
    b.write_manifest("client.yaml", &service("client", &["a.test"], 15443)).unwrap();
    imported(&plane.zones[A], "client.demo.b.test").await;

    // Zone A trusts what the agent of B has told of its bundle; what B's own server holds, nobody here claims to know.
    let states = || async { plane.federation_states().await.unwrap() };
    eventually("each direction is told as it is", states, |states| {
        let told = |from: &str, expected| states.iter().any(|(zone, _, state)| zone.contains(from) && *state == expected);
        told("trust-zone-a", State::Healthy) && told("trust-zone-b", State::Unknown)
    })
    .await;
    assert!(b.spire().read().await.unwrap().bundles.is_empty(), "the server was left alone");
    agent.stop().await.unwrap();
}

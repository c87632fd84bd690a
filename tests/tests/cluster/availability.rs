//! What goes away, and comes back.

use std::time::Duration;

use cofide_k8s_api::federated_service::crd;
use cofide_testkit::wait::eventually;
use serde_json::json;

use crate::support::{RIGHTS, World, federated_service};

#[tokio::test]
async fn an_api_server_that_starts_again_is_followed_again() {
    let mut world = World::start().await;
    world.ping_pong().await;
    world.apply(&federated_service("ping-pong")).await;
    world.ready("ping-pong").await;
    world.cluster.stop_api_server().await.unwrap();
    assert_eq!(world.registered().await, ["server.demo"], "an API server that is away withdraws nothing");
    world.cluster.start_api_server().await.unwrap();
    let version = world.version("ping-pong").await;
    world.fence("fence").await;
    assert_eq!(world.version("ping-pong").await, version, "a status was written that had not changed");
    world.gateway("istio-ingressgateway", "https", 443, &[json!({ "ip": "192.0.2.7" })]).await;
    let entries = || async { json!(world.status("ping-pong").await.gateway_entries)[0]["ip"].clone() };
    eventually("the new address is told", entries, |ip| *ip == json!("192.0.2.7")).await;
}

/// What is promised for a leader that vanishes.
const HAND_OVER: Duration = Duration::from_secs(15);
/// One that stops gives the Lease back, and the other one looks for it again within two seconds.
const GRACEFUL: Duration = Duration::from_secs(5);

#[tokio::test]
async fn of_two_agents_one_writes_and_the_other_takes_over() {
    let mut world = World::start().await;
    world.ping_pong().await;
    world.led_by(0, HAND_OVER).await;
    world.start_agent(|_| {}).await;
    world.apply(&federated_service("ping-pong")).await;
    world.ready("ping-pong").await;
    assert!(!world.agent_log(1).contains("this agent is the leader now"), "{}", world.agent_log(1));

    world.take_agent(0).kill().await.unwrap();
    let mut late = federated_service("late");
    late["spec"]["name"] = json!("late");
    world.apply(&late).await;
    world.led_by(1, HAND_OVER).await;
    world.ready("late").await;
    assert_eq!(world.registered().await, ["late.demo", "server.demo"]);

    // What the first one registered, the second one withdraws.
    world.cluster.delete_yaml(&federated_service("ping-pong").to_string()).await.unwrap();
    eventually("it is withdrawn", || world.registered(), |names| *names == ["late.demo"]).await;

    world.start_agent(|_| {}).await;
    world.take_agent(1).stop().await.unwrap();
    world.led_by(2, GRACEFUL).await;
    world.fence("fence").await;
}

#[tokio::test]
async fn rights_that_are_taken_away_are_missed_in_the_log_and_take_nothing_with_them() {
    let mut world = World::without_agent(Some(&crd::yaml())).await;
    world.both_gateways().await;
    world.ping_pong().await;
    let kubeconfig = world.agent_of_its_own_account().await;
    world.cluster.apply_yaml(RIGHTS).await.unwrap();
    let agent = world.start_agent(|config| config.kubeconfig = Some(kubeconfig)).await;
    world.apply(&federated_service("ping-pong")).await;
    world.ready("ping-pong").await;

    world.cluster.delete_yaml(RIGHTS).await.unwrap();
    // A watch that was allowed goes on until it ends.
    world.cluster.stop_api_server().await.unwrap();
    world.cluster.start_api_server().await.unwrap();
    let log = || async { world.agent_log(agent) };
    eventually("the agent says what it lacks", log, |log| log.contains("see the chart's ClusterRole")).await;
    assert_eq!(world.registered().await, ["server.demo"]);

    world.cluster.apply_yaml(RIGHTS).await.unwrap();
    world.fence("fence").await;
    assert_eq!(world.registered().await, ["fence.demo", "server.demo"]);
}

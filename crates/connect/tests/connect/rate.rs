//! What one agent may ask for in a minute.

use cofide_api::connect::agent_service::ListFederatedServicesRequest;
use cofide_connect_client::{RETRY_PUSHBACK, patiently};
use tonic::Code;

use crate::federated_services::{register, service};
use crate::support::Plane;

#[tokio::test]
async fn an_agent_that_loops_is_sent_away_for_a_while_and_loses_no_change_by_it() {
    let plane = Plane::start_with(|config| {
        config.max_agent_changes_per_minute = 60;
        config.max_federated_services_per_cluster = 10;
    })
    .await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (one, two) = (plane.joined(&a, "one").await, plane.joined(&b, "two").await);
    let mut accepted = 0;
    let refusal = loop {
        match register(&one.agent, service("server", &["b.test"])).await {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
        assert!(accepted < 1_000, "it is never refused");
    };
    assert!(accepted >= 120, "everything twice, and a bit: {accepted}");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    for part in ["cluster one", "60 changes a minute", "try again in", "max_agent_changes_per_minute"] {
        assert!(refusal.message().contains(part), "{part:?} is not in {:?}", refusal.message());
    }
    let pushback: u64 = refusal.metadata().get(RETRY_PUSHBACK).expect("when to come back").to_str().unwrap().parse().unwrap();
    assert!((1..=3_000).contains(&pushback), "{pushback}");

    register(&two.agent, service("server", &["a.test"])).await.expect("another agent has its own allowance");
    let list = one.agent.agents().list_federated_services(ListFederatedServicesRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.services.len(), 1, "reading is not changing");
    let change = || register(&one.agent, service("client", &["b.test"]));
    patiently(change).await.expect("the client comes back as it was told, with the same change");
}

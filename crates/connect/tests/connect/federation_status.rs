//! How each direction of trust stands, from what agents have read in their SPIRE servers.

use std::collections::BTreeMap;
use std::time::Duration;

use cofide_api::connect::federation_service::DestroyFederationRequest;
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_api::connect::receipt_service::report_held_bundles_request::HeldBundle;
use cofide_api::connect::receipt_service::{
    FederationStatus, FoundBundle as FoundMessage, GetFederationStatusRequest, ListFederationStatusesRequest, ReportHeldBundlesRequest,
};
use cofide_api::connect::trust_zone_service::UpdateTrustZoneBundleRequest;
use cofide_api::convert::bundle_reading::Draft;
use cofide_api::convert::from_timestamp;
use cofide_api::convert::plan::FEDERATED_TRUST;
use cofide_api::plan;
use cofide_core::{Bundle, FoundBundle};
use tonic::Code;

use crate::plan_stream::{Follower, Versions, receipts};
use crate::support::{Authority, Client, Plane, Zone, eventually, refused};

/// An agent's reading of its SPIRE server.
pub(crate) async fn report(agent: &Client, bundles: impl IntoIterator<Item = cofide_api::spire::types::Bundle>) {
    let found = bundles.into_iter().map(|bundle| {
        let bundle = Bundle::try_from(bundle).unwrap();
        (bundle.trust_domain.clone(), FoundBundle { digest: bundle.digest(), sequence_number: bundle.sequence_number })
    });
    let draft = Draft { bundles: found.collect(), age: Duration::ZERO };
    agent.receipts().report_held_bundles(ReportHeldBundlesRequest::from(&draft)).await.unwrap();
}

/// Tells Connect, as the agent does, that the SPIRE server holds the bundles that this stream has brought.
pub(crate) async fn report_what_it_holds(follower: &Follower, agent: &Client) {
    let held = follower.held.get(FEDERATED_TRUST).into_iter().flat_map(BTreeMap::keys);
    let bundles = held.filter_map(|name| follower.body::<plan::FederatedTrust>(FEDERATED_TRUST, name).bundle);
    report(agent, bundles).await;
}

async fn status(plane: &Plane, from: &Zone) -> FederationStatus {
    let request = ListFederationStatusesRequest::default();
    let statuses = plane.admin().await.receipts().list_federation_statuses(request).await.unwrap().into_inner().statuses;
    statuses.into_iter().find(|status| status.trust_zone_id == from.id).expect("a status for each federation")
}

#[tokio::test]
async fn the_status_of_a_federation_is_what_the_agents_have_read() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let federation = plane.federate(&a, &b).await;
    let of_a = async || {
        let status = status(&plane, &a).await;
        (status.state(), status.reason)
    };
    let (state, reason) = of_a().await;
    assert_eq!(state, State::Waiting, "{reason}");
    let agent_of_b = plane.joined(&b, "one").await;
    let (state, reason) = of_a().await;
    assert_eq!(state, State::Unknown, "{reason}");
    let one = plane.joined(&a, "one").await;
    let (state, reason) = of_a().await;
    assert!(state == State::Unknown && reason.contains("one"), "{reason}");

    let mut follower = Follower::open(&one.agent, &Versions::new()).await;
    follower.settle().await;
    assert!(follower.held[FEDERATED_TRUST].contains_key("b.test"));
    eventually(|| receipts(&plane), |receipts| receipts.iter().any(|receipt| receipt.resource_name == "b.test" && receipt.applied)).await;
    assert_eq!(of_a().await.0, State::Unknown, "that it was acknowledged says nothing about what is there");
    report(&one.agent, []).await;
    assert_eq!(of_a().await, (State::Unhealthy, "No bundle found".into()));
    report_what_it_holds(&follower, &one.agent).await;
    assert_eq!(of_a().await, (State::Healthy, String::new()));

    // A second cluster of the zone has joined and said nothing: not every agent holds the bundle.
    let two = plane.joined(&a, "two").await;
    assert_eq!(of_a().await.0, State::Unknown);
    let mut second = Follower::open(&two.agent, &Versions::new()).await;
    second.settle().await;
    report_what_it_holds(&second, &two.agent).await;
    assert_eq!(of_a().await.0, State::Healthy);

    let mut rotated = b.authority.clone();
    rotated.0.prepare(std::time::SystemTime::now()).unwrap();
    let request = UpdateTrustZoneBundleRequest { bundle: Some(rotated.bundle()), trust_zone_id: String::new() };
    agent_of_b.agent.trust_zones().update_trust_zone_bundle(request).await.unwrap();
    assert_eq!(of_a().await, (State::Unhealthy, "Bundles do not match".into()));
    follower.sets(&["FederatedTrust b.test"]).await;
    report_what_it_holds(&follower, &one.agent).await;
    let response = second.response().await;
    second.answer(&response, Some("SPIRE is away")).await;
    let refused = "Bundles do not match; cluster two refused it: SPIRE is away";
    eventually(of_a, |status| *status == (State::Unhealthy, refused.into())).await;
    drop(second);

    // The same agent, started anew with nothing: it is sent the bundle again.
    let mut second = Follower::open(&two.agent, &Versions::new()).await;
    second.settle().await;
    report_what_it_holds(&second, &two.agent).await;
    assert_eq!(of_a().await.0, State::Healthy);

    plane.admin().await.federations().destroy_federation(DestroyFederationRequest { federation_id: Some(federation) }).await.unwrap();
    assert_eq!(follower.take().await, (vec![], vec!["FederatedTrust b.test".to_owned()]));
    let statuses = plane.admin().await.receipts().list_federation_statuses(ListFederationStatusesRequest::default()).await.unwrap();
    assert!(statuses.into_inner().statuses.is_empty());
}

#[tokio::test]
async fn both_directions_are_shown_with_what_was_delivered_and_what_is_held() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (one, _) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    let status = async || {
        let request = GetFederationStatusRequest { trust_zone_id: a.id.clone(), remote_trust_zone_id: b.id.clone() };
        let answer = plane.admin().await.receipts().get_federation_status(request).await.unwrap().into_inner();
        (answer.direction.unwrap(), answer.reverse.unwrap())
    };
    let older = Authority::new("b.test").bundle();
    report(&one.agent, [older.clone()]).await;
    let (direction, reverse) = status().await;
    assert_eq!((direction.trust_zone_id.as_str(), reverse.trust_zone_id.as_str()), (a.id.as_str(), b.id.as_str()));
    assert_eq!(direction.federation.as_ref().unwrap().state(), State::Unhealthy);
    assert!(reverse.federation.is_none(), "b does not trust a");
    let digest = |bundle| Bundle::try_from(bundle).unwrap().digest().to_string();
    assert_eq!(direction.delivered.as_ref().unwrap().digest, digest(b.authority.bundle()));
    let [cluster] = direction.clusters.try_into().unwrap();
    assert_eq!((cluster.cluster_id.as_str(), cluster.state()), (one.id.as_str(), State::Unhealthy));
    assert_eq!(cluster.held.unwrap().digest, digest(older));
    let since = cluster.since.expect("since when it is held");
    assert!(cluster.read_at.is_some());

    // The same again proves it anew, and is held no shorter.
    report(&one.agent, [b.authority.bundle()]).await;
    let first = status().await.0;
    report(&one.agent, [b.authority.bundle()]).await;
    let second = status().await.0;
    assert_eq!(second.federation.as_ref().unwrap().state(), State::Healthy);
    let [first, second] = [first, second].map(|direction| direction.clusters.into_iter().next().unwrap());
    assert_eq!(first.since, second.since);
    assert!(from_timestamp(&second.since.unwrap()) > from_timestamp(&since));
    assert!(from_timestamp(&second.read_at.unwrap()) > from_timestamp(&first.read_at.unwrap()));

    let itself = GetFederationStatusRequest { trust_zone_id: a.id.clone(), remote_trust_zone_id: a.id.clone() };
    refused(plane.admin().await.receipts().get_federation_status(itself).await, Code::InvalidArgument, &["two trust zones"]);
    refused(one.agent.receipts().get_federation_status(GetFederationStatusRequest::default()).await, Code::PermissionDenied, &[]);
    let request = ReportHeldBundlesRequest::default();
    refused(plane.admin().await.receipts().report_held_bundles(request).await, Code::PermissionDenied, &["agent"]);
    let bad = HeldBundle { trust_domain: "b.test".into(), found: Some(FoundMessage { digest: "xyz".into(), sequence_number: 1 }) };
    let request = ReportHeldBundlesRequest { bundles: vec![bad], age: None };
    refused(one.agent.receipts().report_held_bundles(request).await, Code::InvalidArgument, &["bundles[0].found.digest", "64"]);
}

#[tokio::test]
async fn a_reading_that_took_its_time_is_no_younger_than_it_is() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (one, _) = (plane.joined(&a, "one").await, plane.joined(&b, "one").await);
    plane.federate(&a, &b).await;
    let bundle = Bundle::try_from(b.authority.bundle()).unwrap();
    let found = FoundBundle { digest: bundle.digest(), sequence_number: 0 };
    let draft = Draft { bundles: [(bundle.trust_domain, found)].into(), age: Duration::from_secs(3600) };
    one.agent.receipts().report_held_bundles(ReportHeldBundlesRequest::from(&draft)).await.unwrap();
    let status = status(&plane, &a).await;
    assert_eq!(status.state(), State::Unknown, "{status:?}");
    assert!(status.reason.contains("1h ago"), "{status:?}");
}

//! Bindings that name their partners by a pattern, and what is said of the bundles that their workloads wait for.

use cofide_api::connect::ap_binding_service::{CreateApBindingRequest, GetApBindingRequest, ListApBindingsRequest, UpdateApBindingRequest};
use cofide_api::connect::audit_service::{ListEventsRequest, list_events_request};
use cofide_api::connect::federation_service::DestroyFederationRequest;
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_api::connect::receipt_service::{BindingStatus, ListBindingStatusesRequest};
use cofide_api::connect::trust_zone_service::DestroyTrustZoneRequest;
use cofide_api::convert::plan::WORKLOAD_REGISTRATION;
use cofide_api::plan;
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_api::types::audit::EventType;
use tonic::Code;

use crate::federation_status::{report, report_what_it_holds};
use crate::plan_stream::{Follower, Versions};
use crate::rules::{create_policy, static_policy};
use crate::support::{Plane, Zone, refused};

fn partners(zones: &[&Zone]) -> Vec<ApBindingFederation> {
    zones.iter().map(|zone| ApBindingFederation { trust_zone_id: Some(zone.id.clone()) }).collect()
}

async fn bind(plane: &Plane, zone: &Zone, named: &[&Zone], patterns: &[&str]) -> ApBinding {
    let admin = plane.admin().await;
    let policy = create_policy(&admin, static_policy("p")).await.unwrap();
    let binding = ApBinding {
        trust_zone_id: Some(zone.id.clone()),
        policy_id: policy.id,
        federations: partners(named),
        federates_with_patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        ..ApBinding::default()
    };
    let request = CreateApBindingRequest { binding: Some(binding) };
    admin.bindings().create_ap_binding(request).await.unwrap().into_inner().binding.unwrap()
}

async fn get(plane: &Plane, binding: &ApBinding) -> ApBinding {
    let request = GetApBindingRequest { binding_id: binding.id.clone() };
    plane.admin().await.bindings().get_ap_binding(request).await.unwrap().into_inner().binding.unwrap()
}

async fn messages(plane: &Plane) -> Vec<String> {
    let filter = list_events_request::Filter { event_types: vec![EventType::AttestationPolicyBindingUpdate.into()], ..Default::default() };
    let request = ListEventsRequest { filter: Some(filter), pagination: None };
    let events = plane.admin().await.audit().list_events(request).await.unwrap().into_inner().events;
    events.into_iter().rev().map(|event| event.message).collect()
}

#[tokio::test]
async fn a_pattern_follows_federations_and_zones_as_they_come_and_go() {
    let plane = Plane::start().await;
    let (a, b1) = (plane.zone("a").await, plane.zone("b-1").await);
    let one = plane.joined(&a, "one").await;
    let mut follower = Follower::open(&one.agent, &Versions::new()).await;
    follower.settle().await;
    let binding = bind(&plane, &a, &[], &["b-*"]).await;
    assert_eq!((binding.federations.len(), binding.federates_with_patterns.as_slice()), (0, &["b-*".to_owned()][..]));
    let registration = format!("WorkloadRegistration {}", binding.id());
    follower.sets(&[&registration]).await;
    let domains = |follower: &Follower| follower.body::<plan::WorkloadRegistration>(WORKLOAD_REGISTRATION, binding.id()).federates_with;
    assert!(domains(&follower).is_empty(), "a pattern alone federates with nobody");

    let first = plane.federate(&a, &b1).await;
    follower.sets(&["FederatedTrust b-1.test", &registration]).await;
    assert_eq!(domains(&follower), ["b-1.test"]);
    assert_eq!(get(&plane, &binding).await.federations, partners(&[&b1]));

    // A zone that comes later, and one that does not match.
    let (b2, c) = (plane.zone("b-2").await, plane.zone("c").await);
    plane.federate(&a, &c).await;
    follower.sets(&["FederatedTrust c.test"]).await;
    plane.federate(&a, &b2).await;
    follower.sets(&["FederatedTrust b-2.test", &registration]).await;
    assert_eq!(domains(&follower), ["b-1.test", "b-2.test"]);
    let shown = get(&plane, &binding).await;
    assert_eq!(shown.federations, partners(&[&b1, &b2]));

    // Sent back as it was shown, it says the same as before: what the pattern stands for is not named.
    let request = UpdateApBindingRequest { binding: Some(shown) };
    plane.admin().await.bindings().update_ap_binding(request).await.unwrap();
    plane.admin().await.federations().destroy_federation(DestroyFederationRequest { federation_id: Some(first) }).await.unwrap();
    assert_eq!(get(&plane, &binding).await.federations, partners(&[&b2]));
    let listed = plane.admin().await.bindings().list_ap_bindings(ListApBindingsRequest::default()).await.unwrap().into_inner().bindings;
    assert_eq!(listed[0].federations, partners(&[&b2]));
    plane.admin().await.trust_zones().destroy_trust_zone(DestroyTrustZoneRequest { trust_zone_id: Some(b2.id.clone()) }).await.unwrap();
    assert!(get(&plane, &binding).await.federations.is_empty());

    let of_pattern: Vec<_> = messages(&plane).await.into_iter().filter(|message| message.contains("pattern")).collect();
    let about = |verb: &str, zone: &str| format!("binding of attestation policy p in trust zone a {verb} {zone} by its pattern b-*");
    let expected = [
        about("federates with", "b-1"),
        about("federates with", "b-2"),
        about("no longer federates with", "b-1"),
        about("no longer federates with", "b-2"),
    ];
    assert_eq!(of_pattern, expected);
}

#[tokio::test]
async fn patterns_that_cannot_be_are_refused_with_their_place() {
    let plane = Plane::start().await;
    let a = plane.zone("a").await;
    let policy = create_policy(&plane.admin().await, static_policy("p")).await.unwrap();
    let many: Vec<String> = (0..17).map(|number| format!("zone-{number}-*")).collect();
    for (patterns, expected) in [
        (vec!["*".to_owned(), "b".to_owned()], "ap_binding.federates_with_patterns[1]: has no '*'"),
        (vec!["b *".to_owned()], "ap_binding.federates_with_patterns[0]: contains ' '"),
        (many, "ap_binding.federates_with_patterns: has 17 patterns, at most 16"),
    ] {
        let binding = ApBinding {
            trust_zone_id: Some(a.id.clone()),
            policy_id: policy.id.clone(),
            federates_with_patterns: patterns,
            ..ApBinding::default()
        };
        let request = CreateApBindingRequest { binding: Some(binding) };
        refused(plane.admin().await.bindings().create_ap_binding(request).await, Code::InvalidArgument, &[expected]);
    }
}

async fn status(plane: &Plane) -> BindingStatus {
    let request = ListBindingStatusesRequest::default();
    let statuses = plane.admin().await.receipts().list_binding_statuses(request).await.unwrap().into_inner().statuses;
    let [status] = statuses.try_into().unwrap();
    status
}

#[tokio::test]
async fn a_binding_says_for_which_zone_it_waits_and_since_when() {
    let plane = Plane::start().await;
    let (a, b, c) = (plane.zone("a").await, plane.zone("b").await, plane.zone("c").await);
    let one = plane.joined(&a, "one").await;
    let _of_c = plane.joined(&c, "one").await;
    plane.federate(&a, &b).await;
    let federation = plane.federate(&a, &c).await;
    let binding = bind(&plane, &a, &[&c], &["b*"]).await;
    let mut follower = Follower::open(&one.agent, &Versions::new()).await;
    follower.settle().await;
    report(&one.agent, []).await;
    let waiting = status(&plane).await;
    assert_eq!(waiting.binding_id, binding.id());
    let partner =
        |status: &BindingStatus, zone: &Zone| status.partners.iter().find(|partner| partner.trust_zone_id == zone.id).unwrap().clone();
    let (of_b, of_c) = (partner(&waiting, &b), partner(&waiting, &c));
    assert_eq!((of_b.state(), of_b.reason.as_str()), (State::Waiting, "trust zone b has not delivered its bundle yet"));
    assert_eq!((of_c.state(), of_c.reason.as_str()), (State::Waiting, "the bundle of c has not arrived in cluster one"));
    assert_eq!((of_b.since, of_c.since), (binding.created_at, binding.created_at), "before the binding there was nobody to wait");

    report_what_it_holds(&follower, &one.agent).await;
    let held = status(&plane).await;
    assert_eq!(partner(&held, &c).state(), State::Healthy);
    assert_eq!(partner(&held, &b).state(), State::Waiting);
    plane.admin().await.federations().destroy_federation(DestroyFederationRequest { federation_id: Some(federation) }).await.unwrap();
    let broken = partner(&status(&plane).await, &c);
    assert_eq!(broken.state(), State::Unhealthy);
    assert!(broken.reason.contains("cofidectl federation add --trust-zone a --remote-trust-zone c"), "{broken:?}");
}

//! Two people at once, and zones that others trust.

use cofide_api::connect::audit_service::ListEventsRequest;
use cofide_api::connect::federation_service::{CreateFederationRequest, ListFederationsRequest};
use cofide_api::connect::trust_zone_service::DestroyTrustZoneRequest;
use cofide_api::types::federation::Federation;
use tonic::Code;

use crate::support::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_add_both_directions_at_once_one_succeeds_for_each_and_the_others_are_told() {
    let plane = Plane::start().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let mut calls = Vec::new();
    for number in 0..16 {
        let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let federation =
            Federation { trust_zone_id: Some(from.id.clone()), remote_trust_zone_id: Some(to.id.clone()), ..Federation::default() };
        let client = plane.admin().await;
        calls.push(tokio::spawn(async move {
            let request = CreateFederationRequest { federation: Some(federation) };
            client.federations().create_federation(request).await.map(drop)
        }));
    }
    let mut succeeded = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => succeeded += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::AlreadyExists, "{status}");
                assert!(status.message().starts_with("federation already exists between"), "{status}");
            }
        }
    }
    assert_eq!(succeeded, 2, "one for each direction");
    let listed = plane.admin().await.federations().list_federations(ListFederationsRequest::default()).await.unwrap().into_inner();
    let mut directions: Vec<_> =
        listed.federations.iter().map(|one| (one.trust_zone_id().to_owned(), one.remote_trust_zone_id().to_owned())).collect();
    directions.sort();
    let mut expected = vec![(a.id.clone(), b.id.clone()), (b.id.clone(), a.id.clone())];
    expected.sort();
    assert_eq!(directions, expected);
}

#[tokio::test]
async fn that_a_zone_goes_which_others_trust_is_told_with_their_names() {
    let plane = Plane::start().await;
    let (a, b, c) = (plane.zone("a").await, plane.zone("b").await, plane.zone("c").await);
    plane.federate(&a, &b).await;
    plane.federate(&c, &b).await;
    plane.federate(&b, &a).await;
    plane.admin().await.trust_zones().destroy_trust_zone(DestroyTrustZoneRequest { trust_zone_id: Some(b.id.clone()) }).await.unwrap();
    let events = plane.admin().await.audit().list_events(ListEventsRequest::default()).await.unwrap().into_inner().events;
    let message = &events[0].message;
    assert_eq!(message, "trust zone b deleted, with its bindings and federations; a and c trusted it until now");
    let left = plane.admin().await.federations().list_federations(ListFederationsRequest::default()).await.unwrap().into_inner();
    assert!(left.federations.is_empty());
}

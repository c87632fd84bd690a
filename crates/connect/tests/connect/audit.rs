//! The audit log: every change, and what was refused.

use cofide_api::connect::audit_service::list_events_request::{Filter, filter::Entity};
use cofide_api::connect::audit_service::{ListEventsRequest, RecordExchangeRequest};
use cofide_api::connect::trust_zone_service::{DestroyTrustZoneRequest, ListTrustZonesRequest};
use cofide_api::types::audit::{EntityType, Event, EventType, Outcome};
use cofide_api::types::pagination::PageRequest;
use tonic::Code;

use crate::access::call;
use crate::federated_services::{deregister, register, service};
use crate::support::{Client, Plane, eventually, introduction, refused};

pub(crate) async fn events(client: &Client, filter: Filter) -> Vec<Event> {
    let request = ListEventsRequest { filter: Some(filter), pagination: None };
    client.audit().list_events(request).await.unwrap().into_inner().events
}

pub(crate) fn of(types: &[EventType]) -> Filter {
    Filter { event_types: types.iter().map(|kind| (*kind).into()).collect(), ..Filter::default() }
}

#[tokio::test]
async fn every_change_is_an_event_with_its_actor() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    plane.federate(&a, &b).await;
    let one = plane.joined(&a, "one").await;
    let id = register(&one.agent, service("server", &["b.test"])).await.unwrap();
    deregister(&one.agent, &id).await.unwrap();
    let agent = "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent";
    for (kind, actor, count) in [
        (EventType::TrustZoneCreation, "admin", 2),
        (EventType::FederationCreation, "admin", 1),
        (EventType::ClusterCreation, "admin", 1),
        (EventType::FederatedServiceRegistration, agent, 1),
        (EventType::FederatedServiceDeregistration, agent, 1),
    ] {
        let found: Vec<_> = events(&admin, of(&[kind])).await.into_iter().filter(|event| event.actor != "system").collect();
        assert_eq!(found.len(), count, "{kind:?}: {found:#?}");
        for event in found {
            assert_eq!((event.actor.as_str(), event.outcome()), (actor, Outcome::Success), "{event:?}");
            assert_eq!(event.source_ip, "127.0.0.1");
            assert!(event.id.starts_with("ae-") && !event.links.is_empty() && !event.server_version.is_empty(), "{event:?}");
            serde_json::from_slice::<serde_json::Value>(&event.data).expect("a snapshot in JSON");
        }
    }
    // The token is the first half of a registration, and made by a person.
    let registrations = events(&admin, of(&[EventType::CofideAgentRegistration])).await;
    let [joined, token] = registrations.as_slice() else { panic!("{registrations:#?}") };
    assert_eq!((joined.actor.as_str(), token.actor.as_str()), ("join-token", "admin"));
    assert_eq!(token.message, "join token created for the agent of cluster one of trust zone a: good once, within 60m");
    assert_eq!(joined.message, "agent of cluster one of trust zone a joined");
    let linked = |event: &Event| event.links.iter().map(|link| (link.r#type(), link.id.clone())).collect::<Vec<_>>();
    let place = [(EntityType::Cluster, one.id.clone()), (EntityType::TrustZone, a.id.clone())];
    assert_eq!(linked(token), place, "there is no agent yet");
    assert_eq!(linked(joined), [&[(EntityType::CofideAgent, one.agent_id.clone())][..], &place].concat());
    plane.join_token(&a, &one.id).await;
    let again = events(&admin, of(&[EventType::CofideAgentRegistration])).await.remove(0);
    assert_eq!(linked(&again), linked(joined), "a token for an agent that is to join again is about that agent");
    let system = events(&admin, Filter { actors: vec!["system".into()], ..Filter::default() }).await;
    assert_eq!(system.len(), 1, "the control plane made its own zone: {system:#?}");
    let zone = Entity { r#type: EntityType::TrustZone.into(), id: a.id.clone() };
    let about_a = events(&admin, Filter { entities: vec![zone], ..Filter::default() }).await;
    assert!(about_a.len() >= 4 && about_a.iter().all(|event| event.links.iter().any(|link| link.id == a.id)), "{about_a:#?}");
}

#[tokio::test]
async fn a_change_that_fails_leaves_no_event_and_no_secret_is_in_any() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let zone = plane.zone("a").await;
    let cluster = plane.cluster(&zone, "one").await;
    let token = plane.join_token(&zone, &cluster).await;
    let before = events(&admin, Filter::default()).await;
    let destroy = DestroyTrustZoneRequest { trust_zone_id: Some(zone.id.clone()) };
    refused(admin.trust_zones().destroy_trust_zone(destroy).await, Code::FailedPrecondition, &[]);
    assert_eq!(events(&admin, Filter::default()).await, before);
    let text = format!("{before:?}");
    assert!(text.contains("join token created for the agent of cluster one"), "{text}");
    assert!(!text.contains(&token) && !text.contains(&plane.token()));
}

#[tokio::test]
async fn refused_calls_are_recorded_and_a_flood_of_them_is_not() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let zone = plane.zone("a").await;
    let one = plane.joined(&zone, "one").await;
    for _ in 0..50 {
        let list = plane.user("cofide-admin-wrong").await;
        refused(list.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await, Code::Unauthenticated, &[]);
    }
    // One refused by the gate, one by a rule.
    refused(one.agent.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await, Code::PermissionDenied, &[]);
    let mut lie = service("x", &["b.test"]);
    lie.trust_domain = "b.test".into();
    refused(register(&one.agent, lie).await, Code::PermissionDenied, &[]);

    // What was left out is said with the caller's next refusal.
    let nobody = plane.anonymous().await;
    refused(nobody.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await, Code::Unauthenticated, &[]);

    let denied = || events(&admin, Filter { outcomes: vec![Outcome::Denied.into()], ..Filter::default() });
    let found = eventually(denied, |events| events.len() >= 4).await;
    assert_eq!(found.len(), 4, "the same refusal is recorded once: {found:#?}");
    let by = |actor: &str| found.iter().filter(|event| event.actor == actor).count();
    assert_eq!((by("anonymous"), by("spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent")), (2, 2), "{found:#?}");
    assert!(found.iter().any(|event| event.message.contains("49 refused calls were not recorded")), "{found:#?}");
    assert!(!format!("{found:?}").contains("cofide-admin-wrong"), "a token is in the log: {found:#?}");
}

#[tokio::test]
async fn whoever_calls_without_a_credential_does_not_keep_the_refusals_of_others_out_of_the_log() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let zone = plane.zone("a").await;
    let one = plane.joined(&zone, "one").await;
    let nobody = plane.anonymous().await;
    for number in 0..200 {
        assert_eq!(call(&nobody, &format!("/made.Up{number}/Path")).await, Code::Unauthenticated);
    }
    refused(one.agent.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await, Code::PermissionDenied, &[]);
    let guess = introduction(&zone, &one.id, "cofide-join-guess");
    refused(nobody.trust_zones().register_agent(guess).await, Code::Unauthenticated, &[]);

    let denied = || events(&admin, Filter { outcomes: vec![Outcome::Denied.into()], ..Filter::default() });
    let found = eventually(denied, |events| events.len() >= 3).await;
    let actors: Vec<_> = found.iter().map(|event| event.actor.as_str()).collect();
    assert_eq!(actors, ["join-token", "spiffe://a.test/cluster/one/ns/cofide/sa/cofide-agent", "anonymous"], "{found:#?}");
    assert!(found[2].message.starts_with("unknown method refused"), "{found:#?}");
    assert!(!format!("{found:?}").contains("made.Up"), "the caller's invention is in the log: {found:#?}");
}

#[tokio::test]
async fn a_refused_workload_is_recorded_under_the_name_that_it_proved() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let zone = plane.zone("a").await;
    plane.joined(&zone, "one").await;
    for path in ["/ns/demo/sa/server", "/cluster/two/ns/cofide/sa/cofide-agent"] {
        let workload = plane.workload(zone.authority.svid(path)).await;
        refused(workload.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await, Code::PermissionDenied, &[path]);
        let by_name =
            Filter { actors: vec![format!("spiffe://a.test{path}")], outcomes: vec![Outcome::Denied.into()], ..Filter::default() };
        eventually(|| events(&admin, by_name.clone()), |events| events.len() == 1).await;
    }
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    for name in ["a", "b", "c", "d", "e"] {
        plane.zone(name).await;
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let pagination = Some(PageRequest { page_size: 2, page_token });
        let request = ListEventsRequest { filter: Some(of(&[EventType::TrustZoneCreation])), pagination };
        let page = admin.audit().list_events(request).await.unwrap().into_inner();
        assert!(page.events.len() <= 2);
        seen.extend(page.events.into_iter().map(|event| event.id));
        page_token = page.pagination.unwrap().next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let all = events(&admin, of(&[EventType::TrustZoneCreation])).await;
    assert_eq!(seen, all.into_iter().map(|event| event.id).collect::<Vec<_>>());
    assert_eq!(seen.len(), 6);
    let request = ListEventsRequest { filter: None, pagination: Some(PageRequest { page_size: -1, page_token: String::new() }) };
    refused(admin.audit().list_events(request).await, Code::InvalidArgument, &["pagination.page_size"]);
    assert!(events(&admin, of(&[EventType::WorkloadCreation])).await.is_empty(), "what is never recorded is never found");
    refused(admin.audit().record_exchange(RecordExchangeRequest::default()).await, Code::Unimplemented, &[]);
}

//! Partners, servers and databases go away, and come back or do not.

use std::collections::BTreeMap;
use std::time::Duration;

use cofide_agent::config::Config;
use cofide_agent::spire::Outcome;
use cofide_agent::spire::diff::EntryChange;
use cofide_agent::spire::model::{Entry, EntryContent, EntryKey};
use cofide_api::connect::receipt_service::federation_status::State;
use cofide_core::TrustDomain;
use cofide_testkit::plane::{Agent, Plane, Zone};
use cofide_testkit::spire::{Spire, SpireOptions};
use cofide_testkit::wait::{eventually, within};

use crate::support::*;

/// From the end of a federation until handshakes fail: Connect pushes at once, SPIRE's agent asks every second here.
const SECONDS: Duration = Duration::from_secs(10);

async fn entries(zone: &Zone) -> BTreeMap<String, Entry> {
    let entries = zone.spire().read().await.unwrap().entries;
    entries.into_iter().map(|entry| (entry.key.spiffe_id.clone(), entry)).collect()
}

/// An entry that somebody else has made.
async fn enter_by_hand(zone: &Zone, name: &str) {
    let key = EntryKey {
        spiffe_id: format!("spiffe://{}/by-hand/{name}", zone.trust_domain),
        parent_id: format!("spiffe://{}{}", zone.trust_domain, Spire::PARENT_ID_PATH),
        selectors: ["unix:uid:12345".parse().unwrap()].into(),
    };
    let content = EntryContent { dns_names: vec![], federates_with: [].into(), store_svid: false, hint: "somebody's".to_owned() };
    let create = EntryChange::Create { key, content, bindings: [].into() };
    zone.spire().change_entries(&[create]).await.unwrap().remove(0).unwrap();
}

fn by_hand(zone: &Zone, name: &str) -> String {
    format!("spiffe://{}/by-hand/{name}", zone.trust_domain)
}

async fn state_is(plane: &Plane, from: usize, to: usize, state: State) {
    let wanted = (plane.zones[from].name.clone(), plane.zones[to].name.clone(), state);
    let what = format!("{wanted:?}");
    eventually(&what, || async { plane.federation_states().await.unwrap() }, |found| found.contains(&wanted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_a_partner_that_is_not_there_yet_keeps_no_identity_waiting() {
    let mut plane = Plane::start().await.unwrap();
    assert_eq!(plane.add_spire_zone("a", SpireOptions::default()).await.unwrap(), A);
    assert_eq!(plane.create_spire_zone("b").await.unwrap(), B);
    plane.federate_both_ways(A, B).await.unwrap();
    GoSpiffe::bind(&plane, A, "server", &[B]).await.unwrap();
    let server = GoSpiffe::start(&plane.zones[A], "server").await.unwrap();
    assert_eq!(server.bundles().await.unwrap(), ["a.test"], "its identity is there, with the bundles that exist");
    state_is(&plane, A, B, State::Waiting).await;

    plane.start_spire_zone(B, SpireOptions::default()).await.unwrap();
    GoSpiffe::bind(&plane, B, "client", &[A]).await.unwrap();
    let client = GoSpiffe::start(&plane.zones[B], "client").await.unwrap();
    is_let_in(&client, &server).await;
    both_directions_are_healthy(&plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_a_federation_that_ends_under_traffic_takes_its_bundle_along_and_nothing_is_refused() {
    let plane = two_zones(SpireOptions::default()).await;
    plane.federate(B, A).await.unwrap();
    let federation = plane.federate(A, B).await.unwrap();
    GoSpiffe::bind(&plane, A, "server", &[B]).await.unwrap();
    GoSpiffe::bind(&plane, B, "client", &[A]).await.unwrap();
    let server = GoSpiffe::start(&plane.zones[A], "server").await.unwrap();
    let client = GoSpiffe::start(&plane.zones[B], "client").await.unwrap();
    is_let_in(&client, &server).await;
    both_directions_are_healthy(&plane).await;
    client.load(&server, 50).await.unwrap();

    plane.unfederate(federation).await.unwrap();
    within(SECONDS, "new handshakes fail", || async { client.call(&server).await.unwrap().is_err() }, |failed| *failed).await;
    let (_, failures) = client.rest().await.unwrap();
    assert!(failures == 0 || server.log().contains("no X.509 bundle for trust domain"), "{}", server.log());

    let partner = TrustDomain::new("b.test").unwrap();
    let held = || async { plane.zones[A].spire().read().await.unwrap() };
    let state = eventually("the bundle is gone", held, |state| !state.bundles.contains_key(&partner)).await;
    assert!(state.relationships.is_empty(), "{state:?}");
    assert!(state.entries.iter().all(|entry| entry.content.federates_with.is_empty()), "{state:?}");
    // SPIRE itself keeps an entry from naming a domain whose bundle it has not: the order of the calls never made it say so.
    let log = std::fs::read_to_string(plane.zones[A].folder.join("spire-server.log")).unwrap();
    for refusal in ["unable to find federated bundle", "cannot delete bundle"] {
        assert!(!log.contains(refusal), "{log}");
    }
    assert!(plane.zones[B].spire().read().await.unwrap().bundles.contains_key(&plane.zones[A].trust_domain), "B trusts A still");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_a_server_that_lost_its_database_is_filled_again_with_what_is_the_agents_own() {
    let mut plane = two_zones(SpireOptions::default()).await;
    plane.federate_both_ways(A, B).await.unwrap();
    GoSpiffe::bind(&plane, A, "server", &[B]).await.unwrap();
    GoSpiffe::bind(&plane, B, "client", &[A]).await.unwrap();
    let client = GoSpiffe::start(&plane.zones[B], "client").await.unwrap();
    drop(GoSpiffe::start(&plane.zones[A], "server").await.unwrap());
    enter_by_hand(&plane.zones[A], "before").await;
    both_directions_are_healthy(&plane).await;

    let spire = plane.zones[A].spire_mut().unwrap();
    spire.stop_agent().await.unwrap();
    spire.stop_server().await.unwrap();
    spire.forget().unwrap();
    spire.start_server().await.unwrap();
    spire.start_agent().await.unwrap();
    plane.zones[A].enter_agent().await.unwrap();
    // The zone has another authority, which nobody can vouch for but a person.
    plane.set_bundle(A).await.unwrap();
    // Nothing tells the agent; in life it looks every half minute.
    plane.zones[A].stop_agent().await.unwrap();
    plane.zones[A].start_agent().await.unwrap();

    let server = GoSpiffe::start(&plane.zones[A], "server").await.unwrap();
    is_let_in(&client, &server).await;
    let held = entries(&plane.zones[A]).await;
    assert!(held["spiffe://a.test/ns/demo/sa/server"].is_ours());
    assert!(!held.contains_key(&by_hand(&plane.zones[A], "before")), "what others had made is theirs to make again: {held:?}");
}

/// As the agent of the zone, but it looks every second, and reads everything then.
fn watchful(zone: &Zone) -> Config {
    Config { resync_interval: Duration::from_secs(1), spire_reread_interval: Duration::from_secs(1), ..zone.agent_config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_what_was_edited_by_hand_is_mended_and_what_is_somebody_elses_is_left() {
    let mut plane = Plane::start().await.unwrap();
    plane.add_spire_zone("a", SpireOptions::default()).await.unwrap();
    plane.zones[A].stop_agent().await.unwrap();
    let zone = &plane.zones[A];
    let _agent = Agent::start(watchful(zone), &zone.folder.join("watchful.log")).await.unwrap();
    GoSpiffe::bind(&plane, A, "one", &[]).await.unwrap();
    GoSpiffe::bind(&plane, A, "two", &[]).await.unwrap();
    enter_by_hand(zone, "entry").await;
    let [one, two] = ["one", "two"].map(|name| format!("spiffe://a.test/ns/demo/sa/{name}"));
    let both = |held: &BTreeMap<String, Entry>| held.contains_key(&one) && held.contains_key(&two);
    let before = eventually("both entries are there", || entries(zone), both).await;

    let Entry { id, key, content } = before[&one].clone();
    let content = EntryContent { dns_names: vec!["by-hand.test".to_owned()], ..content };
    let edit = EntryChange::Update { id, spiffe_id: key.spiffe_id, content, bindings: [].into() };
    let delete = EntryChange::Delete { id: before[&two].id.clone(), spiffe_id: two.clone() };
    for result in zone.spire().change_entries(&[edit, delete]).await.unwrap() {
        result.unwrap();
    }
    // Entries that were deleted come back with another id.
    let shape = |held: &BTreeMap<String, Entry>| {
        held.values().map(|entry| (entry.key.clone(), entry.content.dns_names.clone(), entry.content.hint.clone())).collect::<Vec<_>>()
    };
    eventually("both are mended", || entries(zone), |held| shape(held) == shape(&before)).await;
    let after = entries(zone).await;
    let foreign = |held: &BTreeMap<String, Entry>| held.values().filter(|entry| !entry.is_ours()).cloned().collect::<Vec<_>>();
    assert_eq!(foreign(&after), foreign(&before));
    assert_eq!(after[&one].id, before[&one].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_spire_an_agent_before_the_server_of_another_trust_domain_touches_nothing_and_says_so() {
    let mut plane = two_zones(SpireOptions::default()).await;
    plane.federate(B, A).await.unwrap();
    let federation = plane.federate(A, B).await.unwrap();
    GoSpiffe::bind(&plane, A, "server", &[B]).await.unwrap();
    both_directions_are_healthy(&plane).await;
    plane.zones[A].stop_agent().await.unwrap();
    let (zone, other) = (&plane.zones[A], &plane.zones[B]);
    let before = other.spire().read().await.unwrap();

    let config = Config { spire_server_socket: other.admin_socket(), ..watchful(zone) };
    let agent = Agent::start(config, &zone.folder.join("misled.log")).await.unwrap();
    let report = || async { agent.world().spire.get().as_ref().as_ref().map(|spire| spire.report.clone()) };
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Failed(reason) if reason.contains("correct spire_server_socket"));
    let report = eventually("the agent says so", report, |report| report.is_some()).await.unwrap();
    assert!(report.registrations.len() == 1 && report.registrations.values().all(refused), "{report:?}");
    assert!(report.trust.len() == 1 && report.trust.values().all(refused), "{report:?}");
    // What Connect asks for from now on is refused, with the reason.
    plane.unfederate(federation).await.unwrap();
    eventually("the agent has heard of it", || async { agent.world().plan.get().trust().count() }, |count| *count == 0).await;
    plane.federate(A, B).await.unwrap();
    state_is(&plane, A, B, State::Unhealthy).await;
    assert_eq!(other.spire().read().await.unwrap(), before);
}

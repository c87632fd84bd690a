//! The agent's client and executor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use cofide_agent::spire::client::{SpireClient, SpireError};
use cofide_agent::spire::diff::{EntryChange, TrustChange, TrustRemoval};
use cofide_agent::spire::executor::{Bundles, Outcome, Report, reconcile};
use cofide_agent::spire::model::{
    Desired, DesiredEntry, DesiredTrust, EntryContent, EntryKey, OwnedTrust, Relationship, RelationshipProfile, State,
};
use cofide_agent::spire::view::EntryView;
use cofide_api::spire::server::entry as entry_api;
use cofide_core::{Bundle, JwtAuthority, TrustDomain};

use super::{Server, ServerKind, domain};

async fn foreign_bundle(kind: ServerKind, trust_domain: &str) -> Bundle {
    Server::start(kind, trust_domain).await.api.bundle().await
}

fn entry(name: &str, federates_with: &[&str]) -> DesiredEntry {
    let binding = format!("binding-{name}");
    DesiredEntry {
        key: EntryKey {
            spiffe_id: format!("spiffe://a.test/{name}"),
            parent_id: "spiffe://a.test/agent".to_owned(),
            selectors: BTreeSet::from(["unix:uid:1000".parse().unwrap(), "unix:gid:7".parse().unwrap()]),
        },
        content: EntryContent {
            dns_names: vec!["one.test".to_owned(), "another.test".to_owned()],
            federates_with: federates_with.iter().map(|name| domain(name)).collect(),
            store_svid: false,
            hint: format!("cofide:{binding}"),
        },
        bindings: BTreeSet::from([binding.parse().unwrap()]),
    }
}

fn desired(entries: Vec<DesiredEntry>, trust: Vec<(&str, Option<&Bundle>)>) -> Desired {
    let trust = trust.into_iter().map(|(name, bundle)| {
        let relationship = Relationship {
            trust_domain: domain(name),
            endpoint_url: format!("https://127.0.0.1:1/{name}"),
            profile: RelationshipProfile::HttpsSpiffe { endpoint_spiffe_id: format!("spiffe://{name}/spire/server") },
        };
        (domain(name), DesiredTrust { bundle: bundle.cloned(), relationship: Some(relationship) })
    });
    Desired { entries, trust: trust.collect(), ..Desired::default() }
}

/// A run that has no earlier reading to rely on.
async fn apply(server: &Server, desired: &Desired, owned: &mut OwnedTrust) -> Report {
    apply_with(server, desired, owned, &mut EntryView::new(Duration::ZERO)).await
}

async fn apply_with(server: &Server, desired: &Desired, owned: &mut OwnedTrust, view: &mut EntryView) -> Report {
    reconcile(&server.client, &server.trust_domain, desired, owned, view, |_| Ok::<(), String>(())).await.unwrap()
}

async fn ours(server: &Server) -> BTreeMap<String, BTreeSet<TrustDomain>> {
    let state = server.client.read().await.unwrap();
    let ours = state.entries.into_iter().filter(|entry| entry.is_ours());
    ours.map(|entry| (entry.key.spiffe_id, entry.content.federates_with)).collect()
}

pub async fn the_server_becomes_what_the_plan_asks_for_and_stays_so(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let bundle = foreign_bundle(kind, "b.test").await;
    let mut owned = OwnedTrust::new();
    let with_trust = desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&bundle))]);
    let report = apply(&server, &with_trust, &mut owned).await;
    assert_eq!(report.failures(), [""; 0]);

    let state = server.client.read().await.unwrap();
    assert_eq!(state.bundles[&domain("b.test")].x509_authorities, bundle.x509_authorities);
    let wanted = with_trust.trust[&domain("b.test")].relationship.as_ref().unwrap();
    assert!(state.relationships[&domain("b.test")].is_same(wanted), "{state:?}");
    let held = state.entries.iter().find(|held| held.is_ours()).unwrap();
    assert_eq!((&held.key, &held.content), (&with_trust.entries[0].key, &with_trust.entries[0].content));

    apply(&server, &with_trust, &mut owned).await;
    assert_eq!(server.client.read().await.unwrap(), state, "a second run changes nothing, ids included");
    let listed = server.api.entries().await.list_entries(entry_api::ListEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.entries[0].revision_number, 0, "and does not write what is there: {listed:?}");

    apply(&server, &Desired::default(), &mut owned).await;
    let state = server.client.read().await.unwrap();
    assert!(state.entries.is_empty() && state.bundles.is_empty() && state.relationships.is_empty(), "{state:?}");
    assert!(owned.is_empty());
}

pub async fn an_agent_that_forgot_takes_down_what_the_plan_still_named_and_names_the_rest(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let (b, c) = (foreign_bundle(kind, "b.test").await, foreign_bundle(kind, "c.test").await);
    let both = desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&b)), ("c.test", Some(&c))]);
    apply(&server, &both, &mut OwnedTrust::new()).await;

    // It has forgotten all of it, and c.test is in no plan any more when it looks again.
    let (mut owned, mut kept) = (OwnedTrust::new(), Vec::new());
    let one = desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&b))]);
    let keep = |owned: &OwnedTrust| {
        kept.push(owned.keys().cloned().collect::<Vec<_>>());
        Ok::<(), String>(())
    };
    let view = &mut EntryView::new(Duration::ZERO);
    let report = reconcile(&server.client, &server.trust_domain, &one, &mut owned, view, keep).await.unwrap();
    assert_eq!(report.strangers, BTreeSet::from([domain("c.test")]));
    assert_eq!(kept, [[domain("b.test")]], "it is written down");

    let report = apply(&server, &Desired::default(), &mut owned).await;
    assert_eq!(report.strangers, BTreeSet::from([domain("c.test")]));
    let state = server.client.read().await.unwrap();
    assert_eq!(state.bundles.keys().collect::<Vec<_>>(), [&domain("c.test")], "b.test is gone, c.test is left alone");
    assert_eq!(state.relationships.keys().collect::<Vec<_>>(), [&domain("c.test")]);
}

/// What the agent does in a server whose entries and relationships a controller keeps.
async fn set_bundles(server: &Server, desired: &Desired, owned: &mut OwnedTrust) -> (Bundles, Report) {
    let mut report = Report::default();
    let keep = |_: &OwnedTrust| Ok::<(), String>(());
    let bundles = Bundles::set(&server.client, &server.trust_domain, desired, owned, keep, &mut report).await.unwrap();
    (bundles, report)
}

pub async fn a_bundle_beside_a_controller_that_nobody_wanted_is_named_as_a_stranger(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let (b, c) = (foreign_bundle(kind, "b.test").await, foreign_bundle(kind, "c.test").await);
    server.client.change_trust(&TrustChange::SetBundle(c)).await.unwrap().unwrap();
    let mut owned = OwnedTrust::new();
    let (bundles, report) = set_bundles(&server, &desired(vec![], vec![("b.test", Some(&b))]), &mut owned).await;
    assert_eq!(report.strangers, BTreeSet::from([domain("c.test")]));
    assert_eq!(bundles.held, BTreeSet::from([domain("b.test"), domain("c.test")]));

    let (bundles, mut report) = set_bundles(&server, &Desired::default(), &mut owned).await;
    bundles.remove(&server.client, &mut owned, |_| Ok::<(), String>(()), &mut report).await;
    assert_eq!((&report.strangers, report.trust.len()), (&BTreeSet::from([domain("c.test")]), 0));
    assert_eq!(server.client.bundles().await.unwrap().into_keys().collect::<Vec<_>>(), [domain("c.test")], "it is left alone");
}

pub async fn a_bundle_that_a_server_went_away_with_is_reported_as_there_and_removed_later(kind: ServerKind) {
    let mut server = Server::start(kind, "a.test").await;
    let (b, c) = (foreign_bundle(kind, "b.test").await, foreign_bundle(kind, "c.test").await);
    let mut owned = OwnedTrust::new();
    set_bundles(&server, &desired(vec![], vec![("b.test", Some(&b)), ("c.test", Some(&c))]), &mut owned).await;

    let (bundles, mut report) = set_bundles(&server, &Desired::default(), &mut owned).await;
    server.stop().await;
    bundles.remove(&server.client, &mut owned, |_| Ok::<(), String>(()), &mut report).await;
    for name in ["b.test", "c.test"] {
        let outcome = &report.trust[&domain(name)];
        let is_told = |reason: &str| reason.contains("still trusts it") && reason.contains("spire_server_socket");
        assert!(matches!(outcome, Outcome::Failed(reason) if is_told(reason)), "{outcome:?}");
        assert!(owned.contains_key(&domain(name)), "it is tried again");
    }

    server.restart().await;
    let (bundles, mut report) = set_bundles(&server, &Desired::default(), &mut owned).await;
    bundles.remove(&server.client, &mut owned, |_| Ok::<(), String>(()), &mut report).await;
    assert_eq!(report.failures(), [""; 0]);
    assert!(server.client.bundles().await.unwrap().is_empty() && owned.is_empty());
}

pub async fn a_bundle_that_comes_late_completes_an_identity_that_is_there_already(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let mut owned = OwnedTrust::new();
    let report = apply(&server, &desired(vec![entry("client", &["b.test"])], vec![("b.test", None)]), &mut owned).await;
    assert!(matches!(report.registrations.values().next(), Some(Outcome::Waiting(reason)) if reason.contains("b.test")), "{report:?}");
    assert_eq!(ours(&server).await["spiffe://a.test/client"], BTreeSet::new());
    let id = server.client.read().await.unwrap().entries[0].id.clone();

    let bundle = foreign_bundle(kind, "b.test").await;
    let report = apply(&server, &desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&bundle))]), &mut owned).await;
    assert!(report.registrations.values().all(|outcome| *outcome == Outcome::Applied), "{report:?}");
    assert_eq!(ours(&server).await["spiffe://a.test/client"], BTreeSet::from([domain("b.test")]));
    assert_eq!(server.client.read().await.unwrap().entries[0].id, id, "the entry is updated and not replaced");
}

pub async fn what_others_made_in_the_server_is_left_alone(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let (b, c) = (foreign_bundle(kind, "b.test").await, foreign_bundle(kind, "c.test").await);
    // By hand: trust in c.test and an entry that uses it, without the agent's hint.
    server.client.change_trust(&TrustChange::SetBundle(c.clone())).await.unwrap().unwrap();
    let by_hand = EntryContent { hint: String::new(), ..entry("manual", &["c.test"]).content };
    let create = EntryChange::Create { key: entry("manual", &[]).key, content: by_hand, bindings: BTreeSet::new() };
    server.client.change_entries(&[create]).await.unwrap().remove(0).unwrap();
    let before = server.client.read().await.unwrap();

    let mut owned = OwnedTrust::new();
    let wanted = desired(vec![entry("manual", &["b.test"]), entry("client", &["b.test"])], vec![("b.test", Some(&b))]);
    let report = apply(&server, &wanted, &mut owned).await;
    let clash = &report.registrations[&"binding-manual".parse().unwrap()];
    assert!(matches!(clash, Outcome::Failed(reason) if reason.contains(&before.entries[0].id)), "{clash:?}");
    assert_eq!(report.registrations[&"binding-client".parse().unwrap()], Outcome::Applied, "its neighbour is not harmed");

    apply(&server, &Desired::default(), &mut owned).await;
    assert_eq!(server.client.read().await.unwrap(), before);
}

pub async fn a_run_that_was_killed_between_any_two_calls_is_finished_by_the_next(kind: ServerKind) {
    let bundle = foreign_bundle(kind, "b.test").await;
    let wanted = desired(vec![entry("one", &["b.test"]), entry("two", &["b.test"])], vec![("b.test", Some(&bundle))]);
    let relationship = wanted.trust[&domain("b.test")].relationship.clone().unwrap();
    // The calls of a whole run, in its order; the process dies after the first `alive` of them, and what it kept of owned
    // trust is what it had written down before the first.
    for alive in 0..=3 {
        let server = Server::start(kind, "a.test").await;
        let mut owned = OwnedTrust::from([(domain("b.test"), Default::default())]);
        if alive >= 1 {
            server.client.change_trust(&TrustChange::SetBundle(bundle.clone())).await.unwrap().unwrap();
        }
        if alive >= 2 {
            server.client.change_trust(&TrustChange::CreateRelationship(relationship.clone())).await.unwrap().unwrap();
        }
        if alive >= 3 {
            let DesiredEntry { key, content, bindings } = wanted.entries[0].clone();
            server.client.change_entries(&[EntryChange::Create { key, content, bindings }]).await.unwrap().remove(0).unwrap();
        }
        let report = apply(&server, &wanted, &mut owned).await;
        assert_eq!(report.failures(), [""; 0], "killed after {alive} calls");
        let both = BTreeMap::from([
            ("spiffe://a.test/one".to_owned(), BTreeSet::from([domain("b.test")])),
            ("spiffe://a.test/two".to_owned(), BTreeSet::from([domain("b.test")])),
        ]);
        assert_eq!(ours(&server).await, both, "killed after {alive} calls");
        apply(&server, &Desired::default(), &mut owned).await;
        let state = server.client.read().await.unwrap();
        assert_eq!((state.bundles.len(), state.relationships.len(), state.entries.len()), (0, 0, 0), "killed after {alive} calls");
    }
}

pub async fn a_bundle_of_another_issuer_is_replaced_and_a_newer_one_of_the_same_is_kept_and_reported(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let (delivered, stranger) = (foreign_bundle(kind, "b.test").await, foreign_bundle(kind, "b.test").await);
    let put = async |bundle: Bundle| server.client.change_trust(&TrustChange::SetBundle(bundle)).await.unwrap().unwrap();
    let held = async || server.client.read().await.unwrap().bundles.remove(&domain("b.test")).unwrap();
    let wanted = desired(vec![], vec![("b.test", Some(&delivered))]);
    let mut owned = OwnedTrust::new();

    put(Bundle { sequence_number: 1000, ..stranger.clone() }).await;
    let report = apply(&server, &wanted, &mut owned).await;
    assert!(held().await.same_authorities(&delivered));
    assert_eq!(report.trust[&domain("b.test")], Outcome::Applied);

    let mut newer = Bundle { sequence_number: delivered.sequence_number + 1000, ..delivered.clone() };
    newer.x509_authorities.extend(stranger.x509_authorities);
    put(newer.clone()).await;
    let report = apply(&server, &wanted, &mut owned).await;
    assert!(held().await.same_authorities(&newer));
    let outcome = &report.trust[&domain("b.test")];
    assert!(matches!(outcome, Outcome::Outdated(reason) if reason.contains("higher sequence number")), "{outcome:?}");
    assert_eq!(report.failures(), [""; 0], "to try again would not help");
}

pub async fn a_bundle_in_use_by_others_is_not_taken_from_them(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let bundle = foreign_bundle(kind, "b.test").await;
    let mut owned = OwnedTrust::new();
    apply(&server, &desired(vec![], vec![("b.test", Some(&bundle))]), &mut owned).await;
    let by_hand = EntryContent { hint: String::new(), ..entry("manual", &["b.test"]).content };
    let create = EntryChange::Create { key: entry("manual", &[]).key, content: by_hand, bindings: BTreeSet::new() };
    server.client.change_entries(&[create]).await.unwrap().remove(0).unwrap();

    let report = apply(&server, &Desired::default(), &mut owned).await;
    assert!(matches!(&report.trust[&domain("b.test")], Outcome::Failed(_)), "{report:?}");
    assert!(server.client.read().await.unwrap().bundles.contains_key(&domain("b.test")));
    assert!(owned.contains_key(&domain("b.test")), "it is tried again");
    assert_eq!(TrustRemoval::Bundle(domain("b.test")).trust_domain(), &domain("b.test"));
}

pub async fn a_server_that_is_away_is_an_error_and_the_same_client_finds_it_again(kind: ServerKind) {
    let mut server = Server::start(kind, "a.test").await;
    server.client.read().await.unwrap();
    server.stop().await;
    let error = server.client.read().await.unwrap_err().to_string();
    assert!(error.contains("spire_server_socket") && error.contains("admin.sock"), "{error}");
    server.restart().await;
    assert_eq!(server.client.read().await.unwrap(), State::default());
    let missing = SpireClient::new(Path::new("/nonexistent/api.sock"));
    assert!(missing.own_bundle().await.unwrap_err().to_string().contains("/nonexistent/api.sock"));
}

pub async fn marks_of_a_partners_authorities_are_no_reason_to_write_or_to_complain(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let mut bundle = foreign_bundle(kind, "b.test").await;
    bundle.x509_authorities[0].tainted = true;
    let JwtAuthority { expires_at, tainted, .. } = &mut bundle.jwt_authorities[0];
    (*expires_at, *tainted) = (*expires_at + 1, true);
    let mut owned = OwnedTrust::new();
    let wanted = desired(vec![], vec![("b.test", Some(&bundle))]);
    for run in 1..=2 {
        let report = apply(&server, &wanted, &mut owned).await;
        assert_eq!(report.trust[&domain("b.test")], Outcome::Applied, "run {run}");
    }
}

pub async fn a_server_of_another_trust_domain_is_not_touched(kind: ServerKind) {
    let server = Server::start(kind, "c.test").await;
    let bundle = foreign_bundle(kind, "b.test").await;
    let wanted = desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&bundle))]);
    let (mut owned, mut view) = (OwnedTrust::new(), EntryView::new(Duration::ZERO));
    let outcome = reconcile(&server.client, &domain("a.test"), &wanted, &mut owned, &mut view, |_| Ok::<(), String>(())).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, SpireError::OtherTrustDomain { .. }), "{error}");
    for word in ["a.test", "c.test", "spire_server_socket"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(server.client.read().await.unwrap(), State::default());
    assert!(owned.is_empty());
}

pub async fn entries_are_read_again_when_something_speaks_for_it_and_not_before(kind: ServerKind) {
    let mut server = Server::start(kind, "a.test").await;
    let (mut owned, mut view) = (OwnedTrust::new(), EntryView::new(Duration::from_secs(3600)));
    let one = desired(vec![entry("one", &[])], vec![]);
    let two = desired(vec![entry("one", &[]), entry("two", &[])], vec![]);
    apply_with(&server, &one, &mut owned, &mut view).await;
    let by_hand = async |server: &Server| {
        let held = server.client.read().await.unwrap().entries.into_iter().find(|held| held.key == entry("one", &[]).key).unwrap();
        let content = EntryContent { dns_names: vec!["by-hand.test".to_owned()], ..held.content };
        let update = EntryChange::Update { id: held.id, spiffe_id: held.key.spiffe_id, content, bindings: BTreeSet::new() };
        server.client.change_entries(&[update]).await.unwrap().remove(0).unwrap();
    };
    let names = async |server: &Server| {
        let entries = server.client.read().await.unwrap().entries;
        entries.into_iter().map(|held| (held.key.spiffe_id, held.content.dns_names.len())).collect::<BTreeMap<_, _>>()
    };
    let expected = |one: usize, two: Option<usize>| {
        let two = two.map(|names| ("spiffe://a.test/two".to_owned(), names));
        BTreeMap::from_iter([("spiffe://a.test/one".to_owned(), one)].into_iter().chain(two))
    };

    by_hand(&server).await;
    apply_with(&server, &two, &mut owned, &mut view).await;
    assert_eq!(names(&server).await, expected(1, Some(2)), "the new entry is there, and the other one was not looked at");
    apply_with(&server, &one, &mut owned, &mut view).await;
    assert_eq!(names(&server).await, expected(1, None), "what this agent made since the reading is known");
    view.forget();
    apply_with(&server, &one, &mut owned, &mut view).await;
    assert_eq!(names(&server).await, expected(2, None), "a new reading finds what was done by hand");

    // A run that finds no server leaves nothing to rely on.
    by_hand(&server).await;
    server.stop().await;
    let outcome = reconcile(&server.client, &domain("a.test"), &one, &mut owned, &mut view, |_| Ok::<(), String>(())).await.map(drop);
    assert!(matches!(outcome, Err(SpireError::Unreachable { .. })), "{outcome:?}");
    server.restart().await;
    assert!(view.is_read(), "it did not come so far as to change anything");
    server.erase().await;
    apply_with(&server, &two, &mut owned, &mut view).await;
    assert_eq!(names(&server).await, expected(2, Some(2)), "a server that lost its database is filled again");
}

pub async fn a_thousand_entries_are_created_read_and_deleted_in_pages(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let many = desired((0..1201).map(|index| entry(&format!("w{index}"), &[])).collect(), vec![]);
    let (mut owned, mut view) = (OwnedTrust::new(), EntryView::new(Duration::from_secs(3600)));
    let report = apply_with(&server, &many, &mut owned, &mut view).await;
    assert_eq!(report.failures(), [""; 0]);
    let held = server.client.entries().await.unwrap();
    let keys: BTreeSet<_> = held.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!((held.len(), keys.len()), (1201, 1201));
    let reading = view.take(&server.api.bundle().await, tokio::time::Instant::now()).unwrap().entries;
    let by_id = |entries: Vec<_>| entries.into_iter().map(|entry: cofide_agent::spire::model::Entry| (entry.id.clone(), entry)).collect();
    let (held, reading): (BTreeMap<_, _>, BTreeMap<_, _>) = (by_id(held), by_id(reading));
    assert_eq!(held, reading, "what was made is what is remembered");
    apply(&server, &Desired::default(), &mut owned).await;
    assert_eq!(server.client.read().await.unwrap(), State::default());
}

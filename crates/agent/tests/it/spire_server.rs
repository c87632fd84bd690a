//! The executor against a real server over its real socket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cofide_agent::spire::client::SpireClient;
use cofide_agent::spire::diff::{EntryChange, TrustChange, TrustRemoval};
use cofide_agent::spire::executor::{Outcome, reconcile};
use cofide_agent::spire::model::{
    Desired, DesiredEntry, DesiredTrust, EntryContent, EntryKey, OwnedTrust, Relationship, RelationshipProfile, State,
};
use cofide_core::{Bundle, TrustDomain};
use cofide_trust_zone_server::run::Server;
use tokio_util::sync::CancellationToken;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

/// A server of one trust domain in a folder of its own.
struct Zone {
    _folder: tempfile::TempDir,
    shutdown: CancellationToken,
    server: Option<Server>,
    client: SpireClient,
}

impl Zone {
    async fn start(trust_domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let server = serve(folder.path(), trust_domain, shutdown.clone()).await;
        let client = SpireClient::new(&server.bound().admin_socket);
        Self { _folder: folder, shutdown, server: Some(server), client }
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        self.server.take().unwrap().wait().await.unwrap();
    }

    async fn restart(&mut self, trust_domain: &str) {
        self.shutdown = CancellationToken::new();
        self.server = Some(serve(self._folder.path(), trust_domain, self.shutdown.clone()).await);
    }
}

async fn serve(folder: &Path, trust_domain: &str, shutdown: CancellationToken) -> Server {
    let config = format!("trust_domain: {trust_domain}\ndata_dir: {}\n", folder.join("data").display());
    let config = serde_saphyr::from_str(&config).unwrap();
    cofide_trust_zone_server::run::start(config, shutdown).await.unwrap()
}

async fn foreign_bundle(trust_domain: &str) -> Bundle {
    let zone = Zone::start(trust_domain).await;
    zone.client.own_bundle().await.unwrap()
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
            endpoint_url: format!("https://{name}:8443"),
            profile: RelationshipProfile::HttpsSpiffe { endpoint_spiffe_id: format!("spiffe://{name}/spire/server") },
        };
        (domain(name), DesiredTrust { bundle: bundle.cloned(), relationship: Some(relationship) })
    });
    Desired { entries, trust: trust.collect(), refused: BTreeMap::new() }
}

async fn apply(zone: &Zone, desired: &Desired, owned: &mut OwnedTrust) -> cofide_agent::spire::Report {
    reconcile(&zone.client, desired, owned, |_| Ok::<(), String>(())).await.unwrap()
}

async fn ours(zone: &Zone) -> BTreeMap<String, BTreeSet<TrustDomain>> {
    let state = zone.client.read().await.unwrap();
    let ours = state.entries.into_iter().filter(|entry| entry.is_ours());
    ours.map(|entry| (entry.key.spiffe_id, entry.content.federates_with)).collect()
}

#[tokio::test]
async fn the_server_becomes_what_the_plan_asks_for_and_stays_so() {
    let zone = Zone::start("a.test").await;
    let bundle = foreign_bundle("b.test").await;
    let mut owned = OwnedTrust::new();
    let with_trust = desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&bundle))]);
    let report = apply(&zone, &with_trust, &mut owned).await;
    assert_eq!(report.failures(), [""; 0]);

    let state = zone.client.read().await.unwrap();
    assert_eq!(state.bundles[&domain("b.test")].x509_authorities, bundle.x509_authorities);
    let wanted = with_trust.trust[&domain("b.test")].relationship.as_ref().unwrap();
    assert!(state.relationships[&domain("b.test")].is_same(wanted), "{state:?}");
    let held = state.entries.iter().find(|held| held.is_ours()).unwrap();
    assert_eq!((&held.key, &held.content), (&with_trust.entries[0].key, &with_trust.entries[0].content));

    apply(&zone, &with_trust, &mut owned).await;
    assert_eq!(zone.client.read().await.unwrap(), state, "a second run changes nothing, ids included");

    apply(&zone, &Desired::default(), &mut owned).await;
    let state = zone.client.read().await.unwrap();
    assert!(state.entries.is_empty() && state.bundles.is_empty() && state.relationships.is_empty(), "{state:?}");
    assert!(owned.is_empty());
}

#[tokio::test]
async fn a_bundle_that_comes_late_completes_an_identity_that_is_there_already() {
    let zone = Zone::start("a.test").await;
    let mut owned = OwnedTrust::new();
    let report = apply(&zone, &desired(vec![entry("client", &["b.test"])], vec![("b.test", None)]), &mut owned).await;
    assert!(matches!(report.registrations.values().next(), Some(Outcome::Waiting(reason)) if reason.contains("b.test")), "{report:?}");
    assert_eq!(ours(&zone).await["spiffe://a.test/client"], BTreeSet::new());
    let id = zone.client.read().await.unwrap().entries[0].id.clone();

    let bundle = foreign_bundle("b.test").await;
    let report = apply(&zone, &desired(vec![entry("client", &["b.test"])], vec![("b.test", Some(&bundle))]), &mut owned).await;
    assert!(report.registrations.values().all(|outcome| *outcome == Outcome::Applied), "{report:?}");
    assert_eq!(ours(&zone).await["spiffe://a.test/client"], BTreeSet::from([domain("b.test")]));
    assert_eq!(zone.client.read().await.unwrap().entries[0].id, id, "the entry is updated and not replaced");
}

#[tokio::test]
async fn what_others_made_in_the_server_is_left_alone() {
    let zone = Zone::start("a.test").await;
    let (b, c) = (foreign_bundle("b.test").await, foreign_bundle("c.test").await);
    // By hand: trust in c.test and an entry that uses it, without the agent's hint.
    zone.client.change_trust(&TrustChange::SetBundle(c.clone())).await.unwrap().unwrap();
    let by_hand = EntryContent { hint: String::new(), ..entry("manual", &["c.test"]).content };
    let create = EntryChange::Create { key: entry("manual", &[]).key, content: by_hand, bindings: BTreeSet::new() };
    zone.client.change_entries(&[create]).await.unwrap().remove(0).unwrap();
    let before = zone.client.read().await.unwrap();

    let mut owned = OwnedTrust::new();
    let wanted = desired(vec![entry("manual", &["b.test"]), entry("client", &["b.test"])], vec![("b.test", Some(&b))]);
    let report = apply(&zone, &wanted, &mut owned).await;
    let clash = &report.registrations[&"binding-manual".parse().unwrap()];
    assert!(matches!(clash, Outcome::Failed(reason) if reason.contains(&before.entries[0].id)), "{clash:?}");
    assert_eq!(report.registrations[&"binding-client".parse().unwrap()], Outcome::Applied, "its neighbour is not harmed");

    apply(&zone, &Desired::default(), &mut owned).await;
    assert_eq!(zone.client.read().await.unwrap(), before);
}

#[tokio::test]
async fn a_run_that_was_killed_between_any_two_calls_is_finished_by_the_next() {
    let bundle = foreign_bundle("b.test").await;
    let wanted = desired(vec![entry("one", &["b.test"]), entry("two", &["b.test"])], vec![("b.test", Some(&bundle))]);
    let relationship = wanted.trust[&domain("b.test")].relationship.clone().unwrap();
    // The calls of a whole run, in its order; the process dies after the first `alive` of them, and what it kept of owned
    // trust is what it had written down before the first.
    for alive in 0..=3 {
        let zone = Zone::start("a.test").await;
        let mut owned = OwnedTrust::from([(domain("b.test"), Default::default())]);
        if alive >= 1 {
            zone.client.change_trust(&TrustChange::SetBundle(bundle.clone())).await.unwrap().unwrap();
        }
        if alive >= 2 {
            zone.client.change_trust(&TrustChange::CreateRelationship(relationship.clone())).await.unwrap().unwrap();
        }
        if alive >= 3 {
            let DesiredEntry { key, content, bindings } = wanted.entries[0].clone();
            zone.client.change_entries(&[EntryChange::Create { key, content, bindings }]).await.unwrap().remove(0).unwrap();
        }
        let report = apply(&zone, &wanted, &mut owned).await;
        assert_eq!(report.failures(), [""; 0], "killed after {alive} calls");
        let both = BTreeMap::from([
            ("spiffe://a.test/one".to_owned(), BTreeSet::from([domain("b.test")])),
            ("spiffe://a.test/two".to_owned(), BTreeSet::from([domain("b.test")])),
        ]);
        assert_eq!(ours(&zone).await, both, "killed after {alive} calls");
        apply(&zone, &Desired::default(), &mut owned).await;
        let state = zone.client.read().await.unwrap();
        assert_eq!((state.bundles.len(), state.relationships.len(), state.entries.len()), (0, 0, 0), "killed after {alive} calls");
    }
}

#[tokio::test]
async fn a_bundle_of_another_issuer_is_replaced_and_a_newer_one_of_the_same_is_kept_and_reported() {
    let zone = Zone::start("a.test").await;
    let (delivered, stranger) = (foreign_bundle("b.test").await, foreign_bundle("b.test").await);
    let put = async |bundle: Bundle| zone.client.change_trust(&TrustChange::SetBundle(bundle)).await.unwrap().unwrap();
    let held = async || zone.client.read().await.unwrap().bundles.remove(&domain("b.test")).unwrap();
    let wanted = desired(vec![], vec![("b.test", Some(&delivered))]);
    let mut owned = OwnedTrust::new();

    put(Bundle { sequence_number: 1000, ..stranger.clone() }).await;
    let report = apply(&zone, &wanted, &mut owned).await;
    assert!(held().await.same_authorities(&delivered));
    assert_eq!(report.trust[&domain("b.test")], Outcome::Applied);

    let mut newer = Bundle { sequence_number: delivered.sequence_number + 1000, ..delivered.clone() };
    newer.x509_authorities.extend(stranger.x509_authorities);
    put(newer.clone()).await;
    let report = apply(&zone, &wanted, &mut owned).await;
    assert!(held().await.same_authorities(&newer));
    let outcome = &report.trust[&domain("b.test")];
    assert!(matches!(outcome, Outcome::Outdated(reason) if reason.contains("higher sequence number")), "{outcome:?}");
    assert_eq!(report.failures(), [""; 0], "to try again would not help");
}

#[tokio::test]
async fn a_bundle_in_use_by_others_is_not_taken_from_them() {
    let zone = Zone::start("a.test").await;
    let bundle = foreign_bundle("b.test").await;
    let mut owned = OwnedTrust::new();
    apply(&zone, &desired(vec![], vec![("b.test", Some(&bundle))]), &mut owned).await;
    let by_hand = EntryContent { hint: String::new(), ..entry("manual", &["b.test"]).content };
    let create = EntryChange::Create { key: entry("manual", &[]).key, content: by_hand, bindings: BTreeSet::new() };
    zone.client.change_entries(&[create]).await.unwrap().remove(0).unwrap();

    let report = apply(&zone, &Desired::default(), &mut owned).await;
    assert!(matches!(&report.trust[&domain("b.test")], Outcome::Failed(_)), "{report:?}");
    assert!(zone.client.read().await.unwrap().bundles.contains_key(&domain("b.test")));
    assert!(owned.contains_key(&domain("b.test")), "it is tried again");
    assert_eq!(TrustRemoval::Bundle(domain("b.test")).trust_domain(), &domain("b.test"));
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_the_same_client_finds_it_again() {
    let mut zone = Zone::start("a.test").await;
    zone.client.read().await.unwrap();
    zone.stop().await;
    let error = zone.client.read().await.unwrap_err().to_string();
    assert!(error.contains("spire_server_socket") && error.contains("admin.sock"), "{error}");
    zone.restart("a.test").await;
    assert_eq!(zone.client.read().await.unwrap(), State::default());
    let missing = SpireClient::new(&PathBuf::from("/nonexistent/api.sock"));
    assert!(missing.own_bundle().await.unwrap_err().to_string().contains("/nonexistent/api.sock"));
}

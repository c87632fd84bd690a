use std::collections::BTreeSet;

use cofide_bundle_endpoint::Profile;
use cofide_core::{JwtAuthority, SpiffeId, Timestamp, X509Authority};

use super::*;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn entry(path: &str, selectors: &[&str]) -> Entry {
    Entry {
        id: EntryId::random(),
        spiffe_id: SpiffeId::new(format!("spiffe://a.test{path}")).unwrap(),
        parent_id: SpiffeId::new("spiffe://a.test/spire/agent/x").unwrap(),
        selectors: selectors.iter().map(|selector| selector.parse().unwrap()).collect(),
        federates_with: BTreeSet::new(),
        dns_names: vec!["x.test".into()],
        x509_svid_ttl: 60,
        jwt_svid_ttl: 0,
        hint: String::new(),
        admin: false,
        downstream: false,
        store_svid: false,
        expires_at: 0,
        revision_number: 0,
        created_at: 1,
    }
}

fn bundle(name: &str) -> Bundle {
    Bundle {
        x509_authorities: vec![X509Authority { der: vec![1, 2, 3], tainted: true }],
        jwt_authorities: vec![JwtAuthority { key_id: "k".into(), public_key: vec![4], expires_at: 9, tainted: false }],
        refresh_hint: 60,
        sequence_number: 7,
        ..Bundle::empty(domain(name))
    }
}

fn relationship(name: &str) -> FederationRelationship {
    FederationRelationship {
        trust_domain: domain(name),
        bundle_endpoint_url: parse_bundle_endpoint_url("https://127.0.0.1:8443/").unwrap(),
        profile: Profile::HttpsSpiffe { endpoint_spiffe_id: SpiffeId::new(format!("spiffe://{name}/spire/server")).unwrap() },
    }
}

fn content() -> Content {
    Content::new(domain("a.test"), Vec::new())
}

#[tokio::test]
async fn what_was_answered_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("datastore.json");
    let store = Datastore::open(&path, domain("a.test"), Vec::new()).unwrap();
    assert!(!path.exists(), "nothing is written before there is something to keep");
    store
        .update(|content| {
            content.set_bundle(bundle("b.test"));
            content.create_entry(Entry { federates_with: BTreeSet::from([domain("b.test")]), ..entry("/x", &["unix:uid:1"]) }).unwrap();
            content.create_relationship(relationship("b.test")).unwrap();
        })
        .await
        .unwrap();
    let reopened = Datastore::open(&path, domain("a.test"), Vec::new()).unwrap();
    assert_eq!(reopened.read(), store.read());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("datastore.json");
    let store = Datastore::open(&path, domain("a.test"), Vec::new()).unwrap();
    store.update(|content| content.create_entry(entry("/x", &["unix:uid:1"]))).await.unwrap().unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    let table = [
        (whole[..whole.len() / 2].to_owned(), "EOF"),
        (String::new(), "EOF"),
        ("[]".into(), "invalid"),
        (whole.replace("\"version\": 1", "\"version\": 2"), "version 2"),
        (whole.replace("\"trust_domain\": \"a.test\"", "\"trust_domain\": \"z.test\""), "z.test"),
        (whole.replace("spiffe://a.test/x", "spiffe://z.test/x"), "entries[0]"),
        (whole.replace("spiffe://a.test/x", "spiffe://a.test/spire/server"), "entries[0]"),
        (whole.replace("\"hint\"", "\"hinz\""), "hinz"),
    ];
    for (damaged, expected) in table {
        files::write_atomic(&path, damaged.as_bytes(), Mode::Secret).unwrap();
        let error = Datastore::open(&path, domain("a.test"), Vec::new()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("datastore.json") && error.contains("left as it is"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_written_never_happened() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let store = Datastore::open(&gone.join("datastore.json"), domain("a.test"), Vec::new()).unwrap();
    let mut changes = store.subscribe();
    std::fs::remove_dir(&gone).unwrap();
    assert!(store.update(|content| content.create_entry(entry("/x", &["unix:uid:1"]))).await.is_err());
    assert_eq!(store.read().entries().count(), 0);
    assert!(!changes.has_changed().unwrap());
    store.update(|_| ()).await.expect("a change that changes nothing is not written");
    assert!(!changes.borrow_and_update().entries().any(|_| true));
}

#[test]
fn a_similar_entry_is_returned_instead_of_doubled() {
    let mut content = content();
    let Created::New(first) = content.create_entry(entry("/x", &["unix:uid:1", "unix:gid:1"])).unwrap() else { panic!("new") };
    let again = Entry { hint: "other".into(), ..entry("/x", &["unix:gid:1", "unix:uid:1"]) };
    assert_eq!(content.create_entry(again).unwrap(), Created::Existing(first.clone()));
    assert!(matches!(content.create_entry(entry("/x", &["unix:uid:1"])).unwrap(), Created::New(_)));
    let taken = Entry { id: first.id.clone(), ..entry("/y", &["unix:uid:1"]) };
    assert_eq!(content.create_entry(taken), Err(ContentError::IdTaken(first.id.clone())));
}

#[test]
fn an_entry_federates_only_with_a_domain_whose_bundle_is_held() {
    let mut content = content();
    let federated = Entry { federates_with: BTreeSet::from([domain("b.test")]), ..entry("/x", &["unix:uid:1"]) };
    assert_eq!(content.create_entry(federated.clone()), Err(ContentError::NoBundle(domain("b.test"))));
    content.set_bundle(bundle("b.test"));
    assert!(content.create_entry(federated).is_ok());
}

#[test]
fn a_bundle_in_use_is_deleted_in_one_of_three_ways() {
    let mut with_user = content();
    with_user.set_bundle(bundle("b.test"));
    let federated = Entry { federates_with: BTreeSet::from([domain("b.test")]), ..entry("/x", &["unix:uid:1"]) };
    with_user.create_entry(federated).unwrap();
    with_user.create_entry(entry("/y", &["unix:uid:1"])).unwrap();

    let mut restrict = with_user.clone();
    assert_eq!(restrict.delete_bundle(&domain("b.test"), DeleteMode::Restrict), Err(ContentError::BundleInUse(1)));
    assert_eq!(restrict, with_user);

    let mut delete = with_user.clone();
    delete.delete_bundle(&domain("b.test"), DeleteMode::Delete).unwrap();
    assert_eq!(delete.entries().count(), 1);

    let mut dissociate = with_user;
    dissociate.delete_bundle(&domain("b.test"), DeleteMode::Dissociate).unwrap();
    assert_eq!(dissociate.entries().count(), 2);
    assert!(dissociate.entries().all(|entry| entry.federates_with.is_empty()));
    assert!(dissociate.entries().any(|entry| entry.revision_number == 1));
    assert_eq!(dissociate.delete_bundle(&domain("b.test"), DeleteMode::Restrict), Err(ContentError::NotFound("bundle")));
}

#[test]
fn an_entry_of_the_configuration_file_is_not_changed_through_the_api() {
    let fixed = Entry { id: "static-1".parse().unwrap(), created_at: 0, ..entry("/x", &["unix:uid:1"]) };
    let mut content = Content::new(domain("a.test"), vec![fixed.clone()]);
    let refused = ContentError::StaticEntry(fixed.id.clone());
    assert_eq!(content.delete_entry(&fixed.id), Err(refused.clone()));
    assert_eq!(content.update_entry(&fixed.id, |_| ()), Err(refused));
    assert!(matches!(content.create_entry(entry("/x", &["unix:uid:1"])).unwrap(), Created::Existing(existing) if existing.id == fixed.id));
    let forged = Entry { id: "static-2".parse().unwrap(), ..entry("/z", &["unix:uid:1"]) };
    assert!(matches!(content.create_entry(forged), Err(ContentError::IdTaken(_))));
}

#[test]
fn a_workload_matches_the_entries_whose_selectors_it_all_carries() {
    let mut content = content();
    let later = |entry: Entry, created_at| Entry { created_at, ..entry };
    content.create_entry(later(entry("/uid", &["unix:uid:1"]), 5)).unwrap();
    content.create_entry(later(entry("/both", &["unix:uid:1", "unix:gid:2"]), 3)).unwrap();
    content.create_entry(entry("/other", &["unix:uid:7"])).unwrap();
    content.create_entry(Entry { store_svid: true, ..entry("/stored", &["unix:uid:1"]) }).unwrap();
    content.create_entry(Entry { expires_at: 99, ..entry("/expired", &["unix:uid:1"]) }).unwrap();
    content.create_entry(later(Entry { hint: "h".into(), ..entry("/hint-new", &["unix:uid:1"]) }, 9)).unwrap();
    content.create_entry(later(Entry { hint: "h".into(), ..entry("/hint-old", &["unix:uid:1"]) }, 8)).unwrap();
    let paths = |selectors: &[&str]| {
        let selectors = selectors.iter().map(|selector| selector.parse().unwrap()).collect();
        let matching = content.matching(&selectors, Timestamp::from_seconds(100));
        matching.iter().map(|entry| entry.spiffe_id.path().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["unix:uid:1"]), ["/uid", "/hint-old"]);
    assert_eq!(paths(&["unix:uid:1", "unix:gid:2", "unix:path:/x"]), ["/both", "/uid", "/hint-old"]);
    assert!(paths(&["unix:gid:2"]).is_empty());
}

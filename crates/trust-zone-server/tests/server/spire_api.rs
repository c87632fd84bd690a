//! SPIRE's server APIs: the statuses, masks, filters and pages that SPIRE's clients rely on.

use cofide_api::spire::server::bundle as bundle_api;
use cofide_api::spire::server::bundle::batch_delete_federated_bundle_request::Mode;
use cofide_api::spire::server::entry as entry_api;
use cofide_api::spire::server::trustdomain as domain_api;
use cofide_api::spire::types;
use cofide_api::spire::types::federation_relationship::BundleEndpointProfile;
use cofide_api::spire::types::selector_match::MatchBehavior;
use cofide_core::Bundle;
use serde_json::json;
use tonic::Code;

use crate::support::*;

async fn create(server: &TestServer, entry: types::Entry) -> (Code, String, Option<types::Entry>) {
    let request = entry_api::BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
    let mut response = server.entries().await.batch_create_entry(request).await.unwrap().into_inner();
    let result = response.results.remove(0);
    let status = result.status.unwrap();
    (Code::from_i32(status.code), status.message, result.entry)
}

async fn list(server: &TestServer, request: entry_api::ListEntriesRequest) -> entry_api::ListEntriesResponse {
    server.entries().await.list_entries(request).await.unwrap().into_inner()
}

fn paths(entries: &[types::Entry]) -> Vec<&str> {
    let mut paths: Vec<_> = entries.iter().map(|entry| entry.spiffe_id.as_ref().unwrap().path.as_str()).collect();
    paths.sort_unstable();
    paths
}

#[tokio::test]
async fn an_entry_that_breaks_a_rule_is_refused_alone() {
    type Change = fn(&mut types::Entry);
    let table: [(&str, Change, Code, &str); 19] = [
        ("no id", |entry| entry.spiffe_id = None, Code::InvalidArgument, "invalid spiffe ID"),
        ("no parent", |entry| entry.parent_id = None, Code::InvalidArgument, "invalid parent ID"),
        ("foreign id", |entry| entry.spiffe_id.as_mut().unwrap().trust_domain = "b.test".into(), Code::InvalidArgument, "not a member"),
        ("foreign parent", |entry| entry.parent_id.as_mut().unwrap().trust_domain = "b.test".into(), Code::InvalidArgument, "parent ID"),
        ("no path", |entry| entry.spiffe_id.as_mut().unwrap().path = String::new(), Code::InvalidArgument, "path is empty"),
        ("reserved path", |entry| entry.spiffe_id.as_mut().unwrap().path = "/spire/server".into(), Code::InvalidArgument, "reserved"),
        ("bad path", |entry| entry.spiffe_id.as_mut().unwrap().path = "/a/../b".into(), Code::InvalidArgument, "spiffe ID"),
        ("no selectors", |entry| entry.selectors.clear(), Code::InvalidArgument, "selector list is empty"),
        ("no selector type", |entry| entry.selectors[0].r#type = String::new(), Code::InvalidArgument, "missing selector type"),
        ("colon in type", |entry| entry.selectors[0].r#type = "a:b".into(), Code::InvalidArgument, "contains ':'"),
        ("no selector value", |entry| entry.selectors[0].value = String::new(), Code::InvalidArgument, "missing selector value"),
        ("bad DNS name", |entry| entry.dns_names = vec!["a..b".into()], Code::InvalidArgument, "invalid DNS name"),
        ("bad federated domain", |entry| entry.federates_with = vec!["B.test".into()], Code::InvalidArgument, "federated trust domain"),
        ("long hint", |entry| entry.hint = "x".repeat(1025), Code::InvalidArgument, "hint is too long"),
        ("negative ttl", |entry| entry.x509_svid_ttl = -1, Code::InvalidArgument, "x509_svid_ttl"),
        ("negative jwt ttl", |entry| entry.jwt_svid_ttl = -1, Code::InvalidArgument, "jwt_svid_ttl"),
        ("bad id", |entry| entry.id = "a b".into(), Code::InvalidArgument, "entry ID"),
        ("id of a static entry", |entry| entry.id = "static-1".into(), Code::AlreadyExists, "taken"),
        (
            "unknown federated domain",
            |entry| entry.federates_with = vec!["b.test".into()],
            Code::Internal,
            "unable to find federated bundle \"spiffe://b.test\"",
        ),
    ];
    let server = TestServer::start("a.test").await;
    let mut entries = Vec::new();
    for (index, (_, change, ..)) in table.iter().enumerate() {
        let mut bad = server.entry(&format!("/bad{index}"));
        change(&mut bad);
        entries.extend([bad, server.entry(&format!("/good{index}"))]);
    }
    let request = entry_api::BatchCreateEntryRequest { entries, output_mask: None };
    let results = server.entries().await.batch_create_entry(request).await.unwrap().into_inner().results;
    for ((name, _, code, message), pair) in table.iter().zip(results.chunks(2)) {
        let status = pair[0].status.as_ref().unwrap();
        assert_eq!(Code::from_i32(status.code), *code, "{name}: {status:?}");
        assert!(status.message.contains(message), "{name}: {status:?}");
        assert!(pair[0].entry.is_none(), "{name}");
        assert_eq!(pair[1].status.as_ref().unwrap().code, 0, "the entry after {name}");
    }
    assert_eq!(list(&server, entry_api::ListEntriesRequest::default()).await.entries.len(), table.len());
}

#[tokio::test]
async fn an_entry_lives_through_create_get_update_and_delete() {
    let server = TestServer::start("a.test").await;
    let mut wanted = server.entry_for("/x", &["unix:uid:1", "unix:gid:2"]);
    wanted.dns_names = vec!["x.test".into()];
    wanted.x509_svid_ttl = 60;
    let (code, _, created) = create(&server, wanted.clone()).await;
    let created = created.unwrap();
    assert_eq!(code, Code::Ok);
    assert!(!created.id.is_empty() && created.created_at > 0 && created.revision_number == 0, "{created:?}");

    let (code, message, existing) = create(&server, types::Entry { hint: "other".into(), ..wanted }).await;
    assert_eq!((code, message.as_str()), (Code::AlreadyExists, "similar entry already exists"));
    assert_eq!(existing.unwrap(), created, "the one that is there is returned unchanged");

    let mut client = server.entries().await;
    let mask = types::EntryMask { hint: true, ..types::EntryMask::default() };
    let change =
        types::Entry { id: created.id.clone(), hint: "new".into(), dns_names: vec!["ignored.test".into()], ..types::Entry::default() };
    let request = entry_api::BatchUpdateEntryRequest { entries: vec![change], input_mask: Some(mask), output_mask: Some(mask) };
    let updated = client.batch_update_entry(request).await.unwrap().into_inner().results.remove(0);
    let reduced = types::Entry { id: created.id.clone(), hint: "new".into(), ..types::Entry::default() };
    assert_eq!(updated.entry, Some(reduced), "reduced to the output mask");
    let request = entry_api::GetEntryRequest { id: created.id.clone(), output_mask: None };
    let got = client.get_entry(request.clone()).await.unwrap().into_inner();
    assert_eq!(got, types::Entry { hint: "new".into(), revision_number: 1, ..created.clone() });

    let unknown = types::Entry { id: "unknown".into(), ..created.clone() };
    let update = entry_api::BatchUpdateEntryRequest { entries: vec![unknown], input_mask: None, output_mask: None };
    let result = client.batch_update_entry(update).await.unwrap().into_inner().results.remove(0);
    assert_eq!(result.status.unwrap().code, Code::NotFound as i32);

    let request_ids = vec![created.id.clone(), created.id.clone(), String::new(), "a b".into()];
    let deleted =
        client.batch_delete_entry(entry_api::BatchDeleteEntryRequest { ids: request_ids.clone() }).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = deleted.iter().map(|result| (Code::from_i32(result.status.as_ref().unwrap().code), result.id.clone())).collect();
    let codes = [Code::Ok, Code::NotFound, Code::InvalidArgument, Code::NotFound];
    assert_eq!(outcomes, codes.into_iter().zip(request_ids).collect::<Vec<_>>());
    assert_eq!(client.get_entry(request).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.get_entry(entry_api::GetEntryRequest::default()).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_entry_of_the_configuration_file_is_listed_and_left_alone() {
    let entries = json!([{"spiffe_id_path": "/fixed", "selectors": [own_uid()], "hint": "mine", "federates_with": ["b.test"]}]);
    let server = TestServer::start_with("a.test", json!({"entries": entries})).await;
    let listed = list(&server, entry_api::ListEntriesRequest::default()).await.entries.remove(0);
    assert_eq!((listed.hint.as_str(), listed.id.starts_with("static-")), ("mine", true));
    let mut client = server.entries().await;
    let delete = entry_api::BatchDeleteEntryRequest { ids: vec![listed.id.clone()] };
    let deleted = client.batch_delete_entry(delete).await.unwrap().into_inner().results.remove(0).status.unwrap();
    assert_eq!(deleted.code, Code::FailedPrecondition as i32);
    assert!(deleted.message.contains("configuration file"), "{deleted:?}");
    let update = entry_api::BatchUpdateEntryRequest { entries: vec![listed.clone()], input_mask: None, output_mask: None };
    let updated = client.batch_update_entry(update).await.unwrap().into_inner().results.remove(0).status.unwrap();
    assert_eq!(updated.code, Code::FailedPrecondition as i32);
    // Its federated bundle may come later.
    let mut svids = server.x509_svids().await;
    assert!(next(&mut svids).await.federated_bundles.is_empty());
    server.set_bundle(&TestServer::start("b.test").await.bundle().await).await;
    assert_eq!(next(&mut svids).await.federated_bundles.len(), 1);
}

#[tokio::test]
async fn entries_are_filtered_counted_and_paged() {
    let server = TestServer::start("a.test").await;
    server.set_bundle(&TestServer::start("b.test").await.bundle().await).await;
    for (path, selectors) in [("/one", vec!["unix:uid:1"]), ("/two", vec!["unix:uid:1", "unix:gid:2"]), ("/three", vec!["unix:uid:3"])] {
        server.register(server.entry_for(path, &selectors)).await;
    }
    let mut special = server.entry_for("/four", &["unix:uid:4"]);
    special.hint = "special".into();
    special.downstream = true;
    special.federates_with = vec!["b.test".into()];
    server.register(special).await;

    let filtered = |filter: entry_api::list_entries_request::Filter| {
        list(&server, entry_api::ListEntriesRequest { filter: Some(filter), ..entry_api::ListEntriesRequest::default() })
    };
    let filter = entry_api::list_entries_request::Filter::default;
    let id = |path: &str| Some(types::Spiffeid { trust_domain: "a.test".into(), path: path.into() });
    let selector = |value: &str| types::Selector { r#type: "unix".into(), value: value.into() };
    let selectors = |values: &[&str], behavior: MatchBehavior| {
        Some(types::SelectorMatch { selectors: values.iter().map(|value| selector(value)).collect(), r#match: behavior.into() })
    };
    let by_id = entry_api::list_entries_request::Filter { by_spiffe_id: id("/one"), ..filter() };
    assert_eq!(paths(&filtered(by_id).await.entries), ["/one"]);
    let by_parent = entry_api::list_entries_request::Filter { by_parent_id: id("/nobody"), ..filter() };
    assert!(filtered(by_parent).await.entries.is_empty());
    let by_hint = entry_api::list_entries_request::Filter { by_hint: Some("special".into()), ..filter() };
    assert_eq!(paths(&filtered(by_hint).await.entries), ["/four"]);
    let by_downstream = entry_api::list_entries_request::Filter { by_downstream: Some(false), ..filter() };
    assert_eq!(paths(&filtered(by_downstream).await.entries), ["/one", "/three", "/two"]);
    let domains = types::FederatesWithMatch { trust_domains: vec!["spiffe://b.test".into()], r#match: 3 };
    let by_domain = entry_api::list_entries_request::Filter { by_federates_with: Some(domains), ..filter() };
    assert_eq!(paths(&filtered(by_domain).await.entries), ["/four"]);
    for (behavior, expected) in [
        (MatchBehavior::MatchExact, vec!["/one"]),
        (MatchBehavior::MatchSubset, vec!["/one"]),
        (MatchBehavior::MatchSuperset, vec!["/one", "/two"]),
        (MatchBehavior::MatchAny, vec!["/one", "/two"]),
    ] {
        let by_selectors = entry_api::list_entries_request::Filter { by_selectors: selectors(&["uid:1"], behavior), ..filter() };
        assert_eq!(paths(&filtered(by_selectors).await.entries), expected, "{behavior:?}");
    }

    let mut client = server.entries().await;
    let malformed = entry_api::list_entries_request::Filter { by_selectors: selectors(&[], MatchBehavior::MatchAny), ..filter() };
    let request = entry_api::ListEntriesRequest { filter: Some(malformed), ..entry_api::ListEntriesRequest::default() };
    assert_eq!(client.list_entries(request).await.unwrap_err().code(), Code::InvalidArgument);
    let count =
        entry_api::count_entries_request::Filter { by_downstream: Some(true), ..entry_api::count_entries_request::Filter::default() };
    let count = client.count_entries(entry_api::CountEntriesRequest { filter: Some(count) }).await.unwrap().into_inner().count;
    assert_eq!(count, 1);
    assert_eq!(client.count_entries(entry_api::CountEntriesRequest::default()).await.unwrap().into_inner().count, 4);

    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let page =
            list(&server, entry_api::ListEntriesRequest { page_size: 3, page_token, ..entry_api::ListEntriesRequest::default() }).await;
        seen.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        assert_eq!(seen.len(), 3);
    }
    assert_eq!(paths(&seen), ["/four", "/one", "/three", "/two"]);
    let mask = types::EntryMask { spiffe_id: true, ..types::EntryMask::default() };
    let masked = list(&server, entry_api::ListEntriesRequest { output_mask: Some(mask), ..entry_api::ListEntriesRequest::default() }).await;
    assert!(masked.entries.iter().all(|entry| !entry.id.is_empty() && entry.spiffe_id.is_some() && entry.selectors.is_empty()));
}

#[tokio::test]
async fn foreign_bundles_are_created_changed_and_deleted() {
    let server = TestServer::start("a.test").await;
    let partner = TestServer::start("b.test").await.bundle().await;
    let mut client = server.bundles().await;
    let create = |bundle: types::Bundle| bundle_api::BatchCreateFederatedBundleRequest { bundle: vec![bundle], output_mask: None };
    let code = |status: Option<types::Status>| Code::from_i32(status.unwrap().code);

    let own = create((&server.bundle().await).into());
    assert_eq!(code(client.batch_create_federated_bundle(own).await.unwrap().into_inner().results.remove(0).status), Code::InvalidArgument);
    // Envoy would refuse a certificate of the eighth version, and with it the bundles of all other domains.
    let mut odd = partner.x509_authorities[0].der.clone();
    let version = odd.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).unwrap();
    odd[version + 4] = 7;
    for asn1 in [vec![1, 2, 3], odd] {
        let malformed = types::X509Certificate { asn1, tainted: false };
        let malformed = create(types::Bundle { x509_authorities: vec![malformed], ..(&partner).into() });
        let status = client.batch_create_federated_bundle(malformed).await.unwrap().into_inner().results.remove(0).status.unwrap();
        assert_eq!(Code::from_i32(status.code), Code::InvalidArgument);
        assert!(status.message.contains("x509_authorities[0].asn1: is"), "{}", status.message);
    }
    let good = create((&partner).into());
    assert_eq!(code(client.batch_create_federated_bundle(good.clone()).await.unwrap().into_inner().results.remove(0).status), Code::Ok);
    assert_eq!(code(client.batch_create_federated_bundle(good).await.unwrap().into_inner().results.remove(0).status), Code::AlreadyExists);
    assert_eq!(client.count_bundles(bundle_api::CountBundlesRequest {}).await.unwrap().into_inner().count, 2);

    let hint_only = types::BundleMask { refresh_hint: true, ..types::BundleMask::default() };
    let change = types::Bundle { trust_domain: "b.test".into(), refresh_hint: 77, ..types::Bundle::default() };
    let update = |bundle: types::Bundle| bundle_api::BatchUpdateFederatedBundleRequest {
        bundle: vec![bundle],
        input_mask: Some(hint_only),
        output_mask: Some(hint_only),
    };
    let updated = client.batch_update_federated_bundle(update(change.clone())).await.unwrap().into_inner().results.remove(0);
    assert_eq!(updated.bundle, Some(change.clone()), "reduced to the output mask");
    let unknown = types::Bundle { trust_domain: "c.test".into(), ..change };
    assert_eq!(
        code(client.batch_update_federated_bundle(update(unknown)).await.unwrap().into_inner().results.remove(0).status),
        Code::NotFound
    );
    let get = bundle_api::GetFederatedBundleRequest { trust_domain: "spiffe://b.test".into(), output_mask: None };
    let got: Bundle = client.get_federated_bundle(get).await.unwrap().into_inner().try_into().unwrap();
    assert_eq!(got, Bundle { refresh_hint: 77, ..partner });
    for (name, expected) in [("a.test", Code::InvalidArgument), ("c.test", Code::NotFound), ("", Code::InvalidArgument)] {
        let get = bundle_api::GetFederatedBundleRequest { trust_domain: name.into(), output_mask: None };
        assert_eq!(client.get_federated_bundle(get).await.unwrap_err().code(), expected, "{name}");
    }

    server.register(types::Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
    let delete = |mode: Mode| bundle_api::BatchDeleteFederatedBundleRequest {
        trust_domains: vec!["b.test".into(), "c.test".into(), "a.test".into()],
        mode: mode.into(),
    };
    let codes = |results: Vec<bundle_api::batch_delete_federated_bundle_response::Result>| {
        results.into_iter().map(|result| Code::from_i32(result.status.unwrap().code)).collect::<Vec<_>>()
    };
    let restricted = client.batch_delete_federated_bundle(delete(Mode::Restrict)).await.unwrap().into_inner().results;
    assert_eq!(codes(restricted), [Code::FailedPrecondition, Code::NotFound, Code::InvalidArgument]);
    let dissociated = client.batch_delete_federated_bundle(delete(Mode::Dissociate)).await.unwrap().into_inner().results;
    assert_eq!(codes(dissociated), [Code::Ok, Code::NotFound, Code::InvalidArgument]);
    let entry = list(&server, entry_api::ListEntriesRequest::default()).await.entries.remove(0);
    assert!(entry.federates_with.is_empty());
    let unknown_mode = bundle_api::BatchDeleteFederatedBundleRequest { trust_domains: Vec::new(), mode: 9 };
    assert_eq!(client.batch_delete_federated_bundle(unknown_mode).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.append_bundle(bundle_api::AppendBundleRequest::default()).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn federation_relationships_are_kept_as_given() {
    let server = TestServer::start("a.test").await;
    let partner = TestServer::start("b.test").await.bundle().await;
    let mut client = server.relationships().await;
    let profile = |id: &str| Some(BundleEndpointProfile::HttpsSpiffe(types::HttpsspiffeProfile { endpoint_spiffe_id: id.into() }));
    let good = types::FederationRelationship {
        trust_domain: "b.test".into(),
        bundle_endpoint_url: "https://127.0.0.1:1/".into(),
        bundle_endpoint_profile: profile("spiffe://b.test/spire/server"),
        trust_domain_bundle: Some((&partner).into()),
    };
    type Change = fn(&mut types::FederationRelationship);
    let table: [(&str, Change); 9] = [
        ("own domain", |one| {
            one.trust_domain = "a.test".into();
            one.trust_domain_bundle = None;
        }),
        ("no domain", |one| one.trust_domain = String::new()),
        ("no url", |one| one.bundle_endpoint_url = String::new()),
        ("http", |one| one.bundle_endpoint_url = "http://b.test".into()),
        ("user info", |one| one.bundle_endpoint_url = "https://me@b.test".into()),
        ("no profile", |one| one.bundle_endpoint_profile = None),
        ("bad endpoint id", |one| {
            one.bundle_endpoint_profile =
                Some(BundleEndpointProfile::HttpsSpiffe(types::HttpsspiffeProfile { endpoint_spiffe_id: "b".into() }));
        }),
        ("bundle of another", |one| one.trust_domain = "c.test".into()),
        ("bad bundle", |one| one.trust_domain_bundle.as_mut().unwrap().x509_authorities[0].asn1.truncate(5)),
    ];
    for (name, change) in table {
        let mut bad = good.clone();
        change(&mut bad);
        let request = domain_api::BatchCreateFederationRelationshipRequest { federation_relationships: vec![bad], output_mask: None };
        let result = client.batch_create_federation_relationship(request).await.unwrap().into_inner().results.remove(0);
        assert_eq!(Code::from_i32(result.status.as_ref().unwrap().code), Code::InvalidArgument, "{name}: {result:?}");
    }

    let request = domain_api::BatchCreateFederationRelationshipRequest { federation_relationships: vec![good.clone()], output_mask: None };
    let created = client.batch_create_federation_relationship(request.clone()).await.unwrap().into_inner().results.remove(0);
    assert_eq!(created.federation_relationship, Some(good.clone()));
    let again = client.batch_create_federation_relationship(request).await.unwrap().into_inner().results.remove(0);
    assert_eq!(Code::from_i32(again.status.unwrap().code), Code::AlreadyExists);

    let url_only = types::FederationRelationshipMask { bundle_endpoint_url: true, ..types::FederationRelationshipMask::default() };
    let change = types::FederationRelationship {
        trust_domain: "b.test".into(),
        bundle_endpoint_url: "https://127.0.0.1:2/".into(),
        ..types::FederationRelationship::default()
    };
    let update = |relationship: types::FederationRelationship| domain_api::BatchUpdateFederationRelationshipRequest {
        federation_relationships: vec![relationship],
        input_mask: Some(url_only),
        output_mask: None,
    };
    let updated = client.batch_update_federation_relationship(update(change.clone())).await.unwrap().into_inner().results.remove(0);
    let expected = types::FederationRelationship { bundle_endpoint_url: "https://127.0.0.1:2/".into(), ..good };
    assert_eq!(updated.federation_relationship, Some(expected.clone()));

    let get = |name: &str| domain_api::GetFederationRelationshipRequest { trust_domain: name.into(), output_mask: None };
    assert_eq!(client.get_federation_relationship(get("b.test")).await.unwrap().into_inner(), expected);
    assert_eq!(client.get_federation_relationship(get("c.test")).await.unwrap_err().code(), Code::NotFound);
    let listed = domain_api::ListFederationRelationshipsRequest {
        output_mask: Some(url_only),
        ..domain_api::ListFederationRelationshipsRequest::default()
    };
    let listed = client.list_federation_relationships(listed).await.unwrap().into_inner().federation_relationships;
    assert_eq!(listed, [change]);
    let refresh = domain_api::RefreshBundleRequest { trust_domain: "c.test".into() };
    assert_eq!(client.refresh_bundle(refresh).await.unwrap_err().code(), Code::NotFound);

    let delete =
        domain_api::BatchDeleteFederationRelationshipRequest { trust_domains: vec!["b.test".into(), "b.test".into(), String::new()] };
    let deleted = client.batch_delete_federation_relationship(delete).await.unwrap().into_inner().results;
    let codes: Vec<_> = deleted.into_iter().map(|result| Code::from_i32(result.status.unwrap().code)).collect();
    assert_eq!(codes, [Code::Ok, Code::NotFound, Code::InvalidArgument]);
    let held = bundle_api::GetFederatedBundleRequest { trust_domain: "b.test".into(), output_mask: None };
    server.bundles().await.get_federated_bundle(held).await.expect("the bundle outlives the relationship, as in SPIRE");
}

//! Registration entries, as clients of SPIRE create, change, find and delete them.

use cofide_api::spire::server::entry as entry_api;
use cofide_api::spire::types;
use cofide_api::spire::types::selector_match::MatchBehavior;
use tonic::Code;

use super::{Server, ServerKind};

async fn create(server: &Server, entry: types::Entry) -> (Code, String, Option<types::Entry>) {
    let request = entry_api::BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
    let mut response = server.api.entries().await.batch_create_entry(request).await.unwrap().into_inner();
    let result = response.results.remove(0);
    let status = result.status.unwrap();
    (Code::from_i32(status.code), status.message, result.entry)
}

async fn list(server: &Server, request: entry_api::ListEntriesRequest) -> entry_api::ListEntriesResponse {
    server.api.entries().await.list_entries(request).await.unwrap().into_inner()
}

/// Selectors are a set, in whatever order they come.
fn in_order(mut entry: types::Entry) -> types::Entry {
    entry.selectors.sort_by(|one, other| (&one.r#type, &one.value).cmp(&(&other.r#type, &other.value)));
    entry
}

fn paths(entries: &[types::Entry]) -> Vec<&str> {
    let mut paths: Vec<_> = entries.iter().map(|entry| entry.spiffe_id.as_ref().unwrap().path.as_str()).collect();
    paths.sort_unstable();
    paths
}

pub async fn an_entry_that_breaks_a_rule_is_refused_alone(kind: ServerKind) {
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
        ("negative ttl", |entry| entry.x509_svid_ttl = -1, Code::InvalidArgument, ""),
        ("negative jwt ttl", |entry| entry.jwt_svid_ttl = -1, Code::InvalidArgument, ""),
        (
            "selectors of two kinds for a stored SVID",
            |entry| {
                entry.store_svid = true;
                entry.selectors.push(types::Selector { r#type: "other".into(), value: "x".into() });
            },
            Code::InvalidArgument,
            "must be the same",
        ),
        ("bad id", |entry| entry.id = "a b".into(), Code::InvalidArgument, "entry ID"),
        (
            "unknown federated domain",
            |entry| entry.federates_with = vec!["b.test".into()],
            Code::Internal,
            "unable to find federated bundle \"spiffe://b.test\"",
        ),
    ];
    let server = Server::start(kind, "a.test").await;
    let mut entries = Vec::new();
    for (index, (_, change, ..)) in table.iter().enumerate() {
        let mut bad = server.entry(&format!("/bad{index}"));
        change(&mut bad);
        entries.extend([bad, server.entry(&format!("/good{index}"))]);
    }
    let request = entry_api::BatchCreateEntryRequest { entries, output_mask: None };
    let results = server.api.entries().await.batch_create_entry(request).await.unwrap().into_inner().results;
    for ((name, _, code, message), pair) in table.iter().zip(results.chunks(2)) {
        let status = pair[0].status.as_ref().unwrap();
        assert_eq!(Code::from_i32(status.code), *code, "{name}: {status:?}");
        assert!(status.message.contains(message), "{name}: {status:?}");
        assert!(pair[0].entry.is_none(), "{name}");
        assert_eq!(pair[1].status.as_ref().unwrap().code, 0, "the entry after {name}");
    }
    assert_eq!(list(&server, entry_api::ListEntriesRequest::default()).await.entries.len(), table.len());
}

pub async fn an_entry_lives_through_create_get_update_and_delete(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let mut wanted = server.api.entry_for("/x", &["unix:uid:1", "unix:gid:2"]);
    wanted.dns_names = vec!["x.test".into()];
    wanted.x509_svid_ttl = 60;
    let (code, _, created) = create(&server, wanted.clone()).await;
    let created = created.unwrap();
    assert_eq!(code, Code::Ok);
    assert!(!created.id.is_empty() && created.created_at > 0 && created.revision_number == 0, "{created:?}");

    let (code, message, existing) = create(&server, types::Entry { hint: "other".into(), ..wanted }).await;
    assert_eq!((code, message.as_str()), (Code::AlreadyExists, "similar entry already exists"));
    assert_eq!(existing.map(in_order), Some(in_order(created.clone())), "the one that is there is returned unchanged");

    let mut client = server.api.entries().await;
    let mask = types::EntryMask { hint: true, ..types::EntryMask::default() };
    let change =
        types::Entry { id: created.id.clone(), hint: "new".into(), dns_names: vec!["ignored.test".into()], ..types::Entry::default() };
    let request = entry_api::BatchUpdateEntryRequest { entries: vec![change], input_mask: Some(mask), output_mask: Some(mask) };
    let updated = client.batch_update_entry(request).await.unwrap().into_inner().results.remove(0);
    let reduced = types::Entry { id: created.id.clone(), hint: "new".into(), ..types::Entry::default() };
    assert_eq!(updated.entry, Some(reduced), "reduced to the output mask");
    let request = entry_api::GetEntryRequest { id: created.id.clone(), output_mask: None };
    let got = client.get_entry(request.clone()).await.unwrap().into_inner();
    assert_eq!(in_order(got), in_order(types::Entry { hint: "new".into(), revision_number: 1, ..created.clone() }));

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

pub async fn entries_are_filtered_counted_and_paged(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    server.api.set_bundle(&Server::start(kind, "b.test").await.api.bundle().await).await;
    for (path, selectors) in [("/one", vec!["unix:uid:1"]), ("/two", vec!["unix:uid:1", "unix:gid:2"]), ("/three", vec!["unix:uid:3"])] {
        server.api.register(server.api.entry_for(path, &selectors)).await;
    }
    let mut special = server.api.entry_for("/four", &["unix:uid:4"]);
    special.hint = "special".into();
    special.downstream = true;
    special.federates_with = vec!["b.test".into()];
    server.api.register(special).await;

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
    // SPIRE knows no filter for those that are not.
    for (downstream, expected) in [(true, vec!["/four"]), (false, vec!["/four", "/one", "/three", "/two"])] {
        let by_downstream = entry_api::list_entries_request::Filter { by_downstream: Some(downstream), ..filter() };
        assert_eq!(paths(&filtered(by_downstream).await.entries), expected, "downstream {downstream}");
    }
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

    let mut client = server.api.entries().await;
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
        assert!(page.entries.len() <= 3, "{page:?}");
        seen.extend(page.entries);
        page_token = page.next_page_token;
        // SPIRE finds out by another page, which is empty, that this was the last.
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paths(&seen), ["/four", "/one", "/three", "/two"]);
    let mask = types::EntryMask { spiffe_id: true, ..types::EntryMask::default() };
    let masked = list(&server, entry_api::ListEntriesRequest { output_mask: Some(mask), ..entry_api::ListEntriesRequest::default() }).await;
    assert!(masked.entries.iter().all(|entry| !entry.id.is_empty() && entry.spiffe_id.is_some() && entry.selectors.is_empty()));
}

//! What SPIRE's server APIs say here and not in SPIRE: entries of the configuration file, and calls that are not served. All else is in
//! the suite that SPIRE passes too.

use cofide_api::spire::server::bundle as bundle_api;
use cofide_api::spire::server::entry as entry_api;
use cofide_api::spire::types;
use serde_json::json;
use tonic::Code;

use crate::support::*;

#[tokio::test]
async fn the_bundle_of_the_server_takes_no_authorities_from_outside() {
    let server = TestServer::start("a.test").await;
    let appended = server.api.bundles().await.append_bundle(bundle_api::AppendBundleRequest::default()).await;
    assert_eq!(appended.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn an_id_like_those_of_the_configuration_file_is_not_given_away() {
    let server = TestServer::start("a.test").await;
    let entry = types::Entry { id: "static-1".into(), ..server.entry("/x") };
    let request = entry_api::BatchCreateEntryRequest { entries: vec![entry], output_mask: None };
    let result = server.api.entries().await.batch_create_entry(request).await.unwrap().into_inner().results.remove(0);
    let status = result.status.unwrap();
    assert_eq!(Code::from_i32(status.code), Code::AlreadyExists);
    assert!(status.message.contains("taken"), "{status:?}");
}

#[tokio::test]
async fn an_entry_of_the_configuration_file_is_listed_and_left_alone() {
    let entries = json!([{"spiffe_id_path": "/fixed", "selectors": [own_uid()], "hint": "mine", "federates_with": ["b.test"]}]);
    let server = TestServer::start_with("a.test", json!({"entries": entries})).await;
    let listed =
        server.api.entries().await.list_entries(entry_api::ListEntriesRequest::default()).await.unwrap().into_inner().entries.remove(0);
    assert_eq!((listed.hint.as_str(), listed.id.starts_with("static-")), ("mine", true));
    let mut client = server.api.entries().await;
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
    server.api.set_bundle(&TestServer::start("b.test").await.api.bundle().await).await;
    assert_eq!(next(&mut svids).await.federated_bundles.len(), 1);
}

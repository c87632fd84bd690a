//! Bundles of foreign trust domains.

use cofide_api::spire::server::bundle as bundle_api;
use cofide_api::spire::server::bundle::batch_delete_federated_bundle_request::Mode;
use cofide_api::spire::server::entry as entry_api;
use cofide_api::spire::types;
use cofide_core::Bundle;
use tonic::Code;

use super::{Server, ServerKind};

pub async fn foreign_bundles_are_created_changed_and_deleted(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let partner = Server::start(kind, "b.test").await.api.bundle().await;
    let mut client = server.api.bundles().await;
    let create = |bundle: types::Bundle| bundle_api::BatchCreateFederatedBundleRequest { bundle: vec![bundle], output_mask: None };
    let code = |status: Option<types::Status>| Code::from_i32(status.unwrap().code);

    let own = create((&server.api.bundle().await).into());
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
        assert!(status.message.contains("failed to convert bundle"), "{}", status.message);
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

    server.api.register(types::Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
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
    let listed = server.api.entries().await.list_entries(entry_api::ListEntriesRequest::default()).await.unwrap().into_inner();
    let entry = &listed.entries[0];
    assert!(entry.federates_with.is_empty());
    let unknown_mode = bundle_api::BatchDeleteFederatedBundleRequest { trust_domains: Vec::new(), mode: 9 };
    assert_eq!(client.batch_delete_federated_bundle(unknown_mode).await.unwrap_err().code(), Code::InvalidArgument);
}

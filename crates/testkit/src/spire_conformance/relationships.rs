//! Federation relationships: where a foreign trust domain publishes its bundle.

use cofide_api::spire::server::bundle as bundle_api;
use cofide_api::spire::server::trustdomain as domain_api;
use cofide_api::spire::types;
use cofide_api::spire::types::federation_relationship::BundleEndpointProfile;
use tonic::Code;

use super::{Server, ServerKind};

pub async fn federation_relationships_are_kept_as_given(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let partner = Server::start(kind, "b.test").await.api.bundle().await;
    let mut client = server.api.relationships().await;
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
    // Not the code that one would choose, but SPIRE's.
    assert_eq!(Code::from_i32(again.status.unwrap().code), Code::Internal);

    let url_only = types::FederationRelationshipMask { bundle_endpoint_url: true, ..types::FederationRelationshipMask::default() };
    // The whole has to be valid, also where the mask takes a part of it.
    let change = types::FederationRelationship {
        trust_domain: "b.test".into(),
        bundle_endpoint_url: "https://127.0.0.1:2/".into(),
        bundle_endpoint_profile: profile("spiffe://b.test/another"),
        trust_domain_bundle: None,
    };
    let update = |relationship: types::FederationRelationship| domain_api::BatchUpdateFederationRelationshipRequest {
        federation_relationships: vec![relationship],
        input_mask: Some(url_only),
        output_mask: None,
    };
    let updated = client.batch_update_federation_relationship(update(change.clone())).await.unwrap().into_inner().results.remove(0);
    let unknown = types::FederationRelationship { trust_domain: "c.test".into(), ..change.clone() };
    let missing = client.batch_update_federation_relationship(update(unknown)).await.unwrap().into_inner().results.remove(0);
    assert_eq!(Code::from_i32(missing.status.unwrap().code), Code::Internal);
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
    assert_eq!(listed, [types::FederationRelationship { bundle_endpoint_profile: None, ..change }]);
    let refresh = domain_api::RefreshBundleRequest { trust_domain: "c.test".into() };
    assert_eq!(client.refresh_bundle(refresh).await.unwrap_err().code(), Code::NotFound);

    let delete =
        domain_api::BatchDeleteFederationRelationshipRequest { trust_domains: vec!["b.test".into(), "b.test".into(), String::new()] };
    let deleted = client.batch_delete_federation_relationship(delete).await.unwrap().into_inner().results;
    let codes: Vec<_> = deleted.into_iter().map(|result| Code::from_i32(result.status.unwrap().code)).collect();
    assert_eq!(codes, [Code::Ok, Code::NotFound, Code::InvalidArgument]);
    let held = bundle_api::GetFederatedBundleRequest { trust_domain: "b.test".into(), output_mask: None };
    server.api.bundles().await.get_federated_bundle(held).await.expect("the bundle outlives the relationship, as in SPIRE");
}

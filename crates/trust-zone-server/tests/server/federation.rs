//! Bundles from partners, good and bad.

use std::net::SocketAddr;
use std::sync::Arc;

use cofide_api::spire::server::bundle::GetFederatedBundleRequest;
use cofide_api::spire::server::localauthority::PrepareX509AuthorityRequest;
use cofide_api::spire::server::trustdomain as api;
use cofide_api::spire::types;
use cofide_api::spire::types::federation_relationship::BundleEndpointProfile;
use cofide_core::Bundle;
use cofide_svid::bundle::to_jwks;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tonic::{Code, Status};

use crate::endpoint::{Partner, Reply, serve};
use crate::support::*;

fn https_spiffe(endpoint_spiffe_id: &str) -> Option<BundleEndpointProfile> {
    Some(BundleEndpointProfile::HttpsSpiffe(types::HttpsspiffeProfile { endpoint_spiffe_id: endpoint_spiffe_id.into() }))
}

async fn federate(
    server: &TestServer,
    trust_domain: &str,
    address: SocketAddr,
    profile: Option<BundleEndpointProfile>,
    bundle: Option<&Bundle>,
) {
    let relationship = types::FederationRelationship {
        trust_domain: trust_domain.into(),
        bundle_endpoint_url: format!("https://{address}/"),
        bundle_endpoint_profile: profile,
        trust_domain_bundle: bundle.map(Into::into),
    };
    let request = api::BatchCreateFederationRelationshipRequest { federation_relationships: vec![relationship], output_mask: None };
    let result =
        server.api.relationships().await.batch_create_federation_relationship(request).await.unwrap().into_inner().results.remove(0);
    assert_eq!(code(&result.status), 0, "{:?}", result.status);
}

async fn federate_spiffe(server: &TestServer, trust_domain: &str, address: SocketAddr, bundle: Option<&Bundle>) {
    federate(server, trust_domain, address, https_spiffe(&format!("spiffe://{trust_domain}/spire/server")), bundle).await;
}

async fn refresh(server: &TestServer, trust_domain: &str) -> Result<(), Status> {
    let request = api::RefreshBundleRequest { trust_domain: trust_domain.into() };
    server.api.relationships().await.refresh_bundle(request).await.map(drop)
}

async fn held(server: &TestServer, trust_domain: &str) -> Option<Bundle> {
    let request = GetFederatedBundleRequest { trust_domain: trust_domain.into(), output_mask: None };
    let bundle = server.api.bundles().await.get_federated_bundle(request).await.ok()?;
    Some(bundle.into_inner().try_into().unwrap())
}

#[tokio::test]
async fn a_partners_rotation_arrives_by_polling() {
    let eager = json!({"federation": {"minimum_poll_interval": "50ms"}, "bundle_refresh_hint": "1s"});
    let (server, partner) = (TestServer::start_with("a.test", eager.clone()).await, TestServer::start_with("b.test", eager).await);
    federate_spiffe(&server, "b.test", partner.bound.bundle_endpoint.unwrap(), Some(&partner.api.bundle().await)).await;
    server.api.register(types::Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
    let mut svids = server.x509_svids().await;
    next(&mut svids).await;
    partner.api.authorities().await.prepare_x509_authority(PrepareX509AuthorityRequest {}).await.unwrap();
    let federated = |response: &cofide_api::workload::X509svidResponse| response.federated_bundles["spiffe://b.test"].clone();
    let updated = next_where(&mut svids, |response| cofide_svid::x509::split_der(&federated(response)).unwrap().len() == 2).await;
    let published = partner.api.bundle().await;
    let expected: Vec<u8> = published.x509_authorities.iter().flat_map(|authority| authority.der.clone()).collect();
    assert_eq!(federated(&updated), expected);
    let held = held(&server, "b.test").await.unwrap();
    assert_eq!(held.sequence_number, published.sequence_number);
    assert_eq!(held.jwt_authorities.len(), 1);
}

#[tokio::test]
async fn a_first_bundle_that_comes_later_starts_the_polling() {
    let server = TestServer::start_with("a.test", json!({"federation": {"minimum_poll_interval": "50ms"}})).await;
    let mut partner = Partner::new("b.test");
    let first = partner.bundle();
    partner.authority.prepare(std::time::SystemTime::now()).unwrap();
    let address = partner.serve("/spire/server", Reply::document(&partner.document())).await;
    federate_spiffe(&server, "b.test", address, None).await;
    let status = refresh(&server, "b.test").await.unwrap_err();
    assert!(status.message().contains("set the bundle of b.test first"), "{status}");
    server.api.set_bundle(&first).await;
    let is_updated = |bundle: &Option<Bundle>| bundle.as_ref().is_some_and(|bundle| bundle.x509_authorities.len() == 2);
    eventually("the polling", || held(&server, "b.test"), is_updated).await;
}

#[tokio::test]
async fn a_bad_endpoint_harms_nobody_and_is_named() {
    let server = TestServer::start_with("a.test", json!({"federation": {"timeout": "1s"}})).await;
    let good = Partner::new("good.test");
    federate_spiffe(&server, "good.test", good.serve("/spire/server", Reply::document(&good.document())).await, Some(&good.bundle())).await;
    server.api.register(server.entry("/x")).await;

    let mut partner = Partner::new("b.test");
    let older = partner.document();
    partner.authority.prepare(std::time::SystemTime::now()).unwrap();
    let current = partner.bundle();
    let impostor = Partner::new("b.test");
    let other_domain = Partner::new("c.test");
    let huge = format!("{{\"keys\": [], \"padding\": \"{}\"}}", "x".repeat(2 << 20));
    let endless = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), b"ffff\r\n", &vec![b'x'; 2 << 20]].concat();
    let is_current = Reply::document(&to_jwks(&current));

    let table = [
        ("redirect", partner.serve("/spire/server", Reply::http("302 Found", "Location: https://evil.test/\r\n", b"")).await, "evil.test"),
        ("error", partner.serve("/spire/server", Reply::http("500 Internal Server Error", "", b"oops")).await, "500"),
        ("not found", partner.serve("/spire/server", Reply::http("404 Not Found", "", b"nothing here")).await, "404"),
        ("a page", partner.serve("/spire/server", Reply::document("<!DOCTYPE html><html><body>Sign in</body></html>")).await, "no JWK set"),
        ("huge", partner.serve("/spire/server", Reply::document(&huge)).await, "more than 1048576 bytes"),
        ("huge chunk", partner.serve("/spire/server", Reply::Bytes(endless)).await, ""),
        ("no JSON", partner.serve("/spire/server", Reply::document("hello")).await, "no JWK set"),
        ("no keys", partner.serve("/spire/server", Reply::document("{}")).await, "no \"keys\""),
        ("empty", partner.serve("/spire/server", Reply::document("{\"keys\": []}")).await, "without authorities"),
        (
            "bad key",
            partner.serve("/spire/server", Reply::document("{\"keys\": [{\"use\": \"x509-svid\", \"kty\": \"EC\"}]}")).await,
            "keys[0]",
        ),
        ("older", partner.serve("/spire/server", Reply::document(&older)).await, "older than"),
        ("silence", partner.serve("/spire/server", Reply::Silence).await, "within 1s"),
        ("no HTTP", partner.serve("/spire/server", Reply::Bytes(b"220 mail.test ESMTP\r\n".to_vec())).await, "HTTP"),
        ("closes", partner.serve("/spire/server", Reply::Bytes(Vec::new())).await, "HTTP"),
        (
            "half an answer",
            partner.serve("/spire/server", Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec())).await,
            "",
        ),
        ("another workload", partner.serve("/ns/x/sa/y", is_current.clone()).await, "expected spiffe://b.test/spire/server"),
        ("an impostor", impostor.serve("/spire/server", is_current.clone()).await, "not who it should be"),
        ("another domain", other_domain.serve("/spire/server", is_current.clone()).await, "c.test"),
        ("nobody", SocketAddr::from(([127, 0, 0, 1], 1)), "cannot be reached"),
    ];
    server.api.set_bundle(&current).await;
    for (name, address, expected) in table {
        federate_spiffe(&server, "b.test", address, None).await;
        let status = refresh(&server, "b.test").await.expect_err(name);
        assert_eq!(status.code(), Code::Internal, "{name}");
        assert!(status.message().contains(expected), "{name}: {status}");
        assert_eq!(held(&server, "b.test").await.as_ref(), Some(&current), "{name} changed the held bundle");
        refresh(&server, "good.test").await.unwrap();
        next(&mut server.x509_svids().await).await;
        let delete = api::BatchDeleteFederationRelationshipRequest { trust_domains: vec!["b.test".into()] };
        server.api.relationships().await.batch_delete_federation_relationship(delete).await.unwrap();
    }

    // The same endpoint, well behaved at last.
    federate_spiffe(&server, "b.test", partner.serve("/spire/server", is_current).await, None).await;
    refresh(&server, "b.test").await.unwrap();
}

#[tokio::test]
async fn a_mark_that_the_document_cannot_carry_survives_a_refresh() {
    let server = TestServer::start("a.test").await;
    let mut partner = Partner::new("b.test");
    partner.authority.prepare(std::time::SystemTime::now()).unwrap();
    let mut marked = partner.bundle();
    marked.x509_authorities[1].tainted = true;
    let address = partner.serve("/spire/server", Reply::document(&partner.document())).await;
    federate_spiffe(&server, "b.test", address, Some(&marked)).await;
    refresh(&server, "b.test").await.unwrap();
    assert_eq!(held(&server, "b.test").await.unwrap(), marked);
}

/// A server with a certificate of its own signing, and that in PEM.
fn web(parameters: &CertificateParams) -> (Arc<rustls::ServerConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (Arc::new(config), certificate.pem())
}

#[tokio::test]
async fn a_web_certificate_for_another_name_or_from_the_past_proves_nothing() {
    let wrong_name = CertificateParams::new(vec!["bundles.example.com".into()]).unwrap();
    let mut expired = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    (expired.not_before, expired.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    let partner = Partner::new("b.test");
    for (parameters, expected) in [(wrong_name, "not valid for name"), (expired, "expired")] {
        let (config, certificate) = web(&parameters);
        let address = serve(config, Reply::document(&partner.document())).await;
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, &certificate).unwrap();
        let server = TestServer::start_with("a.test", json!({"federation": {"web_roots": roots}})).await;
        federate(&server, "b.test", address, Some(BundleEndpointProfile::HttpsWeb(types::HttpsWebProfile {})), None).await;
        let status = refresh(&server, "b.test").await.unwrap_err();
        assert!(status.message().contains(expected), "{status}");
        assert!(held(&server, "b.test").await.is_none());
    }
}

#[tokio::test]
async fn an_https_web_endpoint_is_verified_by_name() {
    let (config, certificate) = web(&CertificateParams::new(vec!["127.0.0.1".into()]).unwrap());
    let partner = Partner::new("b.test");
    let address = serve(config, Reply::document(&partner.document())).await;
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &certificate).unwrap();
    let web = Some(BundleEndpointProfile::HttpsWeb(types::HttpsWebProfile {}));

    let server = TestServer::start_with("a.test", json!({"federation": {"web_roots": roots}})).await;
    federate(&server, "b.test", address, web.clone(), None).await;
    refresh(&server, "b.test").await.unwrap();
    assert_eq!(held(&server, "b.test").await.unwrap(), partner.bundle(), "no bundle was needed before");

    let distrustful = TestServer::start("c.test").await;
    federate(&distrustful, "b.test", address, web, None).await;
    let status = refresh(&distrustful, "b.test").await.unwrap_err();
    assert!(held(&distrustful, "b.test").await.is_none(), "{status}");
}

#[tokio::test]
async fn the_bundle_endpoint_answers_one_question() {
    let server = TestServer::start("a.test").await;
    let address = server.bound.bundle_endpoint.unwrap();
    let bundle = server.api.bundle().await;
    let bundles: cofide_svid::BundleSet = [bundle.clone()].into_iter().collect();
    let id = cofide_core::SpiffeId::new("spiffe://a.test/spire/server").unwrap();
    let config = Arc::new(cofide_svid::tls::client_config(None, Arc::new(bundles), cofide_svid::Authorizer::Exactly(id)));
    let ask = async |request: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = rustls_pki_types::ServerName::IpAddress(address.ip().into());
        let mut stream = tokio_rustls::TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let answer = ask("GET /").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/json"), "{head}");
    let published = cofide_svid::bundle::from_jwks(&domain("a.test"), body.as_bytes()).unwrap();
    assert_eq!(published.x509_authorities, bundle.x509_authorities);
    assert_eq!((published.sequence_number, published.refresh_hint), (bundle.sequence_number, 300));
    assert!(head.contains("etag: "), "a cache knows it again: {head}");
    assert!(head.contains("cache-control: public, max-age=10, must-revalidate"), "and asks for it soon, as an authority may go: {head}");
    assert!(ask("POST /").await.starts_with("HTTP/1.1 405"));
    assert!(ask("GET /secret").await.starts_with("HTTP/1.1 404"));
}

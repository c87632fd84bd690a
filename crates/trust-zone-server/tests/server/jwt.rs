//! The JWT-SVID profile.

use cofide_api::workload::{JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse};
use prost_types::value::Kind;
use spiffe::JwtSource;
use tonic::{Code, Status};

use crate::support::*;

async fn fetch(server: &TestServer, audience: &[&str], spiffe_id: &str) -> Result<JwtsvidResponse, Status> {
    let audience = audience.iter().map(|text| (*text).to_owned()).collect();
    let request = JwtsvidRequest { audience, spiffe_id: spiffe_id.into() };
    server.workload_api().await.fetch_jwtsvid(request).await.map(tonic::Response::into_inner)
}

async fn validate(server: &TestServer, audience: &str, svid: &str) -> Result<ValidateJwtsvidResponse, Status> {
    let request = ValidateJwtsvidRequest { audience: audience.into(), svid: svid.into() };
    server.workload_api().await.validate_jwtsvid(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn the_published_client_fetches_and_checks_a_token() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/x")).await;
    let source = within("the source", JwtSource::builder().endpoint(server.workload_api_address()).build()).await.unwrap();
    let svid = source.fetch_jwt_svid(["receiver"]).await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://a.test/x");
    spiffe::JwtSvid::parse_and_validate(svid.token(), source.bundle_set().unwrap().as_ref(), &["receiver"]).unwrap();
    source.shutdown().await;
}

#[tokio::test]
async fn a_token_is_good_for_its_audience_and_five_minutes() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/x")).await;
    let token = fetch(&server, &["one", "two"], "").await.unwrap().svids.remove(0).svid;
    let validated = validate(&server, "two", &token).await.unwrap();
    assert_eq!(validated.spiffe_id, "spiffe://a.test/x");
    let claims = validated.claims.unwrap().fields;
    let Some(Kind::NumberValue(expires_at)) = claims["exp"].kind else { panic!("{claims:?}") };
    let Some(Kind::NumberValue(issued_at)) = claims["iat"].kind else { panic!("{claims:?}") };
    assert!((expires_at - issued_at - 300.0).abs() < f64::EPSILON);
    assert!(matches!(&claims["aud"].kind, Some(Kind::ListValue(list)) if list.values.len() == 2));

    let mut forged = token.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    // The last character of a signature may hold bits that mean nothing; one before it never does.
    let middle = forged.len() - 20;
    forged.replace_range(middle..=middle, if &forged[middle..=middle] == "A" { "B" } else { "A" });
    for (audience, token, expected) in [
        ("three", token.as_str(), "audience"),
        ("", token.as_str(), "audience must be specified"),
        ("one", "", "svid must be specified"),
        ("one", "no.token", ""),
        ("one", forged.as_str(), "signature"),
    ] {
        let status = validate(&server, audience, token).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{audience} {token}");
        assert!(status.message().contains(expected) || expected == "audience", "{status}");
    }
}

#[tokio::test]
async fn a_token_is_given_for_the_callers_own_identities_only() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/one")).await;
    server.api.register(server.entry("/two")).await;
    server.api.register(server.api.entry_for("/other", &["unix:uid:4000000000"])).await;
    assert_eq!(fetch(&server, &["x"], "").await.unwrap().svids.len(), 2);
    let two = fetch(&server, &["x"], "spiffe://a.test/two").await.unwrap();
    assert_eq!(two.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>(), ["spiffe://a.test/two"]);
    for (audience, id, expected) in [
        (vec!["x"], "spiffe://a.test/other", Code::PermissionDenied),
        (vec!["x"], "spiffe://b.test/one", Code::PermissionDenied),
        (vec!["x"], "a.test/one", Code::InvalidArgument),
        (vec![], "", Code::InvalidArgument),
        (vec![""], "", Code::InvalidArgument),
    ] {
        assert_eq!(fetch(&server, &audience, id).await.unwrap_err().code(), expected, "{audience:?} {id}");
    }
}

#[tokio::test]
async fn a_foreign_token_counts_for_workloads_that_federate_with_its_trust_domain() {
    let (server, partner) = (TestServer::start("a.test").await, TestServer::start("b.test").await);
    partner.api.register(partner.entry("/y")).await;
    let token = fetch(&partner, &["x"], "").await.unwrap().svids.remove(0).svid;
    server.api.set_bundle(&partner.api.bundle().await).await;
    let entry = server.api.register(server.entry("/x")).await;
    assert_eq!(
        validate(&server, "x", &token).await.unwrap_err().code(),
        Code::InvalidArgument,
        "the bundle is held, but not for this workload"
    );
    server.api.update(cofide_api::spire::types::Entry { federates_with: vec!["b.test".into()], ..entry }).await;
    let validated = validate(&server, "x", &token).await.unwrap();
    assert_eq!(validated.spiffe_id, "spiffe://b.test/y");
    assert_eq!(validated.claims.unwrap().fields.keys().collect::<Vec<_>>(), ["aud", "exp", "sub"], "nothing else is passed on from abroad");
}

//! The Workload API as the SPIFFE specification has it, with the published client and without.

use cofide_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use cofide_api::workload::{JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest, X509svidRequest};
use cofide_svid::x509::split_der;
use serde_json::json;
use spiffe::{BundleSource, X509Source};
use tonic::{Code, Request, Status};

use crate::support::*;

#[tokio::test]
async fn the_published_client_gets_an_identity_that_its_bundle_verifies() {
    let server = TestServer::start("a.test").await;
    let mut entry = server.entry("/ns/demo/sa/client");
    entry.dns_names = vec!["client.demo".into()];
    server.api.register(entry).await;

    let source = within("the source", X509Source::builder().endpoint(server.workload_api_address()).build()).await.unwrap();
    let svid = source.svid().unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://a.test/ns/demo/sa/client");
    let bundle = source.bundle_for_trust_domain(&domain("a.test")).unwrap().unwrap();
    assert_eq!(bundle.authorities().len(), 1);

    let response = next(&mut server.x509_svids().await).await;
    let svid = self::svid(&response);
    assert_eq!(accepts(&server.api.bundle().await, &svid).unwrap().to_string(), "spiffe://a.test/ns/demo/sa/client");
    let life = svid.not_after.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((3500..=3600).contains(&life), "an hour unless said otherwise, found {life} s");
    source.shutdown().await;
}

#[tokio::test]
async fn every_method_demands_the_security_header_once_and_true() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/x")).await;
    let channel = channel(&server.bound.workload_api_socket).await;
    let table: [(&[&str], bool); 5] =
        [(&[], false), (&["false"], false), (&["True"], false), (&["true", "true"], false), (&["true"], true)];
    for (values, is_admitted) in table {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let header = move |mut request: Request<()>| {
            for value in &values {
                request.metadata_mut().append("workload.spiffe.io", value.parse().unwrap());
            }
            Ok::<_, Status>(request)
        };
        let mut client = SpiffeWorkloadApiClient::with_interceptor(channel.clone(), header.clone());
        let audience = vec!["x".to_owned()];
        let jwt = client.fetch_jwtsvid(JwtsvidRequest { audience, ..JwtsvidRequest::default() }).await;
        let token = jwt.as_ref().map(|response| response.get_ref().svids[0].svid.clone()).unwrap_or_else(|_| "x".into());
        let answers = [
            ("FetchX509SVID", client.fetch_x509svid(X509svidRequest {}).await.map(drop)),
            ("FetchX509Bundles", client.fetch_x509_bundles(X509BundlesRequest {}).await.map(drop)),
            ("FetchJWTSVID", jwt.map(drop)),
            ("FetchJWTBundles", client.fetch_jwt_bundles(JwtBundlesRequest {}).await.map(drop)),
            ("ValidateJWTSVID", client.validate_jwtsvid(ValidateJwtsvidRequest { audience: "x".into(), svid: token }).await.map(drop)),
        ];
        for (method, answer) in answers {
            match answer {
                Ok(()) => assert!(is_admitted, "{method} admitted a call without the header"),
                Err(status) => {
                    assert!(!is_admitted, "{method}: {status}");
                    assert_eq!(
                        (status.code(), status.message()),
                        (Code::InvalidArgument, "security header missing from request"),
                        "{method}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_process_without_an_entry_has_no_identity() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.api.entry_for("/other", &["unix:uid:4000000000"])).await;
    let mut client = server.workload_api().await;
    let svids = client.fetch_x509svid(X509svidRequest {}).await.unwrap().into_inner().message().await.unwrap_err();
    let bundles = client.fetch_x509_bundles(X509BundlesRequest {}).await.unwrap().into_inner().message().await.unwrap_err();
    let jwt_bundles = client.fetch_jwt_bundles(JwtBundlesRequest {}).await.unwrap().into_inner().message().await.unwrap_err();
    let request = JwtsvidRequest { audience: vec!["x".into()], ..JwtsvidRequest::default() };
    let jwt = client.fetch_jwtsvid(request).await.unwrap_err();
    for status in [svids, bundles, jwt_bundles, jwt] {
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no identity issued"));
    }
}

#[tokio::test]
async fn without_federates_with_a_workload_has_its_own_bundle_only() {
    let (server, partner) = (TestServer::start("a.test").await, TestServer::start("b.test").await);
    server.api.set_bundle(&partner.api.bundle().await).await;
    let registered = server.api.register(server.entry("/x")).await;
    let mut svids = server.x509_svids().await;
    let mut bundles = server.workload_api().await.fetch_x509_bundles(X509BundlesRequest {}).await.unwrap().into_inner();
    let mut jwt_bundles = server.workload_api().await.fetch_jwt_bundles(JwtBundlesRequest {}).await.unwrap().into_inner();

    assert!(next(&mut svids).await.federated_bundles.is_empty(), "that a bundle is held gives nobody a right to it");
    let only_own = ["spiffe://a.test"];
    assert_eq!(next(&mut bundles).await.bundles.keys().collect::<Vec<_>>(), only_own);
    assert_eq!(next(&mut jwt_bundles).await.bundles.keys().collect::<Vec<_>>(), only_own);

    let mut federated = registered.clone();
    federated.federates_with = vec!["b.test".into()];
    server.api.update(federated).await;
    let both = ["spiffe://a.test", "spiffe://b.test"];
    let update = next(&mut svids).await;
    assert_eq!(update.federated_bundles.keys().collect::<Vec<_>>(), ["spiffe://b.test"]);
    assert_eq!(
        split_der(&update.federated_bundles["spiffe://b.test"]).unwrap()[0].as_ref(),
        partner.api.bundle().await.x509_authorities[0].der
    );
    assert_eq!(next(&mut bundles).await.bundles.keys().collect::<Vec<_>>(), both);
    let keys = next(&mut jwt_bundles).await;
    assert_eq!(keys.bundles.keys().collect::<Vec<_>>(), both);
    let keys: serde_json::Value = serde_json::from_slice(&keys.bundles["spiffe://b.test"]).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "JWT keys alone: {keys}");
    assert_eq!(keys["keys"][0]["use"], "jwt-svid");

    server.api.update(registered).await;
    assert!(next(&mut svids).await.federated_bundles.is_empty());
}

#[tokio::test]
async fn an_identity_that_is_withdrawn_ends_the_stream() {
    let server = TestServer::start("a.test").await;
    let first = server.api.register(server.entry("/first")).await;
    let second = server.api.register(server.entry("/second")).await;
    let mut svids = server.x509_svids().await;
    assert_eq!(next(&mut svids).await.svids.len(), 2);
    server.api.unregister(&first.id).await;
    assert_eq!(spiffe_ids(&next(&mut svids).await), ["spiffe://a.test/second"]);
    server.api.unregister(&second.id).await;
    assert_eq!(end(&mut svids).await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_entry_that_expires_takes_its_identity_with_it() {
    let server = TestServer::start("a.test").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut entry = server.entry("/short");
    entry.expires_at = i64::try_from(now).unwrap() + 2;
    server.api.register(entry).await;
    let mut svids = server.x509_svids().await;
    next(&mut svids).await;
    assert_eq!(end(&mut svids).await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_hint_is_unique_in_an_answer() {
    let server = TestServer::start("a.test").await;
    for (path, hint) in [("/one", "internal"), ("/two", "external"), ("/three", "internal"), ("/four", ""), ("/five", "")] {
        let mut entry = server.entry(path);
        entry.hint = hint.into();
        server.api.register(entry).await;
    }
    let response = next(&mut server.x509_svids().await).await;
    let mut hints: Vec<_> = response.svids.iter().map(|svid| svid.hint.as_str()).collect();
    hints.sort_unstable();
    assert_eq!(hints, ["", "", "external", "internal"]);
}

#[tokio::test]
async fn an_update_comes_only_when_something_changed_for_this_workload() {
    let server = TestServer::start("a.test").await;
    let entry = server.api.register(server.entry("/x")).await;
    let mut svids = server.x509_svids().await;
    let first = next(&mut svids).await;
    server.api.register(server.api.entry_for("/other", &["unix:uid:4000000000"])).await;
    server.api.set_bundle(&TestServer::start("b.test").await.api.bundle().await).await;
    let mut changed = entry;
    changed.hint = "h".into();
    server.api.update(changed).await;
    let second = next(&mut svids).await;
    assert_eq!(second.svids[0].hint, "h", "the two changes that concern others came through as {second:?}");
    assert_eq!(second.svids[0].x509_svid, first.svids[0].x509_svid, "and an SVID is not made anew for a hint");
}

#[tokio::test]
async fn a_user_with_too_many_connections_is_told_so_and_those_that_are_open_go_on() {
    let server = TestServer::start_with("a.test", json!({"max_connections_per_user": 2})).await;
    server.api.register(server.entry("/x")).await;
    let (mut one, mut two) = (server.x509_svids().await, server.x509_svids().await);
    next(&mut one).await;
    next(&mut two).await;
    let refused = server.workload_api().await.fetch_x509svid(X509svidRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("2 connections") && refused.message().contains("max_connections_per_user"), "{refused:?}");

    server.api.register(server.entry("/y")).await;
    assert_eq!(next_where(&mut one, |response| response.svids.len() == 2).await.svids.len(), 2);
    drop(two);
    let admitted = async || server.workload_api().await.fetch_x509svid(X509svidRequest {}).await.is_ok();
    eventually("room for another connection", admitted, |is_admitted| *is_admitted).await;
}

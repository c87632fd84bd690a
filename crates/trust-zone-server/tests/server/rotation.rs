//! SVIDs and authorities change; nobody who follows is ever without.

use cofide_api::spire::server::localauthority as api;
use cofide_svid::x509::X509SvidError;
use serde_json::json;
use tonic::Code;

use crate::support::*;

#[tokio::test]
async fn an_svid_is_renewed_when_half_of_its_life_is_over() {
    let server = TestServer::start_with("a.test", json!({"x509_svid_ttl": "4s", "ca_ttl": "1h"})).await;
    server.api.register(server.entry("/x")).await;
    let mut svids = server.x509_svids().await;
    let first = svid(&next(&mut svids).await);
    let second = svid(&next(&mut svids).await);
    let now = std::time::SystemTime::now();
    assert!(first.not_after > now, "the first one was still good when the second came");
    assert!(second.not_after > first.not_after);
    assert_ne!(first.private_key.secret_der(), second.private_key.secret_der(), "with a key of its own");
    let also_now = svid(&next(&mut server.x509_svids().await).await);
    assert!(also_now.leaf() == second.leaf() || also_now.not_after > second.not_after, "workloads of one entry share its SVID");
}

#[tokio::test]
async fn an_authority_is_published_before_it_signs_and_stays_until_it_is_retired() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/x")).await;
    let mut svids = server.x509_svids().await;
    let before = next(&mut svids).await;
    let old_bundle = server.api.bundle().await;
    let mut client = server.api.authorities().await;
    let active = client.get_x509_authority_state(api::GetX509AuthorityStateRequest {}).await.unwrap().into_inner().active.unwrap();

    // Prepared: in the bundle, signs nothing. A peer that still holds the old bundle notices nothing.
    let prepared =
        client.prepare_x509_authority(api::PrepareX509AuthorityRequest {}).await.unwrap().into_inner().prepared_authority.unwrap();
    let update = next(&mut svids).await;
    assert_eq!((authorities(&before), authorities(&update)), (1, 2));
    assert_eq!(svid(&update).leaf(), svid(&before).leaf());
    let both_bundle = server.api.bundle().await;
    assert!(both_bundle.sequence_number > old_bundle.sequence_number);
    accepts(&old_bundle, &svid(&update)).unwrap();

    // Activated: workloads move on at once. Whoever took the bundle while both were in it verifies old and new SVIDs.
    let request = api::ActivateX509AuthorityRequest { authority_id: prepared.authority_id.clone() };
    client.activate_x509_authority(request).await.unwrap();
    let after = next(&mut svids).await;
    assert_ne!(svid(&after).leaf(), svid(&before).leaf());
    accepts(&both_bundle, &svid(&before)).unwrap();
    accepts(&both_bundle, &svid(&after)).unwrap();
    assert!(matches!(accepts(&old_bundle, &svid(&after)), Err(X509SvidError::UntrustedIssuer { .. })), "it slept through the overlap");

    // Retired: gone from the bundle, and with it everything that it signed.
    let authority_id = active.authority_id;
    let untainted = api::RevokeX509AuthorityRequest { authority_id: authority_id.clone() };
    assert_eq!(client.revoke_x509_authority(untainted.clone()).await.unwrap_err().code(), Code::FailedPrecondition);
    client.taint_x509_authority(api::TaintX509AuthorityRequest { authority_id }).await.unwrap();
    client.revoke_x509_authority(untainted).await.unwrap();
    let last = next_where(&mut svids, |response| authorities(response) == 1).await;
    assert_eq!(svid(&last).leaf(), svid(&after).leaf());
    accepts(&server.api.bundle().await, &svid(&last)).unwrap();
    assert!(accepts(&server.api.bundle().await, &svid(&before)).is_err());
}

#[tokio::test]
async fn the_clock_rotates_authorities_without_a_gap() {
    let short = json!({"x509_svid_ttl": "1s", "ca_ttl": "6s", "jwt_svid_ttl": "1s", "jwt_key_ttl": "6s"});
    let server = TestServer::start_with("a.test", short).await;
    server.api.register(server.entry("/x")).await;
    let first = server.api.bundle().await;
    let mut svids = server.x509_svids().await;
    let mut held = first.clone();
    let mut signers = std::collections::BTreeSet::new();
    // A peer that takes every bundle verifies every SVID, through two changes of authority.
    while signers.len() < 3 {
        let response = next(&mut svids).await;
        let svid = svid(&response);
        held = server.api.bundle().await;
        accepts(&held, &svid).unwrap();
        let state =
            server.api.authorities().await.get_x509_authority_state(api::GetX509AuthorityStateRequest {}).await.unwrap().into_inner();
        signers.insert(state.active.unwrap().authority_id);
    }
    assert!(held.sequence_number > first.sequence_number);
    assert!(!held.x509_authorities.contains(&first.x509_authorities[0]), "the first authority has left the bundle");
}

#[tokio::test]
async fn the_calls_of_a_rotation_refuse_what_makes_no_sense() {
    let server = TestServer::start("a.test").await;
    let mut client = server.api.authorities().await;
    let activate = |id: &str| api::ActivateX509AuthorityRequest { authority_id: id.into() };
    assert_eq!(client.activate_x509_authority(activate("")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.activate_x509_authority(activate("x")).await.unwrap_err().code(), Code::InvalidArgument, "none is prepared");
    let state = client.get_x509_authority_state(api::GetX509AuthorityStateRequest {}).await.unwrap().into_inner();
    assert!(state.prepared.is_none() && state.old.is_none());
    let active = state.active.unwrap().authority_id;
    let taint = api::TaintX509AuthorityRequest { authority_id: active.clone() };
    assert_eq!(client.taint_x509_authority(taint).await.unwrap_err().code(), Code::InvalidArgument, "it signs");
    let revoke = api::RevokeX509AuthorityRequest { authority_id: "x".into() };
    assert_eq!(client.revoke_x509_authority(revoke).await.unwrap_err().code(), Code::InvalidArgument);
    client.prepare_x509_authority(api::PrepareX509AuthorityRequest {}).await.unwrap();
    let again = client.prepare_x509_authority(api::PrepareX509AuthorityRequest {}).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again}");
    assert_eq!(
        client.activate_x509_authority(activate(&active)).await.unwrap_err().code(),
        Code::InvalidArgument,
        "another one is prepared"
    );
    let upstream = api::TaintX509UpstreamAuthorityRequest { subject_key_id: "x".into() };
    assert_eq!(client.taint_x509_upstream_authority(upstream).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_jwt_key_rotates_like_a_certificate_authority() {
    let server = TestServer::start("a.test").await;
    let mut client = server.api.authorities().await;
    let keys = |bundle: &cofide_core::Bundle| bundle.jwt_authorities.iter().map(|key| key.key_id.clone()).collect::<Vec<_>>();
    let before = keys(&server.api.bundle().await);
    let prepared = client.prepare_jwt_authority(api::PrepareJwtAuthorityRequest {}).await.unwrap().into_inner().prepared_authority.unwrap();
    assert_eq!(keys(&server.api.bundle().await), [before[0].clone(), prepared.authority_id.clone()]);
    let request = api::ActivateJwtAuthorityRequest { authority_id: prepared.authority_id.clone() };
    client.activate_jwt_authority(request).await.unwrap();
    let state = client.get_jwt_authority_state(api::GetJwtAuthorityStateRequest {}).await.unwrap().into_inner();
    assert_eq!(state.active.unwrap().authority_id, prepared.authority_id);
    assert_eq!(state.old.unwrap().authority_id, before[0]);
    client.taint_jwt_authority(api::TaintJwtAuthorityRequest { authority_id: before[0].clone() }).await.unwrap();
    client.revoke_jwt_authority(api::RevokeJwtAuthorityRequest { authority_id: before[0].clone() }).await.unwrap();
    assert_eq!(keys(&server.api.bundle().await), [prepared.authority_id]);
}

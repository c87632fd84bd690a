//! The rotation of the server's own authority, by hand.

use cofide_api::spire::server::localauthority as api;
use tonic::Code;

use super::{Server, ServerKind};
use crate::authorities::Authorities;

pub async fn an_authority_is_prepared_activated_tainted_and_revoked_in_this_order(kind: ServerKind) {
    let server = Server::start(kind, "a.test").await;
    let mut client = server.api.authorities().await;
    let mut authorities = Authorities::at(&server.admin_socket()).await.unwrap();
    let state = client.get_x509_authority_state(api::GetX509AuthorityStateRequest {}).await.unwrap().into_inner();
    let active = state.active.unwrap().authority_id;
    let first = server.api.bundle().await;
    assert_eq!(first.x509_authorities.len(), 1);

    for bad in ["", "0123456789"] {
        let activate = api::ActivateX509AuthorityRequest { authority_id: bad.into() };
        assert_eq!(client.activate_x509_authority(activate).await.unwrap_err().code(), Code::InvalidArgument, "activate {bad:?}");
        let taint = api::TaintX509AuthorityRequest { authority_id: bad.into() };
        assert_eq!(client.taint_x509_authority(taint).await.unwrap_err().code(), Code::InvalidArgument, "taint {bad:?}");
        let revoke = api::RevokeX509AuthorityRequest { authority_id: bad.into() };
        assert_eq!(client.revoke_x509_authority(revoke).await.unwrap_err().code(), Code::InvalidArgument, "revoke {bad:?}");
    }
    let taint = api::TaintX509AuthorityRequest { authority_id: active.clone() };
    assert_eq!(client.taint_x509_authority(taint.clone()).await.unwrap_err().code(), Code::InvalidArgument, "it signs");

    let prepared = authorities.prepare().await.unwrap();
    let both = server.api.bundle().await;
    assert_eq!(both.x509_authorities.len(), 2);
    assert!(both.sequence_number > first.sequence_number, "{} {}", both.sequence_number, first.sequence_number);
    let old = authorities.activate(prepared).await.unwrap();
    assert_eq!(old, active);
    let tainted = server.api.bundle().await;
    let flags = |bundle: &cofide_core::Bundle| bundle.x509_authorities.iter().filter(|authority| authority.tainted).count();
    assert_eq!((flags(&both), flags(&tainted)), (0, 1));
    assert!(tainted.sequence_number > both.sequence_number);

    authorities.retire(old).await.unwrap();
    let last = server.api.bundle().await;
    assert_eq!(last.x509_authorities.len(), 1);
    assert!(!last.x509_authorities.contains(&first.x509_authorities[0]));
    assert!(last.sequence_number > tainted.sequence_number);
}

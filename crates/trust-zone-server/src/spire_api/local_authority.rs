//! `spire.api.server.localauthority.v1.LocalAuthority`: the rotation, by hand.

use std::time::{SystemTime, UNIX_EPOCH};

use cofide_api::spire::server::localauthority as api;
use cofide_api::spire::server::localauthority::local_authority_server::LocalAuthority;
use cofide_svid::authority::{AuthorityInfo, RotationError};
use tonic::{Request, Response, Status};

use crate::authority::{Authority, AuthorityChangeError, LocalAuthorities};

#[derive(Debug)]
pub struct Service {
    pub(super) authority: Authority,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl LocalAuthority for Service {
    async fn get_jwt_authority_state(&self, _: Request<api::GetJwtAuthorityStateRequest>) -> Answer<api::GetJwtAuthorityStateResponse> {
        let LocalAuthorities { active, prepared, old } = LocalAuthorities::new(self.authority.read().jwt.state());
        let (active, prepared, old) = (active.map(state), prepared.map(state), old.map(state));
        Ok(Response::new(api::GetJwtAuthorityStateResponse { active, prepared, old }))
    }

    async fn prepare_jwt_authority(&self, _: Request<api::PrepareJwtAuthorityRequest>) -> Answer<api::PrepareJwtAuthorityResponse> {
        let now = SystemTime::now();
        let prepared = self.authority.change_jwt(move |jwt| jwt.prepare(now).map(|id| find(jwt.state(), &id))).await?;
        log("JWT", "prepared", prepared.as_ref());
        Ok(Response::new(api::PrepareJwtAuthorityResponse { prepared_authority: prepared.map(state) }))
    }

    async fn activate_jwt_authority(
        &self,
        request: Request<api::ActivateJwtAuthorityRequest>,
    ) -> Answer<api::ActivateJwtAuthorityResponse> {
        let (id, now) = (required(request.into_inner().authority_id)?, SystemTime::now());
        let activate = move |jwt: &mut cofide_svid::authority::JwtSigner| {
            check_prepared(jwt.state(), &id)?;
            jwt.activate(now).map(|id| find(jwt.state(), &id))
        };
        let activated = self.authority.change_jwt(activate).await?;
        log("JWT", "activated", activated.as_ref());
        Ok(Response::new(api::ActivateJwtAuthorityResponse { activated_authority: activated.map(state) }))
    }

    async fn taint_jwt_authority(&self, request: Request<api::TaintJwtAuthorityRequest>) -> Answer<api::TaintJwtAuthorityResponse> {
        let id = required(request.into_inner().authority_id)?;
        let tainted = self.authority.change_jwt(move |jwt| jwt.taint(&id).map(|()| find(jwt.state(), &id))).await?;
        log("JWT", "tainted", tainted.as_ref());
        Ok(Response::new(api::TaintJwtAuthorityResponse { tainted_authority: tainted.map(state) }))
    }

    async fn revoke_jwt_authority(&self, request: Request<api::RevokeJwtAuthorityRequest>) -> Answer<api::RevokeJwtAuthorityResponse> {
        let id = required(request.into_inner().authority_id)?;
        let authority = find(self.authority.read().jwt.state(), &id);
        check_tainted(authority.as_ref())?;
        self.authority.change_jwt(move |jwt| jwt.revoke(&id)).await?;
        log("JWT", "revoked", authority.as_ref());
        Ok(Response::new(api::RevokeJwtAuthorityResponse { revoked_authority: authority.map(state) }))
    }

    async fn get_x509_authority_state(&self, _: Request<api::GetX509AuthorityStateRequest>) -> Answer<api::GetX509AuthorityStateResponse> {
        let LocalAuthorities { active, prepared, old } = LocalAuthorities::new(self.authority.read().x509.state());
        let (active, prepared, old) = (active.map(state), prepared.map(state), old.map(state));
        Ok(Response::new(api::GetX509AuthorityStateResponse { active, prepared, old }))
    }

    async fn prepare_x509_authority(&self, _: Request<api::PrepareX509AuthorityRequest>) -> Answer<api::PrepareX509AuthorityResponse> {
        let now = SystemTime::now();
        let prepared = self.authority.change_x509(move |x509| x509.prepare(now).map(|id| find(x509.state(), &id))).await?;
        log("X.509", "prepared", prepared.as_ref());
        Ok(Response::new(api::PrepareX509AuthorityResponse { prepared_authority: prepared.map(state) }))
    }

    async fn activate_x509_authority(
        &self,
        request: Request<api::ActivateX509AuthorityRequest>,
    ) -> Answer<api::ActivateX509AuthorityResponse> {
        let (id, now) = (required(request.into_inner().authority_id)?, SystemTime::now());
        let activate = move |x509: &mut cofide_svid::authority::X509CertificateAuthority| {
            check_prepared(x509.state(), &id)?;
            x509.activate(now).map(|id| find(x509.state(), &id))
        };
        let activated = self.authority.change_x509(activate).await?;
        log("X.509", "activated", activated.as_ref());
        Ok(Response::new(api::ActivateX509AuthorityResponse { activated_authority: activated.map(state) }))
    }

    async fn taint_x509_authority(&self, request: Request<api::TaintX509AuthorityRequest>) -> Answer<api::TaintX509AuthorityResponse> {
        let id = required(request.into_inner().authority_id)?;
        let tainted = self.authority.change_x509(move |x509| x509.taint(&id).map(|()| find(x509.state(), &id))).await?;
        log("X.509", "tainted", tainted.as_ref());
        Ok(Response::new(api::TaintX509AuthorityResponse { tainted_authority: tainted.map(state) }))
    }

    async fn revoke_x509_authority(&self, request: Request<api::RevokeX509AuthorityRequest>) -> Answer<api::RevokeX509AuthorityResponse> {
        let id = required(request.into_inner().authority_id)?;
        let authority = find(self.authority.read().x509.state(), &id);
        check_tainted(authority.as_ref())?;
        self.authority.change_x509(move |x509| x509.revoke(&id)).await?;
        log("X.509", "revoked", authority.as_ref());
        Ok(Response::new(api::RevokeX509AuthorityResponse { revoked_authority: authority.map(state) }))
    }

    async fn taint_x509_upstream_authority(
        &self,
        _: Request<api::TaintX509UpstreamAuthorityRequest>,
    ) -> Answer<api::TaintX509UpstreamAuthorityResponse> {
        Err(no_upstream())
    }

    async fn revoke_x509_upstream_authority(
        &self,
        _: Request<api::RevokeX509UpstreamAuthorityRequest>,
    ) -> Answer<api::RevokeX509UpstreamAuthorityResponse> {
        Err(no_upstream())
    }
}

fn no_upstream() -> Status {
    Status::failed_precondition("upstream authority is not configured")
}

impl From<AuthorityChangeError> for Status {
    fn from(error: AuthorityChangeError) -> Self {
        let message = error.to_string();
        match error {
            AuthorityChangeError::Rotation(RotationError::Unknown(_) | RotationError::NotRetired(..) | RotationError::NothingPrepared) => {
                Self::invalid_argument(message)
            }
            AuthorityChangeError::Rotation(RotationError::AlreadyPrepared(_)) => Self::failed_precondition(message),
            AuthorityChangeError::Rotation(RotationError::Crypto(_)) | AuthorityChangeError::File(_) | AuthorityChangeError::Stopped => {
                tracing::error!(message, "cannot change an authority");
                Self::internal(message)
            }
        }
    }
}

fn required(authority_id: String) -> Result<String, Status> {
    if authority_id.is_empty() { Err(Status::invalid_argument("no authority ID provided")) } else { Ok(authority_id) }
}

fn find(all: Vec<AuthorityInfo>, id: &str) -> Option<AuthorityInfo> {
    all.into_iter().find(|info| info.id == id)
}

/// Only the authority that was named may take over, so that two people who rotate at once do not rotate twice.
fn check_prepared(all: Vec<AuthorityInfo>, id: &str) -> Result<(), RotationError> {
    match LocalAuthorities::new(all).prepared {
        None => Err(RotationError::NothingPrepared),
        Some(prepared) if prepared.id == id => Ok(()),
        Some(_) => Err(RotationError::Unknown(id.into())),
    }
}

/// Taint comes first, as in SPIRE: it gives verifiers notice.
fn check_tainted(authority: Option<&AuthorityInfo>) -> Result<(), Status> {
    match authority {
        Some(info) if !info.tainted => {
            Err(Status::failed_precondition(format!("authority {} is not tainted; taint it before revoking it", info.id)))
        }
        // Whatever else is wrong with it, the revocation itself finds out.
        _ => Ok(()),
    }
}

fn state(info: AuthorityInfo) -> api::AuthorityState {
    let expires_at = info.not_after.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    api::AuthorityState { authority_id: info.id, expires_at: i64::try_from(expires_at).unwrap_or(i64::MAX) }
}

fn log(kind: &str, action: &str, authority: Option<&AuthorityInfo>) {
    tracing::info!(kind, authority_id = authority.map(|info| info.id.as_str()), "{action} an authority");
}

//! The rotation of a trust zone's authority, by hand, through its SPIFFE server's own API.

use std::path::Path;

use anyhow::{Context, Result};
use cofide_api::spire::server::localauthority::local_authority_client::LocalAuthorityClient;
use cofide_api::spire::server::localauthority::{
    ActivateX509AuthorityRequest, GetX509AuthorityStateRequest, PrepareX509AuthorityRequest, RevokeX509AuthorityRequest,
    TaintX509AuthorityRequest,
};
use tonic::transport::Channel;

/// The X.509 authorities of one trust zone.
pub struct Authorities(LocalAuthorityClient<Channel>);

impl Authorities {
    /// `socket` is the one of the server's own API.
    pub async fn at(socket: &Path) -> Result<Self> {
        Ok(Self(LocalAuthorityClient::connect(format!("unix://{}", socket.display())).await?))
    }

    /// Makes the next authority: it is in the bundle, and does not sign yet. Answers its id.
    pub async fn prepare(&mut self) -> Result<String> {
        let answer = self.0.prepare_x509_authority(PrepareX509AuthorityRequest::default()).await?.into_inner();
        Ok(answer.prepared_authority.context("no authority")?.authority_id)
    }

    /// Lets the prepared authority sign, and has everything that the one before has signed replaced. Answers the old
    /// one's id.
    pub async fn activate(&mut self, authority_id: String) -> Result<String> {
        let state = self.0.get_x509_authority_state(GetX509AuthorityStateRequest::default()).await?.into_inner();
        let old = state.active.context("no authority signs")?.authority_id;
        self.0.activate_x509_authority(ActivateX509AuthorityRequest { authority_id }).await?;
        self.0.taint_x509_authority(TaintX509AuthorityRequest { authority_id: old.clone() }).await?;
        Ok(old)
    }

    /// Takes an old authority out of the bundle.
    pub async fn retire(&mut self, authority_id: String) -> Result<()> {
        self.0.revoke_x509_authority(RevokeX509AuthorityRequest { authority_id }).await?;
        Ok(())
    }
}

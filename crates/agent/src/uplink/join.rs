//! Joining: the one call that a token pays for.

use std::sync::Arc;

use cofide_api::connect::trust_zone_service as proto;
use cofide_api::connect::trust_zone_service::trust_zone_service_client::TrustZoneServiceClient;
use cofide_connect_client::{ConnectError, connect_as_agent, connect_to_join};
use cofide_runtime::files::FileError;
use cofide_svid::{BundleSet, IdentitySlot};
use tokio::sync::Mutex;

use super::connect::{CallError, Connect, timed};
use super::membership::Membership;
use super::own_bundle::{OwnBundle, OwnBundleError};
use crate::config::JoinSettings;
use crate::state::DataFolder;

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("cannot join yet: {0}")]
    OwnBundle(#[from] OwnBundleError),
    #[error("cannot join yet: {0}")]
    Connect(#[from] ConnectError),
    #[error(
        "cannot join: {0}. A new token comes from `cofidectl agent join-token create --trust-zone ZONE --cluster CLUSTER --output-file FILE`; \
         the bootstrap file is read again with each attempt"
    )]
    Token(String),
    #[error("cannot join: {0}")]
    Call(CallError),
    #[error("joined, but the agent's data folder cannot be written: {0}")]
    Memory(#[from] FileError),
}

/// Joins where that has not been done yet.
#[derive(Debug)]
pub struct Join {
    pub settings: JoinSettings,
    pub membership: Arc<Mutex<Membership>>,
    pub data: Arc<DataFolder>,
    pub own_bundle: OwnBundle,
    /// With which joined agents speak, to find out whether this one has joined after all.
    pub identity: Arc<IdentitySlot>,
}

impl Join {
    /// Tries once. `Ok` means that the agent is a member.
    pub async fn attempt(&self) -> Result<(), JoinError> {
        let mut membership = self.membership.lock().await;
        // Somebody may have put a new token there since the last attempt.
        if let Ok(again) = Membership::load(&self.settings, &self.data)
            && again.cluster == membership.cluster
        {
            *membership = again;
        }
        let Some(bootstrap) = membership.bootstrap() else { return Ok(()) };
        let bundle = self.own_bundle.read(&bootstrap.trust_domain).await?;
        let channel = connect_to_join(&bootstrap).await?;
        let request = proto::RegisterAgentRequest {
            agent: Some(proto::Agent {
                // Connect gives it, and knows the agent by its certificate afterwards.
                agent_id: String::new(),
                cluster_id: bootstrap.cluster_id.to_string(),
                trust_zone_id: bootstrap.trust_zone_id.to_string(),
            }),
            agent_token: bootstrap.agent_token.expose().to_owned(),
            bundle: Some((&bundle).into()),
        };
        match TrustZoneServiceClient::new(channel).register_agent(timed(request)).await.map_err(CallError::from) {
            Ok(_) => {}
            // An earlier attempt may have succeeded without this agent hearing of it; then its identity is known.
            Err(CallError::Unauthenticated(reason)) => match self.as_member(&membership).list_federated_services().await {
                Ok(_) => tracing::info!("the token is used up, and Connect knows this agent: an earlier attempt had succeeded"),
                Err(_) => return Err(JoinError::Token(reason)),
            },
            Err(CallError::Refused(reason)) => return Err(JoinError::Token(reason)),
            Err(error) => return Err(JoinError::Call(error)),
        }
        membership.joined(&self.data)?;
        tracing::info!(cluster = %membership.cluster.cluster_name, trust_domain = %membership.cluster.trust_domain, "joined");
        Ok(())
    }

    fn as_member(&self, membership: &Membership) -> Connect {
        let bundles = Arc::new(BundleSet::from_iter([membership.connect.bundle.clone()]));
        let connect = membership.connect.spiffe_id.clone();
        Connect::new(connect_as_agent(&membership.connect_url, connect, bundles, self.identity.clone()))
    }
}

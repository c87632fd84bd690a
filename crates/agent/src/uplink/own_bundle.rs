//! Where the agent reads its trust zone's bundle, to tell Connect.

use std::sync::Arc;

use cofide_core::{Bundle, TrustDomain};

use crate::spire::{SpireClient, SpireError};
use crate::world::World;

#[derive(Clone, Debug)]
pub enum OwnBundle {
    /// All of it, with its number.
    SpireServer(SpireClient),
    /// The X.509 authorities, as the SPIFFE Workload API gives them to every workload. Connect keeps the JWT authorities that it
    /// has.
    WorkloadApi(Arc<World>),
    /// The server while its socket is there, else the Workload API.
    Either(SpireClient, Arc<World>),
}

#[derive(Debug, thiserror::Error)]
pub enum OwnBundleError {
    #[error(transparent)]
    Spire(#[from] SpireError),
    #[error("the SPIRE server is for trust domain {found}, and this agent is for {expected}; correct spire_server_socket")]
    OtherTrustDomain { expected: TrustDomain, found: TrustDomain },
    #[error("the SPIFFE Workload API has given this process no identity yet, and with it no bundle of trust domain {0}")]
    NoIdentity(TrustDomain),
}

impl OwnBundle {
    /// The bundle of this trust domain and of no other.
    pub async fn read(&self, expected: &TrustDomain) -> Result<Bundle, OwnBundleError> {
        match self {
            Self::SpireServer(server) => of_server(server, expected).await,
            Self::Either(server, _) if server.has_socket() => of_server(server, expected).await,
            Self::WorkloadApi(world) | Self::Either(_, world) => {
                (*world.own_bundle.get()).clone().ok_or_else(|| OwnBundleError::NoIdentity(expected.clone()))
            }
        }
    }
}

async fn of_server(server: &SpireClient, expected: &TrustDomain) -> Result<Bundle, OwnBundleError> {
    let bundle = server.own_bundle().await?;
    if bundle.trust_domain == *expected {
        return Ok(bundle);
    }
    Err(OwnBundleError::OtherTrustDomain { expected: expected.clone(), found: bundle.trust_domain })
}

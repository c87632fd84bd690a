//! Agents, by the X.509-SVID that they showed in the TLS handshake.
//!
//! The handshake proved that the client holds the key. Whether the certificate is still good is asked in every call: it
//! may have expired since, its authority may have been replaced, the zone or the cluster may be gone.

use std::sync::Arc;
use std::time::SystemTime;

use cofide_core::{Actor, AgentIdentity, SpiffeId};
use cofide_svid::{BundleSource, CertificateDer, KeyUsage, x509};

use super::Rejection;
use crate::app::App;
use crate::caller::JoinedAgent;
use crate::error::{Error, Result};

#[derive(Clone)]
pub struct AgentAuthenticator {
    app: App,
    bundles: Arc<dyn BundleSource>,
}

impl AgentAuthenticator {
    pub fn new(app: App, bundles: Arc<dyn BundleSource>) -> Self {
        Self { app, bundles }
    }

    pub async fn authenticate(&self, chain: &[CertificateDer<'_>]) -> Result<JoinedAgent, Rejection> {
        let id = x509::verify(chain, self.bundles.as_ref(), SystemTime::now(), KeyUsage::Client)
            .map_err(|error| Error::Unauthenticated(error.to_string()))?;
        // From here on it is known who is refused.
        let actor = Actor::Workload(id.clone());
        self.agent(id).await.map_err(|error| Rejection { actor, error })
    }

    async fn agent(&self, id: SpiffeId) -> Result<JoinedAgent> {
        let Some(identity) = AgentIdentity::from_spiffe_id(&id) else {
            return Err(Error::PermissionDenied(format!(
                "{id} is not an agent's SPIFFE ID; an agent's is spiffe://<trust domain>/cluster/<cluster>/ns/cofide/sa/cofide-agent"
            )));
        };
        self.app.joined_agent(id, &identity).await
    }
}

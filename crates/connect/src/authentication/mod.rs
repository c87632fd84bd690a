//! From a request to a [`Caller`].
//!
//! Two credentials exist. A user sends an access token in the `authorization` header. An agent has proved possession of
//! an X.509-SVID in the TLS handshake. Where a request carries both, the token decides: it was put there for this call.
//! Everything else that claims an identity (forwarded certificates, `agent-id` metadata, fields of a message) is ignored.

pub mod agent;
pub mod bearer;

use std::sync::Arc;

use cofide_core::Actor;
use http::request::Parts;

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::peer::Peer;

use agent::AgentAuthenticator;
use bearer::TokenVerifier;

/// A caller that is not let in, under the name that it could prove, for the audit log.
#[derive(Debug)]
pub struct Rejection {
    pub actor: Actor,
    pub error: Error,
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self { actor: Actor::Anonymous, error }
    }
}

#[derive(Clone)]
pub struct Authentication {
    tokens: Arc<dyn TokenVerifier>,
    agents: AgentAuthenticator,
}

impl Authentication {
    pub fn new(tokens: Arc<dyn TokenVerifier>, agents: AgentAuthenticator) -> Self {
        Self { tokens, agents }
    }

    pub async fn authenticate(&self, request: &Parts) -> Result<Caller, Rejection> {
        if let Some(token) = bearer::token(&request.headers)? {
            return Ok(Caller::User(self.tokens.verify(token).await?));
        }
        let peer = request.extensions.get::<Peer>();
        match peer.and_then(|peer| peer.certificates.as_deref()) {
            Some(chain) => self.agents.authenticate(chain).await.map(Caller::Agent),
            None => Err(Error::Unauthenticated(
                "no credential: a user sends an access token (cofidectl --credentials), an agent an X.509-SVID of its trust zone".into(),
            )
            .into()),
        }
    }
}

//! The one door: every request, whatever its service, passes here before any handler sees it.
//!
//! ```text
//!  request ── method in the table? ── credential, where one is needed ── caller of the right kind? ──> handler
//!                                                                                                        │
//!  audit log <── every answer that is UNAUTHENTICATED or PERMISSION_DENIED, from here or from a rule <───┘
//! ```
//!
//! An agent that asks for more changes than it has an allowance for is sent away for a while ([`AgentRate`]).
//!
//! What the gate finds out goes to the handler as a [`CallContext`] in the request's extensions.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use cofide_core::Actor;
use http::request::Parts;
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::app::audit::now;
use crate::authentication::{Authentication, Rejection};
use crate::authorization::{self, Access};
use crate::caller::{CallContext, Caller};
use crate::denials::{Denial, Denials};
use crate::error::Error;
use crate::metrics::Calls;
use crate::peer::Peer;
use crate::presence::Presence;
use crate::rate::AgentRate;

#[derive(Clone)]
pub struct Gate {
    authentication: Authentication,
    denials: Arc<Denials>,
    calls: Calls,
    presence: Presence,
    rate: Arc<AgentRate>,
}

impl Gate {
    pub fn new(authentication: Authentication, denials: Arc<Denials>, calls: Calls, presence: Presence, rate: AgentRate) -> Self {
        Self { authentication, denials, calls, presence, rate: Arc::new(rate) }
    }

    async fn admit(&self, request: &Parts, source_ip: &str) -> Result<CallContext, (Actor, Status)> {
        let path = request.uri.path();
        let context = |caller| CallContext { caller, source_ip: source_ip.to_owned() };
        let access = authorization::access(path);
        match access {
            Some(Access::Anyone) => return Ok(context(Caller::Anonymous)),
            Some(Access::JoinToken) => return Ok(context(Caller::Joining)),
            Some(Access::User | Access::Agent | Access::UserOrAgent) | None => {}
        }
        let caller = match self.authentication.authenticate(request).await {
            Ok(caller) => caller,
            Err(Rejection { actor, error }) => return Err((actor, error.into())),
        };
        let context = context(caller);
        let is_welcome = match access {
            // Only whoever has shown a credential learns what exists.
            None => return Err((context.actor(), Status::unimplemented(format!("there is no method {path}")))),
            Some(Access::User) => matches!(context.caller, Caller::User(_)),
            Some(Access::Agent) => matches!(context.caller, Caller::Agent(_)),
            Some(_) => true,
        };
        if is_welcome {
            if let Some(agent) = context.agent() {
                self.presence.seen(agent, now());
                self.rate.admit(agent, path, Instant::now()).map_err(|error| (context.actor(), error.into()))?;
            }
            return Ok(context);
        }
        let who = access.map_or("nobody", Access::describe);
        let actor = context.actor();
        let refusal = Error::PermissionDenied(format!("{path} is for {who}, and this call comes from {actor}"));
        Err((actor, refusal.into()))
    }

    /// What follows from an answer, whoever gave it.
    fn answered(&self, actor: &Actor, source_ip: &str, path: &str, status: Option<&Status>) {
        let code = status.map_or(Code::Ok, Status::code);
        self.calls.count(path, code);
        let Some(status) = status.filter(|status| matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)) else { return };
        self.denials.record(Denial {
            actor: actor.to_string(),
            source_ip: source_ip.to_owned(),
            method: path.to_owned(),
            reason: status.message().to_owned(),
        });
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        // The service that was polled ready is the one to call; its clone takes its place for the next request.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let path = parts.uri.path().to_owned();
            let peer = parts.extensions.get::<Peer>().cloned();
            let source_ip = peer.as_ref().map(|peer| peer.address.ip().to_canonical().to_string()).unwrap_or_default();
            if let Some(peer) = &peer {
                peer.patience.asked(Instant::now());
            }
            let context = match gate.admit(&parts, &source_ip).await {
                Ok(context) => context,
                Err((actor, status)) => {
                    gate.answered(&actor, &source_ip, &path, Some(&status));
                    return Ok(status.into_http());
                }
            };
            if let (Some(peer), Caller::User(_) | Caller::Agent(_)) = (&peer, &context.caller) {
                peer.patience.authenticated();
            }
            let actor = context.actor();
            parts.extensions.insert(context);
            let response = inner.call(Request::from_parts(parts, body)).await?;
            // A call that fails has no body, so its status stands in the headers.
            let status = Status::from_header_map(response.headers());
            gate.answered(&actor, &source_ip, &path, status.as_ref());
            match status {
                // The answer for services without a handler.
                Some(status) if status.code() == Code::Unimplemented && status.message().is_empty() => {
                    Ok(Status::unimplemented(format!("{path} is not offered by this version")).into_http())
                }
                _ => Ok(response),
            }
        })
    }
}

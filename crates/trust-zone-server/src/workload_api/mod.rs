//! The SPIFFE Workload API, X.509-SVID and JWT-SVID profiles.
//!
//! Streams carry whole answers: each message replaces the one before. A message goes out when it differs from the last
//! one, whatever made it so: an SVID due for renewal, an authority rotated, an entry or a bundle changed.

mod jwt;
mod x509;

use std::pin::Pin;

use cofide_api::workload as api;
use cofide_api::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use futures::Stream;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use crate::attestation::{AttestationError, Peer};
use crate::workload::{WorkloadError, WorkloadUpdate, WorkloadWatch, Workloads};

/// Metadata that every call must carry, so that a browser or another confused deputy cannot be made to call
/// (SPIFFE Workload Endpoint, section 4).
const SECURITY_HEADER: &str = "workload.spiffe.io";

type Check = fn(Request<()>) -> Result<Request<()>, Status>;

/// The service, behind the check of the security header.
pub fn service(workloads: Workloads) -> InterceptedService<SpiffeWorkloadApiServer<WorkloadApi>, Check> {
    SpiffeWorkloadApiServer::with_interceptor(WorkloadApi { workloads }, check_security_header)
}

fn check_security_header(request: Request<()>) -> Result<Request<()>, Status> {
    let values: Vec<_> = request.metadata().get_all(SECURITY_HEADER).iter().collect();
    match values.as_slice() {
        [value] if *value == "true" => Ok(request),
        _ => Err(Status::invalid_argument("security header missing from request")),
    }
}

#[derive(Debug)]
pub struct WorkloadApi {
    workloads: Workloads,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The connection's peer; every connection of the workload socket has one.
pub fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    request.extensions().get::<Peer>().cloned().ok_or_else(|| Status::internal("the connection has no peer"))
}

impl From<WorkloadError> for Status {
    fn from(error: WorkloadError) -> Self {
        match error {
            WorkloadError::Attestation(error @ AttestationError::TooManyConnections { .. }) => Self::resource_exhausted(error.to_string()),
            // The caller learns no more than in SPIRE; the reason is in the log.
            WorkloadError::Attestation(error) => {
                tracing::warn!(%error, "workload attestation failed");
                Self::unavailable("workload attestation failed")
            }
            error @ (WorkloadError::Issue(_) | WorkloadError::Stopping) => Self::unavailable(error.to_string()),
        }
    }
}

/// The stable answer for a process that no entry describes.
fn no_identity_issued(peer: &Peer, method: &str) -> Status {
    tracing::debug!(pid = peer.pid(), method, "no identity issued: no entry's selectors are all among the workload's");
    Status::permission_denied("no identity issued")
}

/// One message for each update that differs from the last; ends with the first error.
fn responses<T: PartialEq + Clone + Send + 'static>(
    watch: WorkloadWatch,
    respond: impl Fn(&WorkloadUpdate) -> Result<T, Status> + Send + 'static,
) -> Responses<T> {
    let state = Some((watch, None::<T>, respond));
    Box::pin(futures::stream::unfold(state, |state| async {
        let (mut watch, mut last, respond) = state?;
        loop {
            let response = match watch.next().await {
                Ok(update) => respond(&update),
                Err(error) => Err(error.into()),
            };
            match response {
                Err(status) => return Some((Err(status), None)),
                Ok(response) if last.as_ref() == Some(&response) => {}
                Ok(response) => {
                    last = Some(response.clone());
                    return Some((Ok(response), Some((watch, last, respond))));
                }
            }
        }
    }))
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = Responses<api::X509svidResponse>;
    type FetchX509BundlesStream = Responses<api::X509BundlesResponse>;
    type FetchJWTBundlesStream = Responses<api::JwtBundlesResponse>;

    async fn fetch_x509svid(&self, request: Request<api::X509svidRequest>) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let peer = peer(&request)?;
        let watch = self.workloads.watch(&peer).await?;
        tracing::debug!(pid = peer.pid(), selectors = ?watch.selectors(), "attested a workload");
        Ok(Response::new(responses(watch, move |update| x509::svids(update).ok_or_else(|| no_identity_issued(&peer, "FetchX509SVID")))))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<api::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let peer = peer(&request)?;
        let watch = self.workloads.watch(&peer).await?;
        Ok(Response::new(responses(watch, move |update| match update.identities.is_empty() {
            true => Err(no_identity_issued(&peer, "FetchX509Bundles")),
            false => Ok(x509::bundles(update)),
        })))
    }

    async fn fetch_jwtsvid(&self, request: Request<api::JwtsvidRequest>) -> Result<Response<api::JwtsvidResponse>, Status> {
        let peer = peer(&request)?;
        jwt::svids(&self.workloads, &peer, request.get_ref()).await.map(Response::new)
    }

    async fn fetch_jwt_bundles(&self, request: Request<api::JwtBundlesRequest>) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let peer = peer(&request)?;
        let watch = self.workloads.watch(&peer).await?;
        Ok(Response::new(responses(watch, move |update| match update.identities.is_empty() {
            true => Err(no_identity_issued(&peer, "FetchJWTBundles")),
            false => Ok(jwt::bundles(update)),
        })))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<api::ValidateJwtsvidRequest>,
    ) -> Result<Response<api::ValidateJwtsvidResponse>, Status> {
        let peer = peer(&request)?;
        jwt::validate(&self.workloads, &peer, request.get_ref()).await.map(Response::new)
    }
}

//! The loop around a session: it waits for requests, for the cache, for overdue acknowledgements and for the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use super::limits::{Limits, Violation};
use super::session::{Dialect, Outgoing, Session};
use super::sotw::StateOfTheWorld;
use super::subscription::Acknowledgement;
use crate::envoy::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use crate::{Cache, Client, Node, Outcome, Peer, Receipt, Router};

/// Responses between a session and the socket. A client that reads slowly makes its session wait, and its changes
/// gather there.
const OUTBOUND_CAPACITY: usize = 2;

/// One of the two ways to say the same things.
pub(crate) trait Dialectic: 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    const DIALECT: Dialect;

    fn type_url(request: &mut Self::Request) -> &mut String;
    fn take_node(request: &mut Self::Request) -> Option<Node>;
    /// What the client says that it holds from an earlier stream.
    fn held(request: &Self::Request) -> HashMap<String, String>;
    /// Takes a request in: whether it is the first about its type, and what it acknowledges.
    fn hear(session: &mut Session, request: Self::Request) -> Result<(bool, Option<Acknowledgement>), Violation>;
    fn speak(outgoing: Outgoing) -> Self::Response;
}

/// What all streams of a server have in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) ack_wait: Duration,
    pub(crate) shutdown: CancellationToken,
    pub(crate) streams: AtomicU64,
}

type Responses<D> = ReceiverStream<Result<<D as Dialectic>::Response, Status>>;

/// Serves a stream; `only` is the type of a service that has just one.
pub(crate) fn serve<D: Dialectic, R: Router>(
    router: Arc<R>,
    settings: Arc<Settings>,
    only: Option<&'static str>,
    request: Request<Streaming<D::Request>>,
) -> Response<Responses<D>> {
    let (sender, receiver) = mpsc::channel(OUTBOUND_CAPACITY);
    let (peer, requests) = split(request);
    tokio::spawn(async move {
        let mut connection = Connection::<D> { requests, responses: sender, settings, only };
        if let Err(status) = connection.run(&*router, peer).await {
            tracing::debug!(code = ?status.code(), message = status.message(), "discovery stream ends");
            // The client may be gone already.
            let _ = connection.responses.send(Err(status)).await;
        }
    });
    Response::new(ReceiverStream::new(receiver))
}

/// Answers a single request.
pub(crate) async fn fetch<R: Router>(
    router: &R,
    settings: &Settings,
    only: &'static str,
    request: Request<DiscoveryRequest>,
) -> Result<Response<DiscoveryResponse>, Status> {
    let (peer, mut request) = split(request);
    settle_type_url(&mut request.type_url, Some(only))?;
    let node = request.node.take().unwrap_or_default();
    let cache = router.cache_for(&peer, &node, only).await?;
    let mut changed = cache.subscribe();
    let ready = async { while !cache.is_ready() && changed.changed().await.is_ok() {} };
    if tokio::time::timeout(settings.ack_wait, ready).await.is_err() {
        return Err(Status::unavailable("the configuration is not known yet; try again"));
    }
    let mut session = Session::new(Dialect::StateOfTheWorld, settings.limits, settings.ack_wait);
    StateOfTheWorld::hear(&mut session, request)?;
    let response = session.next(&cache, Instant::now()).map(StateOfTheWorld::speak);
    Ok(Response::new(response.unwrap_or_else(|| DiscoveryResponse { type_url: only.to_owned(), ..DiscoveryResponse::default() })))
}

struct Connection<D: Dialectic> {
    requests: Streaming<D::Request>,
    responses: mpsc::Sender<Result<D::Response, Status>>,
    settings: Arc<Settings>,
    only: Option<&'static str>,
}

impl<D: Dialectic> Connection<D> {
    async fn run<R: Router>(&mut self, router: &R, peer: Peer) -> Result<(), Status> {
        let first = tokio::select! {
            request = self.requests.message() => request?,
            () = self.settings.shutdown.cancelled() => return Err(shutting_down()),
        };
        let Some(mut first) = first else { return Ok(()) };
        settle_type_url(D::type_url(&mut first), self.only)?;
        let mut node = D::take_node(&mut first).unwrap_or_default();
        node.extensions.clear();
        let cache = router.cache_for(&peer, &node, D::type_url(&mut first)).await?;
        let stream = self.settings.streams.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(stream, node = node.id, dialect = ?D::DIALECT, "discovery stream begins");
        let client = Arc::new(Client { stream, peer, node });
        let result = self.converse(router, &client, &cache, first).await;
        router.on_closed(&client).await;
        result
    }

    async fn converse<R: Router>(&mut self, router: &R, client: &Arc<Client>, cache: &Cache, first: D::Request) -> Result<(), Status> {
        let mut session = Session::new(D::DIALECT, self.settings.limits, self.settings.ack_wait);
        let mut changed = cache.subscribe();
        self.hear(router, client, &mut session, first).await?;
        loop {
            if let Some(reason) = cache.view().closed() {
                return Err(Status::unavailable(reason));
            }
            if let Some(outgoing) = session.next(cache, Instant::now()) {
                tracing::trace!(stream = client.stream, type_url = %outgoing.type_url, nonce = outgoing.nonce, set = outgoing.resources.len(), removed = outgoing.removed.len(), "push");
                tokio::select! {
                    sent = self.responses.send(Ok(D::speak(outgoing))) => if sent.is_err() { return Ok(()) },
                    () = self.settings.shutdown.cancelled() => return Err(shutting_down()),
                }
                continue;
            }
            let deadline = session.deadline(Instant::now());
            let overdue = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(mut request)) => {
                        settle_type_url(D::type_url(&mut request), self.only)?;
                        self.hear(router, client, &mut session, request).await?;
                    }
                    // A client that says nothing more cannot acknowledge; one whose connection broke is gone.
                    Ok(None) | Err(_) => return Ok(()),
                },
                // The cache outlives this loop, so its sender does.
                _ = changed.changed() => {}
                () = overdue => {}
                () = self.responses.closed() => return Ok(()),
                () = self.settings.shutdown.cancelled() => return Err(shutting_down()),
            }
        }
    }

    async fn hear<R: Router>(
        &self,
        router: &R,
        client: &Arc<Client>,
        session: &mut Session,
        mut request: D::Request,
    ) -> Result<(), Status> {
        let type_url = D::type_url(&mut request).clone();
        let held = D::held(&request);
        let (is_first, acknowledgement) = D::hear(session, request)?;
        if is_first {
            if !held.is_empty() {
                router.on_resume(client, &type_url, held).await;
            }
            router.on_subscribe(client, &type_url).await;
        }
        if let Some(Acknowledgement { resources, removed, rejection }) = acknowledgement {
            let outcome = match rejection {
                None => Outcome::Applied,
                Some(rejection) => {
                    tracing::warn!(node = client.node.id, type_url, reason = rejection.message, "client rejects its configuration");
                    Outcome::Rejected(rejection)
                }
            };
            router.on_receipt(Receipt { client: client.clone(), type_url, resources, removed, outcome }).await;
        }
        Ok(())
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the server is shutting down; connect again")
}

fn split<T>(request: Request<T>) -> (Peer, T) {
    let remote_addr = request.remote_addr().or_else(|| request.extensions().get::<TcpConnectInfo>()?.remote_addr());
    let (metadata, extensions, message) = request.into_parts();
    (Peer { extensions, metadata, remote_addr }, message)
}

/// A service for one type may leave the type out of its requests; an aggregated one may not.
fn settle_type_url(type_url: &mut String, only: Option<&'static str>) -> Result<(), Violation> {
    match only {
        None if type_url.is_empty() => Err(Violation::NoTypeUrl),
        None => Ok(()),
        Some(expected) if type_url.is_empty() || type_url == expected => {
            expected.clone_into(type_url);
            Ok(())
        }
        Some(expected) => Err(Violation::OtherTypeUrl { expected, found: std::mem::take(type_url) }),
    }
}

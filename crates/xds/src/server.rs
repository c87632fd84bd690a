//! The gRPC services: aggregated discovery, and one service for each of the types that clients ask for alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::envoy::envoy::service::cluster::v3::cluster_discovery_service_server::{ClusterDiscoveryService, ClusterDiscoveryServiceServer};
use crate::envoy::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use crate::envoy::envoy::service::endpoint::v3::endpoint_discovery_service_server::{
    EndpointDiscoveryService, EndpointDiscoveryServiceServer,
};
use crate::envoy::envoy::service::listener::v3::listener_discovery_service_server::{
    ListenerDiscoveryService, ListenerDiscoveryServiceServer,
};
use crate::envoy::envoy::service::secret::v3::secret_discovery_service_server::{SecretDiscoveryService, SecretDiscoveryServiceServer};
use crate::stream::{Delta, Settings, StateOfTheWorld, fetch, serve};
use crate::type_url::{CLUSTER, ENDPOINT, LISTENER, SECRET};
use crate::{Limits, Router};

/// How long a step of an ordered update, and the next change of a type, wait for an acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// Serves the caches that a [`Router`] chooses.
pub struct Server<R> {
    router: Arc<R>,
    settings: Arc<Settings>,
}

impl<R> Clone for Server<R> {
    fn clone(&self) -> Self {
        Self { router: self.router.clone(), settings: self.settings.clone() }
    }
}

impl<R> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<R: Router> Server<R> {
    pub fn new(router: impl Into<Arc<R>>) -> Self {
        Self::with(router, CancellationToken::new(), Limits::default(), ACK_WAIT)
    }

    /// `shutdown` ends every stream with `UNAVAILABLE`, without which a server that waits for its streams would never
    /// stop. `ack_wait` bounds how long an ordered update waits for a client that does not acknowledge, and how long a
    /// fetch waits for a cache that is not ready.
    pub fn with(router: impl Into<Arc<R>>, shutdown: CancellationToken, limits: Limits, ack_wait: Duration) -> Self {
        Self { router: router.into(), settings: Arc::new(Settings { limits, ack_wait, shutdown, streams: AtomicU64::new(1) }) }
    }

    pub fn aggregated(&self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self.clone())
    }

    pub fn clusters(&self) -> ClusterDiscoveryServiceServer<Self> {
        ClusterDiscoveryServiceServer::new(self.clone())
    }

    pub fn endpoints(&self) -> EndpointDiscoveryServiceServer<Self> {
        EndpointDiscoveryServiceServer::new(self.clone())
    }

    pub fn listeners(&self) -> ListenerDiscoveryServiceServer<Self> {
        ListenerDiscoveryServiceServer::new(self.clone())
    }

    pub fn secrets(&self) -> SecretDiscoveryServiceServer<Self> {
        SecretDiscoveryServiceServer::new(self.clone())
    }

    fn delta(&self, only: Option<&'static str>, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Response<DeltaResponses> {
        serve::<Delta, R>(self.router.clone(), self.settings.clone(), only, request)
    }

    fn state_of_the_world(&self, only: Option<&'static str>, request: Request<Streaming<DiscoveryRequest>>) -> Response<Responses> {
        serve::<StateOfTheWorld, R>(self.router.clone(), self.settings.clone(), only, request)
    }
}

type DeltaResponses = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;
type Responses = ReceiverStream<Result<DiscoveryResponse, Status>>;

#[tonic::async_trait]
impl<R: Router> AggregatedDiscoveryService for Server<R> {
    type StreamAggregatedResourcesStream = Responses;
    type DeltaAggregatedResourcesStream = DeltaResponses;

    async fn stream_aggregated_resources(&self, request: Request<Streaming<DiscoveryRequest>>) -> Result<Response<Responses>, Status> {
        Ok(self.state_of_the_world(None, request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<DeltaResponses>, Status> {
        Ok(self.delta(None, request))
    }
}

/// The services for single types differ in names only.
macro_rules! service {
    ($service:ident, $type_url:ident, $Stream:ident $stream:ident, $Delta:ident $delta:ident, $fetch:ident) => {
        #[tonic::async_trait]
        impl<R: Router> $service for Server<R> {
            type $Stream = Responses;
            type $Delta = DeltaResponses;

            async fn $stream(&self, request: Request<Streaming<DiscoveryRequest>>) -> Result<Response<Responses>, Status> {
                Ok(self.state_of_the_world(Some($type_url), request))
            }

            async fn $delta(&self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Result<Response<DeltaResponses>, Status> {
                Ok(self.delta(Some($type_url), request))
            }

            async fn $fetch(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
                fetch(&*self.router, &self.settings, $type_url, request).await
            }
        }
    };
}

service!(ClusterDiscoveryService, CLUSTER, StreamClustersStream stream_clusters, DeltaClustersStream delta_clusters, fetch_clusters);
service!(EndpointDiscoveryService, ENDPOINT, StreamEndpointsStream stream_endpoints, DeltaEndpointsStream delta_endpoints, fetch_endpoints);
service!(ListenerDiscoveryService, LISTENER, StreamListenersStream stream_listeners, DeltaListenersStream delta_listeners, fetch_listeners);
service!(SecretDiscoveryService, SECRET, StreamSecretsStream stream_secrets, DeltaSecretsStream delta_secrets, fetch_secrets);

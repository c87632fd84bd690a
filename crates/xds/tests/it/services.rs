//! The services for single types: streams, deltas and fetches.

use cofide_xds::envoy::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use cofide_xds::envoy::envoy::service::discovery::v3::DiscoveryRequest;
use cofide_xds::envoy::envoy::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;
use cofide_xds::envoy::envoy::service::listener::v3::listener_discovery_service_client::ListenerDiscoveryServiceClient;
use cofide_xds::envoy::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use cofide_xds::type_url::{CLUSTER, ENDPOINT, LISTENER, SECRET};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{
    DeltaStream, TestServer, WholeStream, describe, describe_whole, eds_cluster, endpoint, listener, ready_cache, secret, texts,
};

/// Opens a stream of one method on one client.
macro_rules! open {
    ($stream:ident, $client:ident, $method:ident, $server:expr) => {{
        let (requests, receiver) = mpsc::channel(64);
        let responses = $client::new($server.channel.clone()).$method(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        $stream { requests, responses }
    }};
}

#[tokio::test]
async fn each_service_serves_its_type_in_every_way() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("n", ""));
    server.cache.set(ENDPOINT, endpoint("n", 1));
    server.cache.set(LISTENER, listener("n"));
    server.cache.set(SECRET, secret("n"));
    macro_rules! check {
        ($client:ident, $stream:ident, $delta:ident, $fetch:ident, $kind:literal) => {
            let mut stream = open!(WholeStream, $client, $stream, server);
            stream.ask("", &["n"]).await;
            assert_eq!(describe_whole(&stream.next().await), concat!($kind, " n"));
            let mut stream = open!(DeltaStream, $client, $delta, server);
            stream.subscribe("", &["n"]).await;
            assert_eq!(describe(&stream.next().await), concat!($kind, " +n"));
            let request = DiscoveryRequest { resource_names: texts(&["n", "unknown"]), ..DiscoveryRequest::default() };
            let response = $client::new(server.channel.clone()).$fetch(request).await.unwrap().into_inner();
            assert_eq!(describe_whole(&response), concat!($kind, " n"));
        };
    }
    check!(ClusterDiscoveryServiceClient, stream_clusters, delta_clusters, fetch_clusters, "Cluster");
    check!(EndpointDiscoveryServiceClient, stream_endpoints, delta_endpoints, fetch_endpoints, "ClusterLoadAssignment");
    check!(ListenerDiscoveryServiceClient, stream_listeners, delta_listeners, fetch_listeners, "Listener");
    check!(SecretDiscoveryServiceClient, stream_secrets, delta_secrets, fetch_secrets, "Secret");
}

#[tokio::test]
async fn a_service_refuses_the_type_of_another() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = open!(DeltaStream, ClusterDiscoveryServiceClient, delta_clusters, server);
    stream.subscribe(LISTENER, &["*"]).await;
    let status = stream.status().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains(LISTENER) && status.message().contains(CLUSTER), "{}", status.message());
    let request = DiscoveryRequest { type_url: LISTENER.to_owned(), ..DiscoveryRequest::default() };
    let status = ClusterDiscoveryServiceClient::new(server.channel.clone()).fetch_clusters(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// Envoy takes an empty answer to a question for a secret for an error.
#[tokio::test]
async fn a_secret_that_does_not_exist_is_sent_when_it_does() {
    let server = TestServer::start(ready_cache()).await;
    let mut whole = server.state_of_the_world().await;
    whole.ask(SECRET, &["late"]).await;
    whole.assert_silent().await;
    let mut delta = server.delta().await;
    delta.subscribe(SECRET, &["late"]).await;
    delta.assert_silent().await;
    server.cache.set(SECRET, secret("late"));
    assert_eq!(describe_whole(&whole.next().await), "Secret late");
    assert_eq!(describe(&delta.take().await), "Secret +late");
    server.cache.remove(SECRET, "late");
    assert_eq!(describe(&delta.take().await), "Secret -late", "but one that goes is taken away");
}

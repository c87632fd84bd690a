//! Before a cache is ready, and when it, the client or the server goes.

use std::sync::Arc;
use std::time::Duration;

use cofide_xds::envoy::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use cofide_xds::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use cofide_xds::type_url::CLUSTER;
use cofide_xds::{Cache, Limits, Node};
use tonic::Code;

use crate::support::{FREE, Heard, TestServer, describe, describe_whole, eds_cluster, free, ready_cache};

#[tokio::test]
async fn a_cache_that_is_not_ready_is_not_an_empty_world() {
    let mut server = TestServer::start(Arc::new(Cache::new())).await;
    let mut delta = server.delta().await;
    delta.resume(FREE, &["*"], &[("a", free("a", "1").version()), ("gone", "1")]).await;
    let mut whole = server.state_of_the_world().await;
    whole.ask(FREE, &[]).await;
    for _ in 0..2 {
        while !matches!(server.heard().await, Heard::Subscribed(type_url) if type_url == FREE) {}
    }
    server.cache.set(FREE, free("a", "1"));
    server.cache.set(FREE, free("b", "1"));
    server.cache.mark_ready();
    assert_eq!(describe(&delta.next().await), "Free +b -gone", "the first word is the truth");
    assert_eq!(whole.next().await.resources.len(), 2);
}

#[tokio::test]
async fn a_fetch_of_what_is_not_known_yet_says_so() {
    let server = TestServer::start_with(Arc::new(Cache::new()), Limits::default(), Duration::from_millis(50)).await;
    let fetch = || async {
        let mut client = ClusterDiscoveryServiceClient::new(server.channel.clone());
        client.fetch_clusters(DiscoveryRequest::default()).await
    };
    assert_eq!(fetch().await.unwrap_err().code(), Code::Unavailable);
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    server.cache.mark_ready();
    assert_eq!(describe_whole(fetch().await.unwrap().get_ref()), "Cluster a");
}

#[tokio::test]
async fn a_closed_cache_ends_its_streams_and_says_why() {
    let mut server = TestServer::start(ready_cache()).await;
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*"]).await;
    stream.take().await;
    server.cache.close("the cluster was deleted");
    let status = stream.status().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the cluster was deleted"));
    while !matches!(server.heard().await, Heard::Closed) {}
    let mut late = server.delta().await;
    late.subscribe(FREE, &["*"]).await;
    assert_eq!(late.status().await.code(), Code::Unavailable);
}

#[tokio::test]
async fn the_router_is_told_when_a_client_goes() {
    let mut server = TestServer::start(ready_cache()).await;
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*"]).await;
    stream.take().await;
    drop(stream);
    while !matches!(server.heard().await, Heard::Closed) {}
}

#[tokio::test]
async fn a_client_that_the_router_refuses_gets_its_reason() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = server.delta().await;
    let node = Some(Node { id: "stranger".to_owned(), ..Node::default() });
    stream.send(DeltaDiscoveryRequest { node, type_url: FREE.to_owned(), ..DeltaDiscoveryRequest::default() }).await;
    let status = stream.status().await;
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "nothing for strangers"));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_streams() {
    let server = TestServer::start(ready_cache()).await;
    let mut busy = server.delta().await;
    busy.subscribe(FREE, &["*"]).await;
    busy.take().await;
    let mut silent = server.state_of_the_world().await;
    server.shutdown.cancel();
    assert_eq!(busy.status().await.code(), Code::Unavailable);
    assert_eq!(silent.responses.message().await.unwrap_err().code(), Code::Unavailable);
    server.stopped().await;
}

//! What the router learns of what clients did with their responses.

use cofide_xds::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use cofide_xds::envoy::google::rpc;
use cofide_xds::type_url::CLUSTER;
use cofide_xds::{Node, Outcome, Rejection};

use crate::support::{FREE, Heard, TestServer, eds_cluster, free, ready_cache};

#[tokio::test]
async fn an_acknowledged_response_is_reported_with_names_and_versions() {
    let mut server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    let node = Some(Node { id: "agent".to_owned(), ..Node::default() });
    stream.send(DeltaDiscoveryRequest { node, type_url: FREE.to_owned(), ..DeltaDiscoveryRequest::default() }).await;
    stream.take().await;
    let receipt = server.receipt().await;
    assert_eq!(receipt.client.node.id, "agent");
    assert_eq!((receipt.type_url.as_str(), &receipt.outcome), (FREE, &Outcome::Applied));
    assert_eq!(receipt.resources, [("a".to_owned(), free("a", "1").version().to_owned())]);
    server.cache.remove(FREE, "a");
    stream.take().await;
    let receipt = server.receipt().await;
    assert_eq!((receipt.resources.len(), receipt.removed), (0, vec!["a".to_owned()]));
}

#[tokio::test]
async fn what_a_client_comes_back_with_is_reported_once_and_before_anything_else() {
    let mut server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    stream.resume(FREE, &["*"], &[("a", free("a", "1").version())]).await;
    stream.take().await;
    match server.heard().await {
        Heard::Resumed(type_url, held) => {
            assert_eq!((type_url.as_str(), held["a"].as_str(), held.len()), (FREE, free("a", "1").version(), 1));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(server.heard().await, Heard::Subscribed(_)));
    assert!(matches!(server.heard().await, Heard::Receipt(_)));
}

#[tokio::test]
async fn a_rejection_is_reported_with_its_reason_and_settles_the_response() {
    let mut server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*"]).await;
    let response = stream.next().await;
    let error_detail = Some(rpc::Status { code: 3, message: "no port".to_owned(), ..rpc::Status::default() });
    let nack = DeltaDiscoveryRequest {
        type_url: FREE.to_owned(),
        response_nonce: response.nonce,
        error_detail,
        ..DeltaDiscoveryRequest::default()
    };
    stream.send(nack.clone()).await;
    let receipt = server.receipt().await;
    assert_eq!(receipt.outcome, Outcome::Rejected(Rejection::of_all("no port")));
    assert_eq!(receipt.outcome_of("a"), Err("no port"));
    // Said twice or about nothing, it counts for nothing.
    stream.send(nack).await;
    stream
        .send(DeltaDiscoveryRequest { type_url: FREE.to_owned(), response_nonce: "77".to_owned(), ..DeltaDiscoveryRequest::default() })
        .await;
    stream.assert_silent().await;
    server.cache.set(FREE, free("a", "2"));
    stream.take().await;
    assert_eq!(server.receipt().await.outcome, Outcome::Applied);
}

#[tokio::test]
async fn a_whole_response_is_reported_by_what_was_new_in_it() {
    let mut server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    let mut stream = server.state_of_the_world().await;
    stream.ask(CLUSTER, &[]).await;
    stream.take(&[]).await;
    server.receipt().await;
    server.cache.set(CLUSTER, eds_cluster("b", ""));
    let response = stream.next().await;
    assert_eq!(response.resources.len(), 2);
    stream
        .send(DiscoveryRequest {
            type_url: CLUSTER.to_owned(),
            response_nonce: response.nonce,
            error_detail: Some(rpc::Status { code: 3, message: "bad".to_owned(), ..rpc::Status::default() }),
            ..DiscoveryRequest::default()
        })
        .await;
    let receipt = server.receipt().await;
    assert_eq!(receipt.resources, [("b".to_owned(), eds_cluster("b", "").version().to_owned())]);
    assert!(matches!(receipt.outcome, Outcome::Rejected(_)));
}

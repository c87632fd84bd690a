//! State-of-the-world discovery on an aggregated stream.

use cofide_xds::Node;
use cofide_xds::envoy::envoy::service::discovery::v3::DiscoveryRequest;
use cofide_xds::envoy::google::rpc;
use cofide_xds::type_url::{CLUSTER, ENDPOINT, LISTENER};

use crate::support::{FREE, TestServer, describe_whole, eds_cluster, endpoint, free, listener, ready_cache, texts};

#[tokio::test]
async fn listed_types_come_whole() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    server.cache.set(LISTENER, listener("l"));
    let mut stream = server.state_of_the_world().await;
    stream.ask(CLUSTER, &[]).await;
    let first = stream.take(&[]).await;
    assert_eq!(describe_whole(&first), "Cluster a");
    stream.ask(LISTENER, &["*"]).await;
    assert_eq!(describe_whole(&stream.take(&["*"]).await), "Listener l");
    server.cache.set(CLUSTER, eds_cluster("b", ""));
    let second = stream.take(&[]).await;
    assert_eq!(describe_whole(&second), "Cluster a b");
    assert_ne!(first.version_info, second.version_info);
    server.cache.remove(CLUSTER, "b");
    let third = stream.take(&[]).await;
    assert_eq!(describe_whole(&third), "Cluster a");
    assert_eq!(third.version_info, first.version_info, "the version is the content's");
}

/// The Go SDK opens one stream per service, asks for one name straight away, repeats its node on every request and
/// acknowledges whatever comes.
#[tokio::test]
async fn an_sdk_that_asks_for_endpoints_only_is_answered_at_once_and_kept_up_to_date() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = server.state_of_the_world().await;
    let request = || DiscoveryRequest {
        type_url: ENDPOINT.to_owned(),
        node: Some(Node { id: "node".to_owned(), ..Node::default() }),
        resource_names: texts(&["server.demo.local.domain_cluster"]),
        ..DiscoveryRequest::default()
    };
    stream.send(request()).await;
    let mut ports = Vec::new();
    for next in [Some(1), Some(2), None, Some(3)] {
        let response = stream.next().await;
        ports.push(describe_whole(&response));
        stream.send(DiscoveryRequest { version_info: response.version_info, response_nonce: response.nonce, ..request() }).await;
        // Another service's endpoints are none of this stream's business.
        server.cache.set(ENDPOINT, endpoint("other.demo.local.domain_cluster", next.unwrap_or(9)));
        match next {
            Some(port) => server.cache.set(ENDPOINT, endpoint("server.demo.local.domain_cluster", port)),
            None => server.cache.remove(ENDPOINT, "server.demo.local.domain_cluster"),
        };
    }
    ports.push(describe_whole(&stream.next().await));
    let known = "ClusterLoadAssignment server.demo.local.domain_cluster";
    assert_eq!(ports, ["ClusterLoadAssignment", known, known, "ClusterLoadAssignment", known]);
}

#[tokio::test]
async fn of_endpoints_a_response_holds_what_changed() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.replace(ENDPOINT, vec![endpoint("a", 1), endpoint("b", 1), endpoint("c", 1)]);
    let mut stream = server.state_of_the_world().await;
    stream.ask(ENDPOINT, &["a", "b"]).await;
    assert_eq!(describe_whole(&stream.take(&["a", "b"]).await), "ClusterLoadAssignment a b");
    server.cache.set(ENDPOINT, endpoint("b", 2));
    let response = stream.next().await;
    assert_eq!(describe_whole(&response), "ClusterLoadAssignment b");
    stream.ack(&response, &["b", "c"]).await;
    let response = stream.next().await;
    assert_eq!(describe_whole(&response), "ClusterLoadAssignment c", "what is newly asked for");
    stream.ack(&response, &["c"]).await;
    stream.assert_silent().await;
    server.cache.set(ENDPOINT, endpoint("a", 2));
    server.cache.set(ENDPOINT, endpoint("b", 3));
    stream.assert_silent().await;
}

#[tokio::test]
async fn a_word_about_an_older_response_is_ignored() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.replace(FREE, vec![free("a", "1"), free("b", "1")]);
    let mut stream = server.state_of_the_world().await;
    stream.ask(FREE, &["a"]).await;
    let first = stream.take(&["a"]).await;
    server.cache.set(FREE, free("a", "2"));
    let second = stream.next().await;
    stream.ack(&first, &["a", "b"]).await;
    stream.assert_silent().await;
    stream.ack(&second, &["a", "b"]).await;
    assert_eq!(stream.next().await.resources.len(), 2, "now it counts");
}

#[tokio::test]
async fn a_name_that_was_given_up_in_an_ignored_word_is_sent_anew_when_it_is_wanted_again() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(ENDPOINT, endpoint("a", 1));
    let mut stream = server.state_of_the_world().await;
    stream.ask(ENDPOINT, &["a", "b"]).await;
    let first = stream.take(&["a", "b"]).await;
    server.cache.set(ENDPOINT, endpoint("b", 1));
    let second = stream.next().await;
    stream.ack(&first, &["b"]).await;
    stream.ack(&second, &["a", "b"]).await;
    assert_eq!(describe_whole(&stream.next().await), "ClusterLoadAssignment a");
}

#[tokio::test]
async fn a_nonce_of_an_earlier_stream_does_not_matter() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    let mut stream = server.state_of_the_world().await;
    let request = DiscoveryRequest {
        type_url: CLUSTER.to_owned(),
        version_info: "seen before".to_owned(),
        response_nonce: "17".to_owned(),
        ..DiscoveryRequest::default()
    };
    stream.send(request).await;
    assert_eq!(describe_whole(&stream.next().await), "Cluster a");
}

#[tokio::test]
async fn a_list_that_named_something_once_is_no_wildcard_when_it_is_empty() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.replace(CLUSTER, vec![eds_cluster("a", ""), eds_cluster("b", "")]);
    let mut stream = server.state_of_the_world().await;
    stream.ask(CLUSTER, &[]).await;
    let response = stream.next().await;
    assert_eq!(describe_whole(&response), "Cluster a b");
    stream.ack(&response, &["*", "a"]).await;
    let response = stream.next().await;
    assert_eq!(describe_whole(&response), "Cluster a b", "a was asked for by name");
    stream.ack(&response, &["a"]).await;
    stream.assert_silent().await;
    server.cache.set(CLUSTER, eds_cluster("b", "2"));
    stream.assert_silent().await;
    stream.ack(&response, &[]).await;
    stream.assert_silent().await;
    server.cache.set(CLUSTER, eds_cluster("a", "2"));
    stream.assert_silent().await;
}

#[tokio::test]
async fn a_rejected_response_is_not_repeated() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", "bad"));
    let mut stream = server.state_of_the_world().await;
    stream.ask(CLUSTER, &[]).await;
    let response = stream.next().await;
    let error_detail = rpc::Status { code: 3, message: "no".to_owned(), ..rpc::Status::default() };
    stream
        .send(DiscoveryRequest {
            type_url: CLUSTER.to_owned(),
            response_nonce: response.nonce,
            error_detail: Some(error_detail),
            ..DiscoveryRequest::default()
        })
        .await;
    stream.assert_silent().await;
    server.cache.set(CLUSTER, eds_cluster("a", "good"));
    assert_eq!(describe_whole(&stream.next().await), "Cluster a");
}

#[tokio::test]
async fn a_type_that_envoy_does_not_know_comes_whole_too() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.replace(FREE, vec![free("a", "1"), free("b", "1")]);
    let mut stream = server.state_of_the_world().await;
    stream.ask(FREE, &[]).await;
    assert_eq!(stream.take(&[]).await.resources.len(), 2);
    server.cache.remove(FREE, "a");
    assert_eq!(stream.take(&[]).await.resources.len(), 1);
    server.cache.remove(FREE, "b");
    assert_eq!(stream.take(&[]).await.resources.len(), 0, "an explicit empty answer");
}

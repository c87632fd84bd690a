//! Make before break on aggregated streams.

use std::time::Duration;

use cofide_xds::type_url::{CLUSTER, ENDPOINT, LISTENER};
use cofide_xds::{Limits, Update};

use crate::support::{DeltaStream, TestServer, describe, describe_whole, eds_cluster, endpoint, listener, ready_cache};

fn added(name: &str) -> Update {
    let set = [(LISTENER, listener(name)), (ENDPOINT, endpoint(name, 1)), (CLUSTER, eds_cluster(name, ""))];
    Update { set: set.map(|(type_url, resource)| (type_url.to_owned(), resource)).into(), removed: Vec::new() }
}

fn removed(name: &str) -> Vec<(String, String)> {
    [CLUSTER, ENDPOINT, LISTENER].map(|type_url| (type_url.to_owned(), name.to_owned())).into()
}

/// A stream that has all there is and has acknowledged it.
async fn settled_delta(server: &TestServer, endpoints: &[&str]) -> DeltaStream {
    let mut stream = server.delta().await;
    stream.subscribe(CLUSTER, &[]).await;
    stream.take().await;
    stream.subscribe(ENDPOINT, endpoints).await;
    stream.take().await;
    stream.subscribe(LISTENER, &[]).await;
    stream.take().await;
    stream
}

#[tokio::test]
async fn new_things_come_bottom_up_and_each_waits_for_the_one_before() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = settled_delta(&server, &["a"]).await;
    server.cache.apply(added("a"));
    let clusters = stream.next().await;
    assert_eq!(describe(&clusters), "Cluster +a");
    stream.assert_silent().await;
    stream.ack(&clusters).await;
    let endpoints = stream.next().await;
    assert_eq!(describe(&endpoints), "ClusterLoadAssignment +a");
    stream.assert_silent().await;
    stream.ack(&endpoints).await;
    assert_eq!(describe(&stream.take().await), "Listener +a");
}

#[tokio::test]
async fn old_things_go_top_down_after_the_new_ones_are_there() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.apply(added("old"));
    let mut stream = settled_delta(&server, &["old", "new"]).await;
    server.cache.apply(Update { removed: removed("old"), ..added("new") });
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(describe(&stream.take().await));
    }
    assert_eq!(seen, ["Cluster +new", "ClusterLoadAssignment +new", "Listener +new -old", "ClusterLoadAssignment -old", "Cluster -old"]);
}

#[tokio::test]
async fn in_the_state_of_the_world_old_clusters_stay_until_no_listener_needs_them() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.apply(added("old"));
    let mut stream = server.state_of_the_world().await;
    for type_url in [CLUSTER, LISTENER] {
        stream.ask(type_url, &[]).await;
        stream.take(&[]).await;
    }
    server.cache.apply(Update { removed: removed("old"), ..added("new") });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(describe_whole(&stream.take(&[]).await));
    }
    assert_eq!(seen, ["Cluster new old", "Listener new", "Cluster new"]);
}

#[tokio::test]
async fn steady_changes_of_clusters_do_not_starve_listeners() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = settled_delta(&server, &["a"]).await;
    server.cache.apply(added("a"));
    let mut seen = Vec::new();
    for number in 0..4 {
        let response = stream.next().await;
        seen.push(describe(&response));
        server.cache.set(CLUSTER, eds_cluster("b", &number.to_string()));
        stream.ack(&response).await;
    }
    assert_eq!(seen, ["Cluster +a", "ClusterLoadAssignment +a", "Listener +a", "Cluster +b"]);
}

#[tokio::test]
async fn a_client_that_never_acknowledges_waits_but_is_not_forgotten() {
    let server = TestServer::start_with(ready_cache(), Limits::default(), Duration::from_millis(50)).await;
    let mut stream = server.delta().await;
    stream.subscribe(CLUSTER, &[]).await;
    stream.subscribe(LISTENER, &[]).await;
    assert_eq!(describe(&stream.next().await), "Cluster");
    assert_eq!(describe(&stream.next().await), "Listener");
    server.cache.apply(added("a"));
    assert_eq!(describe(&stream.next().await), "Cluster +a");
    assert_eq!(describe(&stream.next().await), "Listener +a");
}

#[tokio::test]
async fn a_question_for_endpoints_is_answered_while_clusters_are_not_acknowledged() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.apply(added("a"));
    let mut stream = server.delta().await;
    stream.subscribe(CLUSTER, &[]).await;
    assert_eq!(describe(&stream.next().await), "Cluster +a");
    stream.subscribe(ENDPOINT, &["a"]).await;
    assert_eq!(describe(&stream.next().await), "ClusterLoadAssignment +a", "a warming cluster may wait for it");
}

#[tokio::test]
async fn a_large_set_of_clusters_is_there_whole_before_the_first_listener() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = settled_delta(&server, &["a"]).await;
    let large = "x".repeat(400_000);
    let clusters = (0..6).map(|number| (CLUSTER.to_owned(), eds_cluster(&format!("c{number}"), &large)));
    server.cache.apply(Update { set: clusters.chain([(LISTENER.to_owned(), listener("l"))]).collect(), removed: Vec::new() });
    for expected in ["Cluster +c0 +c1", "Cluster +c2 +c3", "Cluster +c4 +c5", "Listener +l"] {
        assert_eq!(describe(&stream.take().await), expected);
    }
}

//! Incremental discovery on an aggregated stream.

use cofide_xds::type_url::{CLUSTER, ENDPOINT};

use crate::support::{FREE, TestServer, describe, eds_cluster, endpoint, free, ready_cache};

#[tokio::test]
async fn a_name_is_answered_with_the_resource_or_with_word_that_there_is_none() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["a", "b"]).await;
    assert_eq!(describe(&stream.take().await), "Free +a -b");
    server.cache.set(FREE, free("b", "1"));
    let response = stream.take().await;
    assert_eq!(describe(&response), "Free +b");
    assert_eq!(response.resources[0].version, free("b", "1").version());
    server.cache.set(FREE, free("c", "1"));
    stream.assert_silent().await;
    server.cache.remove(FREE, "a");
    assert_eq!(describe(&stream.take().await), "Free -a");
}

#[tokio::test]
async fn both_forms_of_the_wildcard_bring_everything_and_what_comes_later() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    for names in [&[][..], &["*"][..]] {
        let mut stream = server.delta().await;
        stream.subscribe(CLUSTER, names).await;
        assert_eq!(describe(&stream.take().await), "Cluster +a");
        server.cache.set(CLUSTER, eds_cluster("b", ""));
        assert_eq!(describe(&stream.take().await), "Cluster +b");
        server.cache.remove(CLUSTER, "b");
        assert_eq!(describe(&stream.take().await), "Cluster -b");
    }
}

#[tokio::test]
async fn an_empty_world_that_is_known_is_answered_at_once() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = server.delta().await;
    stream.subscribe(CLUSTER, &[]).await;
    assert_eq!(describe(&stream.take().await), "Cluster");
    stream.subscribe("type.googleapis.com/nobody.knows.This", &["*"]).await;
    assert_eq!(describe(&stream.take().await), "This");
}

#[tokio::test]
async fn an_empty_list_of_endpoints_is_no_wildcard() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(ENDPOINT, endpoint("a", 1));
    let mut stream = server.delta().await;
    stream.subscribe(ENDPOINT, &[]).await;
    stream.assert_silent().await;
}

#[tokio::test]
async fn what_is_unsubscribed_is_not_sent_any_more() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["a", "b"]).await;
    assert_eq!(describe(&stream.take().await), "Free -a -b");
    stream.unsubscribe(FREE, &["a", "never subscribed"]).await;
    stream.assert_silent().await;
    server.cache.set(FREE, free("a", "1"));
    server.cache.set(FREE, free("b", "1"));
    assert_eq!(describe(&stream.take().await), "Free +b");
}

#[tokio::test]
async fn a_name_unsubscribed_under_a_wildcard_is_settled_either_way() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*", "a", "b"]).await;
    assert_eq!(describe(&stream.take().await), "Free +a -b");
    stream.unsubscribe(FREE, &["a"]).await;
    assert_eq!(describe(&stream.take().await), "Free +a");
    stream.unsubscribe(FREE, &["b"]).await;
    assert_eq!(describe(&stream.take().await), "Free -b");
    stream.unsubscribe(FREE, &["*"]).await;
    stream.assert_silent().await;
    server.cache.set(FREE, free("a", "2"));
    stream.assert_silent().await;
}

#[tokio::test]
async fn a_first_request_that_only_gives_up_names_asks_for_everything_as_an_empty_one_does() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    let mut stream = server.delta().await;
    stream.unsubscribe(CLUSTER, &["of an earlier stream"]).await;
    assert_eq!(describe(&stream.take().await), "Cluster +a");
}

#[tokio::test]
async fn a_stream_that_began_with_everything_keeps_it_when_it_names_something() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", ""));
    let mut stream = server.delta().await;
    stream.subscribe(CLUSTER, &[]).await;
    assert_eq!(describe(&stream.take().await), "Cluster +a");
    stream.subscribe(CLUSTER, &["a", "later"]).await;
    assert_eq!(describe(&stream.take().await), "Cluster +a -later");
    server.cache.set(CLUSTER, eds_cluster("b", ""));
    assert_eq!(describe(&stream.take().await), "Cluster +b");
    stream.unsubscribe(CLUSTER, &["*"]).await;
    stream.assert_silent().await;
    server.cache.set(CLUSTER, eds_cluster("b", "2"));
    stream.assert_silent().await;
    server.cache.set(CLUSTER, eds_cluster("later", ""));
    assert_eq!(describe(&stream.take().await), "Cluster +later", "what was named is still wanted");
    stream.subscribe(CLUSTER, &["*"]).await;
    assert_eq!(describe(&stream.take().await), "Cluster +b", "what was given up is sent anew, what is held is not");
}

#[tokio::test]
async fn a_name_subscribed_again_is_sent_again() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    for _ in 0..2 {
        stream.subscribe(FREE, &["a"]).await;
        assert_eq!(describe(&stream.take().await), "Free +a");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_gets_only_what_changed() {
    let server = TestServer::start(ready_cache()).await;
    for name in ["same", "changed", "new"] {
        server.cache.set(FREE, free(name, "2"));
    }
    let (same, old) = (free("same", "2"), free("changed", "1"));
    let held = [("same", same.version()), ("changed", old.version()), ("gone", "1")];
    for names in [&[][..], &["*"][..], &["same", "changed", "new", "gone"][..]] {
        let mut stream = server.delta().await;
        stream.resume(FREE, names, &held).await;
        assert_eq!(describe(&stream.take().await), "Free +changed +new -gone", "{names:?}");
    }
    let mut stream = server.delta().await;
    stream.resume(FREE, &["*"], &[("same", same.version()), ("changed", free("", "2").version()), ("new", free("", "2").version())]).await;
    assert_eq!(describe(&stream.take().await), "Free", "nothing changed, and the client is told so");
}

#[tokio::test]
async fn equal_content_pushes_nothing() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(FREE, free("a", "1"));
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*"]).await;
    stream.take().await;
    server.cache.set(FREE, free("a", "1"));
    server.cache.replace(FREE, vec![free("a", "1")]);
    stream.assert_silent().await;
}

#[tokio::test]
async fn an_unacknowledged_response_holds_back_changes_but_not_answers() {
    let server = TestServer::start(ready_cache()).await;
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*"]).await;
    let first = stream.next().await;
    for content in ["1", "2", "3"] {
        server.cache.set(FREE, free("a", content));
    }
    stream.subscribe("type.googleapis.com/test.Other", &["b"]).await;
    assert_eq!(describe(&stream.next().await), "Other -b");
    stream.ack(&first).await;
    let response = stream.take().await;
    assert_eq!(describe(&response), "Free +a");
    assert_eq!(response.resources[0].version, free("a", "3").version(), "three changes became one");
    stream.assert_silent().await;
}

#[tokio::test]
async fn a_large_world_comes_in_parts_of_which_the_last_is_marked() {
    let server = TestServer::start(ready_cache()).await;
    let large = "x".repeat(300_000);
    server.cache.replace(FREE, (0..10).map(|number| free(&format!("r{number}"), &format!("{number}{large}"))).collect());
    let mut stream = server.delta().await;
    stream.subscribe(FREE, &["*"]).await;
    let mut names = Vec::new();
    loop {
        let response = stream.take().await;
        assert!(response.resources.len() <= 3, "{} resources of 300 kB each", response.resources.len());
        names.extend(response.resources.iter().map(|resource| resource.name.clone()));
        if !response.system_version_info.is_empty() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, (0..10).map(|number| format!("r{number}")).collect::<Vec<_>>(), "each once");
    stream.assert_silent().await;
}

#[tokio::test]
async fn a_replaced_cluster_gets_its_endpoints_again() {
    let server = TestServer::start(ready_cache()).await;
    server.cache.set(CLUSTER, eds_cluster("a", "1"));
    server.cache.set(ENDPOINT, endpoint("a", 1));
    let mut stream = server.delta().await;
    stream.subscribe(CLUSTER, &["*"]).await;
    stream.take().await;
    stream.subscribe(ENDPOINT, &["a"]).await;
    assert_eq!(describe(&stream.take().await), "ClusterLoadAssignment +a");
    server.cache.set(CLUSTER, eds_cluster("a", "2"));
    assert_eq!(describe(&stream.take().await), "Cluster +a");
    assert_eq!(describe(&stream.take().await), "ClusterLoadAssignment +a", "without them the cluster would stay in warming");

    let mut stream = server.delta().await;
    stream.resume(CLUSTER, &["*"], &[("a", eds_cluster("a", "1").version())]).await;
    assert_eq!(describe(&stream.take().await), "Cluster +a");
    stream.resume(ENDPOINT, &["a"], &[("a", endpoint("a", 1).version())]).await;
    assert_eq!(describe(&stream.take().await), "ClusterLoadAssignment +a", "also where the client held them before");
}

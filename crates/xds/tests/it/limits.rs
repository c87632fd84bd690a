//! What a client may not do, and that it harms nobody but itself.

use std::collections::HashMap;
use std::time::Duration;

use cofide_xds::Limits;
use cofide_xds::envoy::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tonic::Code;

use crate::support::{FREE, TestServer, describe, free, ready_cache};

async fn small_server() -> TestServer {
    let limits = Limits { types: 2, name_bytes: 50, total_bytes: 1000 };
    let server = TestServer::start_with(ready_cache(), limits, Duration::from_secs(5)).await;
    server.cache.set(FREE, free("a", "1"));
    server
}

#[tokio::test]
async fn each_limit_ends_the_stream_that_exceeds_it_and_no_other() {
    let server = small_server().await;
    let mut good = server.delta().await;
    good.subscribe(FREE, &["*"]).await;
    good.take().await;

    let long = "x".repeat(51);
    let subscribe = |names: Vec<String>| DeltaDiscoveryRequest {
        type_url: FREE.to_owned(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    };
    let claim = |claims: Vec<(String, String)>| DeltaDiscoveryRequest {
        type_url: FREE.to_owned(),
        initial_resource_versions: claims.into_iter().collect::<HashMap<_, _>>(),
        ..DeltaDiscoveryRequest::default()
    };
    let bad = [
        (DeltaDiscoveryRequest::default(), Code::InvalidArgument, "type_url is empty"),
        (
            DeltaDiscoveryRequest { type_url: long.clone(), ..DeltaDiscoveryRequest::default() },
            Code::InvalidArgument,
            "a type_url of 51 bytes",
        ),
        (subscribe(vec![long.clone()]), Code::InvalidArgument, "a resource name of 51 bytes"),
        (subscribe((0..20).map(|number| number.to_string()).collect()), Code::ResourceExhausted, "exceed 1000 bytes"),
        (claim(vec![(long.clone(), "1".to_owned())]), Code::InvalidArgument, "a resource name of 51 bytes"),
        (claim(vec![("a".to_owned(), long)]), Code::InvalidArgument, "a resource version of 51 bytes"),
        (claim((0..20).map(|number| (number.to_string(), "1".to_owned())).collect()), Code::ResourceExhausted, "exceed 1000 bytes"),
    ];
    for (request, code, text) in bad {
        let mut stream = server.delta().await;
        stream.send(request).await;
        let status = stream.status().await;
        assert_eq!(status.code(), code, "{}", status.message());
        assert!(status.message().contains(text), "{}", status.message());
    }

    server.cache.set(FREE, free("a", "2"));
    assert_eq!(describe(&good.take().await), "Free +a");
}

#[tokio::test]
async fn names_may_come_and_go_as_long_as_they_are_not_too_many_at_once() {
    let server = small_server().await;
    let mut stream = server.delta().await;
    for number in 0..50 {
        let name = number.to_string();
        stream.subscribe(FREE, &[&name]).await;
        assert_eq!(describe(&stream.take().await), format!("Free -{name}"));
        stream.unsubscribe(FREE, &[&name]).await;
    }
    stream.assert_silent().await;
}

#[tokio::test]
async fn a_stream_has_a_bounded_number_of_types() {
    let server = small_server().await;
    let mut stream = server.delta().await;
    for kind in ["t.1", "t.2"] {
        stream.subscribe(kind, &[]).await;
        stream.take().await;
    }
    stream.subscribe("t.3", &[]).await;
    assert_eq!(stream.status().await.code(), Code::ResourceExhausted);
}

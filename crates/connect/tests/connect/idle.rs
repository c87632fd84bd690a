//! Connections on which nothing is said.

use std::time::Duration;

use cofide_api::connect::trust_zone_service::ListTrustZonesRequest;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::support::{Plane, eventually};

/// Whether the other end closes within a time; what it says before that is passed over.
async fn is_closed(stream: &mut (impl AsyncRead + Unpin), within: Duration) -> bool {
    let read = async {
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    };
    tokio::time::timeout(within, read).await.is_ok()
}

#[tokio::test]
async fn whoever_never_says_a_word_gives_the_place_back() {
    let plane = Plane::start_with(|config| {
        config.handshake_timeout = Duration::from_secs(2);
        config.max_connections_per_address = 3;
    })
    .await;
    let mut silent = [plane.silent(None).await, plane.silent(None).await, plane.silent(None).await];
    plane.connect(None).await.expect_err("there is no place left");
    for stream in &mut silent {
        assert!(is_closed(stream, Duration::from_secs(10)).await);
    }
    // They are still held here: it is the server that has let go of them.
    eventually(|| async { plane.connect(None).await.is_ok() }, |is_connected| *is_connected).await;
    plane.admin().await.trust_zones().list_trust_zones(ListTrustZonesRequest::default()).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_client_that_showed_its_certificate_may_be_silent() {
    let plane = Plane::start_with(|config| config.handshake_timeout = Duration::from_secs(1)).await;
    let zone = plane.zone("a").await;
    plane.joined(&zone, "one").await;
    let mut agent = plane.silent(Some(zone.authority.agent("one"))).await;
    let mut stranger = plane.silent(None).await;
    // The stranger came later, so the agent's time would be up too by then.
    assert!(is_closed(&mut stranger, Duration::from_secs(10)).await);
    assert!(!is_closed(&mut agent, Duration::from_millis(200)).await);
}

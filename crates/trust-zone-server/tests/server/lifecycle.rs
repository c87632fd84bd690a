//! Starting, stopping, and what is there the next time.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofide_api::spire::server::entry::ListEntriesRequest;
use cofide_api::spire::types::Entry;
use cofide_runtime::files::{Mode, write_atomic};
use cofide_trust_zone_server::run;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Why a server does not start.
async fn refusal(folder: &Path, settings: serde_json::Value) -> String {
    match run::start(config(folder, &settings), CancellationToken::new()).await {
        Ok(server) => panic!("it started: {:?}", server.bound()),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn a_restart_keeps_authorities_entries_and_bundles() {
    let server = TestServer::start("a.test").await;
    let partner = TestServer::start("b.test").await.api.bundle().await;
    server.api.set_bundle(&partner).await;
    server.api.register(Entry { federates_with: vec!["b.test".into()], ..server.entry("/x") }).await;
    let before =
        (server.api.bundle().await, server.api.entries().await.list_entries(ListEntriesRequest::default()).await.unwrap().into_inner());
    let svid = svid(&next(&mut server.x509_svids().await).await);

    let server = server.restart().await;
    let after =
        (server.api.bundle().await, server.api.entries().await.list_entries(ListEntriesRequest::default()).await.unwrap().into_inner());
    assert_eq!(after, before);
    let response = next(&mut server.x509_svids().await).await;
    assert_eq!(response.federated_bundles.len(), 1);
    accepts(&server.api.bundle().await, &svid).expect("an SVID from before the restart is still good");
}

#[tokio::test]
async fn a_damaged_file_stops_the_start_and_is_left_alone() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/x")).await;
    let folder = server.stop().await;
    for name in ["datastore.json", "x509-authority.json", "jwt-authority.json"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let half = &whole[..whole.len() / 2];
        write_atomic(&path, half, Mode::Secret).unwrap();
        let error = refusal(folder.path(), json!({"trust_domain": "a.test"})).await;
        assert!(error.contains(name) && error.contains("put back a copy"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), half, "{name}");
        write_atomic(&path, &whole, Mode::Secret).unwrap();
    }
}

#[tokio::test]
async fn a_folder_serves_one_server_and_one_trust_domain() {
    let server = TestServer::start("a.test").await;
    let error = refusal(server.folder.path(), json!({"trust_domain": "a.test"})).await;
    assert!(error.contains("in use by another process"), "{error}");

    let folder = server.stop().await;
    let error = refusal(folder.path(), json!({"trust_domain": "z.test"})).await;
    assert!(error.contains("a.test") && error.contains("z.test"), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for settings in [json!({"bundle_endpoint": {"address": address}}), json!({"admin_address": address})] {
        let mut all = json!({"trust_domain": "a.test"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let error = refusal(tempfile::tempdir().unwrap().path(), all).await;
        assert!(
            error.contains(&address.to_string())
                && error.contains("another program has this port")
                && error.contains("-address (configuration key "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_sockets_admit_whom_they_should_and_go_with_the_server() {
    let server = TestServer::start("a.test").await;
    let bound = server.bound.clone();
    assert_eq!((mode(&bound.admin_socket), mode(&bound.workload_api_socket)), (0o600, 0o777));
    assert_eq!(mode(&server.folder.path().join("x509-authority.json")), 0o600);
    let folder = server.stop().await;
    assert!(!bound.admin_socket.exists() && !bound.workload_api_socket.exists());
    drop(folder);
}

#[tokio::test]
async fn a_stop_ends_the_streams_of_workloads() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/x")).await;
    let mut svids = server.x509_svids().await;
    next(&mut svids).await;
    server.shutdown();
    assert_eq!(end(&mut svids).await.code(), Code::Unavailable);
    server.stop().await;
}

#[tokio::test]
async fn the_admin_address_says_ready_and_counts() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = TestServer::start_with("a.test", json!({"admin_address": "127.0.0.1:0"})).await;
    server.api.register(server.entry("/x")).await;
    next(&mut server.x509_svids().await).await;
    let address = server.bound.admin_address.unwrap();
    let get = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    assert!(get("/healthz/ready").await.starts_with("HTTP/1.1 200"));
    let issued = "trust_zone_server_x509_svids_issued_total 1";
    let counted = |metrics: &String| metrics.contains(issued) && metrics.contains("trust_zone_server_entries 1");
    eventually("the count", || get("/metrics"), counted).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named_with_the_way_out_and_blames_no_key() {
    let error = refusal(Path::new("/proc/trust-zone-server"), json!({"trust_domain": "a.test"})).await;
    assert!(error.contains("/proc/trust-zone-server") && error.contains("--data-dir") && !error.contains("key"), "{error}");
}

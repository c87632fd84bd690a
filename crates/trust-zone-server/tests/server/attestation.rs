//! What the server finds out about this process, seen through the identities that it gives.

use serde_json::json;
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::support::*;

fn executable() -> String {
    std::env::current_exe().unwrap().canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn this_process_is_recognised_by_each_of_its_selectors() {
    let path = executable();
    let digest = hex::encode(Sha256::digest(std::fs::read(&path).unwrap()));
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let entry = |name: &str, selectors: &[String]| json!({"spiffe_id_path": format!("/{name}"), "selectors": selectors});
    let entries = json!([
        entry("uid", &[own_uid()]),
        entry("gid", &[format!("unix:gid:{}", nix::unistd::getegid())]),
        entry("user", &[format!("unix:user:{user}")]),
        entry("path", &[format!("unix:path:{path}")]),
        entry("sha256", &[format!("unix:sha256:{digest}")]),
        entry("all", &[own_uid(), format!("unix:path:{path}"), format!("unix:sha256:{digest}")]),
        entry("other-path", &[own_uid(), "unix:path:/bin/false".into()]),
        entry("other-sha256", &[own_uid(), format!("unix:sha256:{}", "0".repeat(64))]),
    ]);
    let server = TestServer::start_with("a.test", json!({"entries": entries})).await;
    // The file is refused with such a one; over the API it may be there for another attestor.
    server.api.register(server.api.entry_for("/other-type", &[&format!("docker:uid:{}", nix::unistd::geteuid())])).await;
    let response = next(&mut server.x509_svids().await).await;
    let expected = ["uid", "gid", "user", "path", "sha256", "all"].map(|name| format!("spiffe://a.test/{name}"));
    assert_eq!(spiffe_ids(&response), expected, "and the first one of the file is the default");
}

#[tokio::test]
async fn an_entry_that_asks_for_a_digest_later_finds_it() {
    let server = TestServer::start("a.test").await;
    server.api.register(server.entry("/uid")).await;
    let mut svids = server.x509_svids().await;
    assert_eq!(next(&mut svids).await.svids.len(), 1);
    let digest = hex::encode(Sha256::digest(std::fs::read(executable()).unwrap()));
    server.api.register(server.api.entry_for("/sha256", &[&format!("unix:sha256:{digest}")])).await;
    assert_eq!(next(&mut svids).await.svids.len(), 2);
}

#[tokio::test]
async fn an_executable_over_the_limit_has_no_digest() {
    let digest = hex::encode(Sha256::digest(std::fs::read(executable()).unwrap()));
    let entries = json!([{"spiffe_id_path": "/sha256", "selectors": [format!("unix:sha256:{digest}")]}]);
    let server = TestServer::start_with("a.test", json!({"entries": entries, "attestation": {"executable_size_limit": 1000}})).await;
    assert_eq!(end(&mut server.x509_svids().await).await.code(), Code::PermissionDenied);
}

//! What an agent says that cannot start.

use std::net::SocketAddr;

use cofide_agent::config::Config;
use cofide_connect_client::Bootstrap;
use cofide_core::{Bundle, ControlPlaneTrust, JoinTokenSecret, SpiffeId, TrustDomain};
use cofide_svid::authority::{X509CertificateAuthority, X509Settings};
use tokio_util::sync::CancellationToken;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A configuration that would start, with nothing at the other ends.
fn config(folder: &std::path::Path) -> Config {
    let spiffe_id = SpiffeId::new("spiffe://management.local/ns/connect/sa/cofide-connect-api").unwrap();
    let trust_domain = spiffe_id.trust_domain().clone();
    let authority = X509CertificateAuthority::create(trust_domain.clone(), X509Settings::default(), std::time::SystemTime::now()).unwrap();
    let bundle = Bundle { x509_authorities: authority.authorities(), ..Bundle::empty(trust_domain) };
    let bootstrap = Bootstrap {
        connect_url: "127.0.0.1:1".parse().unwrap(),
        connect: ControlPlaneTrust { spiffe_id, bundle },
        trust_zone_id: "tz-a".parse().unwrap(),
        trust_domain: TrustDomain::new("a.test").unwrap(),
        cluster_id: "c-a".parse().unwrap(),
        cluster_name: "one".parse().unwrap(),
        agent_token: JoinTokenSecret::new("token".to_owned()),
    };
    let bootstrap_file = folder.join("bootstrap.yaml");
    bootstrap.write(&bootstrap_file).unwrap();
    Config {
        data_dir: folder.join("agent"),
        manifest_dir: folder.join("manifests"),
        bootstrap_file: Some(bootstrap_file),
        spiffe_endpoint_socket: format!("unix://{}", folder.join("workload-api.sock").display()),
        spire_server_socket: folder.join("admin.sock"),
        xds_address: any_port(),
        dns_address: any_port(),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key_and_a_way_out() {
    let taken = std::net::TcpListener::bind(any_port()).unwrap();
    let address = taken.local_addr().unwrap();
    type Take = fn(&mut Config, SocketAddr);
    let cases: [(&str, Take); 3] = [
        ("xds_address", |config, address| config.xds_address = address),
        ("dns_address", |config, address| config.dns_address = address),
        ("admin_address", |config, address| config.admin_address = Some(address)),
    ];
    for (key, take) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        take(&mut config, address);
        let error = format!("{:#}", cofide_agent::run::run(config, CancellationToken::new()).await.unwrap_err());
        assert!(error.contains(key) && error.contains(&address.to_string()) && error.contains("choose another"), "{error}");
        let is_told_twice = error.matches("cannot listen").count() > 1 || error.matches("os error").count() > 1;
        assert!(!is_told_twice && error.contains("another program has this port"), "{error}");
    }
}

#[tokio::test]
async fn an_agent_needs_nobody_to_start_and_leaves_nothing_locked_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let shutdown = CancellationToken::new();
        let bound = cofide_agent::run::run(config(folder.path()), shutdown.clone()).await.unwrap();
        assert_ne!(bound.xds_address.port(), 0);
        let twin = format!("{:#}", cofide_agent::run::run(config(folder.path()), CancellationToken::new()).await.unwrap_err());
        assert!(twin.contains("in use") && twin.contains("--data-dir"), "{twin}");
        shutdown.cancel();
        bound.stopped().await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_without_a_bootstrap_file_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { bootstrap_file: None, ..config(folder.path()) };
    let error = format!("{:#}", cofide_agent::run::run(config, CancellationToken::new()).await.unwrap_err());
    assert!(error.contains("cofidectl agent join-token create"), "{error}");
}

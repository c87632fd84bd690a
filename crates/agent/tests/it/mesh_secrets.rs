//! What the agent learns over SDS about how a SPIFFE server names its bundles.

use std::path::Path;

use cofide_agent::mesh::sds::{Answer, Meaning, Secrets};
use cofide_agent::mesh::{SecretsClient, Sight};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A trust-zone-server to which this process is a workload, and which names its secrets like this.
async fn server(folder: &Path, sds: &Value) -> DropGuard {
    let config = serde_json::from_value(json!({
        "trust_domain": "a.test",
        "data_dir": folder,
        "workload_api_socket": folder.join("workload-api.sock"),
        "sds": sds,
        "entries": [{ "spiffe_id_path": "/ns/cofide/sa/cofide-agent", "selectors": [format!("unix:uid:{}", nix::unistd::getuid())] }],
    }))
    .unwrap();
    let shutdown = CancellationToken::new();
    let server = cofide_trust_zone_server::run::start(config, shutdown.clone()).await.unwrap();
    tokio::spawn(server.wait());
    shutdown.drop_guard()
}

async fn look(folder: &Path) -> Sight<Secrets> {
    SecretsClient::new(&format!("unix://{}", folder.join("workload-api.sock").display())).look().await
}

#[tokio::test]
async fn the_names_of_bundles_are_told_apart_although_the_agent_holds_its_own_alone() {
    let for_istio = json!({ "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" });
    let cases = [
        (json!({}), Meaning::OwnBundle, Meaning::AllBundles),
        (for_istio, Meaning::AllBundles, Meaning::Nothing),
        (json!({ "default_bundle_name": "own", "default_all_bundles_name": "every" }), Meaning::Nothing, Meaning::Nothing),
    ];
    for (sds, root_ca, all) in cases {
        let folder = tempfile::tempdir().unwrap();
        let _server = server(folder.path(), &sds).await;
        let Sight::Seen(secrets) = look(folder.path()).await else { panic!("{sds}: no answer") };
        assert_eq!((secrets.root_ca(), secrets.all.meaning()), (root_ca, all), "{sds}");
        assert!(!secrets.lacks_validator(), "{sds}");
        if root_ca != Meaning::Nothing {
            assert_eq!(secrets.root_ca.present, Answer::Bundles(["a.test".to_owned()].into()), "{sds}");
        }
    }
}

#[tokio::test]
async fn a_socket_where_nobody_answers_says_nothing_about_names() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(look(folder.path()).await, Sight::Unknown(reason) if reason.contains("workload-api.sock")));
}

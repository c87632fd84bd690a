//! Join tokens: a secret that is written once, for one agent, to one place.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Connect, mode};

const CREATE: &str = "agent join-token create --trust-zone trust-zone-a --cluster cluster-a";

async fn with_cluster() -> Connect {
    let connect = Connect::start().await;
    connect
        .given(&["trust-zone add trust-zone-a --trust-domain a.test", "cluster add cluster-a --trust-zone trust-zone-a --profile host"])
        .await;
    connect
}

fn secret(bootstrap: &str) -> String {
    let fields: Value = serde_saphyr::from_str(bootstrap).unwrap();
    fields["agent_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_file_has_all_that_an_agent_needs_and_nobody_else_can_read_it() {
    let connect = with_cluster().await;
    let written = connect.cofidectl(&format!("{CREATE} --output-file bootstrap.yaml")).await.done();
    assert_eq!(written.stdout, "");
    let next = "hand it to the agent: cofide-agent run --bootstrap-file bootstrap.yaml";
    assert!(written.stderr.starts_with("wrote bootstrap.yaml: ") && written.stderr.contains(next), "{written}");

    let file = connect.admin.home().join("bootstrap.yaml");
    let content = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    let token = secret(&content);
    assert!(!written.stderr.contains(&token), "{written}");
    let fields: Value = serde_saphyr::from_str(&content).unwrap();
    assert_eq!(fields["connect_url"], connect.url);
    assert_eq!(fields["trust_zone_id"], connect.id("trust-zone get trust-zone-a").await);
    assert_eq!(fields["cluster_id"], connect.id("cluster get cluster-a --trust-zone trust-zone-a").await);
    assert_eq!((&fields["trust_domain"], &fields["cluster_name"]), (&"a.test".into(), &"cluster-a".into()));
    assert_eq!(fields["connect_spiffe_id"], "spiffe://management.local/ns/connect/sa/cofide-connect-api");
    // What the agent first trusts is what the administrator trusts.
    let credential: Value = serde_json::from_slice(&std::fs::read(connect.credential()).unwrap()).unwrap();
    let bundle: Value = serde_json::from_str(fields["connect_bundle"].as_str().unwrap()).unwrap();
    assert_eq!(bundle, credential["connect_bundle"]);

    let events = connect.json("audit list --limit 1").await;
    assert!(
        events.to_string().contains("join token created for the agent of cluster cluster-a") && !events.to_string().contains(&token),
        "{events}"
    );
    assert!(!connect.log().contains(&token), "a secret is in the log");
}

#[tokio::test]
async fn a_file_that_is_there_is_replaced_only_by_force_and_then_closed_to_others_again() {
    let connect = with_cluster().await;
    let to_file = format!("{CREATE} --output-file bootstrap.yaml");
    let file = connect.admin.write("bootstrap.yaml", "something else\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    connect.cofidectl(&to_file).await.refused(1, &["bootstrap.yaml exists already: no bootstrap file", "15 bytes", "--force"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "something else\n");
    connect.given(&[&format!("{to_file} --force")]).await;
    assert_eq!(mode(&file), 0o600);

    // A bootstrap file still waits for its agent, and a newer token would have ended its own.
    let first = secret(&std::fs::read_to_string(&file).unwrap());
    let refused = connect.cofidectl(&to_file).await;
    let refused = refused.refused(1, &["the bootstrap file of cluster cluster-a in trust domain a.test, written 2", "no token was made"]);
    assert!(!refused.stderr.contains(&first), "{refused}");
    assert_eq!(secret(&std::fs::read_to_string(&file).unwrap()), first);
    let events = connect.json("audit list --all").await;
    assert_eq!(events.to_string().matches("join token created for").count(), 1, "{events}");

    connect.given(&[&format!("{to_file} --force")]).await;
    assert_ne!(secret(&std::fs::read_to_string(&file).unwrap()), first);
    let names: Vec<_> = std::fs::read_dir(connect.admin.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no half-written file stays: {names:?}");
}

#[tokio::test]
async fn stdout_is_a_place_too_when_it_is_asked_for() {
    let connect = with_cluster().await;
    for line in [CREATE.to_owned(), format!("{CREATE} --output-file -")] {
        let printed = connect.cofidectl(&line).await.done();
        assert_eq!(printed.stderr, "");
        assert!(secret(&printed.stdout).starts_with("cofide-join"), "the whole file is printed");
    }
}

#[tokio::test]
async fn no_token_is_made_where_it_could_not_be_kept() {
    let connect = with_cluster().await;
    // All within the test's own folder: a test that fails must not replace what belongs to the machine.
    let home = connect.admin.home();
    let _listener = std::os::unix::net::UnixListener::bind(home.join("socket")).unwrap();
    nix::unistd::mkfifo(&home.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("socket", home.join("link")).unwrap();
    for (file, reason) in [
        ("missing/bootstrap.yaml", "the folder does not exist"),
        (".cofide", "it is a folder"),
        ("socket", "it is no regular file"),
        ("pipe", "it is no regular file"),
        ("link", "it is no regular file"),
    ] {
        let line = format!("{CREATE} --output-file {file}");
        connect.cofidectl(&line).await.refused(1, &["cannot write", file, reason]);
    }
    let events = connect.json("audit list --all").await;
    assert!(!events.to_string().contains("join token"), "{events}");
}

#[tokio::test]
async fn a_token_that_was_made_and_could_not_be_kept_is_told() {
    let connect = with_cluster().await;
    // Long enough that the name fits and that of the temporary file beside it does not: only the write itself fails.
    let name = "b".repeat(250);
    let made = || async { connect.json("audit list --all").await.to_string().matches("join token created for").count() };
    let lost = ["cannot write", &name, "a join token for cluster cluster-a was made and is lost", "is void", "run this again"];
    connect.cofidectl(&format!("{CREATE} --output-file {name}")).await.refused(1, &lost);
    assert_eq!(made().await, 1);
}

#[tokio::test]
async fn a_token_is_for_a_cluster_that_exists() {
    let connect = with_cluster().await;
    let create = "agent join-token create --output-file bootstrap.yaml";
    let of = async |zone: &str, cluster: &str| connect.cofidectl(&format!("{create} --trust-zone {zone} --cluster {cluster}")).await;
    of("trust-zone-b", "cluster-a")
        .await
        .refused(1, &["trust zone \"trust-zone-b\" not found", "cofidectl trust-zone list shows which there are"]);
    let elsewhere = of("trust-zone-a", "elsewhere").await;
    elsewhere.refused(1, &["cluster \"elsewhere\" not found in trust zone trust-zone-a", "cofidectl cluster list"]);
    connect.cofidectl(&format!("{create} --cluster cluster-a")).await.refused(2, &["--trust-zone <ZONE>"]);
    assert!(!connect.admin.home().join("bootstrap.yaml").exists());
}

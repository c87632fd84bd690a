//! What the agent's chart is given: values from cofidectl, rendered by the real Helm.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofide_connect_client::Bootstrap;
use cofide_testkit::lab;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Connect, mode};

const VALUES: &str = "agent helm-values --trust-zone trust-zone-a --cluster cluster-a";

async fn with_cluster(profile: &str) -> Connect {
    let connect = Connect::start().await;
    let cluster = format!("cluster add cluster-a --trust-zone trust-zone-a --profile {profile}");
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test", &cluster]).await;
    connect
}

/// `helm template` with these values; the bootstrap file that the agent would find, or what Helm says.
async fn bootstrap(values: &Path, flags: &[&str]) -> Result<Bootstrap, String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("charts/cofide-agent");
    let mut command = Command::new(lab::install("helm").await.unwrap().join("helm"));
    command.args(["template", "cofide-agent"]).arg(chart).arg("--values").arg(values).args(flags);
    let output = command.args(["--show-only", "templates/secret.yaml"]).output().await.unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let secret: Value = serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret["stringData"]["bootstrap.yaml"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    Ok(Bootstrap::read(file.path()).unwrap())
}

#[tokio::test]
async fn the_values_are_all_that_the_chart_needs_for_an_agent_to_join() {
    let connect = with_cluster("istio").await;
    let values = connect.cofidectl(&format!("{VALUES} --with-join-token")).await.done();
    assert_eq!(values.yaml()["agent"]["env"]["AGENT_PROFILE"], "istio");
    assert!(values.stderr.contains("no pod finds Connect"), "{values}");
    let file = connect.admin.write("values.yaml", &values.stdout);
    let through_helm = bootstrap(&file, &[]).await.unwrap();

    // The same as the file for an agent on a host, but for the token, of which each is new.
    connect.given(&["agent join-token create --trust-zone trust-zone-a --cluster cluster-a --output-file bootstrap.yaml"]).await;
    let direct = Bootstrap::read(&connect.admin.home().join("bootstrap.yaml")).unwrap();
    assert_ne!(through_helm.agent_token, direct.agent_token);
    assert_eq!(Bootstrap { agent_token: direct.agent_token.clone(), ..through_helm }, direct);
}

#[tokio::test]
async fn without_a_token_the_chart_asks_for_one_and_takes_it_from_elsewhere() {
    let connect = with_cluster("kubernetes").await;
    let values = connect.cofidectl(VALUES).await.done();
    assert!(!values.stdout.contains("AGENT_TOKEN"), "{values}");
    let events = connect.json("audit list --limit 1").await.to_string();
    assert!(!events.contains("join token"), "none was made: {events}");
    let file = connect.admin.write("values.yaml", &values.stdout);
    assert!(bootstrap(&file, &[]).await.unwrap_err().contains("agent.env.AGENT_TOKEN is empty"));
    let with = bootstrap(&file, &["--set-string", "agent.env.AGENT_TOKEN=0123"]).await.unwrap();
    assert_eq!(with.agent_token.expose(), "0123");
}

#[tokio::test]
async fn values_with_a_token_are_written_for_their_owner_alone() {
    let connect = with_cluster("kubernetes").await;
    let to_file = format!("{VALUES} --with-join-token --output-file values.yaml");
    let written = connect.cofidectl(&to_file).await.done();
    assert_eq!(written.stdout, "");
    assert!(written.stderr.contains("next: helm install cofide-agent"), "{written}");
    let file = connect.admin.home().join("values.yaml");
    let content = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    connect.cofidectl(&to_file).await.refused(1, &["exists already", "--force"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content, "and no token was made that nobody has");
}

#[tokio::test]
async fn an_agent_on_a_host_has_no_chart() {
    let connect = with_cluster("host").await;
    connect.cofidectl(VALUES).await.refused(1, &["has the profile \"host\"", "hint: ", "join-token create"]);
}

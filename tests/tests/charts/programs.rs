//! What the charts hand to the programs is what the programs read.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use cofide_connect_client::Bootstrap;
use cofide_core::{ControlPlaneTrust, JoinTokenSecret, SpiffeId, TrustDomain};
use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};
use serde_json::{Value, json};

use crate::support::{Chart, object};

/// A program of the workspace. Cargo puts tests into a folder below the programs.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(path.is_file(), "{} is missing; run: cargo build --workspace --bins", path.display());
    path
}

fn printed(command: &mut Command) -> String {
    let output = command.env_clear().output().unwrap();
    let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{command:?}\n{said}{error}");
    said
}

/// Values files that exist set them; the chart passes them on.
const NOT_READ: [&str; 2] = ["MANAGEMENT_ZONE", "OIDC_ENDPOINT_ENABLED"];

#[tokio::test]
async fn every_variable_of_the_agents_pod_is_one_that_the_agent_reads() {
    let help = printed(Command::new(program("cofide-agent")).args(["run", "--help"]));
    for values in ["default", "joining", "everything", "gateway", "socket"] {
        let objects = Chart::Agent.objects(&Chart::Agent.values(values)).await;
        let map = object(&objects, "ConfigMap", "cofide-agent")["data"].as_object().unwrap().keys().cloned();
        let container = &object(&objects, "Deployment", "cofide-agent")["spec"]["template"]["spec"]["containers"][0];
        let own = container["env"].as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap().to_owned());
        for variable in map.chain(own).filter(|name| !NOT_READ.contains(&name.as_str())) {
            assert!(help.contains(&format!("[env: {variable}=")), "cofide-agent does not read {variable}");
        }
    }
}

#[tokio::test]
async fn the_ports_of_the_agents_pod_are_those_that_it_listens_on() {
    for (values, addresses) in [
        ("default", [("XDS", "0.0.0.0:18001"), ("DNS", "0.0.0.0:10053"), ("ADMIN", "0.0.0.0:9090")]),
        ("everything", [("XDS", "[::]:18101"), ("DNS", "[::]:5353"), ("ADMIN", "[::]:9464")]),
    ] {
        let objects = Chart::Agent.objects(&Chart::Agent.values(values)).await;
        let container = &object(&objects, "Deployment", "cofide-agent")["spec"]["template"]["spec"]["containers"][0];
        for (name, address) in addresses {
            let variable = format!("COFIDE_AGENT_{name}_ADDRESS");
            assert!(container["env"].as_array().unwrap().contains(&json!({ "name": variable, "value": address })), "{container:#}");
            let number: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
            let has_port = |port: &Value| port["name"] == name.to_lowercase() && port["containerPort"] == number;
            assert!(container["ports"].as_array().unwrap().iter().any(has_port), "{name} {container:#}");
        }
    }
}

#[tokio::test]
async fn the_gateways_bootstrap_is_the_one_that_the_agent_prints() {
    for (more, xds, ready) in [
        ("{}", "cofide-agent-xds.cofide.svc:18001", "0.0.0.0:15021"),
        ("{listenAddress: '::', xdsServer: {service: {port: 18002}}}", "cofide-agent-xds.cofide.svc:18002", "[::]:15021"),
    ] {
        let mut values: Value = serde_saphyr::from_str(more).unwrap();
        values["gateway"] = json!({ "enabled": true });
        let objects = crate::support::objects(&Chart::Agent.render_text(&values.to_string()).await.unwrap());
        let in_chart = object(&objects, "ConfigMap", "cofide-agent-gateway")["data"]["bootstrap.yaml"].as_str().unwrap();
        let arguments = ["envoy-bootstrap", "--role", "gateway", "--xds-address", xds, "--ready-address", ready];
        let socket = ["--workload-api-socket", "/spiffe-workload-api/spire-agent.sock"];
        let printed = printed(Command::new(program("cofide-agent")).args(arguments).args(socket));
        assert_eq!(serde_saphyr::from_str::<Value>(in_chart).unwrap(), serde_json::from_str::<Value>(&printed).unwrap());
    }
}

#[tokio::test]
async fn the_gateway_is_found_where_the_agent_is_told_to_look_and_listens_where_its_service_leads() {
    let objects = Chart::Agent.objects(&Chart::Agent.values("gateway")).await;
    let pod = |name: &str| object(&objects, "Deployment", name)["spec"]["template"].clone();
    let agent = pod("cofide-agent")["spec"]["containers"][0]["env"].clone();
    let told = |name: &str| agent.as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap()["value"].clone();
    let service = object(&objects, "Service", "cofide-agent-gateway");
    assert_eq!(told("COFIDE_AGENT_INGRESS_GATEWAY"), service["metadata"]["name"]);
    assert_eq!(told("COFIDE_AGENT_GATEWAY_NAMESPACE"), service["metadata"]["namespace"]);
    assert_eq!(told("COFIDE_AGENT_GATEWAY_LISTEN_ADDRESS"), "0.0.0.0:16443");
    let (port, gateway) = (&service["spec"]["ports"][0], pod("cofide-agent-gateway"));
    assert_eq!((&port["name"], &port["targetPort"]), (&json!("https"), &json!("gateway")), "the agent takes the port of this name");
    assert!(gateway["spec"]["containers"][0]["ports"].as_array().unwrap().contains(&json!({ "name": "gateway", "containerPort": 16443 })));

    // Nothing that selects the one selects the other.
    let selects =
        |selector: &Value, pod: &Value| selector.as_object().unwrap().iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value);
    let agents = &object(&objects, "Deployment", "cofide-agent")["spec"]["selector"]["matchLabels"];
    assert!(selects(&service["spec"]["selector"], &gateway) && !selects(&service["spec"]["selector"], &pod("cofide-agent")));
    assert!(selects(agents, &pod("cofide-agent")) && !selects(agents, &gateway));
}

#[tokio::test]
async fn the_bootstrap_file_of_the_chart_is_the_one_that_cofidectl_would_have_written() {
    let id = SpiffeId::new("spiffe://management.example/ns/connect/sa/cofide-connect-api").unwrap();
    let authority = X509CertificateAuthority::create(id.trust_domain().clone(), X509Settings::default(), SystemTime::now()).unwrap();
    let written = Bootstrap {
        connect_url: "connect.example.com:443".parse().unwrap(),
        connect: ControlPlaneTrust { spiffe_id: id, bundle: authority::bundle(&authority, None, 0) },
        trust_zone_id: "zone-1".parse().unwrap(),
        trust_domain: TrustDomain::new("a.example").unwrap(),
        // An id that YAML would take for a number, had it no quotes.
        cluster_id: "0123".parse().unwrap(),
        cluster_name: "cluster-a".parse().unwrap(),
        agent_token: JoinTokenSecret::new("a-token-that-was-made-up".to_owned()),
    };
    let values = json!({
        "agent": { "env": {
            "AGENT_PROFILE": "istio",
            "AGENT_TOKEN": written.agent_token.expose(),
            "CLUSTER_ID": written.cluster_id.as_str(),
            "COFIDE_AGENT_CLUSTER_NAME": written.cluster_name.as_str(),
            "COFIDE_CONNECT_URL": written.connect_url.to_string(),
            "TRUST_DOMAIN": written.trust_domain.as_str(),
            "TRUST_ZONE_ID": written.trust_zone_id.as_str(),
        } },
        "bootstrap": { "connect": {
            "spiffeID": written.connect.spiffe_id.to_string(),
            "bundle": cofide_svid::bundle::to_jwks(&written.connect.bundle),
        } },
    });
    let rendered = crate::support::objects(&Chart::Agent.render_text(&values.to_string()).await.unwrap());
    let secret = object(&rendered, "Secret", "cofide-agent-bootstrap");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.yaml");
    std::fs::write(&file, secret["stringData"]["bootstrap.yaml"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(Bootstrap::read(&file).unwrap(), written);
}

#[tokio::test]
async fn connect_takes_the_configuration_that_its_chart_writes() {
    for (values, expected) in [
        ("default", ["listen_address: 0.0.0.0:8443", "connect_url: cofide-connect.connect.svc:8443", "admin_address: 0.0.0.0:9090"]),
        (
            "postgres",
            [
                "sql_connection_string_file: /etc/cofide-connect-datastore/connection-string",
                "sql_connection_string: null",
                "admin_address: 0.0.0.0:9090",
            ],
        ),
        ("everything", ["audit_max_events: 20000000", "connect_url: connect.example.com:443", "- cofide-connect.connect.svc"]),
    ] {
        let objects = Chart::Connect.objects(&Chart::Connect.values(values)).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object(&objects, "ConfigMap", "cofide-connect")["data"]["config.yaml"].as_str().unwrap()).unwrap();
        let taken = printed(Command::new(program("cofide-connect")).args(["config", "print", "--config"]).arg(file.path()));
        for line in expected {
            assert!(taken.lines().any(|found| found.replace(['"', '\''], "").trim() == line), "{line} is not in\n{taken}");
        }
    }
}

#[test]
fn the_schema_knows_every_key_of_connects_configuration_that_the_chart_does_not_set_itself() {
    let schema = std::fs::read_to_string(Chart::Connect.path().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let known = schema["properties"]["config"]["properties"].as_object().unwrap();
    // A connection string holds a password, and a ConfigMap is no place for one.
    let set_by_the_chart = [
        "data_dir",
        "sql_connection_string",
        "sql_connection_string_file",
        "listen_address",
        "plaintext_address",
        "admin_address",
        "connect_url",
    ];
    let default: Value =
        serde_saphyr::from_str(&printed(Command::new(program("cofide-connect")).args(["config", "print-default"]))).unwrap();
    let keys: Vec<_> = default.as_object().unwrap().keys().filter(|key| !set_by_the_chart.contains(&key.as_str())).collect();
    for key in &keys {
        assert!(known.contains_key(*key), "{key} is not in the schema");
    }
    assert_eq!(known.len(), keys.len(), "the schema knows keys that Connect does not");
}

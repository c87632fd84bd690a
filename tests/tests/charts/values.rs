//! What somebody may write into a values file, and what is refused with its reason.

use std::collections::BTreeSet;

use crate::support::{CASES, Chart, object};

/// Refused by the schema, or by a template that knows what goes together; named by its path or its remedy.
const WRONG: [(Chart, &str, &str); 37] = [
    (Chart::Agent, "replicas: 2", "replicas"),
    (Chart::Agent, "replicaCount: two", "/replicaCount"),
    (Chart::Agent, "replicaCount: -1", "/replicaCount"),
    (Chart::Agent, "agent: {env: {AGENT_PROFILE: host}}", "/agent/env/AGENT_PROFILE"),
    (Chart::Agent, "agent: {env: {AGENT_PROFILE: kubernetes, LIST: [1]}}", "/agent/env/LIST"),
    (Chart::Agent, "agent: {env: {AGENT_PROFILE: kubernetes, 'A B': x}}", "A B"),
    (Chart::Agent, "agent: {env: {COFIDE_CONNECT_URL: 'http://connect.example.com'}}", "/agent/env/COFIDE_CONNECT_URL"),
    (Chart::Agent, "agent: {env: {AGENT_TOKEN: secret}}", "bootstrap.connect"),
    (Chart::Agent, "agent: {env: {AGENT_SPIRE: crd}}", "the chart sets that variable from spire.mode: use that value"),
    (Chart::Agent, "agent: {env: {POD_NAME: a}}", "leave agent.env.POD_NAME out"),
    (Chart::Agent, "bootstrap: {connect: {spiffeID: management.local, bundle: x}}", "/bootstrap/connect/spiffeID"),
    (Chart::Agent, "bootstrap: {connect: {spiffeID: 'spiffe://m.local/x', bundle: x}}", "agent.env.COFIDE_CONNECT_URL is empty"),
    (Chart::Agent, "bootstrap: {existingSecret: s, connect: {spiffeID: 'spiffe://m.local/x', bundle: x}}", "exclude each other"),
    (Chart::Agent, "xdsServer: {service: {port: 0}}", "/xdsServer/service/port"),
    (Chart::Agent, "xdsServer: {service: {type: ExternalName}}", "/xdsServer/service/type"),
    (Chart::Agent, "dnsServer: {upstreams: [10.96.0.10]}", "/dnsServer/upstreams/0"),
    (Chart::Agent, "listenAddress: localhost", "/listenAddress"),
    (Chart::Agent, "spiffeEndpointSocket: /spiffe-workload-api/spire-agent.sock", "/spiffeEndpointSocket"),
    (Chart::Agent, "spire: {mode: sometimes}", "/spire/mode"),
    (Chart::Agent, "spire: {mode: crd, className: 'a b'}", "/spire/className"),
    (Chart::Agent, "spire: {socket: {hostPath: sockets}}", "/spire/socket/hostPath"),
    (Chart::Agent, "spire: {socket: {name: a/b}}", "/spire/socket/name"),
    (Chart::Agent, "mesh: {namespace: Istio}", "/mesh/namespace"),
    (Chart::Agent, "mesh: {manageConfig: 'yes'}", "/mesh/manageConfig"),
    (Chart::Agent, "gateway: {enable: true}", "enable"),
    (Chart::Agent, "gateway: {port: 443}", "/gateway/port"),
    (Chart::Agent, "gateway: {enabled: true, readyPort: 15443}", "gateway.readyPort are the same"),
    (Chart::Agent, "{gateway: {enabled: true}, xdsServer: {service: {enabled: false}}}", "enable xdsServer.service too"),
    (Chart::Agent, "{gateway: {enabled: true}, agent: {env: {AGENT_PROFILE: istio}}}", "Istio's own gateways are the way in"),
    (Chart::Connect, "replicaCount: 2", "replicaCount above 1 needs datastore.sqlConnectionString.existingSecret"),
    (Chart::Connect, "replicaCount: 0", "/replicaCount"),
    (Chart::Connect, "config: {sql_connection_string: 'postgres://connect:secret@db/cofide'}", "sql_connection_string"),
    (Chart::Connect, "connectUrl: http://connect.example.com", "/connectUrl"),
    (Chart::Connect, "config: {listen_address: '0.0.0.0:8443'}", "listen_address"),
    (Chart::Connect, "config: {join_token_ttl: soon}", "/config/join_token_ttl"),
    (Chart::Connect, "persistence: {accessModes: [ReadWriteMany]}", "/persistence/accessModes/0"),
    (Chart::Connect, "datastore: {postgres: {}}", "datastore"),
];

#[tokio::test]
async fn wrong_values_are_refused_and_named() {
    for (chart, values, expected) in WRONG {
        let error = chart.render_text(values).await.expect_err(values).to_string();
        assert!(error.contains(expected), "{chart} with {values}\nexpected {expected}\nfound {error}");
        assert!(!error.contains("nil pointer"), "{chart} with {values}\n{error}");
    }
}

#[tokio::test]
async fn a_variable_that_the_chart_sets_itself_is_refused_in_the_environment() {
    let mut tried = BTreeSet::new();
    for (chart, case) in CASES.into_iter().filter(|(chart, _)| *chart == Chart::Agent) {
        let values = chart.values(case);
        let objects = chart.objects(&values).await;
        let container = &object(&objects, "Deployment", "cofide-agent")["spec"]["template"]["spec"]["containers"][0];
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            if !tried.insert(name.to_owned()) {
                continue;
            }
            let error = chart.render_with(&values, &["--set-string", &format!("agent.env.{name}=x")]).await.expect_err(name).to_string();
            assert!(error.contains(&format!("agent.env.{name} would have no effect")), "{case}: {error}");
        }
    }
    assert!(tried.len() > 12, "{tried:?}");
}

#[tokio::test]
async fn a_variable_that_the_chart_leaves_alone_with_these_values_may_be_in_the_environment() {
    let rendered = Chart::Agent.render_text("agent: {env: {AGENT_PROFILE: istio, COFIDE_AGENT_INGRESS_GATEWAY: ingress}}").await.unwrap();
    assert!(rendered.contains("COFIDE_AGENT_INGRESS_GATEWAY: \"ingress\""), "{rendered}");
}

#[tokio::test]
async fn every_value_is_in_the_schema_and_in_the_table_of_the_readme() {
    for chart in [Chart::Agent, Chart::Connect] {
        let read = |name: &str| std::fs::read_to_string(chart.path().join(name)).unwrap();
        let values: serde_json::Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
        let schema: serde_json::Value = serde_json::from_str(&read("values.schema.json")).unwrap();
        let readme = read("README.md");
        for key in values.as_object().unwrap().keys() {
            assert!(schema["properties"].get(key).is_some(), "{chart}: {key} is not in the schema");
            let in_readme = readme.contains(&format!("`{key}`")) || readme.contains(&format!("`{key}."));
            assert!(in_readme, "{chart}: {key} is not in the README");
        }
    }
}

#[tokio::test]
async fn the_token_is_in_the_secret_and_nowhere_else() {
    let values = Chart::Agent.values("joining");
    for object in Chart::Agent.objects(&values).await {
        let holds_it = object.to_string().contains("a-token-that-was-made-up");
        assert_eq!(holds_it, object["kind"] == "Secret", "{object:#}");
    }
}

//! What somebody may write into a values file, and what is refused with its reason.

use crate::support::Chart;

/// Refused by the schema, or by a template that knows what goes together; named by its path or its remedy.
const WRONG: [(Chart, &str, &str); 33] = [
    (Chart::Agent, "replicas: 2", "replicas"),
    (Chart::Agent, "replicaCount: two", "/replicaCount"),
    (Chart::Agent, "replicaCount: -1", "/replicaCount"),
    (Chart::Agent, "agent: {env: {AGENT_PROFILE: host}}", "/agent/env/AGENT_PROFILE"),
    (Chart::Agent, "agent: {env: {AGENT_PROFILE: kubernetes, LIST: [1]}}", "/agent/env/LIST"),
    (Chart::Agent, "agent: {env: {AGENT_PROFILE: kubernetes, 'A B': x}}", "A B"),
    (Chart::Agent, "agent: {env: {COFIDE_CONNECT_URL: 'http://connect.example.com'}}", "/agent/env/COFIDE_CONNECT_URL"),
    (Chart::Agent, "agent: {env: {AGENT_TOKEN: secret}}", "bootstrap.connect"),
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

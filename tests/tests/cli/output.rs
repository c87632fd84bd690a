//! One view in three forms, and two streams: data on stdout, talk on stderr.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Connect, DEADLINE, tables};

/// A Connect that has something of every noun that a person can make.
async fn furnished() -> Connect {
    let connect = Connect::start().await;
    connect
        .given(&[
            "trust-zone add trust-zone-a --trust-domain a.test --jwt-issuer https://issuer.a.test",
            "trust-zone add trust-zone-b --trust-domain b.test --bundle-endpoint-url https://bundle.b.test",
            "cluster add cluster-a --trust-zone trust-zone-a --profile host",
            "cluster add cluster-b --trust-zone trust-zone-b --profile istio --kubernetes-context kind-b --external-server",
            "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
            "federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a",
            "attestation-policy add kubernetes --name pods --namespace demo --pod-label app=server",
            "attestation-policy add static --name server --spiffe-id-path ns/x --parent-id-path agent --selectors unix:uid:1,unix:gid:2",
            "attestation-policy-binding add --trust-zone trust-zone-a --attestation-policy pods --federates-with trust-zone-b",
            "attestation-policy-binding add --trust-zone trust-zone-b --attestation-policy server",
        ])
        .await;
    connect
}

/// As a table shows a value.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The key that a heading stands for.
fn key(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "_")
}

/// An object as tables show it: policies keep what is of their kind one level down.
fn field<'a>(object: &'a Value, heading: &str) -> Option<&'a Value> {
    let key = key(heading);
    object.get(&key).or_else(|| object.as_object()?.values().find_map(|inner| inner.get(&key)))
}

#[tokio::test]
async fn table_json_and_yaml_say_the_same() {
    let connect = furnished().await;
    for (line, rows) in [
        ("trust-zone list", 3),
        ("cluster list", 2),
        ("cluster list --trust-zone trust-zone-b", 1),
        ("federation list", 2),
        ("attestation-policy list", 2),
        ("attestation-policy-binding list", 2),
        ("trust-zone get trust-zone-a", 1),
        ("cluster get cluster-b --trust-zone trust-zone-b", 1),
        ("attestation-policy get pods", 1),
    ] {
        let json = connect.json(line).await;
        assert_eq!(connect.cofidectl(&format!("{line} -o yaml")).await.done().yaml(), json, "{line}");
        let objects = json.as_array().cloned().unwrap_or_else(|| vec![json.clone()]);
        assert_eq!(objects.len(), rows, "{line}: {json}");

        let shown = connect.cofidectl(line).await.done();
        let mut cells = 0;
        for table in tables(&shown.stdout) {
            let is_page = table.header == ["FIELD", "VALUE"];
            for (index, row) in table.rows.iter().enumerate() {
                let pair = |(heading, text): (&String, &String)| (heading.clone(), text.clone());
                let pairs: Vec<_> =
                    if is_page { vec![(row[0].clone(), row[1].clone())] } else { table.header.iter().zip(row).map(pair).collect() };
                // A table has one line for each object, found by the first cell, which is a name.
                let is_of_row = |object: &&Value| is_page || field(object, &table.header[0]).is_some_and(|name| cell(name) == row[0]);
                let object = objects.iter().find(is_of_row).unwrap_or_else(|| panic!("no object for row {index} of\n{shown}"));
                for (heading, text) in pairs {
                    let Some(value) = field(object, &heading) else {
                        assert!(["Kind", "Management Zone"].contains(&heading.as_str()), "{heading:?} is not in {object}");
                        continue;
                    };
                    let expected = cell(value);
                    // A status of a table says for whom it waits too, which is a list of its own elsewhere.
                    let says_more = heading.eq_ignore_ascii_case("status") && !expected.is_empty() && text.starts_with(&expected);
                    let is_nothing = text == "N/A" && expected.is_empty();
                    assert!(text == expected || is_nothing || says_more, "{line}: {heading}: {text:?} and {expected:?}");
                    cells += 1;
                }
            }
        }
        assert!(cells >= 3 * rows, "{line}: {cells} cells were compared\n{shown}");
    }
}

#[tokio::test]
async fn an_empty_list_is_nothing_in_a_table_and_an_empty_list_elsewhere() {
    let connect = Connect::start().await;
    for line in ["cluster list", "federation list", "attestation-policy list", "attestation-policy-binding list", "federated-service list"]
    {
        for (format, expected) in [("table", ""), ("json", "[]\n"), ("yaml", "[]\n")] {
            let outcome = connect.cofidectl(&format!("{line} --output {format}")).await.done();
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (expected, ""), "{line} as {format}");
        }
    }
    let none = connect.cofidectl("audit list --actor nobody").await.done();
    assert_eq!(none.stdout, "");
    assert_eq!(connect.json("audit list --actor nobody").await, serde_json::json!({ "events": [], "next_page_token": "" }));
}

#[tokio::test]
async fn a_change_is_a_sentence_for_people_and_an_object_for_programs() {
    let connect = Connect::start().await;
    let said = connect.cofidectl("trust-zone add trust-zone-a --trust-domain a.test").await.done();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", "created trust zone trust-zone-a with trust domain a.test\n"));
    for (line, key) in [
        ("trust-zone add trust-zone-b --trust-domain b.test", "trust_domain"),
        ("cluster add one --trust-zone trust-zone-a --profile host", "profile"),
        ("federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b", "remote_trust_zone"),
        ("attestation-policy add kubernetes --name pods --namespace demo", "kubernetes"),
        ("apbinding add --trust-zone trust-zone-a --attestation-policy pods", "federates_with"),
        ("apbinding update --trust-zone trust-zone-a --attestation-policy pods --federates-with trust-zone-b", "federates_with"),
    ] {
        let outcome = connect.cofidectl(&format!("{line} -o json")).await.done();
        let object = outcome.json();
        assert!(object["id"].is_string() && !object[key].is_null(), "{outcome}");
        assert_eq!(outcome.stderr, "");
    }
    // Nothing is left of what was removed, so there is no object to print.
    let removed = connect.cofidectl("federation del --trust-zone trust-zone-a --remote-trust-zone trust-zone-b -o json").await.done();
    assert_eq!((removed.stdout.as_str(), removed.stderr.as_str()), ("", "removed federation trust-zone-a -> trust-zone-b\n"));
}

#[tokio::test]
async fn logging_goes_to_stderr_whatever_its_level() {
    let connect = furnished().await;
    let quiet = connect.cofidectl("federation list").await.done();
    let loud = connect.cofidectl("federation list --log-level debug").await.done();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), (loud.stdout.as_str(), ""));
    assert!(loud.stderr.contains("DEBUG"), "{loud}");
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_failure() {
    let connect = Connect::start().await;
    let mut child = connect.admin.command(["completion", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test]
async fn what_others_wrote_cannot_steer_the_terminal() {
    let connect = Connect::start().await;
    connect.given(&["trust-zone add trust-zone-a --trust-domain a.test"]).await;
    // cofidectl itself is held to have no escape in any output; see the runner.
    let outcome = connect.cofidectl("trust-zone get \x1b[31mred").await;
    outcome.refused(1, &["not found"]);
    connect.cofidectl("trust-zone add \x1b[31mred --trust-domain b.test").await.refused(2, &["invalid value"]);
}

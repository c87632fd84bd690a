use cofide_core::{GatewayKind, TrustDomain, parse_trust_domain};

use super::*;
use crate::manifest::{Manifest, Object, read_manifests};
use proptest::prelude::*;

/// The two examples of the product's documentation.
const EXAMPLES: &str = "\
---
apiVersion: registry.cofide.io/v1alpha1
kind: FederatedService
metadata:
  name: ping-pong
  namespace: demo
spec:
  name: server
  namespace: demo
  exportedTrustDomains:
    - other1.domain
    - other2.domain
  workloadLabels:
    app: ping-pong-server
  port: 8443
  tlsMode: Mtls
---
apiVersion: registry.cofide.io/v1alpha1
kind: FederatedService
metadata:
  name: ping-pong
  namespace: demo
spec:
  name: server
  namespace: demo
  exportedTrustDomains:
  - other1.domain
  - other2.domain
  workloadLabels:
    app: ping-pong-server
  port: 8443
  tlsMode: Mtls
  gateways:
  - type: istio-ingressgateway
    hostname: gw.example.com
    port: 5432
  - type: istio-eastwestgateway
    ip: 1.2.3.4
    port: 4321
";

fn own() -> TrustDomain {
    parse_trust_domain("local.domain").unwrap()
}

fn service(text: &str) -> Read<FederatedService> {
    match read_manifests(text).remove(0) {
        Ok(Manifest { object: Object::FederatedService(read), .. }) => *read,
        other => panic!("no FederatedService: {other:?}"),
    }
}

fn problems(text: &str) -> Vec<String> {
    service(text).check(&own()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The second example with one piece of text replaced.
fn spoiled(from: &str, to: &str) -> String {
    let second = EXAMPLES.split("---\n").nth(2).unwrap();
    assert!(second.contains(from), "{from:?} is not in the example");
    second.replacen(from, to, 1)
}

#[test]
fn the_documented_examples_are_valid() {
    let manifests = read_manifests(EXAMPLES);
    assert_eq!(manifests.len(), 2);
    for manifest in manifests {
        let Ok(Manifest { object: Object::FederatedService(read), .. }) = manifest else { panic!("{manifest:?}") };
        let spec = read.check(&own()).unwrap();
        assert_eq!(spec.hostname.as_str(), "server.demo.local.domain");
        assert_eq!(spec.exported_trust_domains.len(), 2);
        assert_eq!((spec.port.get(), spec.tls_mode.as_str()), (8443, "Mtls"));
    }
    let spec = service(&spoiled("Mtls", "IstioMtls")).check(&own()).unwrap();
    let gateways: Vec<_> = spec.gateways.iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["istio-ingressgateway gw.example.com:5432", "istio-eastwestgateway 1.2.3.4:4321"]);
    assert_eq!(spec.gateways[0].kind, GatewayKind::Ingress);
}

#[test]
fn an_object_is_written_as_it_is_read() {
    let read = service(&spoiled("port: 8443", "port: 8443\n  spiffeIDPaths: [ns/demo/sa/server]"));
    let written = serde_saphyr::to_string(&read.object).unwrap();
    assert!(written.contains("spiffeIDPaths") && written.contains("exportedTrustDomains"), "{written}");
    let again: FederatedService = serde_saphyr::from_str(&written).unwrap();
    assert_eq!(again, read.object);
    assert_eq!(again.check(&own()).unwrap().spiffe_id_paths[0].as_str(), "/ns/demo/sa/server");
}

#[test]
fn each_field_is_checked_with_a_reason_and_a_remedy() {
    let cases = [
        ("\n  name: server", "", "spec.name: must be set; it is a part of the hostname that clients use"),
        ("name: server", "name: a.b", "spec.name: contains '.'; allowed are lower-case letters, digits and '-'"),
        ("name: server", "name: 7", "spec.name: must be a text, not a number; put it in quotes: \"7\""),
        ("  namespace: demo\n  exp", "  exp", "spec.namespace: must be set; it is a part of the hostname that clients use"),
        (
            "- other1.domain",
            "- Other1.domain",
            "spec.exportedTrustDomains[0]: \"Other1.domain\" contains 'O'; allowed are lower-case letters, digits, '.', '-' and '_'; write a trust domain's name, as in other.example",
        ),
        (
            "- other1.domain",
            "- \"\"",
            "spec.exportedTrustDomains[0]: \"\" must not be empty; write a trust domain's name, as in other.example",
        ),
        ("- other1.domain", "- other2.domain", "spec.exportedTrustDomains[1]: other2.domain is listed twice; remove one of them"),
        (
            "- other1.domain",
            "- local.domain",
            "spec.exportedTrustDomains[0]: local.domain is the service's own trust domain; remove it: workloads of the same trust domain need no export",
        ),
        (
            "exportedTrustDomains:\n  - other1.domain\n  - other2.domain",
            "exportedTrustDomains: []",
            "spec.exportedTrustDomains: must name at least one trust domain; list the trust domains whose workloads may use the service, or delete the object",
        ),
        (
            "exportedTrustDomains:\n  - other1.domain\n  - other2.domain",
            "exportedTrustDomains: other1.domain",
            "spec.exportedTrustDomains: must be a list, not a text; begin each entry with \"- \" on a line of its own",
        ),
        (
            "app: ping-pong-server",
            "app: \"a b\"",
            "spec.workloadLabels[\"app\"]: a label's value has at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; \"a b\" does not",
        ),
        (
            "  exportedTrustDomains:\n  - other1.domain\n  - other2.domain\n",
            "",
            "spec.exportedTrustDomains: must name at least one trust domain; list the trust domains whose workloads may use the service, or delete the object",
        ),
        (
            "  workloadLabels:\n    app: ping-pong-server\n",
            "",
            "spec.workloadLabels: must name at least one label; name the labels of the workloads behind the service, as in app: my-server",
        ),
        ("  port: 8443\n", "", "spec.port: must be set; write the port that the server listens on, from 1 to 65535"),
        ("app: ping-pong-server", "version: 1", "spec.workloadLabels[\"version\"]: must be a text, not a number; put it in quotes: \"1\""),
        (
            "workloadLabels:\n    app: ping-pong-server",
            "workloadLabels: {}",
            "spec.workloadLabels: must name at least one label; name the labels of the workloads behind the service, as in app: my-server",
        ),
        ("port: 8443", "port: 0", "spec.port: a port is a number from 1 to 65535"),
        ("port: 8443", "port: 65536", "spec.port: a port is a number from 1 to 65535"),
        ("port: 8443", "port: \"8443\"", "spec.port: must be a number, not a text; write 8443 without quotes"),
        ("port: 8443", "port: 84.43", "spec.port: must be a whole number, not 84.43"),
        ("port: 8443", "port: 99999999999", "spec.port: 99999999999 is out of range"),
        (
            "  tlsMode: Mtls\n",
            "",
            "spec.tlsMode: must be set, there is no default; use Mtls where the application terminates TLS, IstioMtls where a proxy does",
        ),
        ("tlsMode: Mtls", "tlsMode: mtls", "spec.tlsMode: \"mtls\" is not a TLS mode; did you mean Mtls?"),
        (
            "tlsMode: Mtls",
            "tlsMode: Plain",
            "spec.tlsMode: \"Plain\" is not a TLS mode; use Mtls where the application terminates TLS, IstioMtls where a proxy does",
        ),
        ("tlsMode: Mtls", "tlsmode: Mtls", "spec.tlsmode: unknown field; did you mean tlsMode?"),
        (
            "tlsMode: Mtls",
            "tlsMode: Mtls\n  ip: 1.2.3.4",
            "spec.ip: unknown field; it belongs into an entry of gateways; check the indentation",
        ),
        (
            "type: istio-ingressgateway",
            "type: ingress",
            "spec.gateways[0].type: unknown gateway type \"ingress\"; use istio-ingressgateway or istio-eastwestgateway",
        ),
        (
            "type: istio-ingressgateway\n    hostname",
            "hostname",
            "spec.gateways[0].type: must be set; use istio-ingressgateway or istio-eastwestgateway",
        ),
        ("    port: 5432\n", "", "spec.gateways[0].port: must be set; write the port that the gateway listens on, from 1 to 65535"),
        ("port: 4321", "port: 0", "spec.gateways[1].port: a port is a number from 1 to 65535"),
        ("port: 4321", "port: 70000", "spec.gateways[1].port: a port is a number from 1 to 65535"),
        ("ip: 1.2.3.4", "ip: 1.2.3", "spec.gateways[1].ip: \"1.2.3\" is not an IP address"),
        ("ip: 1.2.3.4", "weight: 4", "spec.gateways[1].weight: unknown field; known are type, port, hostname, ip"),
        ("    ip: 1.2.3.4\n", "", "spec.gateways[1]: a gateway needs a hostname or an ip"),
        ("ip: 1.2.3.4", "ip: 1.2.3.4\n    hostname: b.example.com", "spec.gateways[1]: a gateway has a hostname or an ip, not both"),
        (
            "hostname: gw.example.com",
            "hostname: GW",
            "spec.gateways[0].hostname: the hostname \"GW\" contains 'G'; allowed are lower-case letters, digits and '-'",
        ),
        ("  name: ping-pong\n", "", "metadata.name: must be set; give the object a name of its own"),
        ("metadata:\n  name: ping-pong\n  namespace: demo", "metadata: ping-pong", "metadata: must be a map with name and namespace"),
    ];
    for (from, to, expected) in cases {
        let found = problems(&spoiled(from, to));
        assert!(found.iter().any(|problem| problem == expected), "{from:?} -> {to:?}\nexpected {expected}\nfound {found:#?}");
    }
    for path in ["/", "a//b", "a b", "../a"] {
        let found = problems(&spoiled("port: 8443", &format!("port: 8443\n  spiffeIDPaths: [ok, \"{path}\"]")));
        assert!(found.len() == 1 && found[0].starts_with("spec.spiffeIDPaths[1]: "), "{path}: {found:?}");
    }
}

#[test]
fn long_names_are_told_what_the_limit_is() {
    let label = "a".repeat(64);
    assert_eq!(problems(&spoiled("name: server", &format!("name: {label}"))), ["spec.name: has 64 characters, at most 63 are allowed"]);
    let own = parse_trust_domain(&vec!["abcdefgh"; 28].join(".")).unwrap();
    let found = service(&spoiled("name: server", "name: server")).check(&own).unwrap_err();
    assert!(found[0].reason.contains("at most 253 are allowed"), "{}", found[0]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {name: Bad}\nspec:\n  name: a.b\n  port: eight\n  tlsMode: none\n  gateway: []\n";
    insta::assert_snapshot!(problems(text).join("\n"));
}

#[test]
fn a_wrong_indent_is_recognised() {
    let text = "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata:\nname: ping-pong\nspec:\ntlsMode: Mtls\n";
    let found = problems(text);
    for expected in [
        "name: unknown field; it belongs into metadata; check the indentation",
        "tlsMode: unknown field; it belongs into spec; check the indentation",
    ] {
        assert!(found.iter().any(|problem| problem == expected), "{found:#?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_reported_as_missing_too() {
    let found = problems(&spoiled("port: 8443", "port: {}"));
    assert_eq!(found, ["spec.port: must be a number, not a map"]);
    let text = "apiVersion: registry.cofide.io/v1alpha1\nkind: FederatedService\nmetadata: {name: a}\nspec: []\n";
    assert_eq!(problems(text), ["spec: must be a map, not a list"]);
}

#[test]
fn half_a_file_is_never_a_valid_service() {
    let whole = EXAMPLES.split("---\n").nth(1).unwrap().trim_end();
    assert!(problems(whole).is_empty());
    for cut in 0..whole.len() {
        for result in read_manifests(&whole[..cut]) {
            if let Ok(Manifest { object: Object::FederatedService(read), .. }) = result {
                assert!(read.check(&own()).is_err(), "{}", &whole[..cut]);
            }
        }
    }
}

#[test]
fn a_status_has_the_shape_that_kubernetes_gives_it() {
    let gateways: Vec<GatewaySpec> =
        service(EXAMPLES.split("---\n").nth(2).unwrap()).check(&own()).unwrap().gateways.iter().map(Into::into).collect();
    let status = FederatedServiceStatus {
        hostname: Some("server.demo.local.domain".into()),
        gateway_summary: gateway_summary(&gateways),
        gateway_entries: gateways,
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: crate::ConditionStatus::True,
            observed_generation: Some(3),
            last_transition_time: "2026-01-01T00:00:00Z".into(),
            reason: "Exported".into(),
            message: "every exported trust domain can import the service".into(),
        }],
        observed_generation: Some(3),
    };
    insta::assert_json_snapshot!(status);
}

#[test]
fn the_agent_checks_all_that_an_api_server_checks() {
    use crate::testdata::{TRUST_DOMAIN, cases};
    let own = parse_trust_domain(TRUST_DOMAIN).unwrap();
    for case in cases() {
        let object: FederatedServiceObject = serde_json::from_value(case.object).unwrap();
        let found = object.read().check(&own).err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
        match case.agent {
            None => assert_eq!(found, [""; 0], "{}", case.name),
            Some(expected) => assert!(found.iter().any(|problem| problem.contains(expected)), "{}: {found:#?}", case.name),
        }
        assert!(case.api_server.is_none() || case.agent.is_some(), "{}: only the API server refuses it", case.name);
    }
}

/// A list of objects is read as a whole, so one that could not be read would take the others along.
#[test]
fn no_object_of_a_cluster_can_spoil_a_list() {
    let older = serde_json::json!({
        "metadata": { "name": "older", "namespace": "demo", "generation": 2 },
        "spec": {
            "name": "server", "namespace": "demo", "clusterName": "c1", "trustDomain": "local.domain",
            "exportedTrustDomains": ["other.domain"], "workloadLabels": { "app": "a" }, "port": 8443, "tlsMode": "Mtls",
            "spiffeIDPaths": ["ns/demo/sa/a"],
        },
        "status": { "conditions": [{ "type": "Ready" }] },
    });
    let bare = serde_json::json!({ "metadata": { "name": "bare" } });
    let odd = serde_json::json!({ "metadata": { "name": "odd" }, "spec": ["a"], "status": 7 });
    let objects: Vec<FederatedServiceObject> = serde_json::from_value(serde_json::json!([older, bare, odd])).unwrap();
    let read = objects[0].read();
    assert_eq!((read.object.metadata.generation, read.object.metadata.namespace.as_str()), (Some(2), "demo"));
    assert_eq!(read.check(&own()).unwrap().spiffe_id_paths[0].as_str(), "/ns/demo/sa/a");
    assert!(objects[1].read().check(&own()).is_err());
    assert_eq!(objects[2].read().problems[0].to_string(), "spec: must be a map, not a list");
    for object in &objects {
        assert_eq!(object.written_status(), FederatedServiceStatus::default());
    }
}

#[test]
fn a_status_that_was_written_is_read_again() {
    let status = FederatedServiceStatus { hostname: Some("a.b.c".into()), observed_generation: Some(4), ..Default::default() };
    let object = FederatedServiceObject { status: Some((&status).into()), ..FederatedServiceObject::default() };
    let read: FederatedServiceObject = serde_json::from_value(serde_json::to_value(&object).unwrap()).unwrap();
    assert_eq!(read.written_status(), status);
}

#[test]
fn a_patch_takes_away_what_is_no_longer_so() {
    let status = FederatedServiceStatus { hostname: Some("a.b.c".into()), observed_generation: Some(4), ..Default::default() };
    let expected = serde_json::json!({ "status": {
        "hostname": "a.b.c", "gatewaySummary": null, "gatewayEntries": [], "conditions": [], "observedGeneration": 4,
    } });
    assert_eq!(status.merge_patch(), expected);
    let fields: Vec<_> = serde_json::to_value(FederatedServiceStatus { gateway_summary: Some("gw.test:443".into()), ..status.clone() })
        .map(|all| all.as_object().unwrap().keys().cloned().collect())
        .unwrap();
    let patched = expected["status"].as_object().unwrap();
    assert!(fields.iter().all(|field| patched.contains_key(field)), "a field that is not in the patch can never be taken away");
    let older: Value = serde_saphyr::from_str(crate::testdata::OLDER_CRD).unwrap();
    let properties = &older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    for field in serde_json::to_value(status.for_older_definition()).unwrap().as_object().unwrap().keys() {
        assert!(properties.get(field).is_some(), "{field} is not in the older definition");
    }
}

#[test]
fn a_summary_names_one_gateway_and_counts_the_others() {
    let gateway = |hostname: Option<&str>, ip: Option<&str>| GatewaySpec {
        kind: "istio-ingressgateway".into(),
        port: 443,
        hostname: hostname.map(str::to_owned),
        ip: ip.map(str::to_owned),
    };
    assert_eq!(gateway_summary(&[]), None);
    assert_eq!(gateway_summary(&[gateway(Some("gw.test"), None)]).unwrap(), "gw.test:443");
    let three = [gateway(None, Some("2001:db8::1")), gateway(None, Some("1.2.3.4")), gateway(None, Some("1.2.3.5"))];
    assert_eq!(gateway_summary(&three).unwrap(), "[2001:db8::1]:443 (+2)");
}

/// Any value in any place, under names that mean something and names that do not.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let key = prop::sample::select(vec!["name", "namespace", "port", "tlsMode", "gateways", "ip", "type", "spec", "metadata", "other", ""]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9./:-]{0,12}".prop_map(Value::from),
        Just(json!("Mtls")),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_makes_reading_or_checking_panic(metadata in any_value(), spec in any_value()) {
        let value = serde_json::json!({ "apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec });
        let _ = FederatedService::read(&value).check(&own());
        let _ = crate::WorkloadEntry::read(&value).check();
    }
}

#[test]
fn the_manifests_that_are_shipped_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/manifests");
    let own = parse_trust_domain("a.demo.test").unwrap();
    let mut objects = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for manifest in read_manifests(&std::fs::read_to_string(&path).unwrap()) {
            let problems = match manifest.unwrap_or_else(|error| panic!("{}: {error}", path.display())).object {
                Object::FederatedService(read) => read.check(&own).err(),
                Object::WorkloadEntry(read) => read.check().err(),
            };
            assert_eq!(problems, None, "{}", path.display());
            objects += 1;
        }
    }
    assert!(objects >= 4, "only {objects} objects were found");
}

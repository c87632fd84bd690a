use kube_core::{ObjectMeta, Resource};
use serde_json::json;

use super::*;
use crate::is_applied;

#[test]
fn an_object_is_written_with_its_kind_and_without_what_was_not_said() {
    let metadata = ObjectMeta { name: Some("server".into()), namespace: Some("demo".into()), ..ObjectMeta::default() };
    let spec = PeerAuthenticationSpec {
        selector: Some(WorkloadSelector { match_labels: [("app".to_owned(), "server".to_owned())].into() }),
        mtls: None,
        port_level_mtls: [(8443, MutualTls { mode: Some(MutualTlsMode::Disable) })].into(),
    };
    let object = PeerAuthentication::new(metadata, spec);
    let written = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": { "name": "server", "namespace": "demo" },
        "spec": { "selector": { "matchLabels": { "app": "server" } }, "portLevelMtls": { "8443": { "mode": "DISABLE" } } },
    });
    assert_eq!(serde_json::to_value(&object).unwrap(), written);
    assert_eq!(serde_json::from_value::<PeerAuthentication>(written).unwrap(), object);
}

#[test]
fn an_object_with_more_or_less_than_we_know_is_read() {
    let read: ServiceEntry = serde_json::from_value(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": { "name": "a" },
        "spec": { "hosts": ["a.test"], "resolution": "BY_PIGEON", "location": "MESH_EXTERNAL", "ports": [{ "number": 443, "colour": "red" }] },
        "status": { "validationMessages": [], "conditions": [{ "type": "Reconciled", "observedGeneration": "3" }] },
    }))
    .unwrap();
    assert_eq!((read.spec.hosts, read.spec.ports[0].number), (vec!["a.test".to_owned()], 443));
    assert_eq!((read.spec.location, read.spec.resolution), (Some(Location::MeshExternal), None));
    let bare: PeerAuthentication = serde_json::from_value(json!({ "metadata": { "name": "a" } })).unwrap();
    assert_eq!(bare.spec, PeerAuthenticationSpec::default());
}

#[test]
fn a_workload_is_ill_only_when_its_check_says_so() {
    let status = |json| serde_json::from_value::<IstioStatus>(json).unwrap();
    assert!(!status(json!({})).is_unhealthy());
    assert!(!status(json!({ "conditions": [{ "type": "Healthy", "status": "True" }] })).is_unhealthy());
    assert!(status(json!({ "conditions": [{ "type": "Healthy", "status": "False", "lastProbeTime": null }] })).is_unhealthy());
}

/// Nobody and everybody are one empty list apart.
#[test]
fn a_policy_without_rules_differs_from_one_with_an_empty_rule() {
    let spec = |rules| serde_json::to_value(AuthorizationPolicySpec { action: Some(Action::Allow), rules, ..Default::default() }).unwrap();
    assert_eq!(spec(vec![]), json!({ "action": "ALLOW" }));
    assert_eq!(spec(vec![AuthorizationRule::default()]), json!({ "action": "ALLOW", "rules": [{}] }));
    let source = Source { principals: vec!["other.test/*".into()], ..Source::default() };
    let rule = AuthorizationRule { from: vec![From { source }], ..AuthorizationRule::default() };
    assert_eq!(spec(vec![rule])["rules"], json!([{ "from": [{ "source": { "principals": ["other.test/*"] } }] }]));
}

#[test]
fn what_others_added_is_theirs_and_what_they_changed_is_not() {
    let applied = json!({ "hosts": ["a.test"], "workloadSelector": { "labels": { "app": "a" } } });
    let live = |live| is_applied(&live, &applied);
    assert!(live(applied.clone()));
    assert!(live(json!({ "hosts": ["a.test"], "workloadSelector": { "labels": { "app": "a", "b": "c" } }, "exportTo": ["."] })));
    assert!(!live(json!({ "hosts": ["a.test", "b.test"], "workloadSelector": { "labels": { "app": "a" } } })));
    assert!(!live(json!({ "hosts": ["a.test"], "workloadSelector": { "labels": { "app": "b" } } })));
    assert!(!live(json!({ "hosts": ["a.test"] })));
}

#[test]
fn every_kind_knows_where_the_api_server_keeps_it() {
    let found: Vec<_> = kinds().iter().map(|kind| format!("{} {}/{}", kind.kind, kind.api_version, kind.plural)).collect();
    assert_eq!(
        found,
        [
            "AuthorizationPolicy security.istio.io/v1/authorizationpolicies",
            "DestinationRule networking.istio.io/v1/destinationrules",
            "EnvoyFilter networking.istio.io/v1alpha3/envoyfilters",
            "Gateway networking.istio.io/v1/gateways",
            "PeerAuthentication security.istio.io/v1/peerauthentications",
            "ServiceEntry networking.istio.io/v1/serviceentries",
            "VirtualService networking.istio.io/v1/virtualservices",
            "WorkloadEntry networking.istio.io/v1/workloadentries",
        ]
    );
    assert_eq!(VirtualService::url_path(&(), Some("demo")), "/apis/networking.istio.io/v1/namespaces/demo/virtualservices");
}

#[test]
fn what_is_written_is_read_again() {
    fn again<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(object.clone()).unwrap()).unwrap()
    }
    let mut seen = std::collections::BTreeSet::new();
    for object in crate::testdata::istio_objects() {
        let kind = object["kind"].as_str().unwrap();
        let read = match kind {
            "AuthorizationPolicy" => again::<AuthorizationPolicy>(&object),
            "DestinationRule" => again::<DestinationRule>(&object),
            "EnvoyFilter" => again::<EnvoyFilter>(&object),
            "Gateway" => again::<Gateway>(&object),
            "PeerAuthentication" => again::<PeerAuthentication>(&object),
            "ServiceEntry" => again::<ServiceEntry>(&object),
            "VirtualService" => again::<VirtualService>(&object),
            "WorkloadEntry" => again::<WorkloadEntry>(&object),
            other => panic!("{other}"),
        };
        assert_eq!(read, object);
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen.len(), kinds().len());
}

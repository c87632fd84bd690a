//! Goldens, which the tests with the real definitions read too, and what must hold for all objects.

use std::collections::{BTreeMap, BTreeSet};

use cofide_core::{
    Bundle, BundleEndpoint, BundleEndpointProfile, FederatedTrust, KubernetesPolicy, LabelSelector, MatchExpression, PolicyKind, Selector,
    StaticPolicy, TrustDomain, WorkloadRegistration, X509Authority,
};
use serde_json::json;

use super::*;
use crate::render::object::RenderedObject;
use crate::spire::desired::desired;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn settings(class_name: &str) -> SpireSettings {
    SpireSettings { class_name: class_name.to_owned() }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn registration(binding: &str, policy: &str, kind: PolicyKind, federates_with: &[&str]) -> WorkloadRegistration {
    WorkloadRegistration {
        binding_id: binding.parse().unwrap(),
        policy_name: policy.parse().unwrap(),
        kind,
        federates_with: federates_with.iter().map(|name| domain(name)).collect(),
    }
}

fn pods() -> PolicyKind {
    let expression = MatchExpression { key: "tier".into(), operator: "NotIn".into(), values: vec!["batch".into()] };
    PolicyKind::Kubernetes(KubernetesPolicy {
        namespace_selector: Some(LabelSelector { match_labels: labels(&[("kubernetes.io/metadata.name", "demo")]), ..Default::default() }),
        pod_selector: Some(LabelSelector { match_labels: labels(&[("app", "server")]), match_expressions: vec![expression] }),
        dns_name_templates: vec!["{{ index .PodMeta.Labels \"app\" }}.demo.svc".into()],
        spiffe_id_path_template: Some("cluster/{{ .ClusterName }}/sa/{{ .PodSpec.ServiceAccountName }}".into()),
    })
}

fn entry(path: &str, selectors: &[&str]) -> PolicyKind {
    PolicyKind::Static(StaticPolicy {
        spiffe_id_path: path.to_owned(),
        parent_id_path: "/spire/agent/one".to_owned(),
        selectors: selectors.iter().map(|selector| selector.parse::<Selector>().unwrap()).collect(),
        dns_names: vec!["gateway.a.test".into()],
        store_svid: true,
    })
}

fn trust(name: &str, profile: BundleEndpointProfile, authorities: &[&[u8]]) -> FederatedTrust {
    let x509_authorities = authorities.iter().map(|der| X509Authority { der: der.to_vec(), tainted: false }).collect();
    let bundle = Bundle { x509_authorities, sequence_number: 7, refresh_hint: 300, ..Bundle::empty(domain(name)) };
    FederatedTrust {
        trust_domain: domain(name),
        trust_zone_name: "zone".parse().unwrap(),
        bundle: (!authorities.is_empty()).then_some(bundle),
        bundle_endpoint: Some(BundleEndpoint { url: format!("https://{name}:8443"), profile, spiffe_id: None }),
    }
}

fn text<'a>(objects: impl IntoIterator<Item = &'a SpireObject>) -> String {
    objects.into_iter().map(|object| format!("---\n{}", serde_saphyr::to_string(&object.json()).unwrap())).collect()
}

fn rendered(registrations: &[WorkloadRegistration], usable: &[&str], class_name: &str) -> Identities {
    let trust = ["b.test", "c.test"].map(|name| trust(name, BundleEndpointProfile::HttpsWeb, &[]));
    let desired = desired(&domain("a.test"), registrations, &trust);
    assert_eq!(desired.refused, BTreeMap::new());
    identities(&desired, |domain| usable.contains(&domain.as_str()), &settings(class_name))
}

#[test]
fn a_kubernetes_policy() {
    let registrations = [registration("b1", "Demo_Servers", pods(), &["b.test", "c.test"])];
    insta::assert_snapshot!("kubernetes-policy", text(rendered(&registrations, &["b.test", "c.test"], "spire").objects.values()));
}

#[test]
fn a_kubernetes_policy_that_says_nothing_selects_every_pod() {
    let registrations = [registration("b1", "all", PolicyKind::Kubernetes(KubernetesPolicy::default()), &[])];
    insta::assert_snapshot!("kubernetes-policy-bare", text(rendered(&registrations, &[], "").objects.values()));
}

#[test]
fn a_static_policy() {
    let registrations = [registration("b1", "gateway", entry("/ns/demo/Gateway", &["unix:uid:7", "k8s:ns:demo"]), &["b.test"])];
    insta::assert_snapshot!("static-policy", text(rendered(&registrations, &["b.test"], "").objects.values()));
}

#[test]
fn federations_by_both_profiles() {
    let trust =
        [trust("b.test", BundleEndpointProfile::HttpsSpiffe, &[b"not read here"]), trust("c.test", BundleEndpointProfile::HttpsWeb, &[])];
    let desired = desired(&domain("a.test"), [], &trust);
    insta::assert_snapshot!("federations", text(federations(&domain("a.test"), &desired, &settings("spire")).values()));
}

#[test]
fn a_domain_that_cannot_be_named_yet_costs_no_identity() {
    let registrations = [registration("b1", "pods", pods(), &["b.test", "c.test", "d.test"])];
    let rendered = rendered(&registrations, &["c.test", "d.test"], "");
    let object = rendered.objects.values().next().unwrap();
    // Nobody federates with d.test, whatever is usable.
    assert_eq!(object.json()["spec"]["federatesWith"], json!(["c.test"]));
    let waiting: Vec<_> = rendered.waiting[&"b1".parse().unwrap()].iter().map(ToString::to_string).collect();
    assert_eq!(waiting, ["b.test", "d.test"]);
}

#[test]
fn an_endpoint_that_proves_itself_by_a_bundle_waits_for_it() {
    let own = domain("a.test");
    let of = |trust: FederatedTrust| {
        let desired = desired(&own, [], [&trust]);
        federations(&own, &desired, &settings("")).len()
    };
    assert_eq!(of(trust("b.test", BundleEndpointProfile::HttpsSpiffe, &[])), 0);
    assert_eq!(of(trust("b.test", BundleEndpointProfile::HttpsSpiffe, &[b"x"])), 1);
    assert_eq!(of(trust("b.test", BundleEndpointProfile::HttpsWeb, &[])), 1);
    let nowhere = FederatedTrust { bundle_endpoint: None, ..trust("b.test", BundleEndpointProfile::HttpsWeb, &[b"x"]) };
    assert_eq!(of(nowhere), 0);
}

#[test]
fn two_bindings_of_one_entry_are_one_object_with_both_names_on_it() {
    let registrations = ["b2", "b1"].map(|binding| registration(binding, "gateway", entry("/x", &["unix:uid:7"]), &[]));
    let rendered = rendered(&registrations, &[], "");
    assert_eq!(rendered.objects.len(), 1);
    let annotations = &rendered.objects.values().next().unwrap().json()["metadata"]["annotations"];
    assert_eq!(annotations["registry.cofide.io/attestation-policy-bindings"], "b1,b2");
}

#[test]
fn no_two_things_have_one_name() {
    let different = [
        entry("/x", &["unix:uid:7"]),
        entry("/x", &["unix:uid:8"]),
        entry("/x", &["unix:uid:7", "unix:gid:7"]),
        entry("/y", &["unix:uid:7"]),
        entry("/X", &["unix:uid:7"]),
    ];
    let registrations: Vec<_> =
        different.into_iter().enumerate().map(|(index, kind)| registration(&format!("b{index}"), "p", kind, &[])).collect();
    assert_eq!(rendered(&registrations, &[], "").objects.len(), 5);
    let alike = ["b1", "B1", "b-1"].map(|binding| registration(binding, "p", pods(), &[]));
    assert_eq!(rendered(&alike, &[], "").objects.len(), 3);
}

#[test]
fn an_object_that_grants_more_than_it_should_is_not_as_it_should_be() {
    let registrations = [registration("b1", "pods", pods(), &["b.test"])];
    let rendered = rendered(&registrations, &["b.test"], "");
    let object = rendered.objects.values().next().unwrap();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut live = object.json();
        edit(&mut live);
        object.is_in(&live)
    };
    assert!(edited(&|_| {}));
    assert!(edited(&|live| live["spec"]["ttl"] = json!("1h")), "lifetimes are others'");
    assert!(edited(&|live| live["metadata"]["labels"]["team"] = json!("x")), "and so are further labels");
    assert!(!edited(&|live| live["spec"]["admin"] = json!(true)));
    assert!(!edited(&|live| live["spec"]["federatesWith"] = json!(["b.test", "evil.test"])));
    assert!(!edited(&|live| live["spec"]["podSelector"]["matchLabels"] = json!({})));
    assert!(!edited(&|live| live["spec"]["podSelector"]["matchLabels"]["more"] = json!("x")));
    assert!(!edited(&|live| live["metadata"]["labels"] = json!({})));
    let named: BTreeSet<_> = object.json()["spec"].as_object().unwrap().keys().cloned().collect();
    assert!(named.contains("downstream") && named.contains("workloadSelectorTemplates"), "what grants is written: {named:?}");
}

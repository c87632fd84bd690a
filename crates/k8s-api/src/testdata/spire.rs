//! One object of each kind of spire-controller-manager with all the fields that we can write.

use kube_core::ObjectMeta;
use serde_json::{Value, json};

use crate::spire::{
    BundleEndpointProfile, BundleEndpointProfileType, ClusterFederatedTrustDomain, ClusterFederatedTrustDomainSpec, ClusterSPIFFEID,
    ClusterSPIFFEIDSpec, ClusterStaticEntry, ClusterStaticEntrySpec, LabelSelector, LabelSelectorRequirement,
};

/// For an API server with the definitions of spire-controller-manager and strict field validation: it knows every field
/// and every value, or it says which it does not.
pub fn spire_objects() -> Vec<Value> {
    let metadata = || ObjectMeta { name: Some("server".into()), ..ObjectMeta::default() };
    let text = |text: &str| text.to_owned();
    let requirement = LabelSelectorRequirement { key: text("tier"), operator: text("In"), values: vec![text("back")] };
    let selector = LabelSelector { match_labels: [(text("app"), text("server"))].into(), match_expressions: vec![requirement] };
    let spiffe_id = ClusterSPIFFEIDSpec {
        class_name: text("class"),
        spiffe_id_template: text("spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}"),
        dns_name_templates: vec![text("{{ .PodMeta.Name }}")],
        workload_selector_templates: vec![text("k8s:ns:{{ .PodMeta.Namespace }}")],
        federates_with: vec![text("b.test")],
        namespace_selector: selector.clone(),
        pod_selector: selector,
        hint: text("hint"),
        admin: true,
        downstream: true,
        auto_populate_dns_names: true,
        fallback: true,
    };
    let static_entry = ClusterStaticEntrySpec {
        class_name: text("class"),
        spiffe_id: text("spiffe://a.test/server"),
        parent_id: text("spiffe://a.test/agent"),
        selectors: vec![text("unix:uid:7")],
        federates_with: vec![text("b.test")],
        dns_names: vec![text("server.a.test")],
        hint: text("hint"),
        admin: true,
        downstream: true,
        store_svid: true,
    };
    let trust_domain = ClusterFederatedTrustDomainSpec {
        class_name: text("class"),
        trust_domain: text("b.test"),
        bundle_endpoint_url: text("https://b.test:8443"),
        bundle_endpoint_profile: BundleEndpointProfile {
            kind: BundleEndpointProfileType::HttpsSpiffe,
            endpoint_spiffe_id: text("spiffe://b.test/spire/server"),
        },
        trust_domain_bundle: text("{}"),
    };
    vec![
        json!(ClusterSPIFFEID::new(metadata(), spiffe_id)),
        json!(ClusterStaticEntry::new(metadata(), static_entry)),
        json!(ClusterFederatedTrustDomain::new(metadata(), trust_domain)),
    ]
}

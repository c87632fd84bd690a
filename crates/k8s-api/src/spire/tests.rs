use kube_core::{ObjectMeta, Resource, ResourceExt};
use serde_json::json;

use super::*;

#[test]
fn what_we_answer_for_is_written_also_where_it_is_empty() {
    let metadata = ObjectMeta { name: Some("a".into()), ..ObjectMeta::default() };
    let object = ClusterSPIFFEID::new(metadata, ClusterSPIFFEIDSpec { spiffe_id_template: "x".into(), ..Default::default() });
    let written = json!({
        "apiVersion": "spire.spiffe.io/v1alpha1",
        "kind": "ClusterSPIFFEID",
        "metadata": { "name": "a" },
        "spec": {
            "className": "",
            "spiffeIDTemplate": "x",
            "dnsNameTemplates": [],
            "workloadSelectorTemplates": [],
            "federatesWith": [],
            "namespaceSelector": { "matchLabels": {}, "matchExpressions": [] },
            "podSelector": { "matchLabels": {}, "matchExpressions": [] },
            "hint": "",
            "admin": false,
            "downstream": false,
            "autoPopulateDNSNames": false,
            "fallback": false,
        },
    });
    assert_eq!(serde_json::to_value(&object).unwrap(), written);
}

#[test]
fn a_status_is_read_with_more_or_less_than_we_know() {
    let read: ClusterSPIFFEID = serde_json::from_value(json!({
        "metadata": { "name": "a" },
        "spec": { "spiffeIDTemplate": "x", "ttl": "1h" },
        "status": { "stats": { "podsSelected": 3, "entryFailures": 1, "novelty": 7 } },
    }))
    .unwrap();
    let stats = read.status.unwrap().stats;
    assert_eq!((stats.pods_selected, stats.entry_failures, stats.entries_masked), (3, 1, 0));
    let bare: ClusterStaticEntry = serde_json::from_value(json!({ "metadata": { "name": "a" } })).unwrap();
    assert_eq!((bare.name_any().as_str(), bare.status), ("a", None));
}

#[test]
fn profiles_have_the_words_of_the_field() {
    let profile = |kind| serde_json::to_value(BundleEndpointProfile { kind, endpoint_spiffe_id: String::new() }).unwrap()["type"].clone();
    assert_eq!(profile(BundleEndpointProfileType::HttpsWeb), "https_web");
    assert_eq!(profile(BundleEndpointProfileType::HttpsSpiffe), "https_spiffe");
}

#[test]
fn every_kind_is_of_the_whole_cluster_and_named_as_its_definition() {
    let names: Vec<_> = kinds().iter().map(|kind| format!("{}.{}", kind.plural, kind.group)).collect();
    assert_eq!(
        names,
        ["clusterfederatedtrustdomains.spire.spiffe.io", "clusterspiffeids.spire.spiffe.io", "clusterstaticentries.spire.spiffe.io"]
    );
    assert_eq!(ClusterStaticEntry::api_version(&()), "spire.spiffe.io/v1alpha1");
}

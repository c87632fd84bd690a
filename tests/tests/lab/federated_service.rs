//! The definition of FederatedService, and the Istio objects that we can write, before real API servers.

use std::time::Duration;

use cofide_k8s_api::federated_service::crd;
use cofide_k8s_api::{FederatedServiceObject, FederatedServiceStatus, istio, testdata};
use cofide_testkit::lab::{Cluster, Lab, install};
use cofide_testkit::wait::works_within;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// Installs a definition, and waits until the API server serves what it defines.
async fn define(cluster: &Cluster, definition: &str) -> Api<FederatedServiceObject> {
    cluster.apply_yaml(definition).await.unwrap();
    let services = Api::namespaced(cluster.client().unwrap(), "demo");
    works_within(LONG_ENOUGH, "FederatedServices are served", async || Ok(services.list(&Default::default()).await?)).await;
    services
}

fn rehearsal() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

/// An object whose fields nobody looks at before they are sent.
fn raw(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).unwrap()
}

#[tokio::test]
async fn each_rule_of_the_definition_holds_from_both_sides() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.create_namespace("demo").await.unwrap();
    define(&cluster, &crd::yaml()).await;
    let services = Api::namespaced_with(cluster.client().unwrap(), "demo", &ApiResource::erase::<FederatedServiceObject>(&()));
    let mut wrong = Vec::new();
    for case in testdata::cases() {
        let refusal = services.create(&rehearsal(), &raw(&case.object)).await.err().map(|error| error.to_string());
        let as_expected = match (&refusal, case.api_server) {
            (None, None) => true,
            (Some(refusal), Some(expected)) => refusal.contains(expected),
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{}: expected {:?}, found {refusal:?}", case.name, case.api_server));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn kubectl_shows_what_matters_in_one_line() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.create_namespace("demo").await.unwrap();
    let services = define(&cluster, &crd::yaml()).await;
    cluster.apply(&testdata::federated_service()).await.unwrap();
    services.patch_status("ping-pong", &PatchParams::default(), &Patch::Merge(status().merge_patch())).await.unwrap();

    let table = http::Request::get("/apis/registry.cofide.io/v1alpha1/namespaces/demo/federatedservices")
        .header(http::header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let table: Value = cluster.client().unwrap().request(table).await.unwrap();
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Hostname", "Mode", "Port", "Gateways", "Ready", "Reason", "Age"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let expected = json!(["ping-pong", "server.demo.local.domain", "Mtls", 8443, "gw.example.com:5432 (+1)", "True", "Exported"]);
    assert_eq!(cells[..7], *expected.as_array().unwrap());
}

fn status() -> FederatedServiceStatus {
    serde_json::from_value(json!({
        "hostname": "server.demo.local.domain",
        "gatewaySummary": "gw.example.com:5432 (+1)",
        "gatewayEntries": [
            { "type": "istio-ingressgateway", "port": 5432, "hostname": "gw.example.com" },
            { "type": "istio-eastwestgateway", "port": 4321, "ip": "1.2.3.4" },
        ],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Exported", "message": "all is well",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }],
        "observedGeneration": 1,
    }))
    .unwrap()
}

#[tokio::test]
async fn a_cluster_with_the_older_definition_is_read_and_written_and_can_be_upgraded() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.create_namespace("demo").await.unwrap();
    let services = define(&cluster, testdata::OLDER_CRD).await;
    // Each breaks a rule that the older definition does not have.
    let gateway = json!({ "type": "istio-ingressgateway", "port": 443, "ip": "1.2.3.4", "hostname": "a.test" });
    let broken = [
        ("name", json!("Server")),
        ("port", json!(0)),
        ("exportedTrustDomains", json!(["a.test", "a.test"])),
        ("gateways", json!([gateway])),
    ];
    for (index, (field, value)) in broken.iter().enumerate() {
        let mut object = testdata::federated_service();
        object["metadata"]["name"] = json!(format!("broken-{index}"));
        object["spec"]["spiffeIDPaths"] = json!(["ns/demo/sa/server"]);
        object["spec"][field] = value.clone();
        cluster.apply(&object).await.unwrap();
    }
    let own = cofide_core::parse_trust_domain(testdata::TRUST_DOMAIN).unwrap();
    let listed = services.list(&Default::default()).await.unwrap().items;
    assert_eq!(listed.len(), broken.len());
    for (object, (field, _)) in listed.iter().zip(&broken) {
        let problems = object.read().check(&own).unwrap_err();
        assert!(problems.iter().all(|problem| problem.path.contains(field)), "{field}: {problems:?}");
    }

    let patch = Patch::Merge(status().merge_patch());
    for object in &listed {
        let written = services.patch_status(&object.name_any(), &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(written.written_status(), status().for_older_definition());
    }

    cluster.apply_yaml(&crd::yaml()).await.unwrap();
    works_within(LONG_ENOUGH, "every status holds all of its fields after the upgrade", async || {
        for object in &listed {
            let written = services.patch_status(&object.name_any(), &PatchParams::default(), &patch).await?;
            anyhow::ensure!(written.written_status() == status(), "{:?}", written.status);
        }
        Ok(())
    })
    .await;
    let finalizers = Patch::Merge(json!({ "metadata": { "finalizers": ["registry.cofide.io/test"] } }));
    for object in &listed {
        services.patch(&object.name_any(), &PatchParams::default(), &finalizers).await.unwrap();
    }
}

#[tokio::test]
async fn istio_knows_every_field_and_every_value_that_we_write() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.create_namespace("demo").await.unwrap();
    let definitions = install("istio").await.unwrap().join("crds.yaml");
    cluster.apply_yaml(&std::fs::read_to_string(definitions).unwrap()).await.unwrap();
    let client = cluster.client().unwrap();
    for object in testdata::istio_objects() {
        let kind = istio::kinds().into_iter().find(|kind| kind.kind == object["kind"]).unwrap();
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "demo", &kind);
        let strict = PatchParams { dry_run: true, ..PatchParams::apply("test").validation_strict() };
        works_within(LONG_ENOUGH, "the kind is served, and the object accepted", async || {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let accepted = api.patch(name, &strict, &Patch::Apply(&object)).await?;
            anyhow::ensure!(accepted.data["spec"] == object["spec"], "{:#}", accepted.data);
            Ok(())
        })
        .await;
    }
}

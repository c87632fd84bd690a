//! The agent under the rights that its chart gives it, and no others.

use std::collections::BTreeMap;

use cofide_agent::spire::SpireAccess;
use cofide_k8s_api::{ConditionStatus, FederatedServiceObject, istio, spire};
use cofide_testkit::lab::{Cluster, Lab, install};
use cofide_testkit::plane::{Agent, Plane};
use cofide_testkit::wait::{eventually, works};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::support::{Chart, objects};

/// Where the gateway of the service is that comes from the other trust zone.
const IMPORTED: &str = "
apiVersion: registry.cofide.io/v1alpha1
kind: FederatedService
metadata: { name: remote, namespace: demo }
spec:
  name: remote
  namespace: demo
  exportedTrustDomains: [a.test]
  workloadLabels: { app: remote }
  port: 8443
  tlsMode: Mtls
  gateways: [{ type: istio-ingressgateway, ip: 127.0.0.9, port: 443 }]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: remote, namespace: demo }
spec: { address: 127.0.0.9, labels: { app: remote } }
";

const CLUSTER: &str = "
apiVersion: v1
kind: Service
metadata: { name: istio-ingressgateway, namespace: istio-system }
spec: { type: LoadBalancer, selector: { istio: ingressgateway }, ports: [{ name: https, port: 443 }] }
---
apiVersion: v1
kind: Service
metadata: { name: server, namespace: demo }
spec: { selector: { app: server }, ports: [{ name: tls, port: 8443 }] }
---
apiVersion: registry.cofide.io/v1alpha1
kind: FederatedService
metadata: { name: server, namespace: demo }
spec:
  name: server
  namespace: demo
  exportedTrustDomains: [b.test]
  workloadLabels: { app: server }
  port: 8443
  tlsMode: IstioMtls
---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: \"trustDomain: cluster.local\" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: istiod, namespace: istio-system }
spec:
  selector: { matchLabels: { istio: pilot } }
  template: { metadata: { labels: { istio: pilot } }, spec: { containers: [{ name: discovery, image: istiod }] } }
";

/// How often the API server has not allowed something to somebody: a refusal never reaches what counts requests by their code.
/// The count names nobody, and nobody else is refused here.
async fn refusals(cluster: &Cluster) -> BTreeMap<String, u64> {
    let request = http::Request::get("/metrics").body(vec![]).unwrap();
    let metrics = cluster.client().unwrap().request_text(request).await.unwrap();
    let attempts: Vec<_> = metrics.lines().filter(|line| line.starts_with("authorization_attempts_total{")).collect();
    assert!(!attempts.is_empty(), "the API server counts by another name now");
    let refused = attempts.iter().filter(|line| !line.contains("result=\"allowed\""));
    refused.filter_map(|line| line.rsplit_once(' ')).map(|(what, count)| (what.to_owned(), count.parse().unwrap())).collect()
}

async fn named(cluster: &Cluster, kind: &str, namespace: &str) -> Vec<String> {
    let client = cluster.client().unwrap();
    let of_kind = |kinds: Vec<ApiResource>| kinds.into_iter().find(|known| known.kind == kind);
    let api: Api<DynamicObject> = match of_kind(istio::kinds()) {
        Some(kind) => Api::namespaced_with(client, namespace, &kind),
        None => Api::all_with(client, &of_kind(spire::kinds()).unwrap()),
    };
    let found = api.list(&ListParams::default()).await.unwrap();
    found.items.into_iter().filter_map(|object| object.metadata.name).collect()
}

async fn ready(cluster: &Cluster) -> Option<ConditionStatus> {
    let services: Api<FederatedServiceObject> = Api::namespaced(cluster.client().ok()?, "demo");
    let status = services.get("server").await.ok()?.written_status();
    status.conditions.into_iter().find(|condition| condition.kind == "Ready").map(|condition| condition.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_does_all_that_it_does_with_the_rights_of_its_chart() {
    let lab = Lab::start().unwrap();
    let (cluster, plane) = tokio::join!(lab.cluster("one"), Plane::start());
    let (cluster, mut plane) = (cluster.unwrap(), plane.unwrap());
    for namespace in ["cofide", "demo", "istio-system"] {
        cluster.create_namespace(namespace).await.unwrap();
    }
    cluster.apply_yaml(&std::fs::read_to_string(install("istio").await.unwrap().join("crds.yaml")).unwrap()).await.unwrap();
    let rendered = Chart::Agent.render_with(&Chart::Agent.values("mesh"), &["--include-crds"]).await.unwrap();
    for object in objects(&rendered) {
        cluster.apply(&object).await.unwrap();
    }
    cluster.install_spire_kinds().await.unwrap();
    cluster.apply_yaml(CLUSTER).await.unwrap();
    cluster.set_load_balancer("istio-system", "istio-ingressgateway", &[json!({ "ip": "192.0.2.1" })]).await.unwrap();
    cluster.endpoint_slice("demo", "server", ("tls", 8443), &["10.1.2.3".parse().unwrap()]).await.unwrap();

    // RBAC learns of new roles by a watch, and from each of the four kinds on its own.
    let kubeconfig = cluster.service_account_kubeconfig("cofide", "cofide-agent").await.unwrap();
    let read = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
    let own = Client::try_from(Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap()).unwrap();
    works("the roles are in effect", async || {
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(own.clone(), "cofide");
        maps.get("cofide-agent-state").await?;
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(own.clone(), "istio-system");
        maps.get("istio").await?;
        let services: Api<k8s_openapi::api::core::v1::Service> = Api::all(own.clone());
        Ok(services.list(&ListParams::default()).await?)
    })
    .await;
    let before = refusals(&cluster).await;

    let zone = plane.create_zone("a").await.unwrap();
    let token = plane.join_token(zone).await.unwrap();
    plane.write_bootstrap(zone, token).unwrap();
    plane.zones[zone].sds = json!({ "default_bundle_name": "null", "default_all_bundles_name": "ROOTCA" });
    plane.zones[zone].start_trust_zone_server().await.unwrap();
    let remote = plane.add_zone("b").await.unwrap();
    plane.federate_both_ways(zone, remote).await.unwrap();
    plane.zones[remote].write_manifest("remote.yaml", IMPORTED).unwrap();
    let mut config = plane.zones[zone].agent_config();
    config.profile = "istio".to_owned();
    config.kubeconfig = Some(kubeconfig);
    config.pod_namespace = Some("cofide".to_owned());
    config.spire = SpireAccess::Crd;
    config.manage_mesh_config = true;
    let agent = Agent::start(config, &lab.folder().join("agent.log")).await.unwrap();

    // Exported and imported, told to Connect and to the owner.
    eventually("the service is ready", || ready(&cluster), |status| *status == Some(ConditionStatus::True)).await;
    for kind in ["ServiceEntry", "PeerAuthentication", "AuthorizationPolicy", "Gateway", "VirtualService"] {
        eventually(kind, || named(&cluster, kind, "demo"), |names| !names.is_empty()).await;
    }
    for kind in ["ServiceEntry", "WorkloadEntry", "DestinationRule", "VirtualService"] {
        eventually(kind, || named(&cluster, kind, "cofide"), |names| !names.is_empty()).await;
    }
    let events: Api<Event> = Api::namespaced(cluster.client().unwrap(), "demo");
    let told = || async { events.list(&ListParams::default()).await.unwrap().items.len() };
    eventually("there is an Event", told, |events| *events > 0).await;

    // What Istio needs to verify whoever comes from there.
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(cluster.client().unwrap(), "istio-system");
    let mesh = || async { maps.get("istio").await.unwrap().data.unwrap_or_default().remove("mesh").unwrap_or_default() };
    eventually("the mesh configuration is written", mesh, |mesh| mesh.contains("a.test") && mesh.contains("b.test")).await;

    // What the SPIRE server should hold, as an object and away again.
    let binding = plane.bind(zone, "/ns/demo/sa/server", &[]).await.unwrap();
    eventually("the entry is written", || named(&cluster, "ClusterStaticEntry", ""), |names| !names.is_empty()).await;
    plane.unbind(binding).await.unwrap();
    eventually("the entry is gone", || named(&cluster, "ClusterStaticEntry", ""), Vec::is_empty).await;

    // Taken back from somebody, and away when it is wanted no more.
    let entry = named(&cluster, "WorkloadEntry", "cofide").await.remove(0);
    let edit = json!({ "spec": { "address": "192.0.2.99" } });
    let resource = ApiResource::erase::<istio::WorkloadEntry>(&());
    let entries: Api<DynamicObject> = Api::namespaced_with(cluster.client().unwrap(), "cofide", &resource);
    entries.patch(&entry, &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    let address = || async { entries.get(&entry).await.map(|entry| entry.data["spec"]["address"].clone()).unwrap_or(Value::Null) };
    eventually("the address is mended", address, |address| *address == "127.0.0.9").await;
    std::fs::remove_file(plane.zones[remote].manifest("remote.yaml")).unwrap();
    eventually("the import is gone", || named(&cluster, "WorkloadEntry", "cofide"), Vec::is_empty).await;
    agent.stop().await.unwrap();

    assert_eq!(refusals(&cluster).await, before, "{}", std::fs::read_to_string(lab.folder().join("agent.log")).unwrap_or_default());
}

//! What is written and what is not, what is left alone, and what goes: on a real API server with Istio's definitions, without istiod.

use std::path::PathBuf;

use cofide_agent::view::{GatewayService, ServiceObject};
use cofide_core::{GatewayAddress, GatewayKind, Hostname, ImportedService, Port};
use cofide_k8s_api::istio::kinds;
use cofide_testkit::lab::{Cluster, Lab, install};
use cofide_testkit::wait::{eventually, works};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, Config, ResourceExt};
use serde_json::json;

use crate::support::{Agent, import, istio_mtls, mtls};

const KINDS: usize = 8;

async fn definitions() -> PathBuf {
    install("istio").await.unwrap().join("crds.yaml")
}

async fn with_definitions(lab: &Lab) -> Cluster {
    let cluster = lab.cluster("one").await.unwrap();
    cluster.apply_yaml(&std::fs::read_to_string(definitions().await).unwrap()).await.unwrap();
    cluster.wait_until_established().await.unwrap();
    for namespace in ["demo", "cofide", "istio-system"] {
        cluster.create_namespace(namespace).await.unwrap();
    }
    cluster
}

fn gateway() -> GatewayService {
    let entry = cofide_core::Gateway {
        kind: GatewayKind::EastWest,
        address: GatewayAddress::Ip("192.0.2.1".parse().unwrap()),
        port: Port::try_from(15443).unwrap(),
    };
    GatewayService {
        kind: GatewayKind::EastWest,
        namespace: "istio-system".into(),
        name: "istio-eastwestgateway".into(),
        service_type: "LoadBalancer".into(),
        selector: [("istio".to_owned(), "eastwestgateway".to_owned())].into(),
        port: Port::try_from(15443).unwrap(),
        entries: vec![entry],
    }
}

fn exported() -> Vec<ServiceObject> {
    vec![mtls("own", &["b.test"]), istio_mtls("mesh", &["b.test"])]
}

/// The same services, as if they were another zone's.
fn imported() -> Vec<ImportedService> {
    let elsewhere = |mut import: ImportedService| {
        import.hostname = import.hostname.as_str().replace("a.test", "far.test").parse().unwrap();
        import
    };
    exported().iter().map(|service| elsewhere(import(service, &[gateway()]))).collect()
}

fn host_of(import: &ImportedService) -> Hostname {
    import.hostname.clone()
}

/// Every Istio object of the cluster, by kind and name.
async fn objects(client: &Client) -> Vec<DynamicObject> {
    let mut all = Vec::new();
    for kind in kinds() {
        let listed = Api::<DynamicObject>::all_with(client.clone(), &kind).list(&Default::default()).await;
        all.extend(listed.map(|list| list.items).unwrap_or_default());
    }
    all
}

async fn count(client: &Client) -> usize {
    objects(client).await.len()
}

/// How often anybody has written an Istio object since the API server began, as it counts itself.
async fn writes(client: &Client) -> u64 {
    let text = client.request_text(http::Request::get("/metrics").body(Vec::new()).unwrap()).await.unwrap();
    let of_istio = text.lines().filter(|line| line.starts_with("apiserver_request_total{") && line.contains("istio.io\""));
    let written =
        of_istio.filter(|line| ["POST", "PUT", "PATCH", "APPLY", "DELETE"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\""))));
    written.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// For `own`: ServiceEntry, PeerAuthentication, Gateway, VirtualService; for `mesh` an AuthorizationPolicy too.
const EXPORTED: usize = 4 + 5;
/// For `own`: ServiceEntry, WorkloadEntry, DestinationRule, VirtualService, EnvoyFilter; `mesh` does without routes.
const IMPORTED: usize = 5 + 4;

#[tokio::test]
async fn each_object_is_written_once_and_nothing_at_rest_or_after_a_restart() {
    let lab = Lab::start().unwrap();
    let cluster = with_definitions(&lab).await;
    let client = cluster.client().unwrap();
    assert_eq!(kinds().len(), KINDS);
    let agent = Agent::start(&cluster, "a.test").await;
    agent.exports(exported(), &[gateway()]);
    agent.imports(&imported());
    eventually("everything is there", || count(&client), |count| *count == EXPORTED + IMPORTED).await;
    assert_eq!(writes(&client).await, (EXPORTED + IMPORTED) as u64);

    // Many rounds, a change that changes no object, and another process.
    rounds(&agent, 4).await;
    agent.stop().await;
    let agent = Agent::start(&cluster, "a.test").await;
    agent.exports(exported(), &[gateway()]);
    agent.imports(&imported());
    rounds(&agent, 4).await;
    assert_eq!(writes(&client).await, (EXPORTED + IMPORTED) as u64, "it wrote at rest");

    // One gateway more is one WorkloadEntry more.
    let mut more = imported();
    let mut second = more[0].gateways[0].clone();
    second.gateway.address = GatewayAddress::Ip("192.0.2.2".parse().unwrap());
    more[0].gateways.push(second);
    agent.imports(&more);
    eventually("the second gateway is there", || count(&client), |count| *count == EXPORTED + IMPORTED + 1).await;
    assert_eq!(writes(&client).await, (EXPORTED + IMPORTED) as u64 + 1);
}

/// Waits until the executor has looked this often again.
async fn rounds(agent: &Agent, count: usize) {
    let before = agent.rounds();
    eventually("it looks again", || async { agent.rounds() }, |now| *now >= before + count).await;
}

#[tokio::test]
async fn what_is_wanted_no_more_goes_also_after_a_crash_and_never_on_ignorance() {
    let lab = Lab::start().unwrap();
    let cluster = with_definitions(&lab).await;
    let client = cluster.client().unwrap();
    let agent = Agent::start(&cluster, "a.test").await;
    agent.exports(exported(), &[gateway()]);
    agent.imports(&imported());
    eventually("everything is there", || count(&client), |count| *count == EXPORTED + IMPORTED).await;
    drop(agent);

    // It knows nothing yet.
    let agent = Agent::start(&cluster, "a.test").await;
    rounds(&agent, 3).await;
    assert_eq!(count(&client).await, EXPORTED + IMPORTED);
    // A service went while nobody looked.
    agent.exports(exported()[1..].to_vec(), &[gateway()]);
    eventually("its objects are gone", || count(&client), |count| *count == EXPORTED - 4 + IMPORTED).await;
    rounds(&agent, 3).await;
    assert_eq!(count(&client).await, EXPORTED - 4 + IMPORTED, "what it does not know of imports, it keeps");
    agent.imports(&imported()[..1]);
    eventually("the import's objects are gone", || count(&client), |count| *count == EXPORTED - 4 + 5).await;
    agent.imports(&[]);
    agent.exports(vec![], &[gateway()]);
    eventually("everything is gone", || count(&client), |count| *count == 0).await;
}

/// The agent's.
async fn service_entry_of(client: &Client, host: &str) -> Option<DynamicObject> {
    let entries = service_entries(client, "cofide").list(&Default::default()).await.unwrap();
    entries.items.into_iter().find(|entry| entry.data["spec"]["hosts"][0] == host)
}

fn service_entries(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = kinds().into_iter().find(|kind| kind.kind == "ServiceEntry").unwrap();
    Api::namespaced_with(client.clone(), namespace, &kind)
}

#[tokio::test]
async fn a_hand_edit_is_undone_and_what_others_add_stays() {
    let lab = Lab::start().unwrap();
    let cluster = with_definitions(&lab).await;
    let client = cluster.client().unwrap();
    let agent = Agent::start(&cluster, "a.test").await;
    let imports = imported();
    agent.imports(&imports);
    eventually("everything is there", || count(&client), |count| *count == IMPORTED).await;

    let host = host_of(&imports[0]);
    let entry = service_entry_of(&client, host.as_str()).await.unwrap();
    let edit = json!({
        "metadata": { "labels": { "app.kubernetes.io/managed-by": "somebody", "team": "b" } },
        "spec": { "hosts": ["evil.test"], "exportTo": ["."] },
    });
    let edits = service_entries(&client, "cofide");
    edits.patch(&entry.name_any(), &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    let now = || async { edits.get(&entry.name_any()).await.unwrap() };
    let mended = eventually("the edit is undone", now, |now| now.data["spec"] == entry.data["spec"]).await;
    assert_eq!(mended.labels().get("app.kubernetes.io/managed-by").map(String::as_str), Some("cofide-agent"));
    assert_eq!(mended.labels().get("team").map(String::as_str), Some("b"), "what somebody added is theirs");

    edits.delete(&entry.name_any(), &Default::default()).await.unwrap();
    eventually("what was deleted is back", || count(&client), |count| *count == IMPORTED).await;
}

#[tokio::test]
async fn an_object_or_a_host_of_somebody_else_is_left_alone_and_the_service_told() {
    let lab = Lab::start().unwrap();
    let cluster = with_definitions(&lab).await;
    let client = cluster.client().unwrap();
    let imports = imported();
    let (first, second) = (host_of(&imports[0]), host_of(&imports[1]));

    // The host of the first is a user's; the second's name is found out and taken by another one.
    let agent = Agent::start(&cluster, "a.test").await;
    agent.imports(&imports);
    eventually("everything is there", || count(&client), |count| *count == IMPORTED).await;
    let name = service_entry_of(&client, second.as_str()).await.unwrap().name_any();
    agent.imports(&[]);
    eventually("everything is gone", || count(&client), |count| *count == 0).await;
    let theirs = |namespace: &str, name: &str, host: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": { "namespace": namespace, "name": name },
            "spec": { "hosts": [host], "ports": [{ "number": 1234, "name": "tcp", "protocol": "TCP" }], "resolution": "NONE" },
        })
    };
    cluster.apply(&theirs("demo", "theirs", first.as_str())).await.unwrap();
    cluster.apply(&theirs("cofide", &name, "unrelated.test")).await.unwrap();

    agent.imports(&imports);
    let report = || async { agent.world.mesh.get() };
    let report = eventually("both are told", report, |report| {
        report.as_ref().as_ref().is_some_and(|report| report.problems.contains_key(&first) && report.problems.contains_key(&second))
    })
    .await;
    let report = report.as_ref().as_ref().unwrap();
    assert!(report.problems[&first].iter().any(|note| note.contains("ServiceEntry demo/theirs")), "{report:?}");
    assert!(report.problems[&second].iter().any(|problem| problem.contains(&format!("ServiceEntry cofide/{name}"))), "{report:?}");
    for (namespace, name, host) in [("demo", "theirs", first.as_str()), ("cofide", name.as_str(), "unrelated.test")] {
        let object = service_entries(&client, namespace).get(name).await.unwrap();
        assert_eq!((&object.data["spec"]["hosts"], &object.data["spec"]["ports"][0]["number"]), (&json!([host]), &json!(1234)));
    }

    // A claim that comes later than ours takes nothing from us.
    cluster.delete_yaml(&theirs("demo", "theirs", first.as_str()).to_string()).await.unwrap();
    eventually("the host is ours", || service_entry_of(&client, first.as_str()), Option::is_some).await;
    // Kubernetes writes the time of creation in whole seconds, so "later" begins with the next one.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    cluster.apply(&theirs("demo", "late", first.as_str())).await.unwrap();
    rounds(&agent, 3).await;
    assert!(service_entry_of(&client, first.as_str()).await.is_some());
}

#[tokio::test]
async fn istio_that_is_installed_later_is_picked_up() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    let client = cluster.client().unwrap();
    for namespace in ["demo", "istio-system"] {
        cluster.create_namespace(namespace).await.unwrap();
    }
    let agent = Agent::start(&cluster, "a.test").await;
    agent.exports(exported(), &[gateway()]);
    agent.imports(&imported());
    let report = || async { agent.world.mesh.get() };
    let told = |report: &Option<cofide_agent::executors::kubernetes::MeshReport>| {
        report.as_ref().is_some_and(|report| report.cluster.len() == KINDS)
    };
    let report = eventually("each missing kind is told", report, |report| told(report)).await;
    assert!(format!("{report:?}").contains("ServiceEntry"), "{report:?}");

    cluster.apply_yaml(&std::fs::read_to_string(definitions().await).unwrap()).await.unwrap();
    eventually("everything is there", || count(&client), |count| *count == EXPORTED + IMPORTED).await;
    let report = || async { agent.world.mesh.get() };
    eventually("nothing is missing", report, |report| report.as_ref().as_ref().is_some_and(|report| report.cluster.is_empty())).await;
}

const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata:
  namespace: cofide
  name: agent
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: agent
rules:
  - apiGroups: [networking.istio.io, security.istio.io]
    resources: ['*']
    verbs: [get, list, watch]
  - apiGroups: [networking.istio.io]
    resources: [serviceentries, workloadentries, destinationrules, gateways, envoyfilters]
    verbs: [create, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: agent
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: agent
subjects:
  - kind: ServiceAccount
    namespace: cofide
    name: agent
";

#[tokio::test]
async fn a_missing_right_is_told_with_its_verb_and_resource_and_holds_up_nothing_else() {
    let lab = Lab::start().unwrap();
    let cluster = with_definitions(&lab).await;
    cluster.apply_yaml(READER).await.unwrap();
    let admin = cluster.client().unwrap();
    let kubeconfig = cluster.service_account_kubeconfig("cofide", "agent").await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    works("the role is in force", || async {
        Ok(Api::<DynamicObject>::all_with(client.clone(), &kinds()[0]).list(&Default::default()).await?)
    })
    .await;
    let agent = Agent::start_with(client, "a.test");
    agent.imports(&imported());
    // All but the VirtualService.
    eventually("the others are there", || count(&admin), |count| *count == IMPORTED - 1).await;
    let said = || async { agent.world.mesh.get() };
    let expected = "may not patch virtualservices.networking.istio.io";
    eventually("the right is told", said, |report| format!("{report:?}").contains(expected)).await;

    cluster.apply_yaml(&READER.replace("[serviceentries,", "[virtualservices, serviceentries,")).await.unwrap();
    eventually("it is made up for", || count(&admin), |count| *count == IMPORTED).await;
}

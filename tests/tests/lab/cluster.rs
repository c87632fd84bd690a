//! Clusters without nodes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofide_testkit::lab::{Cluster, ISTIO_NAMESPACE, Lab, Mesh, Pod, Proxy};
use cofide_testkit::wait::works_within;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG_ENOUGH: Duration = Duration::from_secs(60);

#[tokio::test]
async fn three_clusters_start_at_once_and_each_answers_for_itself() {
    let lab = Lab::start().unwrap();
    let start = std::time::Instant::now();
    let clusters = tokio::try_join!(lab.cluster("server"), lab.cluster("client"), lab.cluster("plain")).unwrap();
    assert!(start.elapsed() < LONG_ENOUGH, "the start took {:?}", start.elapsed());

    for cluster in [&clusters.0, &clusters.1, &clusters.2] {
        cluster.create_namespace(cluster.name()).await.unwrap();
    }
    for cluster in [&clusters.0, &clusters.1, &clusters.2] {
        let namespaces: Api<Namespace> = Api::all(cluster.client().unwrap());
        let names: Vec<_> = namespaces.list(&ListParams::default()).await.unwrap().into_iter().filter_map(|ns| ns.metadata.name).collect();
        let own: Vec<_> = names.iter().filter(|name| ["server", "client", "plain"].contains(&name.as_str())).collect();
        assert_eq!(own, [cluster.name()], "{cluster:?} has the namespaces {names:?}");
    }
}

#[tokio::test]
async fn a_pod_is_an_object_that_runs_and_a_namespace_that_is_reached_from_everywhere() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    let (server, client) = (lab.host("server").unwrap(), lab.host("client").unwrap());
    cluster.create_namespace("demo").await.unwrap();
    let pod = Pod::new("demo", "server", server.address).label("app", "server");
    cluster.run_pod(&pod).await.unwrap();
    let seen = cluster.get("v1", "Pod", "demo", "server").await.unwrap().unwrap();
    assert_eq!(seen.data["status"]["podIP"], json!(server.address));
    assert_eq!(seen.data["status"]["phase"], "Running");

    let listener = server.listen(8080).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            let _ = stream.write_all(peer.ip().to_string().as_bytes()).await;
        }
    });
    let address = (server.address, 8080).into();
    let mut from_here = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut from_there = client.connect(address).await.unwrap();
    for (stream, expected) in [(&mut from_here, lab.address()), (&mut from_there, client.address)] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, expected.to_string());
    }

    cluster.run_pod(&pod.not_ready()).await.unwrap();
    let seen = cluster.get("v1", "Pod", "demo", "server").await.unwrap().unwrap();
    let ready = seen.data["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").cloned();
    assert_eq!(ready.unwrap()["status"], "False");
}

#[tokio::test]
async fn an_api_server_that_starts_again_has_kept_everything() {
    let lab = Lab::start().unwrap();
    let mut cluster = lab.cluster("one").await.unwrap();
    cluster.create_namespace("demo").await.unwrap();
    cluster.stop_api_server().await.unwrap();
    assert!(cluster.create_namespace("other").await.is_err(), "a stopped API server answers");
    cluster.start_api_server().await.unwrap();
    assert!(cluster.get("v1", "Namespace", "", "demo").await.unwrap().is_some());
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_nothing_else() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap();
    cluster.apply_yaml(READER).await.unwrap();
    let kubeconfig = cluster.service_account_kubeconfig("demo", "reader").await.unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(Client::try_from(config).unwrap(), "demo");
    // RBAC learns of new roles by a watch.
    works_within(LONG_ENOUGH, "the reader may list", async || Ok(maps.list(&ListParams::default()).await?)).await;
    let refused = maps.delete("anything", &DeleteParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
}

const READER: &str = "
apiVersion: v1
kind: Namespace
metadata:
  name: demo
---
apiVersion: v1
kind: ServiceAccount
metadata:
  namespace: demo
  name: reader
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  namespace: demo
  name: reader
rules:
  - apiGroups: ['']
    resources: [configmaps]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  namespace: demo
  name: reader
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: reader
subjects:
  - kind: ServiceAccount
    namespace: demo
    name: reader
";

#[tokio::test]
async fn what_an_owner_reference_names_goes_with_its_owner_where_the_garbage_collector_runs() {
    let lab = Lab::start().unwrap();
    let cluster = lab.cluster("one").await.unwrap().with_controllers(&["garbage-collector-controller"]).await.unwrap();
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": "default", "name": name } });
    cluster.apply(&map("owner")).await.unwrap();
    let owner = cluster.get("v1", "ConfigMap", "default", "owner").await.unwrap().unwrap();
    let mut owned = map("owned");
    let reference = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid });
    owned["metadata"]["ownerReferences"] = json!([reference]);
    cluster.apply(&owned).await.unwrap();

    cluster.delete_yaml(&map("owner").to_string()).await.unwrap();
    works_within(LONG_ENOUGH, "the owned object is gone", async || {
        let left = cluster.get("v1", "ConfigMap", "default", "owned").await?;
        anyhow::ensure!(left.is_none(), "it is still there\n{}", cluster.log());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_a_lab_that_a_panic_ended() {
    let (processes, kubeconfig) = tokio::spawn(async {
        let lab = Lab::start().unwrap();
        let cluster = lab.cluster(&unique("panicked")).await.unwrap();
        let seen = (process_ids(&cluster), cluster.kubeconfig().to_owned());
        assert_eq!((seen.0.len(), seen.1.exists()), (2, true), "{seen:?}");
        let panic = std::panic::AssertUnwindSafe(move || {
            let _in_use = (lab, cluster);
            std::panic::resume_unwind(Box::new("as a failed assertion does"));
        });
        std::panic::catch_unwind(panic).unwrap_err();
        seen
    })
    .await
    .unwrap();
    // The files go last, after the namespaces.
    assert!(!kubeconfig.exists(), "{} is left", kubeconfig.display());
    assert_eq!(alive(&processes), Vec::<u32>::new(), "these are left");
}

/// The number of a lab is free when it has ended, and the next one takes it: only a name tells whose files these are.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn process_ids(cluster: &Cluster) -> Vec<u32> {
    cluster.processes().into_iter().map(|(_, pid)| pid).collect()
}

fn alive(processes: &[u32]) -> Vec<u32> {
    // What has ended has no program, also where nobody has asked for its exit code yet.
    processes.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}/exe")).exists()).collect()
}

/// Set in a process that a test starts from its own program: the file to write into what there is to end.
const REPORT: &str = "COFIDE_TEST_REPORT";

/// Runs a test of this program in another process, which does its part there.
fn in_another_process(test: &str, report: &Path) -> tokio::process::Child {
    let mut process = tokio::process::Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test]).env(REPORT, report).kill_on_drop(true).spawn().unwrap()
}

/// Whole at once: it is waited for.
fn write_report(folder: &Path, report: impl AsRef<Path>, content: &serde_json::Value) {
    let staged = folder.join("report");
    std::fs::write(&staged, content.to_string()).unwrap();
    std::fs::rename(staged, report).unwrap();
}

#[tokio::test]
async fn a_lab_that_is_kept_outlives_its_process_until_it_is_ended() {
    if let Some(report) = std::env::var_os(REPORT) {
        let lab = Lab::start().unwrap().to_be_kept();
        let cluster = lab.cluster(&unique("kept")).await.unwrap().with_istiod(&Mesh::new("a.test")).await.unwrap();
        // Nobody serves SDS: it runs, and waits.
        let proxy = Proxy::new(ISTIO_NAMESPACE, "istio-ingressgateway", lab.folder().join("none.sock"));
        let gateway = cluster.istio_gateway(&proxy).await.unwrap();
        let mut processes = process_ids(&cluster);
        processes.extend(gateway.envoy.pid());
        write_report(lab.folder(), report, &json!([cluster.kubeconfig(), processes]));
        return lab.keep((cluster, gateway), "of a test").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut owner = in_another_process("cluster::a_lab_that_is_kept_outlives_its_process_until_it_is_ended", &report);
    assert!(owner.wait().await.unwrap().success());
    let (kubeconfig, processes): (PathBuf, Vec<u32>) = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();

    let _next = Lab::start().unwrap();
    assert_eq!((alive(&processes), processes.len()), (processes.clone(), 4), "etcd, API server, istiod, Envoy");
    let client = Config::from_custom_kubeconfig(Kubeconfig::read_from(&kubeconfig).unwrap(), &KubeConfigOptions::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(Client::try_from(client).unwrap());
    namespaces.get(ISTIO_NAMESPACE).await.unwrap();

    let kept = cofide_testkit::lab::kept().unwrap().into_iter().find(|lab| kubeconfig.starts_with(&lab.folder)).unwrap();
    assert_eq!(kept.note, "of a test");
    kept.end().unwrap();
    assert_eq!((alive(&processes), kubeconfig.exists()), (vec![], false), "something is left");
}

#[tokio::test]
async fn what_a_killed_process_has_left_is_ended_by_the_next_lab() {
    if let Some(report) = std::env::var_os(REPORT) {
        let lab = Lab::start().unwrap();
        let cluster = lab.cluster(&unique("victim")).await.unwrap();
        write_report(lab.folder(), report, &json!([cluster.kubeconfig(), process_ids(&cluster)]));
        std::future::pending::<()>().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut victim = in_another_process("cluster::what_a_killed_process_has_left_is_ended_by_the_next_lab", &report);
    let report = works_within(LONG_ENOUGH, "the victim has a cluster", async || Ok(std::fs::read_to_string(&report)?)).await;
    let (kubeconfig, processes): (PathBuf, Vec<u32>) = serde_json::from_str(&report).unwrap();
    assert_eq!((kubeconfig.exists(), alive(&processes).len()), (true, 2), "{report}");
    victim.kill().await.unwrap();

    let _next = Lab::start().unwrap();
    // It may be another test that ends the victim's lab right now.
    works_within(LONG_ENOUGH, "everything is gone", async || {
        let left = alive(&processes);
        anyhow::ensure!(left.is_empty() && !kubeconfig.exists(), "the processes {left:?} or {} are left", kubeconfig.display());
        Ok(())
    })
    .await;
}

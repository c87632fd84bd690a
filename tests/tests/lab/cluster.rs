//! Clusters without nodes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofide_testkit::lab::{Cluster, Lab, Pod};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::ListParams;
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::eventually;

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
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(Client::try_from(config).unwrap(), "demo");
    // RBAC learns of new roles by a watch.
    eventually("the reader may list", LONG_ENOUGH, async || Ok(maps.list(&ListParams::default()).await?)).await;
    let refused = maps.delete("anything", &Default::default()).await.unwrap_err();
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
    eventually("the owned object is gone", LONG_ENOUGH, async || {
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
    processes.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect()
}

/// Set in a process that starts a cluster and waits to be killed: the file to write into what there is to end.
const VICTIM: &str = "COFIDE_TEST_VICTIM";

#[tokio::test]
async fn what_a_killed_process_has_left_is_ended_by_the_next_lab() {
    if let Some(report) = std::env::var_os(VICTIM) {
        let lab = Lab::start().unwrap();
        let cluster = lab.cluster(&unique("victim")).await.unwrap();
        let staged = lab.folder().join("report");
        std::fs::write(&staged, json!([cluster.kubeconfig(), process_ids(&cluster)]).to_string()).unwrap();
        std::fs::rename(staged, report).unwrap();
        std::future::pending::<()>().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "cluster::what_a_killed_process_has_left_is_ended_by_the_next_lab"]).env(VICTIM, &report);
    let mut victim = victim.kill_on_drop(true).spawn().unwrap();
    let report = eventually("the victim has a cluster", LONG_ENOUGH, async || Ok(std::fs::read_to_string(&report)?)).await;
    let (kubeconfig, processes): (PathBuf, Vec<u32>) = serde_json::from_str(&report).unwrap();
    assert_eq!((kubeconfig.exists(), alive(&processes).len()), (true, 2), "{report}");
    victim.kill().await.unwrap();

    let _next = Lab::start().unwrap();
    // It may be another test that ends the victim's lab right now.
    eventually("everything is gone", LONG_ENOUGH, async || {
        let left = alive(&processes);
        anyhow::ensure!(left.is_empty() && !kubeconfig.exists(), "the processes {left:?} or {} are left", kubeconfig.display());
        Ok(())
    })
    .await;
}

//! What a real API server says to the objects: server-side dry run with strict field validation.

use anyhow::{Context, Result};
use cofide_testkit::lab::{Cluster, Lab};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use serde_json::{Value, json};

use crate::support::{CASES, Chart, helm};

/// Without the Prometheus operator, what the charts need of its definition.
const SERVICE_MONITOR: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: servicemonitors.monitoring.coreos.com
spec:
  group: monitoring.coreos.com
  names: { kind: ServiceMonitor, plural: servicemonitors }
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [selector, endpoints]
              properties:
                selector: { type: object, properties: { matchLabels: { type: object, additionalProperties: { type: string } } } }
                endpoints:
                  type: array
                  items:
                    type: object
                    properties: { port: { type: string }, path: { type: string }, interval: { type: string } }
";

async fn cluster(lab: &Lab) -> Cluster {
    let cluster = lab.cluster("charts").await.unwrap();
    cluster.apply_yaml(SERVICE_MONITOR).await.unwrap();
    cluster.create_namespace("istio-system").await.unwrap();
    for chart in [Chart::Agent, Chart::Connect] {
        let name = chart.namespace();
        // Admission is real: a pod that is not restricted is refused, not warned of.
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        cluster.apply(&namespace).await.unwrap();
    }
    cluster
}

async fn api_of(cluster: &Cluster, object: &Value) -> Result<Api<DynamicObject>> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let client = cluster.client()?;
    let kind = GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) = pinned_kind(&client, &kind).await.with_context(|| format!("no {}", types.kind))?;
    Ok(match capabilities.scope {
        Scope::Namespaced => Api::namespaced_with(client, object["metadata"]["namespace"].as_str().context("no namespace")?, &resource),
        Scope::Cluster => Api::all_with(client, &resource),
    })
}

async fn would_take(cluster: &Cluster, object: &Value) -> Result<()> {
    let dry_run = PatchParams { dry_run: true, ..PatchParams::apply("helm").validation_strict() };
    let name = object["metadata"]["name"].as_str().context("no name")?;
    api_of(cluster, object).await?.patch(name, &dry_run, &Patch::Apply(object)).await?;
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_both_charts() {
    let lab = Lab::start().unwrap();
    let cluster = cluster(&lab).await;
    for (chart, name) in CASES {
        let rendered = chart.render_with(&chart.values(name), &["--include-crds"]).await.unwrap();
        for object in crate::support::objects(&rendered) {
            let taken = would_take(&cluster, &object).await;
            taken.unwrap_or_else(|error| panic!("{chart} with the values {name}: {error:#}\n{object:#}"));
        }
    }
    // The dry run has teeth: an unknown field is refused.
    let wrong = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "cofide" }, "dat": {} });
    assert!(would_take(&cluster, &wrong).await.unwrap_err().to_string().contains("dat"));
}

#[tokio::test]
async fn the_pods_pass_the_restricted_pod_security_standard() {
    let lab = Lab::start().unwrap();
    let cluster = cluster(&lab).await;
    for (chart, name) in CASES {
        for workload in chart.objects(&chart.values(name)).await {
            let template = &workload["spec"]["template"];
            if template.is_null() {
                continue;
            }
            let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
            pod["metadata"]["namespace"] = json!(chart.namespace());
            pod["metadata"]["name"] = json!("from-the-template");
            // What a StatefulSet adds.
            for claim in workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
                let name = &claim["metadata"]["name"];
                let volume = json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
                pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
            }
            let created = async |pod: &Value| {
                let dry_run = PostParams { dry_run: true, ..PostParams::default() };
                api_of(&cluster, pod).await?.create(&dry_run, &serde_json::from_value(pod.clone())?).await?;
                anyhow::Ok(())
            };
            let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
            if volumes.into_iter().any(|volume| !volume["hostPath"].is_null()) {
                assert!(["socket", "crd"].contains(&name), "{chart} with the values {name} mounts a folder of the node");
                // A folder of the node is what the standard is there to refuse; the page of the installation says so.
                let refused = format!("{:#}", created(&pod).await.unwrap_err());
                assert!(refused.contains("hostPath") && !refused.contains("allowPrivilegeEscalation"), "{refused}");
                continue;
            }
            created(&pod).await.unwrap_or_else(|error| panic!("{chart} with the values {name}: {error:#}\n{pod:#}"));
            // And it would be refused, were it not so.
            pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
            let refused = format!("{:#}", created(&pod).await.unwrap_err());
            assert!(refused.contains("violates PodSecurity"), "{refused}");
        }
    }
}

/// `helm` against the cluster, about a release of the agent's chart.
async fn helm_release(cluster: &Cluster, verb: &[&str], values: &str) -> String {
    let (kubeconfig, chart, values) = (cluster.kubeconfig().to_str().unwrap(), Chart::Agent.path(), Chart::Agent.values(values));
    let release = ["cofide-agent", chart.to_str().unwrap(), "--namespace", "cofide", "--values", values.to_str().unwrap()];
    helm(&[verb, &release, &["--kubeconfig", kubeconfig]].concat()).await.unwrap()
}

#[tokio::test]
async fn what_the_agent_keeps_outlives_an_upgrade_and_goes_with_the_release() {
    let lab = Lab::start().unwrap();
    let cluster = cluster(&lab).await;
    let state = async || cluster.get("v1", "ConfigMap", "cofide", "cofide-agent-state").await.unwrap();

    helm_release(&cluster, &["install"], "default").await;
    assert!(cluster.get("apps/v1", "Deployment", "cofide", "cofide-agent").await.unwrap().is_some());
    let definition = "federatedservices.registry.cofide.io";
    let definition = cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", definition).await.unwrap();
    assert!(definition.is_some(), "the definition comes with the first installation");

    let kept = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "agent_id": "agent-1" },
        "metadata": { "namespace": "cofide", "name": "cofide-agent-state" } });
    cluster.apply(&kept).await.unwrap();
    helm_release(&cluster, &["upgrade"], "joining").await;
    assert_eq!(state().await.unwrap().data["data"]["agent_id"], "agent-1");
    assert!(cluster.get("v1", "Secret", "cofide", "cofide-agent-bootstrap").await.unwrap().is_some(), "the upgrade was one");

    let kubeconfig = cluster.kubeconfig().to_str().unwrap();
    helm(&["uninstall", "cofide-agent", "--namespace", "cofide", "--kubeconfig", kubeconfig]).await.unwrap();
    assert!(state().await.is_none());
}

#[tokio::test]
async fn the_notes_say_what_is_still_to_do() {
    let lab = Lab::start().unwrap();
    let cluster = cluster(&lab).await;
    let notes = async |values: &str| {
        let said = helm_release(&cluster, &["install", "--dry-run=server"], values).await;
        said.split_once("NOTES:").unwrap().1.to_owned()
    };
    assert!(notes("default").await.contains("cofidectl agent helm-values"));
    let joining = notes("joining").await;
    assert!(!joining.contains("cofidectl agent helm-values") && !joining.contains("WARNING"), "{joining}");
    assert!(joining.contains("leaves the SPIRE server alone") && joining.contains("federated-service create"), "{joining}");
    assert!(notes("gateway").await.contains("kubectl get service cofide-agent-gateway --namespace cofide"));
    assert!(notes("least").await.contains("WARNING: its service account is someone"));
}

//! What becomes of an import that cannot be had as it should be, and where a person sees it.

use std::time::Duration;

use cofide_testkit::wait::{eventually, within, works};
use serde_json::{Value, json};

use crate::support::World;

/// The zone whose cluster imports, and the one that exports.
const IMPORTER: usize = 0;
const EXPORTER: usize = 1;
const HAND_OVER: Duration = Duration::from_secs(15);

/// A service of the exporter, as its owner writes it for a host.
fn manifest(name: &str) -> String {
    let service = json!({
        "apiVersion": "registry.cofide.io/v1alpha1",
        "kind": "FederatedService",
        "metadata": { "namespace": "demo", "name": name },
        "spec": {
            "name": name,
            "namespace": "demo",
            "exportedTrustDomains": ["a.test"],
            "workloadLabels": { "app": name },
            "port": 8443,
            "tlsMode": "Mtls",
            "gateways": [{ "type": "istio-ingressgateway", "ip": "192.0.2.3", "port": 443 }],
        },
    });
    let workload = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": { "namespace": "demo", "name": name },
        "spec": { "address": "127.0.0.9", "labels": { "app": name } },
    });
    format!("{service}\n---\n{workload}\n")
}

fn theirs(host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": { "namespace": "demo", "name": "theirs" },
        "spec": { "hosts": [host], "ports": [{ "number": 1234, "name": "tcp", "protocol": "TCP" }], "resolution": "NONE" },
    })
}

impl World {
    pub(crate) fn export(&self, name: &str) {
        self.plane.zones[EXPORTER].write_manifest(&format!("{name}.yaml"), &manifest(name)).unwrap();
    }

    /// What Connect shows as the importing cluster's last word about a hostname.
    pub(crate) async fn said_of(&self, hostname: &str) -> Option<(Result<(), String>, bool)> {
        self.plane.receipt_of_import(IMPORTER, hostname).await.unwrap()
    }

    async fn is_said_to_be_refused(&self, hostname: &str) {
        let reason = "ServiceEntry demo/theirs";
        let refused = |said: &Option<(Result<(), String>, bool)>| matches!(said, Some((Err(text), true)) if text.contains(reason));
        eventually("Connect says why it is refused", || self.said_of(hostname), refused).await;
        let broken = self.plane.broken_links(IMPORTER, hostname).await.unwrap();
        assert!(broken.iter().any(|link| link.contains(reason)), "{broken:?}");
    }

    /// Waits until an agent has been told of everything that was exported before, and Connect has its answer.
    async fn has_followed(&self, agent: usize, fence: &str) {
        for name in [format!("{fence}-1"), format!("{fence}-2")] {
            self.export(&name);
            let hostname = format!("{name}.demo.b.test");
            // Connect sends no more of a type before it has the answer to what it sent.
            eventually("the agent has the plan", || async { self.imports(agent) }, |imports| imports.contains(&hostname)).await;
        }
    }

    fn imports(&self, agent: usize) -> Vec<String> {
        let plan = self.agents[agent].as_ref().unwrap().world().plan.get();
        plan.imports().map(|import| import.hostname.to_string()).collect()
    }
}

#[tokio::test]
async fn an_import_whose_host_is_somebody_elses_is_left_to_them_and_connect_says_so_whichever_agent_leads() {
    let mut world = World::start().await;
    world.led_by(0, HAND_OVER).await;
    let hostname = "server.demo.b.test";
    world.apply(&theirs(hostname)).await;
    world.export("server");
    world.is_said_to_be_refused(hostname).await;

    // An agent that stands by has written nothing, and its word changes nothing.
    world.start_agent(|_| {}).await;
    world.has_followed(1, "fence").await;
    world.is_said_to_be_refused(hostname).await;
    eventually("others are applied", || world.said_of("fence-1.demo.b.test"), |said| matches!(said, Some((Ok(()), true)))).await;

    // When it leads, it speaks for the cluster.
    world.take_agent(0).kill().await.unwrap();
    world.led_by(1, HAND_OVER).await;
    world.has_followed(1, "late").await;
    world.is_said_to_be_refused(hostname).await;
    let found = world.cluster.get("networking.istio.io/v1", "ServiceEntry", "demo", "theirs").await.unwrap().unwrap();
    assert_eq!(found.data["spec"]["ports"][0]["number"], json!(1234));

    world.cluster.delete_yaml(&theirs(hostname).to_string()).await.unwrap();
    eventually("Connect says that it is applied", || world.said_of(hostname), |said| matches!(said, Some((Ok(()), true)))).await;
    let broken = world.plane.broken_links(IMPORTER, hostname).await.unwrap();
    assert!(!broken.iter().any(|link| link.contains("refused")), "{broken:?}");
}

#[tokio::test]
async fn an_import_that_the_api_server_refuses_is_told_to_connect_in_its_words_and_the_others_are_written() {
    let mut world = World::start().await;
    // As a cluster does whose operator allows no object for a domain.
    world.cluster.apply_yaml(POLICY).await.unwrap();
    let mut probe = theirs("refused.elsewhere.test");
    probe["metadata"]["name"] = json!("probe");
    works("the policy is in force", async || {
        anyhow::ensure!(world.cluster.apply(&probe).await.is_err(), "it lets everything pass");
        Ok(())
    })
    .await;
    world.export("refused");
    world.export("allowed");
    let hostname = "refused.demo.b.test";
    let in_their_words = |said: &Option<(Result<(), String>, bool)>| matches!(said, Some((Err(text), true)) if text.contains("this mesh knows no refused") && text.contains("ServiceEntry cofide/"));
    eventually("Connect says why it is refused", || world.said_of(hostname), in_their_words).await;
    eventually("the other one is applied", || world.said_of("allowed.demo.b.test"), |said| matches!(said, Some((Ok(()), true)))).await;
    world.cluster.delete_yaml(POLICY).await.unwrap();
    works("the policy is in force no more", async || world.cluster.apply(&probe).await).await;
    // Another agent looks at everything anew; this one waits until something changes.
    world.take_agent(0).stop().await.unwrap();
    world.start_agent(|_| {}).await;
    within(HAND_OVER * 2, "it is applied after all", || world.said_of(hostname), |said| matches!(said, Some((Ok(()), true)))).await;
}

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: no-refused
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [networking.istio.io]
        apiVersions: ['*']
        operations: [CREATE, UPDATE]
        resources: [serviceentries]
  validations:
    - expression: "!object.spec.hosts.exists(host, host.startsWith('refused.'))"
      message: this mesh knows no refused
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: no-refused
spec:
  policyName: no-refused
  validationActions: [Deny]
"#;

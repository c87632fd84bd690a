//! Federated services, registered by a real agent from its manifests.

use cofide_testkit::wait::eventually;

use crate::support::{Connect, Outcome, Zone, assert_transcript};

const MANIFEST: &str = "\
apiVersion: registry.cofide.io/v1alpha1
kind: FederatedService
metadata:
  name: ping-pong
  namespace: demo
spec:
  name: server
  namespace: demo
  exportedTrustDomains: [b.test, c.test]
  workloadLabels: {app: server, tier: back}
  port: 8443
  tlsMode: Mtls
  spiffeIDPaths: [/ns/demo/sa/server]
  gateways:
    - type: istio-ingressgateway
      hostname: gateway.a.test
      port: 443
    - type: istio-eastwestgateway
      ip: 192.0.2.1
      port: 15443
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: ping-pong
  namespace: demo
spec:
  address: 127.0.0.9
  labels: {app: server, tier: back}
";

#[tokio::test]
async fn an_exported_service_is_listed_and_shown_and_leaves_with_its_manifest() {
    let connect = Connect::start().await;
    let mut zone = Zone::start(&connect, 'a').await;
    zone.start_agent().await;
    let list = || connect.cofidectl("federated-service list");
    assert_eq!(list().await.done().stdout, "");
    zone.write_manifest("ping-pong.yaml", MANIFEST);
    eventually("the service is registered", list, |outcome: &Outcome| outcome.stdout.contains("server.demo.a.test")).await;

    let mut transcript = connect.transcript();
    transcript.run("federated-service list").await;
    transcript.run("federated-service get server.demo.a.test").await;
    transcript.note("Only those that match.");
    transcript
        .run_all(&[
            "federated-service list --exported-to b.test --trust-domain a.test --output json",
            "federated-service list --exported-to d.test",
            "federated-service list --trust-domain b.test",
            "federated-service list --exported-to B.test",
        ])
        .await;
    transcript.note("A hostname that nobody exports.");
    transcript.run("federated-service get other.demo.a.test").await;
    let text = transcript.text();
    let id = connect.json("federated-service get server.demo.a.test").await[0]["id"].as_str().unwrap().to_owned();
    assert_transcript!(text text.replace(&id, "[id of the service]"));
    let mut by_id = connect.json(&format!("federated-service get {id}")).await;
    // What is shown of one and not of all: each trust domain is a question of its own.
    let conditions = by_id[0].as_object_mut().unwrap().remove("conditions").unwrap();
    assert_eq!(by_id, connect.json("federated-service list").await);
    let kinds: Vec<_> = conditions.as_array().unwrap().iter().map(|condition| condition["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Registered", "GatewayReady", "Ready", "Ready"]);

    std::fs::remove_file(zone.folder().join("manifests/ping-pong.yaml")).unwrap();
    eventually("the service is gone", list, |outcome: &Outcome| outcome.stdout.is_empty()).await;
    let who = connect.json("audit list --type federated_service_deregistration").await;
    assert_eq!(who["events"][0]["actor"], "spiffe://a.test/cluster/cluster-a/ns/cofide/sa/cofide-agent");
}

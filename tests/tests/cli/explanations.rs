//! Why a service cannot be used, and which agents are there, from the real programs.

use cofide_testkit::wait::eventually;

use crate::support::{Connect, Outcome, Zone, tables};

const MANIFEST: &str = "\
apiVersion: registry.cofide.io/v1alpha1
kind: FederatedService
metadata: {name: ping-pong, namespace: demo}
spec:
  name: server
  namespace: demo
  exportedTrustDomains: [b.test]
  workloadLabels: {app: server}
  port: 8443
  tlsMode: Mtls
  gateways: [{type: istio-ingressgateway, ip: 192.0.2.1, port: 443}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ping-pong, namespace: demo}
spec: {address: 127.0.0.9, labels: {app: server}}
";

#[tokio::test]
async fn whoever_follows_the_explanations_ends_with_a_chain_that_holds() {
    let connect = Connect::start().await;
    let mut a = Zone::start(&connect, 'a').await;
    let mut b = Zone::start(&connect, 'b').await;
    a.start_agent().await;
    b.start_agent().await;
    a.write_manifest("ping-pong.yaml", MANIFEST);
    let list = || connect.cofidectl("federated-service list");
    eventually("the service is registered", list, |outcome: &Outcome| outcome.stdout.contains("server.demo.a.test")).await;
    connect.given(&["attestation-policy add static --name all --spiffe-id-path x --parent-id-path p --selectors unix:uid:1000"]).await;

    let line = "explain --from trust-zone-b/cluster-b --to server.demo.a.test";
    for expected in [
        "federation add --trust-zone trust-zone-b --remote-trust-zone trust-zone-a",
        "federation add --trust-zone trust-zone-a --remote-trust-zone trust-zone-b",
        "attestation-policy-binding add --trust-zone trust-zone-b --attestation-policy <policy> --federates-with trust-zone-a",
        "attestation-policy-binding add --trust-zone trust-zone-a --attestation-policy <policy> --federates-with trust-zone-b",
    ] {
        let outcome = connect.cofidectl(line).await;
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(tables(&outcome.stdout)[0].rows.iter().any(|row| row[1] == "Broken"), "{outcome}");
        assert_eq!(outcome.remedy(), expected, "{outcome}");
        connect.given(&[&outcome.remedy().replace("<policy>", "all")]).await;
    }
    let explain = || connect.cofidectl(line);
    let outcome = eventually("every link holds", explain, |outcome: &Outcome| outcome.code == 0).await;
    assert!(tables(&outcome.stdout)[0].rows.iter().all(|row| row[1] == "Ok"), "{outcome}");
    assert!(
        outcome.stderr.contains("every link that Connect knows of holds")
            && outcome.stderr.contains("not seen from here: whether what listens at the gateway"),
        "{outcome}"
    );
    let explained = connect.json(line).await;
    assert_eq!((explained["works"].as_bool(), explained["links"][0]["status"].as_str()), (Some(true), Some("Ok")));
    assert_eq!(connect.cofidectl(&format!("{line} --output yaml")).await.done().yaml(), explained);

    // What the agent beside the service sees, and mends by itself, is in the chain.
    let without_workload = MANIFEST.split("---").next().unwrap();
    a.write_manifest("ping-pong.yaml", without_workload);
    let outcome = eventually("a link does not hold", explain, |outcome: &Outcome| outcome.code == 1).await;
    assert!(outcome.stdout.contains("BackendsReady of server.demo.a.test is not met in cluster cluster-a"), "{outcome}");
    assert!(outcome.stderr.contains("\"conditions in cluster-a\"; to mend it: "), "{outcome}");
    a.write_manifest("ping-pong.yaml", MANIFEST);
    eventually("every link holds again", explain, |outcome: &Outcome| outcome.code == 0).await;

    let agents = async || connect.cofidectl("agent list").await.done();
    let is_there = |outcome: &Outcome, place: usize, word: &str| {
        tables(&outcome.stdout).first().is_some_and(|table| table.rows.len() == 2 && table.rows[place][3] == word)
    };
    let listed = eventually("both are there", agents, |outcome| is_there(outcome, 0, "yes") && is_there(outcome, 1, "yes")).await;
    assert!(listed.stdout.contains("spiffe://b.test/cluster/cluster-b/ns/cofide/sa/cofide-agent"), "{listed}");
    b.stop_agent().await;
    eventually("one is gone", agents, |outcome| is_there(outcome, 0, "yes") && is_there(outcome, 1, "no")).await;
    let outcome = connect.cofidectl(line).await;
    assert!(outcome.code == 1 && outcome.stderr.contains("agent of trust-zone-b/cluster-b"), "{outcome}");

    connect.cofidectl("explain --from trust-zone-x --to server.demo.a.test").await.refused(1, &["trust-zone-x"]);
    connect.cofidectl("explain --from trust-zone-b/cluster-x --to server.demo.a.test").await.refused(1, &["cluster-x"]);
    connect.cofidectl("explain --from trust-zone-b --to server..a.test").await.refused(2, &["--to"]);
}

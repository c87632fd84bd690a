//! From a binding in Connect to an entry in SPIRE, and back.

use cofide_agent::spire::{Outcome, SpireAccess};
use cofide_api::convert::plan::WORKLOAD_REGISTRATION;
use cofide_api::types::attestation_policy::ApKubernetes;
use cofide_api::types::attestation_policy::attestation_policy::Policy;
use cofide_testkit::wait::eventually;
use serde_json::json;

use crate::support::{OTHER, OWN, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_kubernetes_policy_becomes_an_entry_for_each_pod_with_the_bundles_of_its_binding() {
    let world = World::start_all().await;
    world.plane.federate(OWN, OTHER).await.unwrap();
    let binding = world.bind_pods("servers", "server", &[OTHER]).await;
    world.the_only("the domain is named", "ClusterSPIFFEID", |spec| spec["federatesWith"] == json!(["b.test"])).await;
    assert_eq!(world.entries("/ns/demo/sa/server").await, Vec::<Vec<String>>::new(), "there is no such pod");

    world.run_pod("demo", "server").await;
    world.run_pod("demo", "bystander").await;
    let held = || world.entries("/ns/demo/sa/server");
    eventually("the pod has an entry with the other zone's bundle", held, |held| *held == [["b.test"]]).await;
    eventually("the agent has heard of it", || world.outcome(&binding), |outcome| *outcome == Some(Outcome::Applied)).await;
    assert_eq!(world.entries("/ns/demo/sa/bystander").await.len(), 0, "nobody selected it");

    world.plane.unbind(binding).await.unwrap();
    eventually("the object is gone", || world.names("ClusterSPIFFEID"), Vec::is_empty).await;
    eventually("the entry is gone", held, Vec::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_policy_becomes_one_entry_and_a_template_of_another_language_becomes_none() {
    let world = World::start_all().await;
    let good = world.bind_entry("gateway", "ns/demo/sa/gateway").await;
    let pods = ApKubernetes { spiffe_id_path_template: Some("{{ range .PodSpec.Containers }}x{{ end }}".to_owned()), ..Default::default() };
    let bad = world.bind("bad", Policy::Kubernetes(pods), &[]).await;
    eventually("the entry is there", || world.entries("/ns/demo/sa/gateway"), |held| held.len() == 1).await;
    eventually("and said to be", || world.outcome(&good), |outcome| *outcome == Some(Outcome::Applied)).await;
    let refused = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Failed(reason)) if reason.contains("is not supported"));
    eventually("the other binding is told why", || world.outcome(&bad), refused).await;
    assert_eq!(world.names("ClusterSPIFFEID").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_controller_cannot_do_is_said_of_the_binding() {
    let world = World::start_all().await;
    world.run_pod("demo", "server").await;
    // The pod has no such label, so the path has an empty segment.
    let pods = ApKubernetes { spiffe_id_path_template: Some("team/{{ index .PodMeta.Labels \"team\" }}".to_owned()), ..Default::default() };
    let binding = world.bind("teams", Policy::Kubernetes(pods), &[]).await;
    let told = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Failed(reason)) if reason.contains("1 of 1 pods get no SPIFFE ID") && reason.contains("(since 20"));
    eventually("the failure is told, with its age", || world.outcome(&binding), told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_of_the_class_that_the_agent_is_told() {
    let mut world = World::start().await;
    world.start_controller("spire-a").await;
    world.start_agent(|_| {}).await;
    world.run_pod("demo", "server").await;
    let binding = world.bind_pods("servers", "server", &[]).await;
    world.the_only("it has no class", "ClusterSPIFFEID", |spec| spec["className"] == "").await;
    let silent = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Unseen(reason)) if reason.contains("has said nothing"));
    eventually("the silence is told", || world.outcome(&binding), silent).await;
    let receipt = || world.receipt(WORKLOAD_REGISTRATION, &binding);
    let not_applied =
        |said: &Option<Result<(), String>>| matches!(said, Some(Err(reason)) if reason.contains("ClusterSPIFFEID cofide-servers-"));
    eventually("Connect does not take it for applied", receipt, not_applied).await;
    assert_eq!(world.entries("/ns/demo/sa/server").await.len(), 0);

    world.stop_agent().await;
    world.start_agent(|config| config.spire_class_name = "spire-a".to_owned()).await;
    eventually("the pod has an entry", || world.entries("/ns/demo/sa/server"), |held| held.len() == 1).await;
    eventually("and that is told", || world.outcome(&binding), |outcome| *outcome == Some(Outcome::Applied)).await;
    eventually("Connect too", || world.receipt(WORKLOAD_REGISTRATION, &binding), |said| *said == Some(Ok(()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_socket_a_kubernetes_policy_is_told_what_it_needs_and_harms_no_other() {
    let mut world = World::start().await;
    let pods = world.bind_pods("servers", "server", &[]).await;
    let entry = world.bind_entry("gateway", "ns/demo/sa/gateway").await;
    let socket = world.plane.zones[OWN].admin_socket();
    world
        .start_agent(|config| {
            config.spire = SpireAccess::Socket;
            config.spire_server_socket = socket;
        })
        .await;
    let told = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Unsupported(reason)) if reason.contains("AGENT_SPIRE (chart: spire.mode) to crd"));
    eventually("the binding is told", || world.outcome(&pods), told).await;
    eventually("the other is there", || world.outcome(&entry), |outcome| *outcome == Some(Outcome::Applied)).await;
    assert_eq!(world.names("ClusterSPIFFEID").await, [""; 0]);
}

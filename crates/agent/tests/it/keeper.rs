//! The keeper of an agent in a cluster that has no way to the SPIRE server: what it says of everything that it was asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofide_agent::plan::Plan;
use cofide_agent::spire::{Outcome, Report, SpireAccess, SpireClient, SpireKeeper};
use cofide_agent::state::DataFolder;
use cofide_agent::world::World;
use cofide_api::convert::plan::{FEDERATED_TRUST, WORKLOAD_REGISTRATION};
use cofide_connect_client::{PlanChanges, PlanReceipt, ReceivedPlanResource};
use cofide_core::{FederatedTrust, KubernetesPolicy, PolicyKind, StaticPolicy, TpmNodePolicy, TrustDomain, WorkloadRegistration};
use cofide_plan::PlanResource;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn binding(id: &str, kind: PolicyKind) -> (String, PlanResource) {
    let registration =
        WorkloadRegistration { binding_id: id.parse().unwrap(), policy_name: "policy".parse().unwrap(), kind, federates_with: vec![] };
    (id.to_owned(), PlanResource::Registration(registration))
}

fn told(type_url: &'static str, resources: Vec<(String, PlanResource)>) -> PlanChanges {
    let received = |(name, resource)| ReceivedPlanResource { name, version: "v1".to_owned(), resource };
    let set = resources.into_iter().map(received).collect();
    PlanChanges { type_url, set, removed: vec![], completes: true, receipt: PlanReceipt::default() }
}

/// Trust in `b.test`, and a binding of each kind of policy.
fn plan() -> Plan {
    let entry = StaticPolicy {
        spiffe_id_path: "/server".to_owned(),
        parent_id_path: "/agent".to_owned(),
        selectors: vec!["unix:uid:7".parse().unwrap()],
        dns_names: vec![],
        store_svid: false,
    };
    let tpm = TpmNodePolicy { ek_hash: None, selector_values: vec![] };
    let trust =
        FederatedTrust { trust_domain: domain("b.test"), trust_zone_name: "zone-b".parse().unwrap(), bundle: None, bundle_endpoint: None };
    let mut plan = Plan::default();
    plan.apply(&told(
        WORKLOAD_REGISTRATION,
        vec![
            binding("entry", PolicyKind::Static(entry)),
            binding("pods", PolicyKind::Kubernetes(KubernetesPolicy::default())),
            binding("tpm", PolicyKind::TpmNode(tpm)),
        ],
    ));
    plan.apply(&told(FEDERATED_TRUST, vec![("b.test".to_owned(), PlanResource::Trust(trust))]));
    plan
}

/// What an agent reports, and whether it is to try again, that has neither socket nor objects.
async fn report(access: SpireAccess) -> (Report, Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(DataFolder::open(folder.path()).unwrap());
    let world = Arc::new(World::default());
    world.plan.set(plan());
    let nowhere = SpireClient::new(Path::new("/nonexistent/api.sock"));
    let keeper = SpireKeeper::open(domain("a.test"), nowhere, Duration::from_secs(60), data, world.clone()).unwrap();
    let outcome = keeper.in_cluster(access, None).reconcile().await.map_err(|error| error.to_string());
    let spire = (*world.spire.get()).clone().expect("something is reported");
    assert_eq!(spire.plan_revision, world.plan.get().revision);
    (spire.report, outcome)
}

#[tokio::test]
async fn without_a_way_to_the_server_each_binding_and_each_trust_is_told_what_is_missing() {
    for (access, next_step) in
        [(SpireAccess::Crd, "install spire-controller-manager"), (SpireAccess::Auto, "mount that socket (spire_server_socket")]
    {
        let (report, outcome) = report(access).await;
        let reason = outcome.expect_err("it is tried again");
        assert!(reason.contains(next_step) && reason.contains("AGENT_SPIRE (chart: spire.mode)"), "{reason}");
        let failed = Outcome::Failed(reason);
        assert_eq!(report.trust[&domain("b.test")], failed);
        for binding in ["entry", "pods"] {
            assert_eq!(report.registrations[&binding.parse().unwrap()], failed, "{binding}");
        }
        let tpm = &report.registrations[&"tpm".parse().unwrap()];
        assert!(matches!(tpm, Outcome::Unsupported(reason) if reason.contains("TPM")), "{tpm:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_left_alone_is_not_called() {
    let (report, outcome) = report(SpireAccess::None).await;
    assert_eq!(outcome, Ok(()));
    let all = report.registrations.values().chain(report.trust.values());
    assert_eq!(all.filter(|outcome| **outcome == Outcome::LeftAlone).count(), 4, "{report:?}");
}

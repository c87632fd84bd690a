//! Why a client can or cannot use a service, from the first link to the last.

use cofide_api::connect::agent_service::UpdateAgentStatusRequest;
use cofide_api::connect::ap_binding_service::CreateApBindingRequest;
use cofide_api::connect::attestation_policy_service::CreateAttestationPolicyRequest;
use cofide_api::connect::explain_service::{ExplainRequest, Finding, finding::Severity};
use cofide_api::spire::types::Selector;
use cofide_api::types::agent::{AgentStatus, UnmetCondition};
use cofide_api::types::ap_binding::{ApBinding, ApBindingFederation};
use cofide_api::types::attestation_policy::attestation_policy::Policy;
use cofide_api::types::attestation_policy::{ApStatic, AttestationPolicy};
use tonic::Code::InvalidArgument;

use crate::federated_services::{register, service};
use crate::plan_stream::Follower;
use crate::support::{Client, Plane, Zone, eventually, refused};

const SERVER: &str = "server.demo.a.test";

async fn explain(client: &Client, zone: &str, cluster: Option<&str>, hostname: &str) -> Result<Vec<Finding>, tonic::Status> {
    let request = ExplainRequest { trust_zone_id: zone.into(), cluster_id: cluster.map(str::to_owned), hostname: hostname.into() };
    Ok(client.explain().explain(request).await?.into_inner().findings)
}

fn first_broken(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().find(|finding| finding.severity() != Severity::Ok)
}

async fn bind(admin: &Client, policy: &str, zone: &Zone, other: &Zone) {
    let federation = ApBindingFederation { trust_zone_id: Some(other.id.clone()) };
    let binding = ApBinding {
        trust_zone_id: Some(zone.id.clone()),
        policy_id: Some(policy.into()),
        federations: vec![federation],
        ..ApBinding::default()
    };
    admin.bindings().create_ap_binding(CreateApBindingRequest { binding: Some(binding) }).await.unwrap();
}

#[tokio::test]
async fn each_link_that_is_mended_leads_to_the_next_until_all_hold() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let (one, two) = (plane.joined(&a, "one").await, plane.joined(&b, "two").await);
    // The check, and what its remedy says, of the first link that does not hold.
    let broken = async || {
        let findings = explain(&admin, &b.id, Some(&two.id), SERVER).await.unwrap();
        first_broken(&findings).map(|finding| (finding.check.clone(), finding.severity(), finding.remedy.clone()))
    };
    let is = |found: Option<(String, Severity, String)>, check: &str, severity: Severity, remedy: &str| {
        let found = found.expect("a link is broken");
        assert_eq!((found.0.as_str(), found.1), (check, severity), "{found:?}");
        assert!(found.2.contains(remedy), "{found:?}");
    };
    is(broken().await, "registered service", Severity::Broken, "apply a FederatedService");
    register(&one.agent, service("server", &["b.test"])).await.unwrap();
    is(broken().await, "federation b -> a", Severity::Broken, "cofidectl federation add --trust-zone b --remote-trust-zone a");
    plane.federate(&b, &a).await;
    is(broken().await, "federation a -> b", Severity::Broken, "cofidectl federation add --trust-zone a --remote-trust-zone b");
    plane.federate(&a, &b).await;
    is(broken().await, "bindings in b", Severity::Broken, "cofidectl attestation-policy-binding add --trust-zone b");
    let policy = AttestationPolicy {
        name: "all".into(),
        policy: Some(Policy::Static(ApStatic {
            spiffe_id_path: Some("/x".into()),
            parent_id_path: Some("/p".into()),
            selectors: vec![Selector { r#type: "unix".into(), value: "uid:1".into() }],
            ..ApStatic::default()
        })),
        ..AttestationPolicy::default()
    };
    let request = CreateAttestationPolicyRequest { policy: Some(policy) };
    let policy = admin.policies().create_attestation_policy(request).await.unwrap().into_inner().policy.unwrap();
    bind(&admin, policy.id(), &b, &a).await;
    is(broken().await, "bindings in a", Severity::Broken, "cofidectl attestation-policy-binding add --trust-zone a");
    bind(&admin, policy.id(), &a, &b).await;

    // What the state allows, the agents have to bring about.
    is(broken().await, "agent of a/one", Severity::Waiting, "cofide-agent runs in cluster one");
    let mut server = Follower::open(&one.agent, &Default::default()).await;
    server.settle().await;
    let found = eventually(&broken, |found| found.as_ref().is_some_and(|found| found.0 != "agent of a/one")).await;
    is(found, "agent of b/two", Severity::Waiting, "cofide-agent runs in cluster two");
    let mut client = Follower::open(&two.agent, &Default::default()).await;
    client.settle().await;
    eventually(&broken, Option::is_none).await;
    let findings = explain(&admin, &b.id, None, SERVER).await.unwrap();
    assert_eq!(first_broken(&findings), None);
    assert!(findings.len() >= 11 && findings.iter().all(|finding| finding.remedy.is_empty()), "{findings:#?}");

    // What only the agent beside the service can see, it says.
    says(&one.agent, &[("BackendsReady", "no WorkloadEntry\ncarries the labels")]).await;
    let found = broken().await;
    is(found, "conditions in one", Severity::Broken, "the status of the FederatedService there");
    let findings = explain(&admin, &b.id, Some(&two.id), SERVER).await.unwrap();
    let message = &first_broken(&findings).unwrap().message;
    let expected = "BackendsReady of server.demo.a.test is not met in cluster one: Reason: no WorkloadEntry carries the labels";
    assert_eq!(message, expected);
    says(&one.agent, &[]).await;
    assert_eq!(broken().await, None);

    let empty = plane.cluster(&b, "empty").await;
    let findings = explain(&admin, &b.id, Some(&empty), SERVER).await.unwrap();
    let finding = first_broken(&findings).expect("nobody is there");
    assert!(finding.remedy.contains("agent join-token create --trust-zone b --cluster empty"), "{finding:?}");
}

/// The agent reports these conditions of the server as not met.
async fn says(agent: &Client, unmet: &[(&str, &str)]) {
    let unmet = unmet.iter().map(|&(kind, message)| UnmetCondition {
        hostname: SERVER.into(),
        r#type: kind.into(),
        reason: "Reason".into(),
        message: message.into(),
    });
    let status = AgentStatus { status: Some(1), last_updated: Some(1), unmet_conditions: unmet.collect(), ..AgentStatus::default() };
    agent.agents().update_agent_status(UpdateAgentStatusRequest { status: Some(status) }).await.unwrap();
}

#[tokio::test]
async fn a_service_that_its_agent_has_not_announced_is_explained_by_what_the_agent_says() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let one = plane.joined(&a, "one").await;
    let stranger = plane.joined(&b, "two").await;
    let first = async || {
        let findings = explain(&admin, &b.id, None, SERVER).await.unwrap();
        first_broken(&findings).unwrap().check.clone()
    };
    // Another zone's agent has no say about it.
    let mut streams = Vec::new();
    for agent in [&one.agent, &stranger.agent] {
        let mut stream = Follower::open(agent, &Default::default()).await;
        stream.settle().await;
        streams.push(stream);
    }
    says(&stranger.agent, &[("GatewayReady", "by a stranger")]).await;
    assert_eq!(first().await, "registered service");
    says(&one.agent, &[("GatewayReady", "no gateway was found")]).await;
    assert_eq!(first().await, "conditions in one");

    drop(streams);
    // What an agent said that is gone may be mended long since.
    eventually(first, |check| check == "registered service").await;
}

#[tokio::test]
async fn what_is_asked_about_must_exist() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let (a, b) = (plane.zone("a").await, plane.zone("b").await);
    let one = plane.cluster(&a, "one").await;
    refused(explain(&admin, "tz-none", None, SERVER).await, InvalidArgument, &["trust_zone_id", "tz-none"]);
    refused(explain(&admin, &b.id, Some("cl-none"), SERVER).await, InvalidArgument, &["cluster_id", "cl-none"]);
    refused(explain(&admin, &b.id, Some(&one), SERVER).await, InvalidArgument, &["cluster_id", "one", "does not belong to trust zone b"]);
    refused(explain(&admin, &b.id, None, "not a name").await, InvalidArgument, &["hostname"]);
    let own = explain(&admin, &a.id, None, "server.demo.b.test").await.unwrap();
    assert_eq!(own.len(), 1, "{own:#?}");
}
